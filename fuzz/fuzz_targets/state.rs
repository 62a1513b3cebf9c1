//! Saved states: arbitrary bytes, and arbitrary CBOR with the right frame around it.
//!
//! The input is one byte of flags, 8 of time, 2 that choose a damage, and the state or its CBOR.
#![no_main]

use e4::{
    Client, FixedKeyRing, Full, GrowableKeyRing, KeyRing, LoadError, MaxAge, MemoryStore, Mode, Options, Spare,
    StateError,
};
use e4_fuzz::{Input, reference, world::TestClock};
use libfuzzer_sys::fuzz_target;
use minicbor::{Decoder, data::Type};

type Small = FixedKeyRing<4, 2, 8>;
type Loaded<'s, R> = Client<R, &'s mut MemoryStore, TestClock>;

const MAGIC: &[u8] = b"e4state";
const CHECKSUM_LEN: usize = 32;

fuzz_target!(|input: &[u8]| {
    let mut input = Input::new(input);
    let flags = input.byte();
    let flag = |bit: u8| flags >> bit & 1 == 1;
    let clock = TestClock::new(flag(1), input.u64());
    let (damage, rest) = (input.u16(), input.rest());
    let saved = match flag(0) {
        true => frame(if flag(2) { flags >> 4 } else { 3 }, rest),
        false => rest.to_vec(),
    };

    let (growable, small) = (check::<GrowableKeyRing>(&saved, &clock), check::<Small>(&saved, &clock));
    match (growable, small) {
        (Ok(growable), Ok(small)) => assert_eq!(entries(&growable), entries(&small)),
        (Ok(_), Err(StateError::Full(_))) => {}
        // One that is too large may go on to be wrong.
        (Err(StateError::Invalid), Err(StateError::Full(_))) => {}
        (growable, small) => assert_eq!(growable.unwrap_err(), small.unwrap_err()),
    }
    check_damage(saved, damage);
});

fn frame(version: u8, cbor: &[u8]) -> Vec<u8> {
    let framed = [MAGIC, &[version], cbor].concat();
    let sum = reference::sha3_256(&framed);
    [&framed[..], &sum].concat()
}

/// Loads a state. When that works, whatever is saved from then on is the same.
fn check<R: KeyRing>(saved: &[u8], clock: &TestClock) -> Result<Vec<u8>, StateError> {
    let mut store = MemoryStore::from_bytes(saved.to_vec());
    match Loaded::<R>::load_with(&mut store, clock.clone()) {
        Ok(client) => {
            let [rules, topics, peers] = [3, 4, 5].map(|key| entries(saved)[key].len());
            assert_eq!(
                (rules, topics, peers),
                (client.max_ages().count(), client.topics().count(), client.peers().count())
            );
            save_again(client, clock);
        }
        Err(error) => {
            assert_eq!(store.as_bytes(), Some(saved), "a state that is refused stays as it is");
            return Err(check_error(error, saved));
        }
    }
    let first = store.as_bytes().unwrap().to_vec();
    save_again(Loaded::<R>::load_with(&mut store, clock.clone()).unwrap(), clock);
    assert_eq!(entries(store.as_bytes().unwrap()), entries(&first));
    Ok(first)
}

fn save_again<R: KeyRing>(mut client: Loaded<'_, R>, clock: &TestClock) {
    let is_kept = |replaced| !clock.has_time || reference::is_in_transition(replaced, clock.get());
    assert!(client.topics().all(|(_, spare)| match spare {
        Some(Spare::Previous { replaced }) => is_kept(replaced.as_unix()),
        Some(Spare::Next) | None => true,
    }));
    assert!(client.mode() == Mode::PublicKey || client.peers().count() == 0);
    assert!(client.topics().all(|(topic, _)| *topic != client.control_topic().hash()));
    let options: Options = *client.options();
    let rules: Vec<(String, MaxAge)> = client.max_ages().map(|(filter, age)| (filter.into(), age)).collect();
    client.set_options(options).unwrap();
    assert_eq!(*client.options(), options);
    assert!(client.max_ages().eq(rules.iter().map(|(filter, age)| (filter.as_str(), *age))));
}

/// The frame decides which error it is.
fn check_error(error: LoadError, saved: &[u8]) -> StateError {
    let LoadError::State(error) = error else {
        panic!("{error}");
    };
    match saved.strip_prefix(MAGIC) {
        None => assert_eq!(error, StateError::NotAState),
        Some(_) if !is_whole(saved) => assert_eq!(error, StateError::Damaged),
        Some([version, rest @ ..]) if *version > 3 && rest.len() >= CHECKSUM_LEN => {
            assert_eq!(error, StateError::NewerVersion(*version))
        }
        Some(_) => {
            let full = [Full::Topics, Full::Peers, Full::AgeRules, Full::Commands].map(StateError::Full);
            assert!([StateError::Invalid, StateError::SharedKey].contains(&error) || full.contains(&error));
        }
    }
    error
}

/// One bit flipped, or the end cut off: the checksum shows it.
fn check_damage(mut saved: Vec<u8>, damage: u16) {
    if saved.is_empty() {
        return;
    }
    let at = usize::from(damage >> 4) % saved.len();
    if damage & 8 == 0 {
        saved[at] ^= 1 << (damage & 7);
    } else {
        saved.truncate(at);
    }
    // The fuzzer learns checksums: what it cut off may have been more than a state.
    if !is_whole(&saved) {
        let store = MemoryStore::from_bytes(saved.clone());
        let loaded = Client::<GrowableKeyRing, _, _>::load_with(store, TestClock::new(false, 0));
        check_error(loaded.map(|_| ()).unwrap_err(), &saved);
    }
}

fn is_whole(saved: &[u8]) -> bool {
    let sum = saved.split_last_chunk::<CHECKSUM_LEN>();
    sum.is_some_and(|(framed, sum)| reference::sha3_256(framed) == *sum)
}

/// The entries of a state, seven of version 1, nine of version 2, ten of version 3: the elements of those that are lists, and the others as lists of one. Topics and peers
/// are sorted, because a key ring keeps them in an order of its own.
fn entries(saved: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let body = &saved[MAGIC.len() + 1..saved.len() - CHECKSUM_LEN];
    let mut decoder = Decoder::new(body);
    let count = decoder.map().unwrap().unwrap();
    assert_eq!(count, [7, 9, 10][usize::from(saved[MAGIC.len()]) - 1]);
    let mut entry = |key: u8| {
        assert_eq!(decoder.u8().unwrap(), key);
        match key {
            3 => elements(&mut decoder),
            4 | 5 => {
                let mut elements = elements(&mut decoder);
                elements.sort();
                elements
            }
            _ => vec![one(&mut decoder)],
        }
    };
    let entries = (0..count as u8).map(&mut entry).collect();
    assert_eq!(decoder.position(), body.len());
    entries
}

fn elements(decoder: &mut Decoder<'_>) -> Vec<Vec<u8>> {
    assert_eq!(decoder.array().unwrap(), None);
    let mut elements = Vec::new();
    while decoder.datatype().unwrap() != Type::Break {
        elements.push(one(decoder));
    }
    decoder.set_position(decoder.position() + 1);
    elements
}

/// The encoding of one value, whatever it is.
fn one(decoder: &mut Decoder<'_>) -> Vec<u8> {
    let start = decoder.position();
    decoder.skip().unwrap();
    decoder.input()[start..decoder.position()].to_vec()
}

//! Sealing, opening and refusing take no memory from the allocator, apart from the growing memory of opened messages.
#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use allocation_counter::measure;
use e4::{
    AppliedCommand, AsTopic, C2SecretKey, Client, ClientBuilder, ClientId, ClientKey, Clock, ClockReading, Command,
    FixedKeyRing, GrowableKeyRing, Identity, KeyRing, Mode, OpenError, Opened, Refusal, SigningKey, Snapshot, Store,
    StoreError, Subtree, SubtreeKey, Timestamp, Topic, TopicKey, controller::Recipient,
};

type Fixed = FixedKeyRing<3, 1, 64>;

const MODES: [Mode; 2] = [Mode::Symmetric, Mode::PublicKey];
const NOW: u64 = 1_800_000_000;
/// A topic with a key of its own, one that a subtree's key serves, and one without a key.
const EXACT: &str = "plant/7/pump/pressure";
const DERIVED: &str = "plant/8/pump/pressure";
const UNKNOWN: &str = "office/temperature";
const PAYLOAD: &[u8] = b"4.2 bar";
/// As long as a message in either mode.
const ROOM: usize = 128;

#[test]
fn the_counter_sees_what_sealing_into_a_vec_takes() {
    for mode in MODES {
        let client = client::<GrowableKeyRing>(mode, NOW);
        let counted = measure(|| drop(client.seal(EXACT, PAYLOAD).unwrap()));
        assert_eq!(counted.count_total, 1, "{mode:?}");
    }
}

#[test]
fn sealing_allocates_nothing() {
    for mode in MODES {
        seal_on_every_topic(&client::<Fixed>(mode, NOW));
        seal_on_every_topic(&client::<GrowableKeyRing>(mode, NOW));
    }
}

fn seal_on_every_topic<R: KeyRing>(client: &Client<R, NoStore, At>) {
    for name in [EXACT, DERIVED] {
        let handle = Topic::new(name).unwrap();
        seal_both_ways(client, &handle);
        seal_both_ways(client, name);
    }
}

fn seal_both_ways<R: KeyRing>(client: &Client<R, NoStore, At>, topic: &(impl AsTopic + ?Sized)) {
    let mut message = [0; ROOM];
    without_allocating(|| client.seal_into(topic, PAYLOAD, &mut message).map(drop)).unwrap();
    without_allocating(|| client.seal_in_place(topic, &mut message)).unwrap();
}

#[test]
fn opening_allocates_nothing_with_a_fixed_key_ring() {
    for mode in MODES {
        let mut client = client::<Fixed>(mode, NOW);
        for name in [EXACT, DERIVED] {
            let handle = Topic::new(name).unwrap();
            open_both_ways(&mut client, &handle, b"by handle");
            open_both_ways(&mut client, name, b"by text");
        }
    }
}

fn open_both_ways(client: &mut Client<Fixed, NoStore, At>, topic: &(impl AsTopic + ?Sized), payload: &[u8]) {
    let (mut first, mut second, mut out) = ([0; ROOM], [0; ROOM], [0; ROOM]);
    let first = client.seal_into(topic, payload, &mut first).unwrap();
    let second = client.seal_into(topic, &[payload, b", another"].concat(), &mut second).unwrap();

    let opened = without_allocating(|| client.open_into(topic, first, &mut out)).unwrap();
    assert!(matches!(opened, Opened::Message(message) if message.payload == payload));
    let opened = without_allocating(|| client.open_in_place(topic, second)).unwrap();
    assert!(matches!(opened, Opened::Message(message) if message.payload.starts_with(payload)));
}

#[test]
fn refusing_allocates_nothing() {
    for mode in MODES {
        refuse_everything(&mut client::<Fixed>(mode, NOW));
        refuse_everything(&mut client::<GrowableKeyRing>(mode, NOW));
    }
}

fn refuse_everything<R: KeyRing>(client: &mut Client<R, NoStore, At>) {
    let mode = client.mode();
    let sealed_at = |second: u64| self::client::<GrowableKeyRing>(mode, second).seal(EXACT, PAYLOAD).unwrap();
    let sealed = sealed_at(NOW);
    let with_flipped_byte = |at: usize| {
        let mut message = sealed.clone();
        message[at] ^= 1;
        message
    };
    client.open(EXACT, &sealed).unwrap();

    let header = mode.header_len();
    let mut refused = vec![
        (EXACT, sealed[..mode.overhead() - 1].to_vec(), Refusal::TooShort),
        (EXACT, sealed_at(NOW - 601), Refusal::TooOld { age: 601, max_age: 600 }),
        (EXACT, sealed_at(NOW + 61), Refusal::FromTheFuture { ahead: 61 }),
        (UNKNOWN, sealed.clone(), Refusal::NoTopicKey),
        (EXACT, with_flipped_byte(header), Refusal::NotAuthentic),
        (DERIVED, sealed.clone(), Refusal::NotAuthentic),
        (EXACT, sealed.clone(), Refusal::Repeated),
    ];
    if mode == Mode::PublicKey {
        refused.push((EXACT, with_flipped_byte(sealed.len() - 1), Refusal::BadSignature(*client.id())));
        refused.push((EXACT, with_flipped_byte(8), Refusal::UnknownSigner(id_with_flipped_bit(client.id()))));
    }
    for (name, mut message, refusal) in refused {
        let topic = Topic::new(name).unwrap();
        let mut out = [0; ROOM];
        let by_handle = without_allocating(|| client.open_into(&topic, &message, &mut out).map(drop));
        assert_eq!(by_handle, Err(OpenError::Refused(refusal)));
        let by_text = without_allocating(|| client.open_in_place(name, &mut message).map(drop));
        assert_eq!(by_text, Err(OpenError::Refused(refusal)));
    }
}

#[test]
fn a_command_allocates_nothing_with_a_fixed_key_ring() {
    let mut client = client::<Fixed>(Mode::Symmetric, NOW);
    let topic = Topic::new(UNKNOWN).unwrap();
    let key_server = Recipient::symmetric(id(), &client_key());
    let command = Command::set_topic_key(&topic, TopicKey::from_bytes(&[6; 32]).unwrap());
    let control_topic = key_server.control_topic();

    let sealed = without_allocating(|| key_server.seal_dated(&command, Timestamp::from_unix(NOW))).unwrap();
    let mut deliver = || {
        without_allocating(|| {
            client.open_into(control_topic.as_str(), sealed.as_bytes(), &mut []).map(|opened| match opened {
                Opened::Command(applied) => applied,
                Opened::Message(_) => panic!("a command was taken for a message"),
            })
        })
    };
    assert_eq!(deliver(), Ok(AppliedCommand::SetTopicKey(*topic.hash())));
    assert_eq!(deliver(), Err(OpenError::Refused(Refusal::Repeated)));
}

#[test]
fn a_report_allocates_nothing_with_a_fixed_key_ring() {
    let client = client::<Fixed>(Mode::Symmetric, NOW);
    let mut out = [0; ROOM];
    let report = without_allocating(|| client.report_into(&mut out).unwrap());
    let key_server = Recipient::symmetric(id(), &client_key());
    assert_eq!(without_allocating(|| key_server.open_report(report)).unwrap().topics, 2);
}

/// Calls `call`, which must take no memory from the allocator.
#[track_caller]
fn without_allocating<T>(call: impl FnOnce() -> T) -> T {
    let mut result = None;
    let counted = measure(|| result = Some(call()));
    assert_eq!(counted.count_total, 0, "{} bytes were allocated", counted.bytes_total);
    result.unwrap()
}

/// A client that is its own peer, so that it opens what it seals.
fn client<R: KeyRing>(mode: Mode, now: u64) -> Client<R, NoStore, At> {
    let signing_key = SigningKey::from_seed(&[2; 32]).unwrap();
    let verifying_key = signing_key.verifying_key();
    let c2_key = C2SecretKey::from_bytes(&[3; 32]).unwrap().public_key();
    let identity = match mode {
        Mode::Symmetric => Identity::symmetric(id(), client_key()),
        Mode::PublicKey => Identity::public_key(id(), signing_key, c2_key).unwrap(),
    };
    let topic = Topic::new(EXACT).unwrap();
    let subtree = Subtree::new("plant/8/#").unwrap();
    let subtree_key = SubtreeKey::from_bytes(&[5; 32]).unwrap();
    let mut builder = ClientBuilder::new(identity)
        .topic_key(topic.hash(), TopicKey::from_bytes(&[4; 32]).unwrap())
        .unwrap()
        .topic_key(subtree.hash(), subtree_key.to_topic_key())
        .unwrap();
    if mode == Mode::PublicKey {
        builder = builder.peer(id(), verifying_key).unwrap();
    }
    builder.create_with(NoStore, At(now)).unwrap()
}

fn id() -> ClientId {
    ClientId::from_name("pump-7").unwrap()
}

fn id_with_flipped_bit(id: &ClientId) -> ClientId {
    let mut bytes = *id.as_bytes();
    bytes[0] ^= 1;
    ClientId::from_bytes(bytes)
}

fn client_key() -> ClientKey {
    ClientKey::from_bytes(&[1; 32]).unwrap()
}

/// Takes every state and keeps none.
struct NoStore;

impl Store for NoStore {
    fn load(&mut self, _: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        Err(StoreError::Empty)
    }

    fn save(&mut self, state: &Snapshot<'_>) -> Result<(), StoreError> {
        state.write_to(&mut |_| Ok(()))
    }
}

/// A clock that stands still.
struct At(u64);

impl Clock for At {
    fn read(&self) -> ClockReading {
        ClockReading::Time(Timestamp::from_unix(self.0))
    }
}

//! Together, and against generators and databases that somebody else owns.

use super::*;
use std::collections::HashSet;

/// A generator that counts, so that a test knows what comes.
struct Counting(std::sync::atomic::AtomicU8);

impl Counting {
    fn boxed(from: u8) -> Box<dyn Chance> {
        Box::new(Self(from.into()))
    }
}

impl Chance for Counting {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), VaultError> {
        bytes.fill(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        Ok(())
    }

    fn moment(&self) -> [u8; 16] {
        [0; 16]
    }
}

/// A generator that is broken, on a machine whose clock stands still.
struct Constant;

impl Chance for Constant {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), VaultError> {
        bytes.fill(0x55);
        Ok(())
    }

    fn moment(&self) -> [u8; 16] {
        [0; 16]
    }
}

fn vault() -> Vault {
    Vault::create(Counting::boxed(1), b"").unwrap()
}

fn key_file(byte: u8) -> Unlock {
    Unlock::KeyFile(Zeroizing::new([byte; 32]))
}

fn passphrase(text: &str) -> Unlock {
    Unlock::Passphrase(Zeroizing::new(text.to_owned()))
}

fn open(slot: &Slot, unlock: &Unlock, stored: &Stored) -> Result<Vault, VaultError> {
    Vault::open(std::slice::from_ref(slot), None, unlock, stored, Counting::boxed(100))
}

#[test]
fn what_is_sealed_opens_in_its_place_and_in_no_other() {
    let vault = vault();
    let places = [
        Place::device_key(b"a", 1),
        Place::device_key(b"a", 2),
        Place::device_key(b"b", 1),
        Place::device_key(b"", 1),
        Place::next_device_key(b"a", 1),
        Place::topic_key(1, 1),
        Place::topic_key(2, 1),
        Place::topic_key(1, 2),
        Place::server_key(1),
        Place::server_key(2),
        Place::invitation(b"a"),
        // The bytes of a row and of a version do not run into each other.
        Place::device_key(b"a\0", 1),
        Place::device_key(&[0, 0, 0, 0, 0, 0, 0, 1], 1),
    ];
    for (at, place) in places.iter().enumerate() {
        let sealed = vault.seal(*place, &[7; 32]).unwrap();
        for (other_at, other) in places.iter().enumerate() {
            match vault.open_key(*other, &sealed) {
                Ok(key) => assert!(at == other_at && *key == [7; 32], "{place} opened as {other}"),
                Err(error) => {
                    assert_ne!(at, other_at, "{place}");
                    assert_eq!(error, VaultError::NotAuthentic { place: other.to_string() });
                }
            }
        }
    }
}

#[test]
fn each_byte_of_what_is_sealed_counts() {
    let vault = vault();
    let place = Place::topic_key(1, 1);
    let sealed = vault.seal(place, &[7; 32]).unwrap();
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(vault.open_sealed(place, &changed).is_err(), "byte {at}");
        assert!(vault.open_sealed(place, &sealed[..at]).is_err(), "{at} bytes of it");
    }
    assert!(!sealed.windows(8).any(|part| part == [7; 8]));
}

#[test]
fn slots_of_each_kind_open_with_what_made_them() {
    let vault = vault();
    let stored = vault.stored().unwrap();
    let sealed = vault.seal(Place::server_key(1), &[7; 32]).unwrap();
    for (right, wrong) in [
        (passphrase("correct horse battery"), passphrase("correct horse batterz")),
        (key_file(1), key_file(2)),
        (Unlock::Environment(Zeroizing::new([1; 32])), Unlock::Environment(Zeroizing::new([2; 32]))),
    ] {
        let slot = vault.new_slot("one", &right, Work::LEAST, 0).unwrap();
        let opened = open(&slot, &right, &stored).unwrap();
        assert_eq!(*opened.open_key(Place::server_key(1), &sealed).unwrap(), [7; 32]);
        assert_eq!(opened.fingerprint(&[9; 32]), vault.fingerprint(&[9; 32]));
        assert_eq!(open(&slot, &wrong, &stored).unwrap_err(), VaultError::WrongKey { slot: "one".to_owned() });
    }
    // The same bytes from another kind of source are another key.
    let slot = vault.new_slot("one", &key_file(1), Work::LEAST, 0).unwrap();
    assert!(matches!(
        open(&slot, &Unlock::Environment(Zeroizing::new([1; 32])), &stored),
        Err(VaultError::NoSlot { .. })
    ));
}

#[test]
fn a_slot_that_was_changed_does_not_open() {
    let vault = vault();
    let stored = vault.stored().unwrap();
    let unlock = passphrase("correct horse battery");
    let slot = vault.new_slot("one", &unlock, Work::LEAST, 0).unwrap();
    let salt_at = slot.parameters.find("salt").unwrap() + 7;
    let mut other_salt = slot.parameters.clone();
    let digit = if other_salt.as_bytes()[salt_at] == b'0' { "1" } else { "0" };
    other_salt.replace_range(salt_at..=salt_at, digit);
    let mut flipped = slot.wrapped.clone();
    flipped[0] ^= 1;
    for changed in [
        Slot { name: "two".to_owned(), ..slot.clone() },
        Slot { parameters: other_salt, ..slot.clone() },
        Slot { parameters: slot.parameters.replace("\"passes\":2", "\"passes\":3"), ..slot.clone() },
        Slot { wrapped: flipped, ..slot.clone() },
    ] {
        assert!(matches!(open(&changed, &unlock, &stored), Err(VaultError::WrongKey { .. })), "{changed:?}");
    }
    let other = Vault::create(Counting::boxed(50), b"").unwrap().stored().unwrap();
    assert!(open(&slot, &unlock, &other).is_err());
    let by_file = vault.new_slot("two", &key_file(1), Work::LEAST, 0).unwrap();
    let changed = Slot { parameters: "{ }".to_owned(), ..by_file };
    assert!(matches!(open(&changed, &key_file(1), &stored), Err(VaultError::WrongKey { .. })));
}

#[test]
fn too_little_and_absurd_work_is_refused_before_any_is_done() {
    let vault = vault();
    let stored = vault.stored().unwrap();
    let unlock = passphrase("correct horse battery");
    let slot = vault.new_slot("one", &unlock, Work::LEAST, 0).unwrap();
    assert!(slot.parameters.contains("\"memory\":19456"));
    for (from, to) in [
        ("\"memory\":19456", "\"memory\":8"),
        ("\"memory\":19456", "\"memory\":4294967295"),
        ("\"passes\":2", "\"passes\":1"),
        ("\"passes\":2", "\"passes\":4294967295"),
        ("argon2id", "argon2d"),
        ("}", ",\"secret\":\"\"}"),
    ] {
        let changed = Slot { parameters: slot.parameters.replace(from, to), ..slot.clone() };
        assert!(matches!(open(&changed, &unlock, &stored), Err(VaultError::BadSlot { .. })), "{to}");
    }
    let weak = Work { memory: Work::LEAST.memory - 1, passes: 2 };
    assert!(matches!(vault.new_slot("one", &unlock, weak, 0), Err(VaultError::BadSlot { .. })));
    assert!(matches!(
        vault.new_slot("one", &passphrase("elevenchars"), Work::LEAST, 0),
        Err(VaultError::BadSlot { .. })
    ));
}

#[test]
fn a_generator_of_constants_makes_keys_that_differ_and_that_another_vault_does_not_make() {
    let with_secret = |secret: u8| {
        let stored = Vault::create(Counting::boxed(secret), b"").unwrap();
        let slot = stored.new_slot("one", &key_file(1), Work::LEAST, 0).unwrap();
        Vault::open(&[slot], None, &key_file(1), &stored.stored().unwrap(), Box::new(Constant)).unwrap()
    };
    let (one, other) = (with_secret(1), with_secret(2));
    let mut keys = HashSet::new();
    for vault in [&one, &other] {
        for _ in 0..100 {
            assert!(keys.insert(*vault.new_key().unwrap()));
        }
    }
    assert!(!keys.contains(&[0x55; 32]));
}

#[test]
fn generators_go_on_and_each_is_another_one() {
    use rand_core::Rng;
    let vault = vault();
    let (mut one, mut other) = (vault.generator().unwrap(), vault.generator().unwrap());
    let drawn: HashSet<u64> = (0..50).flat_map(|_| [one.next_u64(), other.next_u64()]).collect();
    assert_eq!(drawn.len(), 100);
    let mut long = [0; 100];
    one.fill_bytes(&mut long);
    assert_eq!(long.chunks(4).collect::<HashSet<_>>().len(), 25);
}

#[test]
fn what_is_at_hand_besides_makes_other_first_keys() {
    let root = |besides: &[u8]| Vault::create(Box::new(Constant), besides).unwrap().root_fingerprint();
    assert_eq!(root(b"a"), root(b"a"));
    assert_ne!(root(b"a"), root(b"b"));
}

#[test]
fn a_new_root_key_opens_what_the_one_before_sealed_until_that_is_forgotten() {
    let old = vault();
    let place = Place::topic_key(1, 1);
    let sealed = old.seal(place, &[7; 32]).unwrap();
    let (old_root, fingerprint, checkpoint_key) =
        (old.root_fingerprint(), old.fingerprint(&[7; 32]), old.checkpoint_key());
    let old_slot = old.new_slot("one", &key_file(1), Work::LEAST, 0).unwrap();

    let new = old.with_new_root().unwrap();
    assert_ne!(new.root_fingerprint(), old_root);
    assert!(open(&old_slot, &key_file(1), &new.stored().unwrap()).is_err());

    // Interrupted: it is opened from what was stored, and the row is still there.
    let slot = new.new_slot("one", &key_file(1), Work::LEAST, 0).unwrap();
    let mut again = open(&slot, &key_file(1), &new.stored().unwrap()).unwrap();
    assert!(again.has_previous());
    let resealed = again.reseal(place, &sealed).unwrap().expect("it was under the key before");
    assert_eq!(again.reseal(place, &resealed).unwrap(), None);
    assert!(again.reseal(Place::topic_key(1, 2), &sealed).is_err());
    assert!(again.reseal(Place::topic_key(1, 2), &resealed).is_err());

    again.forget_previous();
    assert_eq!(*again.open_key(place, &resealed).unwrap(), [7; 32]);
    assert_eq!(again.open_key(place, &sealed).unwrap_err(), VaultError::UnknownRoot { place: place.to_string() });
    assert_eq!((again.fingerprint(&[7; 32]), again.checkpoint_key()), (fingerprint, checkpoint_key));
    assert_eq!(again.stored().unwrap().previous_root, None);
}

#[test]
fn fingerprints_tell_keys_apart_and_differ_from_vault_to_vault() {
    let (one, other) = (vault(), Vault::create(Counting::boxed(50), b"").unwrap());
    assert_eq!(one.fingerprint(&[1; 32]), one.fingerprint(&[1; 32]));
    assert_ne!(one.fingerprint(&[1; 32]), one.fingerprint(&[2; 32]));
    assert_ne!(one.fingerprint(&[1; 32]), other.fingerprint(&[1; 32]));
}

const ENTRY: Entry<'_> =
    Entry { id: 1, at: 2, actor: "ab", origin: "c", action: "rotate", subject: "plant/7", detail: "{}" };

#[test]
fn each_field_of_an_entry_and_its_place_in_the_chain_count() {
    let vault = vault();
    let mut macs = HashSet::new();
    let mut digests = HashSet::new();
    for entry in [
        ENTRY,
        Entry { id: 2, ..ENTRY },
        Entry { at: 3, ..ENTRY },
        Entry { actor: "a", origin: "bc", ..ENTRY },
        Entry { actor: "abc", origin: "", ..ENTRY },
        Entry { action: "rotat", ..ENTRY },
        Entry { subject: "plant/8", ..ENTRY },
        Entry { detail: "", ..ENTRY },
    ] {
        for previous in [CHAIN_BEGINS, [1; 32]] {
            let mac = vault.audit_mac(&previous, &entry);
            assert_eq!(mac, vault.audit_mac(&previous, &entry));
            assert!(macs.insert(mac));
            assert!(digests.insert(digest(&previous, &entry, &[0; 32])));
            assert!(digests.insert(digest(&previous, &entry, &[1; 32])));
        }
    }
    let other = Vault::create(Counting::boxed(50), b"").unwrap();
    assert_ne!(vault.audit_mac(&CHAIN_BEGINS, &ENTRY), other.audit_mac(&CHAIN_BEGINS, &ENTRY));
}

#[test]
fn a_checkpoint_is_verified_with_the_public_key_alone() {
    let vault = vault();
    let checkpoint = Checkpoint { audit: 5, at: 6, digest: [7; 32] };
    let signature = vault.sign_checkpoint(&checkpoint);
    let public_key = vault.stored().unwrap().checkpoint_key;
    assert!(checkpoint.is_signed_by(&public_key, &signature));
    for changed in [
        Checkpoint { audit: 4, ..checkpoint },
        Checkpoint { at: 5, ..checkpoint },
        Checkpoint { digest: [8; 32], ..checkpoint },
    ] {
        assert!(!changed.is_signed_by(&public_key, &signature));
    }
    let other = Vault::create(Counting::boxed(50), b"").unwrap();
    assert!(!checkpoint.is_signed_by(&other.checkpoint_key(), &signature));
    assert!(!checkpoint.is_signed_by(&public_key, &signature[..63]));
}

#[test]
fn keys_in_files_are_raw_hexadecimal_or_base64() {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let key: [u8; 32] = std::array::from_fn(|at| u8::try_from(at).unwrap());
    let (hex, base64) = (hex::encode(key), BASE64_STANDARD.encode(key));
    for text in
        [key.to_vec(), hex.clone().into_bytes(), format!("{hex}\n").into_bytes(), format!(" {base64}\r\n").into_bytes()]
    {
        assert_eq!(*read_key(&text).unwrap(), key);
    }
    for text in [
        "",
        "00",
        hex.trim_start_matches("00"),
        base64.trim_end_matches('='),
        &format!("{hex}00"),
        &"0".repeat(64),
        "\0".repeat(32).as_str(),
    ] {
        assert_eq!(read_key(text.as_bytes()).unwrap_err(), VaultError::NotAKey, "{text:?}");
    }
}

#[test]
fn nothing_secret_is_printed() {
    let vault = vault();
    let shown = format!("{vault:?} {:?} {:?}", key_file(0xAB), vault.generator().unwrap());
    assert!(!shown.contains(&hex::encode(vault.root.secret().as_bytes())));
    assert!(!shown.contains("abab") && !shown.contains("171"));
}

//! Keys: those that protect nothing are refused wherever they come from.

use crate::{
    TOPIC,
    common::{Device, NOW, Party, TestClock, TestStore, bytes, c2_key, signing_key, topic_key},
    refused,
};
use e4::{
    C2PublicKey, C2SecretKey, ClientId, ClientKey, Command, CommandError, Identity, KeyError, NameError, OpenError,
    Refusal, SigningKey, StorageKey, TopicHash, TopicKey, VerifyingKey, controller::Recipient,
};

/// The points of small order of Curve25519 (RFC 7748): 0, 1, the two of order 8, p - 1, and p and p + 1, which are 0
/// and 1 again.
const SMALL_ORDER_X25519: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/// The points of small order of Ed25519, by their order: 4, 4, 1, 2, 8, 8, 8, 8.
const SMALL_ORDER_ED25519: [&str; 8] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
];

/// The same points in encodings that RFC 8032 forbids.
const NON_CANONICAL_ED25519: [&str; 6] = [
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

/// Strings that are no point: there is no x for y = 2 and y = 7, nor for p + 2, which is 2 again. There is one for p + 3
/// and p + 18, but RFC 8032 forbids to write 3 and 18 so.
const NO_POINT: [&str; 5] = [
    "0200000000000000000000000000000000000000000000000000000000000000",
    "0700000000000000000000000000000000000000000000000000000000000000",
    "efffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

fn unhex(text: &str) -> [u8; 32] {
    hex::decode(text).unwrap().try_into().unwrap()
}

fn bad_key<T>(error: KeyError) -> Result<T, OpenError> {
    refused(Refusal::Command(CommandError::Key(error)))
}

#[test]
fn g5_a_low_order_c2_key_is_refused_and_leaves_the_old_one_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let store = TestStore::file(&folder.path().join("state"));
    let mut device: Device = Device::create(Party::public_key("pump"), store, &TestClock::time(NOW));
    for point in SMALL_ORDER_X25519 {
        let body = [&[0x07][..], &unhex(point)].concat();
        let result = device.unchanged_by(|device| device.raw_command(&body));
        assert_eq!(result, bad_key(KeyError::SmallOrder), "{point}");
    }
    // Commands still come under the old key, also after a restart.
    let mut device = device.restart();
    assert_eq!(device.client.c2_key(), Some(&c2_key("c2").public_key()));
    device.command(&Command::ResetTopics).unwrap();
}

#[test]
fn g9_g10_l13_a_public_key_of_small_order_is_refused_when_it_arrives() {
    let mut device = Device::public_key("pump");
    let peer = ClientId::from_name("peer").unwrap();
    for point in SMALL_ORDER_ED25519 {
        assert_eq!(VerifyingKey::from_bytes(&unhex(point)), Err(KeyError::SmallOrder), "{point}");
    }
    for point in SMALL_ORDER_ED25519.into_iter().chain(NON_CANONICAL_ED25519) {
        let error = VerifyingKey::from_bytes(&unhex(point)).unwrap_err();
        let body = [&[0x06][..], &unhex(point), peer.as_bytes()].concat();
        let result = device.unchanged_by(|device| device.raw_command(&body));
        assert_eq!(result, bad_key(error), "{point}");
    }
}

/// No key of that kind is held, and with one that is, no signature verifies that is made of such points.
#[test]
fn g9_g10_l13_what_is_made_of_points_of_small_order_verifies_nothing() {
    let sender = Device::public_key("sender").knowing(TOPIC, &topic_key("topic"));
    let id = *sender.client.id();
    let message = sender.client.seal(TOPIC, b"open the valve").unwrap();
    let mut stranger = Device::public_key("receiver").knowing(TOPIC, &topic_key("topic"));
    let mut receiver = Device::public_key("receiver").knowing(TOPIC, &topic_key("topic")).trusting(&sender);
    let points = || SMALL_ORDER_ED25519.into_iter().chain(NON_CANONICAL_ED25519).map(unhex);
    let scalars = [[0; 32], [1; 32], bytes("a scalar").map(|byte| byte & 0x0f)];
    for key in points() {
        stranger.raw_command(&[&[0x06][..], &key, id.as_bytes()].concat()).unwrap_err();
    }
    for (r, s) in points().flat_map(|r| scalars.map(|s| (r, s))) {
        let mut forged = message.clone();
        forged.last_chunk_mut::<64>().unwrap().copy_from_slice(&[r, s].concat());
        assert_eq!(stranger.open(TOPIC, &forged), refused(Refusal::UnknownSigner(id)));
        assert_eq!(receiver.open(TOPIC, &forged), refused(Refusal::BadSignature(id)));
    }
    receiver.open(TOPIC, &message).unwrap();
}

#[test]
fn g14_ids_are_16_bytes() {
    for len in (0..=40).filter(|len| *len != 32) {
        let digits = "a".repeat(len);
        assert_eq!(digits.parse::<ClientId>(), Err(NameError::NotHexadecimal), "{len}");
        assert_eq!(digits.parse::<TopicHash>(), Err(NameError::NotHexadecimal), "{len}");
    }
    assert_eq!("a".repeat(32).parse::<ClientId>(), Ok(ClientId::from_bytes([0xaa; 16])));

    let mut device = Device::public_key("pump");
    for len in (0..=32).filter(|len| *len != 16) {
        let remove = [&[0x04][..], &vec![0x11; len]].concat();
        let set = [&[0x06][..], signing_key("peer").verifying_key().as_bytes(), &vec![0x11; len]].concat();
        for body in [remove, set] {
            let result = device.unchanged_by(|device| device.raw_command(&body));
            assert_eq!(result, refused(Refusal::Command(CommandError::WrongLength)), "{len}");
        }
    }
}

/// Keys come in whole. Whatever makes one from a password, with a salt, stands outside of this crate.
#[test]
fn g15_the_core_makes_no_key_from_a_password() {
    let manifest = include_str!("../../Cargo.toml");
    let section = manifest.split("\n[").find_map(|section| section.strip_prefix("dependencies]")).unwrap();
    let dependencies: Vec<_> = section
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split_once('=').map(|(name, _)| name.trim().to_lowercase()))
        .collect();
    assert!(dependencies.iter().any(|name| name == "aes-siv"), "the section was not found: {dependencies:?}");
    for hash in ["argon2", "bcrypt", "scrypt", "pbkdf2", "balloon", "yescrypt", "password"] {
        assert!(dependencies.iter().all(|name| !name.contains(hash)), "{hash} in {dependencies:?}");
    }
}

#[test]
fn g17_c4_a_string_that_is_no_curve_point_is_refused() {
    let mut device = Device::public_key("pump");
    for string in NO_POINT {
        assert_eq!(VerifyingKey::from_bytes(&unhex(string)), Err(KeyError::NotAPoint), "{string}");
        let body = [&[0x06][..], &unhex(string), &[0x11; 16]].concat();
        let result = device.unchanged_by(|device| device.raw_command(&body));
        assert_eq!(result, bad_key(KeyError::NotAPoint), "{string}");
    }
}

#[test]
fn l10_set_id_key_replaces_both_halves_of_the_key_pair() {
    let mut device = Device::public_key("pump").knowing(TOPIC, &topic_key("topic"));
    let (old, new) = (device.client.verifying_key().unwrap(), signing_key("new"));
    device.command(&Command::SetSigningKey(new.clone())).unwrap();
    signs_with(&device, &new.verifying_key(), &old);
    let mut device = device.restart();
    signs_with(&device, &new.verifying_key(), &old);
    // Commands come under the control key of the new pair.
    assert_eq!(device.command(&Command::ResetTopics), refused(Refusal::NotAuthentic));
    device.recipient = Party::with_keys("pump", new, &c2_key("c2")).recipient;
    device.command(&Command::ResetTopics).unwrap();
}

fn signs_with(device: &Device, key: &VerifyingKey, and_not: &VerifyingKey) {
    let message = device.client.seal(TOPIC, b"4.2 bar").unwrap();
    let (signed, signature) = message.split_last_chunk::<64>().unwrap();
    let verifies = |key: &VerifyingKey| {
        let key = ed25519_dalek::VerifyingKey::from_bytes(key.as_bytes()).unwrap();
        key.verify_strict(signed, &ed25519_dalek::Signature::from_bytes(signature)).is_ok()
    };
    assert_eq!(device.client.verifying_key().as_ref(), Some(key));
    assert!(verifies(key) && !verifies(and_not));
}

#[test]
fn l10_a_public_half_that_does_not_belong_to_its_seed_is_refused() {
    let mut device = Device::public_key("pump");
    let (seed, other) = (signing_key("new"), signing_key("other").verifying_key());
    let body = [&[0x02][..], seed.as_seed(), other.as_bytes()].concat();
    let result = device.unchanged_by(|device| device.raw_command(&body));
    assert_eq!(result, bad_key(KeyError::MismatchedPair));
    let pair = [&[0x02][..], seed.as_seed(), seed.verifying_key().as_bytes()].concat();
    device.raw_command(&pair).unwrap();
}

#[test]
fn l14_no_c2_key_makes_an_all_zero_secret() {
    let any_secret = bytes("any secret");
    for point in SMALL_ORDER_X25519 {
        // X25519 ignores the highest bit.
        let mut high_bit = unhex(point);
        high_bit[31] |= 0x80;
        for point_bytes in [unhex(point), high_bit] {
            assert_eq!(x25519_dalek::x25519(any_secret, point_bytes), [0; 32], "{point} is of small order");
            assert_eq!(C2PublicKey::from_bytes(&point_bytes), Err(KeyError::SmallOrder), "{point}");
        }
    }
    // Good ones are taken, and both ends agree.
    let (c2, signing) = (c2_key("c2"), signing_key("pump"));
    let public = C2PublicKey::from_bytes(c2.public_key().as_bytes()).unwrap();
    let id = ClientId::from_name("pump").unwrap();
    assert!(Identity::public_key(id, signing.clone(), public).is_ok());
    assert!(Recipient::public_key(id, &c2, &signing.verifying_key()).is_ok());
}

#[test]
fn l14_all_zero_keys_of_every_kind_are_refused() {
    let zero = [0; 32];
    assert_eq!(TopicKey::from_bytes(&zero).err(), Some(KeyError::AllZero));
    assert_eq!(ClientKey::from_bytes(&zero).err(), Some(KeyError::AllZero));
    assert_eq!(C2SecretKey::from_bytes(&zero).err(), Some(KeyError::AllZero));
    assert_eq!(StorageKey::from_bytes(&zero).err(), Some(KeyError::AllZero));
    assert_eq!(SigningKey::from_seed(&zero).err(), Some(KeyError::AllZero));

    let mut device = Device::symmetric("pump");
    let id_key = [&[0x02][..], &zero].concat();
    let topic_key = [&[0x03][..], &zero, &[0x11; 16]].concat();
    for body in [id_key, topic_key] {
        let result = device.unchanged_by(|device| device.raw_command(&body));
        assert_eq!(result, bad_key(KeyError::AllZero));
    }
}

#[test]
fn l18_a_key_of_64_bytes_is_not_cut_to_32() {
    let pair = signing_key("new");
    let of_64_bytes = [&[0x02][..], pair.as_seed(), pair.verifying_key().as_bytes()].concat();
    let of_32_bytes = [&[0x02][..], &bytes("new")].concat();
    let wrong_mode = refused(Refusal::Command(CommandError::WrongMode));

    let mut symmetric = Device::symmetric("pump");
    assert_eq!(symmetric.unchanged_by(|device| device.raw_command(&of_64_bytes)), wrong_mode);
    symmetric.raw_command(&of_32_bytes).unwrap();

    let mut signing = Device::public_key("pump");
    assert_eq!(signing.unchanged_by(|device| device.raw_command(&of_32_bytes)), wrong_mode);
    signing.raw_command(&of_64_bytes).unwrap();
}

//! Everything that e4go computed, every key of the topic tree and every report come out the same here. `README.md` says
//! what there is.
#![cfg(feature = "alloc")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    unreachable_pub,
    reason = "a test fails by panicking"
)]

mod commands;
mod derivation;
mod format;
mod messages;
mod new_commands;
mod reports;
mod saved_state;
#[path = "../common/stored.rs"]
mod stored;

use e4::{
    AppliedCommand, C2PublicKey, C2SecretKey, Client, ClientBuilder, ClientId, ClientKey, Clock, ClockReading, Command,
    FixedKeyRing, GrowableKeyRing, Identity, KeyRing, KeyRole, MemoryStore, OpenError, Opened, SigningKey, Subtree,
    Timestamp, Topic, TopicHash, TopicKey, VerifyingKey, controller::Recipient,
};
use format::{Key, KeyConversion, Short, e4go};
use sha3::{Digest, Sha3_256};

/// A topic for those vectors in which none is named: it is not part of a sealed message.
const TOPIC: &str = "plant/7/pump";

/// Room for all that a test puts into a client without an allocator.
type Fixed = FixedKeyRing<4, 4, 8>;

type TestClient<R = GrowableKeyRing> = Client<R, MemoryStore, At>;

/// A clock that stands still.
struct At(u64);

impl Clock for At {
    fn read(&self) -> ClockReading {
        ClockReading::Time(Timestamp::from_unix(self.0))
    }
}

#[test]
fn topic_hashes_are_those_of_e4go() {
    let cases = e4go().topic_hash;
    assert!(!cases.is_empty());
    for case in cases {
        let hash = topic_hash(&case.topic);
        assert_eq!(Short(*hash.as_bytes()), case.hash, "{}", case.topic);
        assert_eq!(Short(*transition_hash(&hash).as_bytes()), case.transition_hash, "{}", case.topic);
    }
}

#[test]
fn client_ids_and_control_topics_are_those_of_e4go() {
    let cases = e4go().client_id;
    assert!(!cases.is_empty());
    for case in cases {
        let id = ClientId::from_name(&case.name).unwrap();
        assert_eq!(Short(*id.as_bytes()), case.id, "{}", case.name);
        assert_eq!(id.control_topic().as_str(), case.control_topic, "{}", case.name);
        assert_eq!(case.control_topic, format!("e4/{id}"), "{}", case.name);
    }
}

#[test]
fn ed25519_keys_turn_into_the_x25519_keys_of_e4go() {
    let cases = e4go().key_conversion;
    assert!(!cases.is_empty());
    for (at, case) in cases.iter().enumerate() {
        let name = format!("key_conversion[{at}]");
        // The conversions that the crate builds on.
        let dalek = ed25519_dalek::SigningKey::from_bytes(&case.ed25519_seed.0);
        assert_eq!(Key(dalek.verifying_key().to_bytes()), case.ed25519_public, "{name}");
        assert_eq!(Key(dalek.verifying_key().to_montgomery().to_bytes()), case.x25519_public, "{name}");
        assert_eq!(Key(clamped(dalek.to_scalar_bytes())), case.x25519_secret, "{name}");
        // The X25519 pair is one.
        let secret = C2SecretKey::from_bytes(&case.x25519_secret.0).unwrap();
        assert_eq!(Key(*secret.public_key().as_bytes()), case.x25519_public, "{name}");

        // What the crate makes of the Ed25519 keys shows in the control key: here it agrees with the X25519 pair of the
        // next case, from both ends.
        let c2 = &cases[(at + 1) % cases.len()];
        check_agreement(case, c2, &name);
    }
}

/// The client has the Ed25519 pair of its case, the key server the X25519 pair of the other.
fn check_agreement(client: &KeyConversion, c2: &KeyConversion, name: &str) {
    let shared = x25519_dalek::x25519(client.x25519_secret.0, c2.x25519_public.0);
    assert_eq!(shared, x25519_dalek::x25519(c2.x25519_secret.0, client.x25519_public.0), "{name}");
    let control_key: [u8; 32] = Sha3_256::digest(shared).into();

    let id = ClientId::from_name(name).unwrap();
    let c2_secret = C2SecretKey::from_bytes(&c2.x25519_secret.0).unwrap();
    let signing = SigningKey::from_seed_and_public(&client.ed25519_seed.0, &client.ed25519_public.0).unwrap();
    let to_client = Recipient::public_key(id, &c2_secret, &signing.verifying_key()).unwrap();
    let sealed = seal_under_control_key(&to_client, &control_key, name);

    let c2_public = C2PublicKey::from_bytes(&c2.x25519_public.0).unwrap();
    let identity = Identity::public_key(id, signing, c2_public).unwrap();
    let mut client = create(builder::<Fixed>(&identity), 1_800_000_000);
    let opened = client.open(id.control_topic().as_str(), &sealed);
    assert_eq!(opened, Ok(Opened::Command(AppliedCommand::ResetTopics)), "{name}");
}

/// Shows that commands for a client are sealed under this control key, and returns one of them.
fn seal_under_control_key(to_client: &Recipient, control_key: &[u8; 32], name: &str) -> Vec<u8> {
    // A sealed command does not say for which mode it is.
    let same_key = Recipient::symmetric(*to_client.id(), &ClientKey::from_bytes(control_key).unwrap());
    let sent = Timestamp::from_unix(1_800_000_000);
    let sealed = to_client.seal_dated(&Command::ResetTopics, sent).unwrap();
    assert_eq!(sealed, same_key.seal_dated(&Command::ResetTopics, sent).unwrap(), "{name}");
    sealed.as_bytes().to_vec()
}

/// The hash of a topic, or of a filter.
fn topic_hash(text: &str) -> TopicHash {
    match Subtree::new(text) {
        Ok(subtree) => *subtree.hash(),
        Err(_) => *Topic::new(text).unwrap().hash(),
    }
}

/// Under what e4go files the previous key of a topic: the hash is hashed as if it were a topic.
fn transition_hash(hash: &TopicHash) -> TopicHash {
    let full = Sha3_256::digest(hash.as_bytes());
    TopicHash::from_bytes(full[..16].try_into().unwrap())
}

/// As RFC 7748 prepares a secret.
fn clamped(mut scalar: [u8; 32]) -> [u8; 32] {
    scalar[0] &= 248;
    scalar[31] = scalar[31] & 127 | 64;
    scalar
}

fn client_id(name: &str) -> ClientId {
    ClientId::from_name(name).unwrap()
}

fn topic_key(key: &Key) -> TopicKey {
    TopicKey::from_bytes(&key.0).unwrap()
}

fn verifying_key(key: &Key) -> VerifyingKey {
    VerifyingKey::from_bytes(&key.0).unwrap()
}

/// A symmetric client of which only the topic keys matter.
fn symmetric(name: &str) -> Identity {
    Identity::symmetric(client_id(name), ClientKey::from_bytes(&[1; 32]).unwrap())
}

/// A public-key client with the pair of this seed.
fn public_key(id: ClientId, seed: &[u8; 32]) -> Identity {
    let c2 = C2SecretKey::from_bytes(&[0xc2; 32]).unwrap();
    Identity::public_key(id, SigningKey::from_seed(seed).unwrap(), c2.public_key()).unwrap()
}

fn builder<R: KeyRing>(identity: &Identity) -> ClientBuilder<R> {
    ClientBuilder::new(identity.clone()).first_start()
}

fn create<R: KeyRing>(builder: ClientBuilder<R>, now: u64) -> TestClient<R> {
    builder.create_with(MemoryStore::new(), At(now)).unwrap()
}

/// What a client got, whichever way it was opened.
#[derive(Debug, PartialEq)]
enum Received {
    Message { payload: Vec<u8>, sent: u64, age: Option<u64>, signer: Option<ClientId>, previous_key: bool },
    Command(AppliedCommand),
}

impl<P: AsRef<[u8]>> From<Opened<P>> for Received {
    fn from(opened: Opened<P>) -> Self {
        match opened {
            Opened::Command(command) => Self::Command(command),
            Opened::Message(message) => Self::Message {
                payload: message.payload.as_ref().to_vec(),
                sent: message.sent.as_unix(),
                age: message.age,
                signer: message.signer,
                previous_key: message.key == KeyRole::Previous,
            },
        }
    }
}

/// Where what is sealed or opened goes.
#[derive(Clone, Copy, Debug)]
enum Level {
    Vec,
    Into,
    InPlace,
}

impl Level {
    const ALL: [Self; 3] = [Self::Vec, Self::Into, Self::InPlace];

    fn seal<R: KeyRing>(self, client: &TestClient<R>, topic: &str, payload: &[u8]) -> Vec<u8> {
        let (mode, sealed_len) = (client.mode(), payload.len() + client.mode().overhead());
        match self {
            Self::Vec => client.seal(topic, payload).unwrap(),
            Self::Into => {
                let mut out = vec![0xaa; sealed_len + 3];
                let sealed = client.seal_into(topic, payload, &mut out).unwrap().to_vec();
                assert_eq!(out[..sealed_len], sealed);
                assert_eq!(out[sealed_len..], [0xaa; 3], "nothing is written behind the message");
                sealed
            }
            Self::InPlace => {
                let mut message = vec![0xaa; sealed_len];
                message[mode.header_len()..][..payload.len()].copy_from_slice(payload);
                client.seal_in_place(topic, &mut message).unwrap();
                message
            }
        }
    }

    fn open<R: KeyRing>(self, client: &mut TestClient<R>, topic: &str, message: &[u8]) -> Result<Received, OpenError> {
        match self {
            Self::Vec => client.open(topic, message).map(Received::from),
            Self::Into => {
                let mut out = vec![0xaa; message.len().saturating_sub(client.mode().overhead())];
                client.open_into(topic, message, &mut out).map(Received::from)
            }
            Self::InPlace => client.open_in_place(topic, &mut message.to_vec()).map(Received::from),
        }
    }
}

//! A client of e4go goes on as a client of this crate: same id, same keys, same peers.

use crate::{
    At, Level, Received, TestClient, builder, client_id, create,
    format::{Base64, Key, KeyData, SavedState, StateFile, e4go},
    public_key, symmetric, topic_hash, topic_key, transition_hash, verifying_key,
};
use e4::{
    AppliedCommand, C2PublicKey, Client, ClientBuilder, ClientId, ClientKey, Command, GrowableKeyRing, Identity,
    MemoryStore, OpenError, Refusal, SigningKey, Spare, Timestamp, TopicHash, TopicKey, VerifyingKey,
    controller::Recipient,
};
use std::collections::BTreeMap;

const HOUR: u64 = 3600;
/// Names that are in none of the files.
const CAROL: &str = "carol, whom the test adds";
const MALLORY: &str = "mallory, whom nobody knows";

#[test]
fn saved_states_of_e4go_are_taken_over() {
    let states = e4go().saved_state;
    assert!(!states.is_empty());
    for state in &states {
        let now = state.time();
        let client = take_over(state, now);
        assert_eq!(*client.id(), client_id(&state.name), "{}", state.mode);
        assert_eq!(client.control_topic().as_str(), state.json.receiving_topic, "{}", state.mode);

        let topics: BTreeMap<_, _> = client.topics().map(|(hash, replaced)| (*hash, replaced)).collect();
        let replaced = |topic| {
            let replaced = state.replaced(topic)?;
            assert!(state.previous_topic_keys.contains_key(topic));
            (now - replaced <= HOUR).then_some(Spare::Previous { replaced: Timestamp::from_unix(replaced) })
        };
        let expected = state.topic_keys.keys().map(|topic| (topic_hash(topic), replaced(topic))).collect();
        assert_eq!(topics, expected, "{}", state.mode);

        let peers: BTreeMap<_, _> = client.peers().map(|(id, key)| (*id, *key)).collect();
        let expected = state.public_keys.iter().map(|(name, key)| (client_id(name), verifying_key(key))).collect();
        assert_eq!(peers, expected, "{}", state.mode);

        let signing = state.ed25519_seed.map(|seed| SigningKey::from_seed(&seed.0).unwrap());
        assert_eq!(client.verifying_key(), signing.map(|key| key.verifying_key()));
        assert_eq!(client.c2_key().map(|key| Key(*key.as_bytes())), state.c2_public);
    }
}

#[test]
fn a_client_taken_over_opens_under_its_current_keys() {
    for state in saved_states("symmetric") {
        for (topic, key) in &state.topic_keys {
            let now = state.time();
            let sealed = seal_as(&symmetric("peer"), topic, key, now);
            let opened = Level::Vec.open(&mut take_over(&state, now), topic, &sealed);
            assert_eq!(opened, Ok(message(now, None, false)), "{topic}");
        }
    }
}

#[test]
fn a_client_taken_over_opens_under_its_previous_key_for_the_rest_of_the_hour() {
    for state in saved_states("symmetric") {
        for (topic, key) in &state.previous_topic_keys {
            let replaced = state.replaced(topic).unwrap();
            for (now, expected) in [
                (replaced, Ok(message(replaced, None, true))),
                (replaced + HOUR, Ok(message(replaced + HOUR, None, true))),
                (replaced + HOUR + 1, Err(OpenError::Refused(Refusal::NotAuthentic))),
            ] {
                let sealed = seal_as(&symmetric("peer"), topic, key, now);
                let opened = Level::Vec.open(&mut take_over(&state, now), topic, &sealed);
                assert_eq!(opened, expected, "{topic}, {} s after the change", now - replaced);
            }
        }
    }
}

#[test]
fn a_client_taken_over_follows_its_key_server() {
    for state in saved_states("symmetric") {
        let key = ClientKey::from_bytes(&state.id_key.unwrap().0).unwrap();
        let to_client = Recipient::symmetric(client_id(&state.name), &key);
        let sealed = to_client.seal_dated(&Command::ResetTopics, Timestamp::from_unix(state.time())).unwrap();
        let mut client = take_over(&state, state.time());
        let opened = Level::Vec.open(&mut client, &state.json.receiving_topic, sealed.as_bytes());
        assert_eq!(opened, Ok(Received::Command(AppliedCommand::ResetTopics)));
        assert_eq!(client.topics().count(), 0);
    }
}

#[test]
fn a_public_key_client_taken_over_opens_what_its_peers_sign() {
    for state in saved_states("public_key") {
        let Some((topic, key)) = state.topic_keys.first_key_value() else {
            continue;
        };
        let opened_from = |signer: &str| {
            // The vectors do not have the secrets of peers. So carol becomes a peer too, and whoever signs here does so
            // with her key.
            let sender = public_key(client_id(signer), &[3; 32]);
            let client = to_builder(&state.json).peer(client_id(CAROL), verifying_key_of(&[3; 32])).unwrap();
            let sealed = seal_as(&sender, topic, key, state.time());
            Level::InPlace.open(&mut create(client, state.time()), topic, &sealed)
        };
        assert_eq!(opened_from(CAROL), Ok(message(state.time(), Some(CAROL), false)));
        for peer in state.public_keys.keys() {
            assert_eq!(opened_from(peer), Err(OpenError::Refused(Refusal::BadSignature(client_id(peer)))));
        }
        assert_eq!(opened_from(MALLORY), Err(OpenError::Refused(Refusal::UnknownSigner(client_id(MALLORY)))));
    }
}

#[test]
fn peers_open_what_a_public_key_client_taken_over_signs() {
    for state in saved_states("public_key") {
        let own = verifying_key_of(&state.ed25519_seed.unwrap().0);
        for (topic, key) in &state.topic_keys {
            let carol = builder::<GrowableKeyRing>(&public_key(client_id(CAROL), &[3; 32]))
                .topic_key(&topic_hash(topic), topic_key(key))
                .and_then(|carol| carol.peer(client_id(&state.name), own))
                .unwrap();
            let sealed = take_over(&state, state.time()).seal(topic, b"payload").unwrap();
            let opened = Level::Vec.open(&mut create(carol, state.time()), topic, &sealed);
            assert_eq!(opened, Ok(message(state.time(), Some(&state.name), false)));
        }
    }
}

/// The clients of one mode.
fn saved_states(mode: &str) -> impl Iterator<Item = SavedState> {
    e4go().saved_state.into_iter().filter(move |state| state.mode == mode)
}

impl SavedState {
    /// When the previous key of a topic was replaced, if there is one.
    fn replaced(&self, topic: &str) -> Option<u64> {
        let entry = self.json.topic_keys.get(&transition_hash(&topic_hash(topic)).to_string())?;
        Some(u64::from_le_bytes(split(entry).1))
    }

    /// When the last key was replaced, or any time if there was none.
    fn time(&self) -> u64 {
        self.topic_keys.keys().filter_map(|topic| self.replaced(topic)).max().unwrap_or(1_800_000_000)
    }
}

/// The client as it is after it was taken over, stored and loaded.
fn take_over(state: &SavedState, now: u64) -> TestClient {
    // When it was created is long before anything in it expires.
    let store: MemoryStore = create(to_builder(&state.json), 0).into_store();
    Client::load_with(store, At(now)).unwrap()
}

/// Reads a file of e4go as a tool that takes it over would.
fn to_builder(file: &StateFile) -> ClientBuilder<GrowableKeyRing> {
    let id = ClientId::from_bytes(file.id.to_array());
    let (identity, peers) = match (file.key.key_type, &file.key.key_data) {
        (0, KeyData::Symmetric { key }) => {
            (Identity::symmetric(id, ClientKey::from_bytes(&key.to_array()).unwrap()), &BTreeMap::new())
        }
        (1, KeyData::PublicKey { private_key, signer_id, c2_pub_key, pub_keys }) => {
            assert_eq!(signer_id.to_array(), *id.as_bytes());
            let (seed, public) = split(private_key);
            let signing = SigningKey::from_seed_and_public(&seed, &public).unwrap();
            let c2 = C2PublicKey::from_bytes(&c2_pub_key.to_array()).unwrap();
            (Identity::public_key(id, signing, c2).unwrap(), pub_keys)
        }
        _ => panic!("the type of the key does not go with its data"),
    };
    let mut builder = builder(&identity);
    for (id, key) in peers {
        builder = builder.peer(id.parse().unwrap(), VerifyingKey::from_bytes(&key.to_array()).unwrap()).unwrap();
    }
    put_topics(builder, &file.topic_keys)
}

fn put_topics(
    mut builder: ClientBuilder<GrowableKeyRing>,
    entries: &BTreeMap<String, Base64>,
) -> ClientBuilder<GrowableKeyRing> {
    let (current, mut previous): (Vec<_>, BTreeMap<_, _>) = {
        let (current, previous): (Vec<_>, Vec<_>) = entries.iter().partition(|(_, entry)| entry.0.len() == 32);
        (current, previous.into_iter().collect())
    };
    for (hash, key) in current {
        let hash: TopicHash = hash.parse().unwrap();
        let key = TopicKey::from_bytes(&key.to_array()).unwrap();
        builder = match previous.remove(&transition_hash(&hash).to_string()) {
            None => builder.topic_key(&hash, key).unwrap(),
            Some(entry) => {
                let (previous, replaced) = split(entry);
                let previous = TopicKey::from_bytes(&previous).unwrap();
                let replaced = Timestamp::from_unix(u64::from_le_bytes(replaced));
                builder.topic_key_with_previous(&hash, key, previous, replaced).unwrap()
            }
        };
    }
    assert!(previous.is_empty(), "a previous key belongs to a topic");
    builder
}

/// 32 bytes, and those behind them.
fn split<const N: usize>(bytes: &Base64) -> ([u8; 32], [u8; N]) {
    let (first, rest) = bytes.0.split_first_chunk().unwrap();
    (*first, rest.try_into().unwrap())
}

fn seal_as(identity: &Identity, topic: &str, key: &Key, sent: u64) -> Vec<u8> {
    let sender = builder::<GrowableKeyRing>(identity).topic_key(&topic_hash(topic), topic_key(key)).unwrap();
    create(sender, sent).seal(topic, b"payload").unwrap()
}

fn message(sent: u64, signer: Option<&str>, previous_key: bool) -> Received {
    Received::Message { payload: b"payload".to_vec(), sent, age: Some(0), signer: signer.map(client_id), previous_key }
}

fn verifying_key_of(seed: &[u8; 32]) -> VerifyingKey {
    SigningKey::from_seed(seed).unwrap().verifying_key()
}

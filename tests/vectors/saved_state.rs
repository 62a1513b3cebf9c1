//! A client of e4go goes on as a client of this crate: same id, same keys, same peers.

use crate::{
    At, Level, Received, TestClient, builder, client_id, create,
    format::{Base64, Key, KeyData, SavedState, StateFile, e4go},
    public_key, symmetric, topic_hash, topic_key, transition_hash, verifying_key,
};
use e4::{
    AppliedCommand, C2PublicKey, Client, ClientBuilder, ClientId, ClientKey, Command, GrowableKeyRing, Identity,
    MemoryStore, OpenError, Refusal, SigningKey, Timestamp, TopicHash, TopicKey, VerifyingKey, controller::Recipient,
};
use std::collections::BTreeMap;

/// When the previous key in the symmetric client's file was replaced.
const REPLACED: u64 = 1_795_334_565;
const HOUR: u64 = 3600;

#[test]
fn saved_states_of_e4go_are_taken_over() {
    let [symmetric, public_key] = saved_states();
    for state in [&symmetric, &public_key] {
        let client = take_over(state, REPLACED);
        assert_eq!(*client.id(), client_id(&state.name), "{}", state.mode);
        assert_eq!(client.control_topic().as_str(), state.json.receiving_topic, "{}", state.mode);

        let topics: BTreeMap<_, _> = client.topics().map(|(hash, replaced)| (*hash, replaced)).collect();
        let replaced = |topic| state.previous_topic_keys.contains_key(topic).then_some(Timestamp::from_unix(REPLACED));
        let expected = state.topic_keys.keys().map(|topic| (topic_hash(topic), replaced(topic))).collect();
        assert_eq!(topics, expected, "{}", state.mode);

        let peers: BTreeMap<_, _> = client.peers().map(|(id, key)| (*id, *key)).collect();
        let expected = state.public_keys.iter().map(|(name, key)| (client_id(name), verifying_key(key))).collect();
        assert_eq!(peers, expected, "{}", state.mode);
    }

    let client = take_over(&public_key, REPLACED);
    let signing = SigningKey::from_seed(&public_key.ed25519_seed.unwrap().0).unwrap();
    assert_eq!(client.verifying_key(), Some(signing.verifying_key()));
    assert_eq!(client.c2_key().map(|key| Key(*key.as_bytes())), public_key.c2_public);
}

#[test]
fn a_client_taken_over_opens_under_its_current_keys() {
    let [state, _] = saved_states();
    assert_eq!(state.topic_keys.len(), 2);
    for (topic, key) in &state.topic_keys {
        let sealed = seal_as(&symmetric("peer"), topic, key, REPLACED);
        let opened = Level::Vec.open(&mut take_over(&state, REPLACED), topic, &sealed);
        assert_eq!(opened, Ok(message(REPLACED, None, false)), "{topic}");
    }
}

#[test]
fn a_client_taken_over_opens_under_its_previous_key_for_the_rest_of_the_hour() {
    let [state, _] = saved_states();
    assert_eq!(state.previous_topic_keys.len(), 1);
    for (topic, key) in &state.previous_topic_keys {
        for (now, expected) in [
            (REPLACED, Ok(message(REPLACED, None, true))),
            (REPLACED + HOUR, Ok(message(REPLACED + HOUR, None, true))),
            (REPLACED + HOUR + 1, Err(OpenError::Refused(Refusal::NotAuthentic))),
        ] {
            let sealed = seal_as(&symmetric("peer"), topic, key, now);
            let opened = Level::Vec.open(&mut take_over(&state, now), topic, &sealed);
            assert_eq!(opened, expected, "{topic}, {} s after the change", now - REPLACED);
        }
    }
}

#[test]
fn a_client_taken_over_follows_its_key_server() {
    let [state, _] = saved_states();
    let key = ClientKey::from_bytes(&state.id_key.unwrap().0).unwrap();
    let to_client = Recipient::symmetric(client_id(&state.name), &key);
    let sealed = to_client.seal(&Command::ResetTopics, Timestamp::from_unix(REPLACED)).unwrap();
    let mut client = take_over(&state, REPLACED);
    let opened = Level::Vec.open(&mut client, &state.json.receiving_topic, sealed.as_bytes());
    assert_eq!(opened, Ok(Received::Command(AppliedCommand::ResetTopics)));
    assert_eq!(client.topics().count(), 0);
}

#[test]
fn a_public_key_client_taken_over_opens_what_its_peers_sign() {
    let [_, state] = saved_states();
    let (topic, key) = state.topic_keys.first_key_value().unwrap();
    let opened_from = |signer: &str| {
        // The vectors do not have the secret of bob, the one peer. So carol becomes a peer too, and whoever signs here
        // does so with her key.
        let sender = public_key(client_id(signer), &[3; 32]);
        let client = to_builder(&state.json).peer(client_id("carol"), verifying_key_of(&[3; 32])).unwrap();
        let sealed = seal_as(&sender, topic, key, REPLACED);
        Level::InPlace.open(&mut create(client, REPLACED), topic, &sealed)
    };
    assert_eq!(opened_from("carol"), Ok(message(REPLACED, Some("carol"), false)));
    assert_eq!(opened_from("bob"), Err(OpenError::Refused(Refusal::BadSignature(client_id("bob")))));
    assert_eq!(opened_from("mallory"), Err(OpenError::Refused(Refusal::UnknownSigner(client_id("mallory")))));
}

#[test]
fn peers_open_what_a_public_key_client_taken_over_signs() {
    let [_, state] = saved_states();
    let (topic, key) = state.topic_keys.first_key_value().unwrap();
    let alice = verifying_key_of(&state.ed25519_seed.unwrap().0);
    let carol = builder::<GrowableKeyRing>(&public_key(client_id("carol"), &[3; 32]))
        .topic_key(&topic_hash(topic), topic_key(key))
        .and_then(|carol| carol.peer(client_id(&state.name), alice))
        .unwrap();
    let sealed = take_over(&state, REPLACED).seal(topic, b"payload").unwrap();
    let opened = Level::Vec.open(&mut create(carol, REPLACED), topic, &sealed);
    assert_eq!(opened, Ok(message(REPLACED, Some(&state.name), false)));
}

/// The symmetric client's, and the public-key client's.
fn saved_states() -> [SavedState; 2] {
    let states: [SavedState; 2] = e4go().saved_state.try_into().ok().unwrap();
    assert_eq!([&*states[0].mode, &*states[1].mode], ["symmetric", "public_key"]);
    states
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

//! The memory that the client without an allocator takes: what a device's linker script has to leave room for.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use e4::{
    C2SecretKey, Client, ClientBuilder, ClientId, Clock, ClockReading, Command, FixedKeyRing, Identity, MaxAge,
    Options, SigningKey, Snapshot, Store, StoreError, Timestamp, TopicFilter, TopicHash, TopicKey,
    controller::Recipient,
};

const FIXED: usize = 1088;
const TOPIC: usize = 96;
const REPLAY_SLOT: usize = 32;

/// A store that takes no room, so that what is measured is the client's own.
struct NoStore;

impl Store for NoStore {
    fn load(&mut self, _: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        Err(StoreError::Empty)
    }

    fn save(&mut self, _: &Snapshot<'_>) -> Result<(), StoreError> {
        Ok(())
    }
}

struct NoClock;

impl Clock for NoClock {
    fn read(&self) -> ClockReading {
        ClockReading::Uptime(0)
    }
}

const fn client<const TOPICS: usize, const OPENED: usize>() -> usize {
    size_of::<Client<FixedKeyRing<TOPICS, 0, OPENED>, NoStore, NoClock>>()
}

#[test]
fn a_symmetric_client_takes_at_most_1088_bytes_besides_its_topics_and_replay_slots() {
    for (size, topics, opened) in [
        (client::<0, 0>(), 0, 0),
        (client::<1, 0>(), 1, 0),
        (client::<0, 1>(), 0, 1),
        (client::<1, 1>(), 1, 1),
        (client::<8, 32>(), 8, 32),
        (client::<32, 255>(), 32, 255),
        (client::<32, 256>(), 32, 256),
        (client::<100, 1000>(), 100, 1000),
    ] {
        let limit = FIXED + TOPIC * topics + REPLAY_SLOT * opened;
        assert!(size <= limit, "{size} bytes for {topics} topics and {opened} replay slots, limit {limit}");
    }
}

#[test]
fn each_topic_takes_96_bytes_with_its_previous_key() {
    assert_eq!(client::<1, 8>() - client::<0, 8>(), TOPIC);
    assert_eq!(client::<2, 8>() - client::<1, 8>(), TOPIC);
    assert_eq!(client::<100, 8>() - client::<2, 8>(), TOPIC * 98);
}

#[test]
fn each_replay_slot_takes_32_bytes() {
    assert_eq!(client::<8, 1>() - client::<8, 0>(), REPLAY_SLOT);
    assert_eq!(client::<8, 2>() - client::<8, 1>(), REPLAY_SLOT);
    assert_eq!(client::<8, 1000>() - client::<8, 2>(), REPLAY_SLOT * 998);
}

/// A store that only looks at the length of what it is given.
#[derive(Default)]
struct Lengths {
    longest: usize,
}

impl Store for &mut Lengths {
    fn load(&mut self, _: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        Err(StoreError::Empty)
    }

    fn save(&mut self, state: &Snapshot<'_>) -> Result<(), StoreError> {
        self.longest = self.longest.max(state.byte_len());
        Ok(())
    }
}

#[test]
fn a_full_client_saves_a_state_of_the_stated_length() {
    type Ring = FixedKeyRing<3, 2, 0>;
    let last = Timestamp::from_unix(Timestamp::LIMIT.as_unix() - 1);
    let key = |n: u8| TopicKey::from_bytes(&[n; 32]).unwrap();
    let (c2, signing) = (C2SecretKey::from_bytes(&[1; 32]).unwrap(), SigningKey::from_seed(&[2; 32]).unwrap());
    let (id, public) = (ClientId::from_bytes([3; 16]), signing.verifying_key());
    let recipient = Recipient::public_key(id, &c2, &public).unwrap();
    let mut options = Options::default();
    options.max_age = MaxAge::Seconds(u64::MAX);
    options.max_ahead = u64::MAX;
    options.command_max_age = MaxAge::Seconds(u64::MAX);
    let identity = Identity::public_key(id, signing, c2.public_key()).unwrap();
    let mut builder = ClientBuilder::<Ring>::new(identity).options(options);
    for n in 0..4 {
        let filter = format!("{n}{}", "x".repeat(Ring::MAX_FILTER_LEN - 1));
        builder = builder.max_age(&TopicFilter::new(&filter).unwrap(), MaxAge::Seconds(u64::MAX)).unwrap();
    }
    for n in 0..3 {
        builder = builder.topic_key_with_previous(&TopicHash::from_bytes([n; 16]), key(4), key(5), last).unwrap();
    }
    for n in 0..2 {
        builder = builder.peer(ClientId::from_bytes([n; 16]), public).unwrap();
    }
    let mut store = Lengths::default();
    let mut client = builder.first_start().create_with(&mut store, NoClock).unwrap();
    for n in 0..16 {
        let sealed = recipient.seal_dated(&Command::RemoveTopic(TopicHash::from_bytes([n + 9; 16])), last).unwrap();
        client.open_into(recipient.control_topic(), sealed.as_bytes(), &mut []).unwrap();
    }
    // One more than there is room for is remembered as refused.
    let sealed = recipient.seal_dated(&Command::ResetTopics, last).unwrap();
    assert!(client.open_into(recipient.control_topic(), sealed.as_bytes(), &mut []).is_err());
    drop(client);
    assert_eq!(store.longest, Ring::MAX_STATE_LEN);
}

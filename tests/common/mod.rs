//! What several test files share: a clock that a test sets, a store that can be made to fail, and clients with the key
//! server's view of them.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "each test file uses a part of it, and fails by panicking"
)]

mod stored;

use aes_siv::{KeyInit, siv::Aes256Siv};
use e4::{
    AppliedCommand, C2SecretKey, Client, ClientId, ClientKey, Clock, ClockReading, Command, FileStore, GrowableKeyRing,
    Identity, KeyRing, MemoryStore, Message, OpenError, Opened, SigningKey, Snapshot, Store, StoreError, Timestamp,
    Topic, TopicHash, TopicKey, VerifyingKey, controller::Recipient,
};
use sha3::{Digest, Sha3_256};
use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

pub(crate) use stored::without_refusal;

/// The time at which most tests begin.
pub(crate) const NOW: u64 = 1_750_000_000;

/// A clock that stands still until a test moves it. Its clones show the same.
#[derive(Clone)]
pub(crate) struct TestClock {
    seconds: Arc<AtomicU64>,
    is_uptime: bool,
}

impl TestClock {
    /// A clock that shows the time of day.
    pub(crate) fn time(unix: u64) -> Self {
        Self { seconds: Arc::new(AtomicU64::new(unix)), is_uptime: false }
    }

    /// What a device without a clock has: seconds since its start.
    pub(crate) fn uptime(seconds: u64) -> Self {
        Self { is_uptime: true, ..Self::time(seconds) }
    }

    pub(crate) fn seconds(&self) -> u64 {
        self.seconds.load(Ordering::SeqCst)
    }

    pub(crate) fn set(&self, seconds: u64) {
        self.seconds.store(seconds, Ordering::SeqCst);
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.seconds.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn read(&self) -> ClockReading {
        if self.is_uptime {
            ClockReading::Uptime(self.seconds())
        } else {
            ClockReading::Time(Timestamp::from_unix(self.seconds()))
        }
    }
}

/// A store whose saves fail while a test wants them to. Its clones are the same store.
#[derive(Clone)]
pub(crate) struct TestStore(Arc<Mutex<Shared>>);

struct Shared {
    store: Box<dyn Store + Send>,
    fails: bool,
}

impl TestStore {
    /// What a failing save says.
    pub(crate) const FAILURE: StoreError = StoreError::Other("the test has the store fail");

    pub(crate) fn memory() -> Self {
        Self::over(MemoryStore::new())
    }

    pub(crate) fn file(path: &Path) -> Self {
        Self::over(FileStore::new(path))
    }

    pub(crate) fn over(store: impl Store + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Shared { store: Box::new(store), fails: false })))
    }

    pub(crate) fn set_failing(&self, fails: bool) {
        self.0.lock().unwrap().fails = fails;
    }

    /// What was saved last.
    pub(crate) fn saved(&self) -> Vec<u8> {
        let mut saved = Vec::new();
        self.0.lock().unwrap().store.load(&mut |bytes| saved = bytes.to_vec()).unwrap();
        saved
    }
}

impl Store for TestStore {
    fn load(&mut self, read: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        self.0.lock().unwrap().store.load(read)
    }

    fn save(&mut self, state: &Snapshot<'_>) -> Result<(), StoreError> {
        let mut shared = self.0.lock().unwrap();
        if shared.fails { Err(Self::FAILURE) } else { shared.store.save(state) }
    }
}

/// 32 bytes that look random, the same for the same label.
pub(crate) fn bytes(label: &str) -> [u8; 32] {
    Sha3_256::digest(label).into()
}

pub(crate) fn topic_key(label: &str) -> TopicKey {
    TopicKey::from_bytes(&bytes(label)).unwrap()
}

pub(crate) fn signing_key(label: &str) -> SigningKey {
    SigningKey::from_seed(&bytes(label)).unwrap()
}

pub(crate) fn c2_key(label: &str) -> C2SecretKey {
    C2SecretKey::from_bytes(&bytes(label)).unwrap()
}

pub(crate) fn topic_hash(topic: &str) -> TopicHash {
    *Topic::new(topic).unwrap().hash()
}

pub(crate) fn set_topic_key(topic: &str, key: &TopicKey) -> Command {
    Command::set_topic_key(&Topic::new(topic).unwrap(), key.clone())
}

/// A client before it is made, and its key server's view of it.
#[derive(Clone)]
pub(crate) struct Party {
    pub(crate) identity: Identity,
    pub(crate) recipient: Recipient,
    /// The key that commands come under.
    pub(crate) command_key: [u8; 32],
}

impl Party {
    /// A symmetric client, whose client key has its name for a label.
    pub(crate) fn symmetric(name: &str) -> Self {
        let id = ClientId::from_name(name).unwrap();
        let key = ClientKey::from_bytes(&bytes(name)).unwrap();
        let recipient = Recipient::symmetric(id, &key);
        Self { recipient, command_key: *key.as_bytes(), identity: Identity::symmetric(id, key) }
    }

    /// A public-key client, whose signing key has its name for a label, of the key server with the key `c2`.
    pub(crate) fn public_key(name: &str) -> Self {
        Self::with_keys(name, signing_key(name), &c2_key("c2"))
    }

    pub(crate) fn with_keys(name: &str, signing: SigningKey, c2: &C2SecretKey) -> Self {
        let id = ClientId::from_name(name).unwrap();
        let recipient = Recipient::public_key(id, c2, &signing.verifying_key()).unwrap();
        let command_key = control_key(c2, &signing.verifying_key());
        Self { recipient, command_key, identity: Identity::public_key(id, signing, c2.public_key()).unwrap() }
    }
}

/// `SHA3-256(X25519(a, B))`, apart from the crate under test.
fn control_key(c2: &C2SecretKey, client: &VerifyingKey) -> [u8; 32] {
    let client = ed25519_dalek::VerifyingKey::from_bytes(client.as_bytes()).unwrap();
    Sha3_256::digest(x25519_dalek::x25519(*c2.as_bytes(), client.to_montgomery().to_bytes())).into()
}

/// Seals any bytes as a symmetric message or a command, apart from the crate under test.
pub(crate) fn seal_raw(key: &[u8; 32], sent: u64, payload: &[u8]) -> Vec<u8> {
    let sent = sent.to_le_bytes();
    let mut text = payload.to_vec();
    let mut cipher = Aes256Siv::new_from_slice(&[*key, *key].concat()).unwrap();
    let tag = cipher.encrypt_inout_detached([sent], text.as_mut_slice().into()).unwrap();
    [&sent[..], &tag[..], &text[..]].concat()
}

/// A client with everything around it.
pub(crate) struct Device<R: KeyRing = GrowableKeyRing> {
    pub(crate) client: Client<R, TestStore, TestClock>,
    pub(crate) clock: TestClock,
    pub(crate) store: TestStore,
    pub(crate) recipient: Recipient,
    pub(crate) command_key: [u8; 32],
}

impl<R: KeyRing> Device<R> {
    pub(crate) fn create(party: Party, store: TestStore, clock: &TestClock) -> Self {
        let Party { identity, recipient, command_key } = party;
        let builder = e4::ClientBuilder::<R>::new(identity).first_start();
        let client = builder.create_with(store.clone(), clock.clone()).unwrap();
        Self { client, clock: clock.clone(), store, recipient, command_key }
    }

    /// Ends the client and takes it up from its store.
    pub(crate) fn restart(self) -> Self {
        let Self { client, clock, store, recipient, command_key } = self;
        let client = Client::load_with(client.into_store(), clock.clone()).unwrap();
        Self { client, clock, store, recipient, command_key }
    }

    /// The key server seals a command at the time of the device's clock, and the broker delivers it.
    pub(crate) fn command(&mut self, command: &Command) -> Result<AppliedCommand, OpenError> {
        self.command_at(self.clock.seconds(), command)
    }

    pub(crate) fn command_at(&mut self, sent: u64, command: &Command) -> Result<AppliedCommand, OpenError> {
        let sealed = self.recipient.seal_dated(command, Timestamp::from_unix(sent)).unwrap();
        self.deliver(sealed.as_bytes())
    }

    /// A command of any bytes, which only a broken key server would seal.
    pub(crate) fn raw_command(&mut self, body: &[u8]) -> Result<AppliedCommand, OpenError> {
        let sealed = seal_raw(&self.command_key, self.clock.seconds(), body);
        self.deliver(&sealed)
    }

    /// Delivers a payload on the control topic.
    pub(crate) fn deliver(&mut self, sealed: &[u8]) -> Result<AppliedCommand, OpenError> {
        match self.client.open(self.recipient.control_topic().as_str(), sealed)? {
            Opened::Command(applied) => Ok(applied),
            Opened::Message(_) => panic!("a message on the control topic"),
        }
    }

    /// Delivers a payload on any other topic.
    pub(crate) fn open(&mut self, topic: &str, sealed: &[u8]) -> Result<Message<Vec<u8>>, OpenError> {
        match self.client.open(topic, sealed)? {
            Opened::Message(message) => Ok(message),
            Opened::Command(_) => panic!("a command on {topic}"),
        }
    }

    /// Asserts that what `act` does changes neither what is stored nor what the client has in memory, but for what it reports
    /// as refused.
    pub(crate) fn unchanged_by<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> T {
        let before = without_refusal(&self.save_again());
        let result = act(self);
        assert!(without_refusal(&self.store.saved()) == before, "the stored state has changed");
        assert!(without_refusal(&self.save_again()) == before, "the state in memory has changed");
        result
    }

    /// Stores what is in memory, and returns it. The order of the entries is that of the memory.
    fn save_again(&mut self) -> Vec<u8> {
        let options = *self.client.options();
        self.client.set_options(options).unwrap();
        self.store.saved()
    }
}

impl Device {
    /// A symmetric client that keeps its state in memory, with the clock at [`NOW`].
    pub(crate) fn symmetric(name: &str) -> Self {
        Self::create(Party::symmetric(name), TestStore::memory(), &TestClock::time(NOW))
    }

    /// A public-key client that keeps its state in memory, with the clock at [`NOW`].
    pub(crate) fn public_key(name: &str) -> Self {
        Self::create(Party::public_key(name), TestStore::memory(), &TestClock::time(NOW))
    }

    /// With the key of a topic.
    pub(crate) fn knowing(mut self, topic: &str, key: &TopicKey) -> Self {
        self.command(&set_topic_key(topic, key)).unwrap();
        self
    }

    /// With the public key of a peer.
    pub(crate) fn trusting(mut self, peer: &Self) -> Self {
        let key = peer.client.verifying_key().unwrap();
        self.command(&Command::SetPubKey { client: *peer.client.id(), key }).unwrap();
        self
    }
}

use super::Client;
#[cfg(feature = "alloc")]
use super::{AnyClock, AnyStore};
#[cfg(feature = "alloc")]
use crate::key_ring::GrowableKeyRing;
#[cfg(feature = "std")]
use crate::time::SystemClock;
use crate::{
    filter::{Subtree, TopicFilter},
    key_ring::{AgeRules, Full, KeyRing, MaxAge, NoRoom, PreviousKey, Table, TopicEntry},
    keys::{SubtreeKey, TopicKey, VerifyingKey},
    message::Mode,
    names::{ClientId, TopicHash},
    state::{Change, Identity, Options, State, StateError, decode},
    store::{Store, StoreError},
    time::{Clock, Timestamp},
};
#[cfg(feature = "alloc")]
use alloc::boxed::Box;
use core::fmt;

/// A client in the making: its identity, and what it has from the start.
///
/// Most clients start with their identity alone and get the rest from their key server. Tools that take over the state
/// of another implementation, and fleets without a key server, put in all the rest.
pub struct ClientBuilder<R: KeyRing> {
    state: State<R>,
}

impl<R: KeyRing> ClientBuilder<R> {
    /// A client with no keys but its own.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self { state: State::new(identity) }
    }

    /// Sets the limits that messages and commands are held against.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.state.options = options;
        self
    }

    /// Sets how old messages may be on the topics that a filter matches.
    ///
    /// # Errors
    ///
    /// [`CreateError::Full`]
    pub fn max_age(mut self, filter: &TopicFilter<'_>, max_age: MaxAge) -> Result<Self, CreateError> {
        self.state.ages.set(filter.as_str(), max_age).map_err(|NoRoom| CreateError::Full(Full::AgeRules))?;
        Ok(self)
    }

    /// Refuses commands that were sent in this second or earlier.
    ///
    /// # Security
    ///
    /// A client remembers in its state which commands it took. One that is made anew under a client key that was used
    /// before takes every recorded command again, and with it old topic keys. Give such a client a new key; or, where it
    /// takes over a state from elsewhere, set this to the time of the last command.
    #[must_use]
    pub fn refuse_commands_until(mut self, second: Timestamp) -> Self {
        self.state.order.newest = Some(second.plus(1));
        self
    }

    /// Puts in the key of a topic or subtree, without a previous key.
    ///
    /// # Errors
    ///
    /// [`CreateError::Full`], or [`CreateError::ControlTopic`] for the client's own control topic.
    pub fn topic_key(self, topic: &TopicHash, key: TopicKey) -> Result<Self, CreateError> {
        self.put_topic(topic, TopicEntry { key, previous: None })
    }

    /// Puts in the key of a subtree.
    ///
    /// # Errors
    ///
    /// [`CreateError::Full`]
    pub fn subtree_key(self, subtree: &Subtree<'_>, key: &SubtreeKey) -> Result<Self, CreateError> {
        self.topic_key(subtree.hash(), key.to_topic_key())
    }

    /// Puts in the key of a topic or subtree, and the one it had before with the time at which it was replaced.
    ///
    /// # Errors
    ///
    /// Those of [`topic_key`](Self::topic_key).
    pub fn topic_key_with_previous(
        self,
        topic: &TopicHash,
        key: TopicKey,
        previous: TopicKey,
        replaced: Timestamp,
    ) -> Result<Self, CreateError> {
        self.put_topic(topic, TopicEntry { key, previous: Some(PreviousKey { key: previous, replaced }) })
    }

    fn put_topic(mut self, topic: &TopicHash, entry: TopicEntry) -> Result<Self, CreateError> {
        if topic == self.state.identity.control() {
            return Err(CreateError::ControlTopic);
        }
        self.state.topics.insert(*topic, entry).map_err(|NoRoom| CreateError::Full(Full::Topics))?;
        Ok(self)
    }

    /// Puts in the public key of a peer.
    ///
    /// # Errors
    ///
    /// [`CreateError::Full`], or [`CreateError::WrongMode`] for a symmetric client, which has no use for it.
    pub fn peer(mut self, client: ClientId, key: VerifyingKey) -> Result<Self, CreateError> {
        if self.state.identity.mode() == Mode::Symmetric {
            return Err(CreateError::WrongMode);
        }
        self.state.peers.insert(client, key).map_err(|NoRoom| CreateError::Full(Full::Peers))?;
        Ok(self)
    }

    /// Takes up the client if the store holds its state, and makes it otherwise. What the builder has besides the
    /// identity counts only when it is made.
    ///
    /// # Errors
    ///
    /// [`CreateError::OtherClient`], [`CreateError::State`], [`CreateError::Store`]; the store is as it was.
    pub fn load_or_create_with<S: Store, C: Clock>(
        self,
        mut store: S,
        clock: C,
    ) -> Result<Client<R, S, C>, CreateError> {
        match read_state::<R>(&mut store) {
            Ok(state) if state.identity.id() == self.state.identity.id() => Ok(Client::resume(state, store, clock)),
            Ok(state) => Err(CreateError::OtherClient(*state.identity.id())),
            Err(LoadError::Store(StoreError::Empty)) => self.create_with(store, clock),
            Err(LoadError::Store(error)) => Err(CreateError::Store(error)),
            Err(LoadError::State(error)) => Err(CreateError::State(error)),
        }
    }

    /// Makes the client from a store and a clock of any type, and stores its state.
    ///
    /// # Errors
    ///
    /// [`CreateError::Exists`] when the store holds a state, which is left alone; [`CreateError::Store`].
    pub fn create_with<S: Store, C: Clock>(self, mut store: S, clock: C) -> Result<Client<R, S, C>, CreateError> {
        match store.load(&mut |_| {}) {
            Err(StoreError::Empty) => {}
            Ok(()) => return Err(CreateError::Exists),
            Err(error) => return Err(CreateError::Store(error)),
        }
        let mut client = Client::new(self.state, store, clock);
        client.save(&Change::NONE).map_err(CreateError::Store)?;
        Ok(client)
    }
}

#[cfg(feature = "alloc")]
impl ClientBuilder<GrowableKeyRing> {
    /// What a program does at every start: takes up the client if the store holds its state, and makes it otherwise. A
    /// device that lost its state is given a new client key: see [`refuse_commands_until`](Self::refuse_commands_until).
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// # let client_key = e4::ClientKey::from_bytes(&[1; 32])?;
    /// use e4::{Client, ClientId, FileStore, Identity};
    ///
    /// let identity = Identity::symmetric(ClientId::from_name("pump-7")?, client_key);
    /// let device = Client::builder(identity).load_or_create(FileStore::new("/var/lib/pump-7/state"))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`load_or_create_with`](Self::load_or_create_with).
    #[cfg(feature = "std")]
    pub fn load_or_create(self, store: impl Store + Send + Sync + 'static) -> Result<Client, CreateError> {
        self.load_or_create_with(Box::new(store) as AnyStore, Box::new(SystemClock) as AnyClock)
    }

    /// Makes the client, with the system's clock, and stores its state.
    ///
    /// # Errors
    ///
    /// Those of [`create_with`](Self::create_with).
    #[cfg(feature = "std")]
    pub fn create(self, store: impl Store + Send + Sync + 'static) -> Result<Client, CreateError> {
        self.create_with_clock(store, SystemClock)
    }

    /// Makes the client, with a clock of the caller's, and stores its state.
    ///
    /// # Errors
    ///
    /// Those of [`create_with`](Self::create_with).
    pub fn create_with_clock(
        self,
        store: impl Store + Send + Sync + 'static,
        clock: impl Clock + Send + Sync + 'static,
    ) -> Result<Client, CreateError> {
        self.create_with(Box::new(store) as AnyStore, Box::new(clock) as AnyClock)
    }
}

#[cfg(feature = "alloc")]
impl Client {
    /// Begins a new client.
    #[must_use]
    pub fn builder(identity: Identity) -> ClientBuilder<GrowableKeyRing> {
        ClientBuilder::new(identity)
    }

    /// Takes up a client from its stored state, with the system's clock.
    ///
    /// The memory of opened messages is empty then. An application that minds a second delivery of messages from before
    /// calls [`refuse_sent_until`](Self::refuse_sent_until).
    ///
    /// # Errors
    ///
    /// [`LoadError`]; the store is as it was.
    #[cfg(feature = "std")]
    pub fn load(store: impl Store + Send + Sync + 'static) -> Result<Self, LoadError> {
        Self::load_with_clock(store, SystemClock)
    }

    /// Takes up a client from its stored state, with a clock of the caller's.
    ///
    /// # Errors
    ///
    /// [`LoadError`]; the store is as it was.
    pub fn load_with_clock(
        store: impl Store + Send + Sync + 'static,
        clock: impl Clock + Send + Sync + 'static,
    ) -> Result<Self, LoadError> {
        Self::load_with(Box::new(store) as AnyStore, Box::new(clock) as AnyClock)
    }
}

impl<R: KeyRing, S: Store, C: Clock> Client<R, S, C> {
    /// Takes up a client from its stored state, with a store and a clock of any type.
    ///
    /// # Errors
    ///
    /// [`LoadError`]; the store is as it was.
    pub fn load_with(mut store: S, clock: C) -> Result<Self, LoadError> {
        Ok(Self::resume(read_state(&mut store)?, store, clock))
    }

    fn resume(state: State<R>, store: S, clock: C) -> Self {
        let mut client = Self::new(state, store, clock);
        client.erase_in_passing();
        client
    }

    /// Ends the client and gives its store back.
    #[must_use]
    pub fn into_store(self) -> S {
        self.store
    }
}

fn read_state<R: KeyRing>(store: &mut impl Store) -> Result<State<R>, LoadError> {
    let mut decoded = Err(LoadError::Store(StoreError::Empty));
    store.load(&mut |bytes| decoded = decode(bytes).map_err(LoadError::State)).map_err(LoadError::Store)?;
    decoded
}

impl<R: KeyRing> fmt::Debug for ClientBuilder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").field("id", self.state.identity.id()).finish_non_exhaustive()
    }
}

/// Why a client was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CreateError {
    /// The store holds the state of a client already.
    Exists,
    /// The topic is the client's own control topic, which takes commands only.
    ControlTopic,
    /// A symmetric client has no peers.
    WrongMode,
    /// The key ring has no room.
    Full(Full),
    /// The store could not be read or written.
    Store(StoreError),
    /// The store holds the state of another client.
    OtherClient(ClientId),
    /// What the store holds is not a state that this client can take up.
    State(StateError),
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists => f.write_str(
                "there is something here already: load it if it is this client's state, or choose another place",
            ),
            Self::OtherClient(id) => write!(f, "this is the state of client {id}: check the path and the name"),
            Self::ControlTopic => {
                f.write_str("this is the client's own control topic, which takes commands only and has no topic key")
            }
            Self::WrongMode => f.write_str(
                "a symmetric client checks no signatures: leave its peers out, or make it a public-key client",
            ),
            Self::Full(full) => full.fmt(f),
            Self::Store(error) => write!(f, "the client was not created: {error}"),
            Self::State(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for CreateError {}

/// Why a client could not be taken up from its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadError {
    /// The store could not be read.
    Store(StoreError),
    /// What it holds is not a state that this client can take up.
    State(StateError),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::State(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for LoadError {}

use super::Client;
#[cfg(feature = "alloc")]
use super::{AnyClock, AnyStore};
#[cfg(feature = "alloc")]
use crate::key_ring::GrowableKeyRing;
#[cfg(feature = "std")]
use crate::time::SystemClock;
use crate::{
    filter::TopicFilter,
    key_ring::{AgeRules, Full, KeyRing, MaxAge, NoRoom, PreviousKey, Table, TopicEntry},
    keys::{TopicKey, VerifyingKey},
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

    /// Puts in the key of a topic or subtree, without a previous key.
    ///
    /// # Errors
    ///
    /// [`CreateError::Full`], or [`CreateError::ControlTopic`] for the client's own control topic.
    pub fn topic_key(self, topic: &TopicHash, key: TopicKey) -> Result<Self, CreateError> {
        self.put_topic(topic, TopicEntry { key, previous: None })
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
        let mut decoded = Err(LoadError::Store(StoreError::Empty));
        store.load(&mut |bytes| decoded = decode(bytes).map_err(LoadError::State)).map_err(LoadError::Store)?;
        let mut client = Self::new(decoded?, store, clock);
        client.erase_in_passing();
        Ok(client)
    }

    /// Ends the client and gives its store back.
    #[must_use]
    pub fn into_store(self) -> S {
        self.store
    }
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
    /// The state could not be stored.
    Store(StoreError),
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists => f.write_str("there is a client's state here already: load it, or choose another place"),
            Self::ControlTopic => {
                f.write_str("this is the client's own control topic, which takes commands only and has no topic key")
            }
            Self::WrongMode => f.write_str("a symmetric client checks no signatures and takes no public keys"),
            Self::Full(full) => full.fmt(f),
            Self::Store(error) => write!(f, "the new client could not be stored: {error}"),
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

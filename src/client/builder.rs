use super::Client;
#[cfg(feature = "alloc")]
use super::{AnyClock, AnyStore};
#[cfg(feature = "alloc")]
use crate::key_ring::GrowableKeyRing;
#[cfg(feature = "std")]
use crate::time::SystemClock;
use crate::{
    filter::{Subtree, TopicFilter},
    key_ring::{AgeRules, Full, KeyRing, MaxAge, NoRoom, Table, TopicEntry},
    keys::{SubtreeKey, TopicKey, VerifyingKey},
    message::Mode,
    names::{ClientId, TopicHash},
    stack,
    state::{Change, Enrolment, Identity, Options, State, StateError, decode},
    store::{Store, StoreError},
    time::{Clock, ClockReading, Timestamp},
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
    first_start: bool,
}

impl<R: KeyRing> ClientBuilder<R> {
    /// A client with no keys but its own.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self { state: State::new(identity), first_start: false }
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

    /// Says that this client key was never used before, so that commands of any time are taken.
    ///
    /// Without it a client that is made refuses commands that were sent before now, which costs nothing where the key
    /// server begins after it; see [`create_with`](Self::create_with). A device without a clock needs it, or a time for
    /// [`refuse_commands_until`](Self::refuse_commands_until), since it does not know what was before now.
    ///
    /// # Security
    ///
    /// A client remembers in its state which commands it took. If the state is lost and the client is made anew under the
    /// same key, everything that was ever sent to it and recorded would count again, old topic keys included. So this
    /// belongs into the step that gives a device a new key, and not into what it does at every start.
    #[must_use]
    pub fn first_start(mut self) -> Self {
        self.first_start = true;
        self
    }

    /// Refuses commands that were sent in this second or earlier, instead of those that were sent before now: for a client
    /// that takes over a state from elsewhere, the time of the last command.
    #[must_use]
    pub fn refuse_commands_until(mut self, second: Timestamp) -> Self {
        self.state.order.newest = Some(second.plus(1));
        self
    }

    /// Puts in the key of a topic or subtree, without a previous key.
    ///
    /// # Errors
    ///
    /// [`CreateError::Full`], or [`CreateError::ControlTopic`] for the client's own control topic, or
    /// [`CreateError::SharedKey`].
    pub fn topic_key(self, topic: &TopicHash, key: TopicKey) -> Result<Self, CreateError> {
        self.put_topic(topic, TopicEntry::new(key))
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
        self.put_topic(topic, TopicEntry::with_previous(key, previous, replaced))
    }

    fn put_topic(mut self, topic: &TopicHash, entry: TopicEntry) -> Result<Self, CreateError> {
        if topic == self.state.identity.control() {
            return Err(CreateError::ControlTopic);
        }
        if entry.keys().any(|key| self.state.identity.shares(key)) {
            return Err(CreateError::SharedKey);
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
    /// Those of [`create_with`](Self::create_with), and whatever shows that the state is not that of this identity:
    /// [`CreateError::OtherClient`], [`CreateError::OtherMode`], [`CreateError::OtherClientKey`],
    /// [`CreateError::OtherC2Key`]. A client whose keys were changed by commands is still that of the identity that it was
    /// enrolled with, and also that of its present keys. To give a client other keys, see
    /// [`enrol_anew_with`](Self::enrol_anew_with). After an error the store is as it was.
    pub fn load_or_create_with<S: Store, C: Clock>(
        self,
        mut store: S,
        clock: C,
    ) -> Result<Client<R, S, C>, CreateError> {
        match read_state::<R>(&mut store) {
            Ok(mut state) => {
                self.recognise(&mut state)?;
                Ok(Client::resume(state, store, clock))
            }
            Err(LoadError::Store(StoreError::Empty)) => self.create_with(store, clock),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the client from a store and a clock of any type, and stores its state.
    ///
    /// Unless the builder says that this is the [`first_start`](Self::first_start), commands that were sent before now are
    /// refused: the state of this client may have been lost, and with it the memory of the commands that it took. Now is what
    /// the clock says: one that is ahead of the key server's has the first commands refused until that has caught up.
    ///
    /// # Errors
    ///
    /// [`CreateError::Exists`] when the store holds a state, which is left alone; [`CreateError::TimeUnknown`] when nobody
    /// says what was before now; [`CreateError::NotATime`]; [`CreateError::Store`].
    pub fn create_with<S: Store, C: Clock>(mut self, mut store: S, clock: C) -> Result<Client<R, S, C>, CreateError> {
        match store.load(&mut |_| {}) {
            Err(StoreError::Empty) => {}
            Ok(()) => return Err(CreateError::Exists),
            Err(error) => return Err(CreateError::Store(error)),
        }
        if !self.first_start && self.state.order.newest.is_none() {
            self.refuse_commands_before_now(&clock)?;
        }
        Self::store_new(self.state, store, clock)
    }

    fn refuse_commands_before_now(&mut self, clock: &impl Clock) -> Result<(), CreateError> {
        let ClockReading::Time(now) = clock.read() else {
            return Err(CreateError::TimeUnknown);
        };
        self.state.order.newest = Some(now);
        Ok(())
    }

    /// Enrols a client anew that the store holds: it gets the keys of this builder, in this builder's mode, and loses all
    /// others. It still knows which commands it took, so that none of them counts again. This is for the day on which a
    /// device is given another client key by hand; at every other start [`load_or_create_with`](Self::load_or_create_with)
    /// takes the client up.
    ///
    /// # Errors
    ///
    /// [`CreateError::OtherClient`] when the state is that of another client; [`CreateError::State`] and
    /// [`CreateError::Store`], also when there is none ([`StoreError::Empty`]). The store is as it was.
    pub fn enrol_anew_with<S: Store, C: Clock>(
        mut self,
        mut store: S,
        clock: C,
    ) -> Result<Client<R, S, C>, CreateError> {
        let old = read_state::<R>(&mut store)?;
        self.is_of(old.identity.id())?;
        if old.order.newest.is_some_and(|newest| !newest.is_plausible()) {
            // An earlier release took a command with a time that is none: nothing could ever follow that.
            self.refuse_commands_before_now(&clock)?;
        } else if self.state.order.newest <= old.order.newest {
            self.state.order = old.order;
        }
        Self::store_new(self.state, store, clock)
    }

    fn store_new<S: Store, C: Clock>(state: State<R>, store: S, clock: C) -> Result<Client<R, S, C>, CreateError> {
        if state.order.newest.is_some_and(|newest| !newest.is_plausible()) {
            return Err(CreateError::NotATime);
        }
        let mut client = Client::new(state, store, clock);
        client.save(&Change::NONE).map_err(CreateError::Store)?;
        Ok(client)
    }

    fn is_of(&self, id: &ClientId) -> Result<(), CreateError> {
        if self.state.identity.id() == id { Ok(()) } else { Err(CreateError::OtherClient(*id)) }
    }

    /// Whether a state is that of this builder's identity: as it was enrolled, or as commands have changed it since.
    fn recognise(&self, state: &mut State<R>) -> Result<(), CreateError> {
        self.is_of(state.identity.id())?;
        let (given, found) = (&self.state.identity, &state.identity);
        if given.mode() != found.mode() {
            return Err(CreateError::OtherMode(found.mode()));
        }
        let present = found.enrolment();
        if present == given.enrolment() {
            // So it is known again after the next command that changes them.
            state.enrolled = present;
            return Ok(());
        }
        if state.enrolled == Enrolment::UNKNOWN {
            // Saved by an earlier release: a command may have changed the keys.
            return Ok(());
        }
        let (key_enrolled, c2_enrolled) = state.enrolled.compare(&given.enrolment());
        let (key_present, c2_present) = present.compare(&given.enrolment());
        match (key_enrolled || key_present, c2_enrolled || c2_present) {
            (true, true) => Ok(()),
            (false, _) => Err(CreateError::OtherClientKey),
            (true, false) => Err(CreateError::OtherC2Key),
        }
    }
}

#[cfg(feature = "alloc")]
impl ClientBuilder<GrowableKeyRing> {
    /// What a program does at every start: takes up the client if the store holds its state, and makes it otherwise.
    ///
    /// A client that is made refuses commands that were sent before now, since its state may have been lost. The step that
    /// gives a device a new client key may say so with [`first_start`](Self::first_start).
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

    /// Gives a client that the store holds the keys of this builder, with the system's clock.
    ///
    /// # Errors
    ///
    /// Those of [`enrol_anew_with`](Self::enrol_anew_with).
    #[cfg(feature = "std")]
    pub fn enrol_anew(self, store: impl Store + Send + Sync + 'static) -> Result<Client, CreateError> {
        self.enrol_anew_with(Box::new(store) as AnyStore, Box::new(SystemClock) as AnyClock)
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
    let state = read_and_decode(store);
    stack::wipe::<{ stack::DEEP }>();
    state
}

#[inline(never)]
fn read_and_decode<R: KeyRing>(store: &mut impl Store) -> Result<State<R>, LoadError> {
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
    /// The key of the topic is also one of the client itself: every member of the topic could give it commands.
    SharedKey,
    /// A symmetric client has no peers.
    WrongMode,
    /// The key ring has no room.
    Full(Full),
    /// The store could not be read or written.
    Store(StoreError),
    /// The store holds the state of another client.
    OtherClient(ClientId),
    /// The store holds the state of this client in the other mode, which is given here.
    OtherMode(Mode),
    /// The store holds the state of this client, enrolled with another client key.
    OtherClientKey,
    /// The store holds the state of this client, enrolled with another public key of the key server.
    OtherC2Key,
    /// The device has no clock, and nobody says whether commands were sent for this client key before now.
    TimeUnknown,
    /// Commands are to be refused until a time that is [`Timestamp::LIMIT`] or more: none would ever be taken.
    NotATime,
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
            Self::OtherMode(stored) => write!(
                f,
                "the stored state is that of a {} client: give it the keys of that mode, or enrol the client anew",
                match stored {
                    Mode::Symmetric => "symmetric",
                    Mode::PublicKey => "public-key",
                }
            ),
            Self::OtherClientKey => f.write_str(
                "the client was enrolled with another client key: give that one, or enrol the client anew with this one",
            ),
            Self::OtherC2Key => f.write_str(
                "the client was enrolled with another public key of its key server: give that one, or enrol the client anew with this one",
            ),
            Self::TimeUnknown => f.write_str(
                "without a clock it is not known which commands are old: say that this is the first start if the client key is new, or say until when commands are refused",
            ),
            Self::NotATime => f.write_str(
                "the clock or the given time shows the year 2242 or later, and no command would ever be taken: check that it is in seconds",
            ),
            Self::ControlTopic => {
                f.write_str("this is the client's own control topic, which takes commands only and has no topic key")
            }
            Self::SharedKey => f.write_str(
                "the topic key is the client's own key too, and every member of the topic would be its key server: draw another one",
            ),
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

impl From<LoadError> for CreateError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Store(error) => Self::Store(error),
            LoadError::State(error) => Self::State(error),
        }
    }
}

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

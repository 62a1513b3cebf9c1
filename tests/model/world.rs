//! A client, the model beside it, and what the two of them stand in: a clock, a store, a network that remembers.

use crate::{
    body::body_bytes,
    cast,
    model::{Entry, Model, Moment, Outcome, OwnKeys, Room, STORE_FAILS, Spare, State},
    strategy::{Action, CommandKey, Damage, OpenBy, Signer, Start, Step, TopicKeyChoice, When},
    wire::{Key, Name, control_topic, derive_topic_key, seal, seal_signed, short_hash},
};
use e4::{
    C2PublicKey, Client, ClientBuilder, ClientId, ClientKey, Clock, ClockReading, Identity, KeyRing, MaxAge, Mode,
    OpenError, Opened, Options, SigningKey, Snapshot, Store, StoreError, Timestamp, Topic, TopicFilter, TopicHash,
    TopicKey, VerifyingKey, controller::Lane,
};
use proptest::{prop_assert, prop_assert_eq, test_runner::TestCaseError};
use std::{cell::Cell, cell::RefCell, collections::BTreeMap, rc::Rc};

/// A difference between the client and the model fails the case.
type Checked = Result<(), TestCaseError>;

/// Stands in every payload that is not empty, to be searched for.
const READABLE: &[u8] = b"plain to read";

#[derive(Clone)]
struct TestClock(Rc<Cell<ClockReading>>);

impl Clock for TestClock {
    fn read(&self) -> ClockReading {
        self.0.get()
    }
}

#[derive(Clone, Default)]
struct TestStore(Rc<RefCell<Shelf>>);

#[derive(Default)]
struct Shelf {
    saved: Option<Vec<u8>>,
    works: bool,
}

impl Store for TestStore {
    fn load(&mut self, read: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        read(self.0.borrow().saved.as_ref().ok_or(StoreError::Empty)?);
        Ok(())
    }

    fn save(&mut self, state: &Snapshot<'_>) -> Result<(), StoreError> {
        if !self.0.borrow().works {
            // Fails in the middle.
            let mut room = 100_usize;
            return state.write_to(&mut |piece| {
                room = room.saturating_sub(piece.len());
                if room == 0 { Err(STORE_FAILS) } else { Ok(()) }
            });
        }
        self.0.borrow_mut().saved = Some(state.to_bytes()?.to_vec());
        Ok(())
    }
}

/// All of a client that can be seen.
#[derive(PartialEq, Debug)]
struct Visible {
    id: Name,
    mode: Mode,
    topics: BTreeMap<Name, Option<e4::Spare>>,
    peers: BTreeMap<Name, Key>,
    newest_command: Option<u64>,
    max_ages: BTreeMap<String, MaxAge>,
    options: Options,
    public_keys: Option<(Key, Key)>,
}

impl Visible {
    fn of_client<R: KeyRing>(client: &Client<R, TestStore, TestClock>) -> Self {
        let public_keys = client.verifying_key().zip(client.c2_key());
        Self {
            id: *client.id().as_bytes(),
            mode: client.mode(),
            topics: client.topics().map(|(topic, spare)| (*topic.as_bytes(), spare)).collect(),
            peers: client.peers().map(|(id, key)| (*id.as_bytes(), *key.as_bytes())).collect(),
            newest_command: client.newest_command().map(Timestamp::as_unix),
            max_ages: client.max_ages().map(|(filter, age)| (filter.to_owned(), age)).collect(),
            options: *client.options(),
            public_keys: public_keys.map(|(own, c2)| (*own.as_bytes(), *c2.as_bytes())),
        }
    }

    fn of_state(state: &State) -> Self {
        let spare = |entry: &Entry| {
            entry.spare.map(|spare| match spare {
                Spare::Previous(_, replaced) => e4::Spare::Previous { replaced: Timestamp::from_unix(replaced) },
                Spare::Next(_) => e4::Spare::Next,
            })
        };
        Self {
            id: cast::CLIENT,
            mode: match state.keys {
                OwnKeys::Symmetric(_) => Mode::Symmetric,
                OwnKeys::PublicKey { .. } => Mode::PublicKey,
            },
            topics: state.topics.iter().map(|(topic, entry)| (*topic, spare(entry))).collect(),
            peers: state.peers.clone(),
            newest_command: state.newest.as_ref().map(|(newest, _)| *newest),
            max_ages: state.ages.clone(),
            options: state.options,
            public_keys: match state.keys {
                OwnKeys::Symmetric(_) => None,
                OwnKeys::PublicKey { seed, c2 } => Some((cast::public(cast::seed_number(&seed).unwrap()), c2)),
            },
        }
    }
}

pub(crate) struct World<R: KeyRing> {
    /// `None` only while it restarts.
    client: Option<Client<R, TestStore, TestClock>>,
    model: Model,
    clock: TestClock,
    store: TestStore,
    lane: Lane,
    /// What was last found in the store, with what the model has there.
    looked_at: Option<(Vec<u8>, State)>,
    /// Everything that was ever delivered or sealed, with its topic.
    history: Vec<(String, Vec<u8>)>,
}

impl<R: KeyRing> World<R> {
    pub(crate) fn new(mode: Mode, start: &Start, room: Room) -> Self {
        let (state, builder) = start_of(mode, start);
        let reading = if start.has_clock { time(cast::START) } else { ClockReading::Uptime(1000) };
        let clock = TestClock(Rc::new(Cell::new(reading)));
        let store = TestStore::default();
        store.0.borrow_mut().works = true;
        let client = builder.first_start().create_with(store.clone(), clock.clone()).unwrap();
        let model = Model::new(state, room);
        Self { client: Some(client), model, clock, store, lane: Lane::new(), looked_at: None, history: Vec::new() }
    }

    pub(crate) fn play(&mut self, step: &Step) -> Checked {
        self.store.0.borrow_mut().works = step.store_works;
        self.act(step)?;
        self.compare(step.look_at)
    }

    fn act(&mut self, step: &Step) -> Checked {
        let at = self.moment();
        let (topics, filters) = (cast::delivery_topics(), cast::filters());
        match &step.action {
            Action::Command { body, sent, under } => {
                let body = body_bytes(body, &|when| self.resolve(when));
                let wire = seal(&self.command_key(*under), self.resolve(*sent), &body);
                self.deliver(control_topic(&cast::CLIENT), wire, step.open_by)?;
            }
            Action::Commands { count, sent } => {
                let sent = self.resolve(*sent);
                for n in 0..*count {
                    let removal = [vec![0], vec![n as u8; 16]].concat();
                    let wire = seal(&self.model.command_key(), sent, &removal);
                    self.deliver(control_topic(&cast::CLIENT), wire, step.open_by)?;
                }
            }
            Action::ByLane { count } => self.by_lane(*count, step)?,
            Action::Message { topic, payload: n, sent, key, signer, damage } => {
                let topic = &topics[*topic];
                let key = self.topic_key(topic, *key);
                let mut wire = self.sealed_by_peer(&key, self.resolve(*sent), *signer, &payload(*n));
                inflict(*damage, &mut wire);
                self.deliver(topic.clone(), wire, step.open_by)?;
            }
            Action::Messages { topic, count, sent } => {
                let topic = &topics[*topic];
                let (key, sent) = (self.topic_key(topic, TopicKeyChoice::Current), self.resolve(*sent));
                for n in 0..*count {
                    let wire =
                        self.sealed_by_peer(&key, sent, Signer { peer: n % 2, seed: n % 2 }, &payload(10 + n / 2));
                    self.deliver(topic.clone(), wire, step.open_by)?;
                }
            }
            Action::Redeliver { which, topic } => {
                if let Some((own, wire)) = self.history.iter().rev().nth(*which).cloned() {
                    self.deliver(topic.map_or(own, |n| topics[n].clone()), wire, step.open_by)?;
                }
            }
            Action::Garbage { topic, bytes } => self.deliver(topics[*topic].clone(), bytes.clone(), step.open_by)?,
            Action::Seal { topic, payload: n } => self.seal(&topics[*topic], &payload(*n))?,
            Action::MoveClock(seconds) => self.move_clock(*seconds),
            Action::SetOptions(options) => {
                let expected = self.model.set_options(*options, at);
                prop_assert_eq!(self.client_mut().set_options(*options), expected);
            }
            Action::SetMaxAge(filter, age) => {
                let filter = TopicFilter::new(&filters[*filter]).unwrap();
                let expected = self.model.set_max_age(filter.as_str(), *age, at);
                prop_assert_eq!(self.client_mut().set_max_age(&filter, *age), expected);
            }
            Action::RemoveMaxAge(filter) => {
                let filter = TopicFilter::new(&filters[*filter]).unwrap();
                let expected = self.model.remove_max_age(filter.as_str(), at);
                prop_assert_eq!(self.client_mut().remove_max_age(&filter), expected);
            }
            Action::RefuseSentUntil(second) => {
                let second = self.resolve(*second);
                self.model.refuse_sent_until(second);
                self.client_mut().refuse_sent_until(Timestamp::from_unix(second));
            }
            Action::EraseExpiredKeys => {
                let expected = self.model.erase_expired(at);
                prop_assert_eq!(self.client_mut().erase_expired_keys(), expected);
            }
            Action::Restart => {
                self.model.restart(at);
                let store = self.client.take().unwrap().into_store();
                self.client = Some(Client::load_with(store, self.clock.clone()).unwrap());
            }
        }
        Ok(())
    }

    /// Delivers something to the client and to the model.
    /// Commands with a second of their own in a lane that is told what the client reports: all come in order.
    fn by_lane(&mut self, count: usize, step: &Step) -> Checked {
        let newest = self.model.state.newest.as_ref().map_or(0, |(newest, _)| *newest);
        self.lane.observe(Timestamp::from_unix(newest));
        let now = Timestamp::from_unix(self.model.now(self.clock.read()).unwrap_or(cast::START));
        // None, for instance, if it would run too far ahead.
        let Ok(sent) = self.lane.reserve_alone(count, now) else {
            return Ok(());
        };
        for n in 0..count {
            let removal = [vec![0], vec![n as u8; 16]].concat();
            let wire = seal(&self.model.command_key(), sent.as_unix(), &removal);
            self.deliver(control_topic(&cast::CLIENT), wire, step.open_by)?;
            prop_assert!(!step.store_works || self.client().newest_command() == Some(sent), "a lane keeps the order");
        }
        Ok(())
    }

    fn deliver(&mut self, topic: String, wire: Vec<u8>, open_by: OpenBy) -> Checked {
        let expected = self.model.open(&topic, &wire, self.moment());
        let (opened, buffer) = open(self.client_mut(), &topic, &wire, open_by);
        let is_readable = buffer.windows(READABLE.len()).any(|window| window == READABLE);
        prop_assert!(opened.is_ok() || !is_readable, "a refused message is left to read");
        prop_assert_eq!(opened, expected, "on {:?} came {}", topic, hex::encode(&wire));
        self.history.push((topic, wire));
        Ok(())
    }

    fn seal(&mut self, topic: &str, payload: &[u8]) -> Checked {
        let expected = self.model.seal(topic, payload, self.moment());
        let sealed = self.client().seal(topic, payload);
        prop_assert_eq!(&sealed, &expected, "sealing on {:?}", topic);
        self.history.extend(sealed.map(|sealed| (topic.to_owned(), sealed)));
        Ok(())
    }

    fn move_clock(&mut self, seconds: i64) {
        self.clock.0.set(match self.clock.read() {
            ClockReading::Time(now) => time(now.as_unix().saturating_add_signed(seconds)),
            // What counts since the start only goes forwards.
            ClockReading::Uptime(uptime) => ClockReading::Uptime(uptime + seconds.unsigned_abs()),
        });
    }

    /// Compares all that can be seen, the current key of a topic, and what is stored.
    fn compare(&mut self, look_at: Option<usize>) -> Checked {
        let (client, at) = (self.client(), self.moment());
        prop_assert_eq!(client.now().map(Timestamp::as_unix), self.model.now(at.clock));
        prop_assert_eq!(Visible::of_client(client), Visible::of_state(&self.model.state));
        prop_assert_eq!(client.report(), self.model.report(at));
        if let Some(topic) = look_at.map(|n| cast::TOPICS[n]) {
            prop_assert_eq!(client.seal(topic, b""), self.model.seal(topic, b"", at), "{}", topic);
        }
        self.compare_store()
    }

    fn compare_store(&mut self) -> Checked {
        let bytes = self.store.0.borrow().saved.clone().unwrap();
        let now = (bytes, self.model.saved.clone());
        if self.looked_at.as_ref() == Some(&now) {
            return Ok(());
        }
        let (bytes, saved) = &now;

        // Exactly the secrets that should be there: nothing is missing, nothing lingers.
        let expected = secrets(saved);
        let all = (0..cast::KEYS).map(cast::key).chain((0..cast::SEEDS).map(cast::seed));
        for secret in all {
            let is_stored = bytes.windows(32).any(|window| window == secret);
            prop_assert_eq!(is_stored, expected.contains(&secret), "stored: {}", hex::encode(secret));
        }

        // What a client without any time, which erases nothing, reads there.
        let store = TestStore(Rc::new(RefCell::new(Shelf { saved: Some(bytes.clone()), works: false })));
        let clock = TestClock(Rc::new(Cell::new(ClockReading::Uptime(0))));
        let reader = Client::<R, _, _>::load_with(store, clock).unwrap();
        prop_assert_eq!(Visible::of_client(&reader), Visible::of_state(saved), "stored");
        let at = Moment { clock: ClockReading::Uptime(0), store_works: false };
        prop_assert_eq!(reader.report(), self.model.reloaded().report(at), "stored");
        self.looked_at = Some(now);
        Ok(())
    }

    fn moment(&self) -> Moment {
        Moment { clock: self.clock.read(), store_works: self.store.0.borrow().works }
    }

    fn client(&self) -> &Client<R, TestStore, TestClock> {
        self.client.as_ref().unwrap()
    }

    fn client_mut(&mut self) -> &mut Client<R, TestStore, TestClock> {
        self.client.as_mut().unwrap()
    }

    fn resolve(&self, when: When) -> u64 {
        let now = self.model.now(self.clock.read()).unwrap_or(cast::START);
        match when {
            When::Now(seconds) => now.saturating_add_signed(seconds),
            When::NewestCommand(seconds) => {
                let newest = self.model.state.newest.as_ref().map(|(newest, _)| *newest);
                newest.unwrap_or(now).saturating_add_signed(seconds)
            }
            When::Unix(second) => second,
        }
    }

    fn command_key(&self, choice: CommandKey) -> Key {
        match choice {
            CommandKey::Right => self.model.command_key(),
            CommandKey::Symmetric(n) => cast::key(n),
            CommandKey::Control { seed, c2 } => cast::control_key_of(seed, c2),
        }
    }

    /// The chosen key; where the client does not have it, its current key or any.
    fn topic_key(&self, topic: &str, choice: TopicKeyChoice) -> Key {
        let held = self.model.keys_for(topic);
        let current = held.as_ref().map_or(cast::key(0), |entry| entry.key);
        let chosen = match choice {
            TopicKeyChoice::Current => None,
            TopicKeyChoice::Spare => held.and_then(|entry| entry.spare).map(Spare::key),
            TopicKeyChoice::Exact(n) => Some(cast::key(n)),
            TopicKeyChoice::Below { subtree, key } => {
                let prefix = cast::SUBTREES[subtree].trim_end_matches('#');
                let below = topic.strip_prefix(prefix);
                below.map(|below| derive_topic_key(&cast::key(key), &below.split('/').collect::<Vec<_>>()))
            }
        };
        chosen.unwrap_or(current)
    }

    fn sealed_by_peer(&self, key: &Key, sent: u64, signer: Signer, payload: &[u8]) -> Vec<u8> {
        match self.model.state.keys {
            OwnKeys::Symmetric(_) => seal(key, sent, payload),
            OwnKeys::PublicKey { .. } => {
                seal_signed(key, sent, &cast::peer(signer.peer), &cast::seed(signer.seed), payload)
            }
        }
    }
}

/// The same start for the model and for the client.
fn start_of<R: KeyRing>(mode: Mode, start: &Start) -> (State, ClientBuilder<R>) {
    let id = ClientId::from_bytes(cast::CLIENT);
    let (seed, c2) = (cast::seed(cast::SEEDS - 1), cast::c2_public(0));
    let (keys, identity) = match mode {
        Mode::Symmetric => {
            let key = ClientKey::from_bytes(&cast::key(cast::KEYS)).unwrap();
            (OwnKeys::Symmetric(cast::key(cast::KEYS)), Identity::symmetric(id, key))
        }
        Mode::PublicKey => {
            let signing = SigningKey::from_seed(&seed).unwrap();
            let identity = Identity::public_key(id, signing, C2PublicKey::from_bytes(&c2).unwrap()).unwrap();
            (OwnKeys::PublicKey { seed, c2 }, identity)
        }
    };
    let mut state = State {
        keys,
        options: start.options,
        ages: BTreeMap::new(),
        topics: BTreeMap::new(),
        peers: BTreeMap::new(),
        newest: None,
        latest: None,
        refused: None,
    };
    let mut builder = ClientBuilder::new(identity).options(start.options);
    let topic_key = |n| TopicKey::from_bytes(&cast::key(n)).unwrap();
    for topic in &start.topics {
        let hash = short_hash(&cast::places()[topic.place]);
        let replaced = |ago: i64| cast::START.saturating_add_signed(-ago);
        let spare = topic.previous.map(|(key, ago)| Spare::Previous(cast::key(key), replaced(ago)));
        state.topics.insert(hash, Entry { key: cast::key(topic.key), spare });
        let hash = TopicHash::from_bytes(hash);
        builder = match topic.previous {
            None => builder.topic_key(&hash, topic_key(topic.key)).unwrap(),
            Some((previous, ago)) => {
                let replaced = Timestamp::from_unix(cast::START.saturating_add_signed(-ago));
                builder.topic_key_with_previous(&hash, topic_key(topic.key), topic_key(previous), replaced).unwrap()
            }
        };
    }
    for n in 0..if mode == Mode::PublicKey { start.peers } else { 0 } {
        state.peers.insert(cast::peer(n), cast::public(n));
        let public = VerifyingKey::from_bytes(&cast::public(n)).unwrap();
        builder = builder.peer(ClientId::from_bytes(cast::peer(n)), public).unwrap();
    }
    (state, builder)
}

/// Opens by one of the three calls; returns the buffer as well, as it was left.
fn open<R: KeyRing>(
    client: &mut Client<R, TestStore, TestClock>,
    topic: &str,
    wire: &[u8],
    by: OpenBy,
) -> (Result<Outcome, OpenError>, Vec<u8>) {
    let mut buffer = match by {
        OpenBy::Vec | OpenBy::Into => vec![0; wire.len()],
        OpenBy::InPlace => wire.to_vec(),
    };
    let opened = match by {
        OpenBy::Vec => client.open(topic, wire).map(outcome),
        OpenBy::Into => client.open_into(topic, wire, &mut buffer).map(outcome),
        // By handle where there can be one.
        OpenBy::InPlace => match Topic::new(topic) {
            Ok(topic) => client.open_in_place(&topic, &mut buffer).map(outcome),
            Err(_) => client.open_in_place(topic, &mut buffer).map(outcome),
        },
    };
    (opened, buffer)
}

fn outcome<P: AsRef<[u8]>>(opened: Opened<P>) -> Outcome {
    match opened {
        Opened::Command(applied) => Outcome::Command(applied),
        Opened::Message(message) => Outcome::Message {
            payload: message.payload.as_ref().to_vec(),
            sent: message.sent.as_unix(),
            age: message.age,
            signer: message.signer.map(|signer| *signer.as_bytes()),
            key: message.key,
            repeated: message.repeated,
        },
    }
}

/// Every secret that a state holds.
fn secrets(state: &State) -> Vec<Key> {
    let own = match state.keys {
        OwnKeys::Symmetric(key) => key,
        OwnKeys::PublicKey { seed, .. } => seed,
    };
    let topics = || state.topics.values();
    let spare = topics().filter_map(|entry| entry.spare).map(Spare::key);
    topics().map(|entry| entry.key).chain(spare).chain([own]).collect()
}

fn payload(n: usize) -> Vec<u8> {
    if n == 0 { Vec::new() } else { [READABLE, &[n as u8].repeat(n * 7)].concat() }
}

fn inflict(damage: Damage, wire: &mut Vec<u8>) {
    match damage {
        Damage::None => {}
        Damage::CutTo(len) => wire.truncate(len),
        Damage::FlipBit(n) => {
            let at = n % (wire.len() * 8);
            wire[at / 8] ^= 1 << (at % 8);
        }
        Damage::MalleatedSignature => {
            let scalar = wire.len().saturating_sub(32);
            let mut carry = 0;
            for (byte, order) in wire[scalar..].iter_mut().zip(GROUP_ORDER) {
                let sum = u16::from(*byte) + u16::from(order) + carry;
                *byte = sum as u8;
                carry = sum >> 8;
            }
        }
    }
}

/// The order of the group of Ed25519, 2^252 + 27742317777372353535851937790883648493, little-endian.
const GROUP_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

fn time(unix: u64) -> ClockReading {
    ClockReading::Time(Timestamp::from_unix(unix))
}

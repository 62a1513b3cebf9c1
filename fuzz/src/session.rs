//! The life of one client, played from the input next to a plain model of it.
//!
//! The first byte of the input chooses the mode, the key ring, the kind of clock, and whether the client refuses
//! commands from before its making. Each step then begins with a byte
//! whose low half says what happens and whose high half varies it.
//!
//! What must hold beside the model: no message is accepted twice while there is a limit on its age and no restart, no
//! command ever, an error leaves everything as it was but for the refusal that is reported, and what was stored is what a
//! restart brings back. After commands and restarts the client reports what the model says, byte for byte.

mod model;
mod steps;

use crate::{
    Input,
    calls::{self, Outcome},
    reference::{self, Parts, Receiver},
    world::{self, TestClock, TestStore},
};
use e4::{
    AppliedCommand, Client, ClientBuilder, GrowableKeyRing, KeyRing, MaxAge, Mode, OpenError, Refusal, Repeated,
    controller::Lane,
};
use model::{Capacity, Model, SmallKeyRing};
use std::collections::BTreeSet;

const START: u64 = 1_700_000_000;
const MAX_STEPS: usize = 100;

pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let flags = input.byte();
    let mode = if flags & 1 == 0 { Mode::Symmetric } else { Mode::PublicKey };
    let clock = if flags & 2 == 0 { TestClock::new(true, START) } else { TestClock::new(false, 100) };
    let refused_until = (flags & 8 != 0).then_some(START - 1);
    if flags & 4 == 0 {
        Session::<GrowableKeyRing>::new(mode, clock, Capacity::GROWABLE, refused_until).play(&mut input);
    } else {
        Session::<SmallKeyRing>::new(mode, clock, Capacity::SMALL, refused_until).play(&mut input);
    }
}

type TestClient<R> = Client<R, TestStore, TestClock>;

struct Session<R: KeyRing> {
    client: TestClient<R>,
    clock: TestClock,
    store: TestStore,
    model: Model,
    /// The key server's order of commands.
    lane: Lane,
    /// The model as it was saved last.
    saved: (Option<Vec<u8>>, Model),
    /// The second up to which the application refuses messages.
    floor: Option<u64>,
    /// Whether the client takes the time from SetTime only.
    told: bool,
    /// Everything that was ever sealed, with its topic, to be delivered again.
    sealed: Vec<(String, Vec<u8>)>,
    accepted_commands: BTreeSet<Vec<u8>>,
    /// Accepted since the last restart, with a limit on their age: topic and message without its signature.
    accepted_messages: BTreeSet<(String, Vec<u8>)>,
}

impl<R: KeyRing> Session<R> {
    fn new(mode: Mode, clock: TestClock, capacity: Capacity, refused_until: Option<u64>) -> Self {
        let (store, mut model) = (TestStore::default(), Model::new(mode, capacity));
        let mut builder = ClientBuilder::<R>::new(world::identity(mode)).first_start();
        if let Some(second) = refused_until {
            builder = builder.refuse_commands_until(e4::Timestamp::from_unix(second));
            model.newest = Some(second + 1);
        }
        let client = builder.create_with(store.clone(), clock.clone()).unwrap();
        Self {
            client,
            clock,
            saved: (store.saved(), model.clone()),
            store,
            model,
            lane: Lane::new(),
            floor: None,
            told: false,
            sealed: Vec::new(),
            accepted_commands: BTreeSet::new(),
            accepted_messages: BTreeSet::new(),
        }
    }

    fn play(mut self, input: &mut Input<'_>) {
        for _ in 0..MAX_STEPS {
            if input.is_empty() {
                break;
            }
            self.step(input);
            self.compare();
        }
        self.store.fail_after(None);
        self.compare_report();
        self.restart(0);
        self.compare();
    }

    /// The client's time, when it knows it.
    fn now(&self) -> Option<u64> {
        self.client.now().map(e4::Timestamp::as_unix)
    }

    /// The client says what the model knows. Not after each step: hashes take long here, and only commands and restarts change
    /// what is said.
    fn compare_report(&self) {
        let (client, model) = (&self.client, &self.model);
        let body = model.report(self.clock.has_time, self.now().is_some());
        let sent = self.now().or(model.newest).unwrap_or(0);
        assert_eq!(client.report(), reference::seal(&reference::report_key(&model.command_key), sent, &body));
    }

    /// The client knows what the model knows, and has stored it.
    fn compare(&mut self) {
        let (client, model) = (&self.client, &self.model);
        let mut topics: Vec<_> = client.topics().map(|(id, spare)| (*id.as_bytes(), spare)).collect();
        topics.sort_unstable_by_key(|(id, _)| *id);
        let expected = model.topics.iter().map(|(id, topic)| (*id, topic.spare.map(|(_, role)| role)));
        assert!(topics.into_iter().eq(expected));
        let mut peers: Vec<_> = client.peers().map(|(id, key)| (*id.as_bytes(), *key.as_bytes())).collect();
        peers.sort_unstable();
        assert!(peers.into_iter().eq(model.peers.iter().map(|(id, key)| (*id, *key))));
        assert_eq!(client.newest_command().map(e4::Timestamp::as_unix), model.newest);
        assert_eq!(*client.options(), model.options);
        // Their order means nothing: one that could not be removed comes back as the last.
        let mut rules: Vec<_> = client.max_ages().collect();
        rules.sort_unstable();
        let mut expected: Vec<_> = model.rules.iter().map(|(filter, age)| (filter.as_str(), *age)).collect();
        expected.sort_unstable();
        assert_eq!(rules, expected);
        assert_eq!(client.mode(), model.mode);
        if model.mode == Mode::PublicKey {
            assert_eq!(*client.verifying_key().unwrap().as_bytes(), model.public);
            assert_eq!(*client.c2_key().unwrap().as_bytes(), model.c2);
        }
        let saved = self.store.saved();
        assert!(saved.iter().all(|saved| saved.len() <= model.capacity.state_len));
        if saved != self.saved.0 {
            self.saved = (saved, self.model.clone());
        }
    }

    /// Takes up the client from its store, by one of the two calls.
    fn restart(&mut self, call: u8) {
        let (store, clock) = (self.store.clone(), self.clock.clone());
        self.client = if call.is_multiple_of(2) {
            TestClient::load_with(store, clock).unwrap()
        } else {
            ClientBuilder::new(world::identity(self.model.mode)).load_or_create_with(store, clock).unwrap()
        };
        self.model = self.saved.1.clone();
        // What anybody can bring about, and what could not be stored, is not stored.
        self.model.command_waits = false;
        self.model.refused = self.model.refused.filter(|(why, _)| *why < 6);
        let now = self.now();
        self.model.erase_expired(now);
        self.floor = None;
        self.told = false;
        self.accepted_messages.clear();
        self.compare_report();
    }

    /// Brings what was sealed to the client, by one of the calls.
    fn deliver(&mut self, topic: &str, message: &[u8], call: u8) {
        if topic == self.client.control_topic().as_str() {
            self.deliver_command(topic, message, call);
            self.compare_report();
        } else {
            self.deliver_message(topic, message, call);
        }
    }

    fn deliver_command(&mut self, topic: &str, message: &[u8], call: u8) {
        let (now, has_clock) = (self.now(), self.clock.has_time);
        self.model.erase_expired(now);
        let saved_before = self.store.saved();
        let expected = self.model.judge_command(message, now, has_clock);
        match (calls::open(&mut self.client, topic, message, call), expected) {
            (Ok(Outcome::Command(applied)), Ok(body)) => {
                assert!(!self.store.fails() && self.store.saved() != saved_before);
                let sent = Parts::split(Mode::Symmetric, message).unwrap().sent;
                let set_time = if let AppliedCommand::SetTime(time) = applied { Some(time.as_unix()) } else { None };
                let changed_at = match (now, set_time) {
                    (Some(now), _) if has_clock => now,
                    (_, Some(time)) => time,
                    (Some(now), None) if self.told => now,
                    (now, None) => now.map_or(sent, |now| now.max(sent)),
                };
                self.told = self.told && now.is_some() || set_time.is_some();
                self.model.age_previous(changed_at);
                self.model.apply(message, &body, changed_at);
                assert_eq!(self.now(), Some(changed_at));
                self.model.erase_expired(self.now());
                if now.is_none() {
                    self.forget_the_future();
                }
                self.accept_command(message, &body, &applied);
            }
            (Err(error @ OpenError::Store(_)), Ok(_)) => {
                assert!(self.store.fails());
                self.refuse_command(message, &error);
            }
            (Err(error), Err(expected)) => {
                assert_eq!(error, expected);
                self.refuse_command(message, &error);
            }
            (outcome, expected) => panic!("{outcome:?} instead of {expected:?}"),
        }
    }

    /// An authentic command that is not applied is reported.
    fn refuse_command(&mut self, message: &[u8], error: &OpenError) {
        let is_authentic = self.client.is_authentic_command(message);
        assert_eq!(is_authentic, !matches!(error, OpenError::Refused(Refusal::TooShort | Refusal::NotAuthentic)));
        if is_authentic {
            self.model.refuse(Parts::split(Mode::Symmetric, message).unwrap().sent, error);
        }
    }

    fn deliver_message(&mut self, topic: &str, message: &[u8], call: u8) {
        let now = self.now();
        self.model.erase_expired(now);
        let max_age = self.model.max_age(topic);
        let receiver = Receiver {
            mode: self.model.mode,
            now,
            max_age,
            max_ahead: self.model.options.max_ahead,
            keys: self.model.keys_of(topic, now),
            peers: &self.model.peers,
        };
        match (calls::open(&mut self.client, topic, message, call), receiver.open(message)) {
            (Ok(Outcome::Message { message: opened, repeated }), Ok(expected)) => {
                assert_eq!(opened, expected);
                self.accept_message(topic, message, max_age, opened.sent, repeated);
            }
            (Err(OpenError::Refused(refusal)), Ok(_)) => self.check_replay_refusal(topic, message, max_age, refusal),
            (Err(error), Err(expected)) => assert_eq!(error, OpenError::Refused(expected)),
            (outcome, expected) => panic!("{outcome:?} instead of {expected:?}"),
        }
    }

    fn accept_command(&mut self, message: &[u8], body: &[u8], applied: &AppliedCommand) {
        assert!(self.accepted_commands.insert(message.to_vec()), "a command was accepted twice");
        let code = match applied {
            AppliedCommand::RemoveTopic(_) => 0x00,
            AppliedCommand::ResetTopics => 0x01,
            AppliedCommand::SetIdKey => 0x02,
            AppliedCommand::SetTopicKey(_) => 0x03,
            AppliedCommand::RemovePubKey(_) => 0x04,
            AppliedCommand::ResetPubKeys => 0x05,
            AppliedCommand::SetPubKey(_) => 0x06,
            AppliedCommand::SetC2Key => 0x07,
            AppliedCommand::SetNextTopicKey(_) => 0x08,
            AppliedCommand::ReplaceTopicKey(_) => 0x09,
            AppliedCommand::SetTime(_) => 0x0a,
            other => panic!("{other:?}"),
        };
        assert_eq!(code, body[0]);
    }

    /// When the time becomes known, the client lets go of messages that were dated far ahead.
    fn forget_the_future(&mut self) {
        let latest = self.now().unwrap().saturating_add(self.model.options.max_ahead);
        let sent = |message: &[u8]| u64::from_le_bytes(message[..8].try_into().unwrap());
        self.accepted_messages.retain(|(_, message)| sent(message) <= latest);
    }

    fn accept_message(&mut self, topic: &str, message: &[u8], max_age: MaxAge, sent: u64, repeated: bool) {
        let identity = self.identity(topic, message);
        if max_age == MaxAge::Any {
            assert!(!repeated);
        } else if repeated {
            assert_eq!(self.model.options.repeated, Repeated::Report);
            assert!(self.accepted_messages.contains(&identity));
        } else {
            assert!(self.floor.is_none_or(|floor| sent > floor));
            assert!(self.accepted_messages.insert(identity), "a message was accepted twice");
        }
    }

    /// A message that is good in itself is refused only when it was accepted before, or may have been.
    fn check_replay_refusal(&self, topic: &str, message: &[u8], max_age: MaxAge, refusal: Refusal) {
        assert_ne!(max_age, MaxAge::Any);
        let sent = Parts::split(self.model.mode, message).unwrap().sent;
        let was_accepted = self.accepted_messages.contains(&self.identity(topic, message));
        let is_below_floor = self.floor.is_some_and(|floor| sent <= floor);
        let may_have_forgotten = self.accepted_messages.len() > self.model.capacity.opened;
        match refusal {
            Refusal::Repeated => assert!(was_accepted && self.model.options.repeated == Repeated::Refuse),
            Refusal::BeyondReplayMemory => assert!(is_below_floor || may_have_forgotten),
            other => panic!("{other:?}"),
        }
    }

    fn identity(&self, topic: &str, message: &[u8]) -> (String, Vec<u8>) {
        (topic.into(), message[..message.len() - self.model.mode.trailer_len()].to_vec())
    }
}

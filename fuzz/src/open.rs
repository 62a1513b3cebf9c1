//! `open`, `open_into` and `open_in_place` against each other and against the second implementation.
//!
//! The input:
//!
//! ```text
//! offset 0       1       2            4            6          8              40 (signed only)     40 or 72
//!        place | flags | clock (i16) | turned (i16) | edits (u16) | topic key (32) | signer's key (32) | edits, text
//! ```
//!
//! `clock` is the client's time less the message's, `turned` the time at which the topic's key was replaced less the
//! client's. The text is a protected message as it is, or the payload of an authentic one that is edited then: so many
//! edits of an offset (u16) and a byte, which changes the byte there or, being zero, cuts the message off.
//!
//! | flag | set |
//! |---|---|
//! | 0 | the text is a payload |
//! | 1 | any age is allowed |
//! | 2 | repeated messages are reported |
//! | 3 | the device has no clock |
//! | 4 | sealed under the previous key, where there is one |
//! | 5 | sealed under a key that the client does not have |
//! | 6 | signed by another than it says |
//! | 7 | the client does not know the signer |

use crate::{
    Input,
    calls::{self, Outcome},
    reference::{self, Id, Key, Parts, Receiver},
    world::{self, CLIENT_KEY, TestClock},
};
use e4::{
    Client, ClientBuilder, ClientId, Command, CommandError, GrowableKeyRing, KeyRole, MaxAge, MemoryStore, Mode,
    OpenError, Options, Refusal, Repeated, SigningKey, Timestamp, Topic, VerifyingKey,
};
use std::sync::LazyLock;

type TestClient = Client<GrowableKeyRing, MemoryStore, TestClock>;

const SENT: u64 = 1_700_000_000;
const PEER: Id = *b"the sending one ";
const PEER_SEED: Key = [0x44; 32];

/// Where the message arrives.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// A topic with a key and nothing else.
    Exact,
    /// A topic whose key was replaced.
    Turned,
    /// A topic below a subtree that has a key.
    Below,
    /// A topic without a key.
    Unknown,
    /// The client's control topic.
    Control,
}

const PLACES: [Place; 5] = [Place::Exact, Place::Turned, Place::Below, Place::Unknown, Place::Control];
const SUBTREE: &str = "s/#";

impl Place {
    fn topic(self) -> String {
        match self {
            Self::Exact => "t/exact".into(),
            Self::Turned => "t/turned".into(),
            Self::Below => "s/a//b".into(),
            Self::Unknown => "unknown".into(),
            Self::Control => world::client_id().control_topic().as_str().into(),
        }
    }
}

type Expected = Result<reference::Message, Refusal>;

struct Case {
    mode: Mode,
    place: Place,
    topic: String,
    key: Key,
    previous: Key,
    replaced: u64,
    clock: TestClock,
    options: Options,
    peer: Option<(Id, VerifyingKey)>,
    message: Vec<u8>,
}

pub fn run(mode: Mode, input: &[u8]) {
    let case = Case::read(mode, &mut Input::new(input));
    if case.place == Place::Control {
        case.check_command();
    } else {
        case.check_message();
    }
}

impl Case {
    fn read(mode: Mode, input: &mut Input<'_>) -> Self {
        let place = input.choose(&PLACES);
        let flags = input.byte();
        let flag = |bit: u8| flags >> bit & 1 == 1;
        let is_authentic = flag(0);
        let mut options = Options::default();
        if flag(1) {
            options.max_age = MaxAge::Any;
        }
        if flag(2) {
            options.repeated = Repeated::Report;
        }
        let (clock_offset, replaced_offset, edits) = (input.i16(), input.i16(), input.u16());
        let key = world::usable(input.array());
        let previous = world::usable(key.map(|byte| byte.wrapping_add(1)));
        let foreign = world::usable(key.map(|byte| byte.wrapping_add(2)));

        let mut peer = PEER;
        let mut peer_key = peer_key();
        let signers_key = if mode == Mode::PublicKey { input.array() } else { [0; 32] };
        let message = if is_authentic {
            let edits: Vec<(u16, u8)> = (0..edits % 4).map(|_| (input.u16(), input.byte())).collect();
            let seal_key = match (place, flag(4), flag(5)) {
                (_, _, true) => foreign,
                (Place::Turned, true, _) => previous,
                (Place::Below, _, _) => below(&key),
                (Place::Control, _, _) => command_key(mode),
                _ => key,
            };
            let seed = if flag(6) { [0x55; 32] } else { PEER_SEED };
            let mut message = if mode == Mode::Symmetric || place == Place::Control {
                reference::seal(&seal_key, SENT, input.rest())
            } else {
                reference::seal_signed(&seal_key, SENT, &PEER, &seed, input.rest())
            };
            for (at, change) in edits {
                let at = usize::from(at) % message.len();
                if change == 0 { message.truncate(at.max(1)) } else { message[at] ^= change }
            }
            message
        } else {
            let message = input.rest().to_vec();
            if let Some(Parts { signed: Some((signer, ..)), .. }) = Parts::split(mode, &message) {
                peer = signer;
            }
            if let Ok(key) = VerifyingKey::from_bytes(&signers_key) {
                peer_key = key;
            }
            message
        };
        let sent = message.first_chunk().map_or(SENT, |sent| u64::from_le_bytes(*sent));
        let now = sent.saturating_add_signed(clock_offset.into());
        Self {
            mode,
            place,
            topic: place.topic(),
            key,
            previous,
            replaced: now.saturating_add_signed(replaced_offset.into()),
            clock: TestClock::new(!flag(3), now),
            options,
            peer: (mode == Mode::PublicKey && !flag(7)).then_some((peer, peer_key)),
            message,
        }
    }

    fn client(&self) -> TestClient {
        let hash = |topic: &str| *Topic::new(topic).unwrap().hash();
        let key = || world::topic_key(&self.key);
        let mut builder = ClientBuilder::new(world::identity(self.mode)).first_start().options(self.options);
        builder = builder.topic_key(&hash(&Place::Exact.topic()), key()).unwrap();
        builder = builder.topic_key(e4::Subtree::new(SUBTREE).unwrap().hash(), key()).unwrap();
        let (turned, previous) = (hash(&Place::Turned.topic()), world::topic_key(&self.previous));
        builder =
            builder.topic_key_with_previous(&turned, key(), previous, Timestamp::from_unix(self.replaced)).unwrap();
        if let Some((id, key)) = self.peer {
            builder = builder.peer(ClientId::from_bytes(id), key).unwrap();
        }
        builder.create_with(MemoryStore::new(), self.clock.clone()).unwrap()
    }

    fn now(&self) -> Option<u64> {
        self.clock.has_time.then(|| self.clock.get())
    }

    fn expected(&self) -> Expected {
        let is_in_transition = |now| reference::is_in_transition(self.replaced, now);
        let keys = match self.place {
            Place::Exact => Some((self.key, None)),
            Place::Turned => {
                let previous = (self.previous, KeyRole::Previous);
                Some((self.key, self.now().is_some_and(is_in_transition).then_some(previous)))
            }
            Place::Below => Some((below(&self.key), None)),
            Place::Unknown | Place::Control => None,
        };
        let peers = self.peer.iter().map(|(id, key)| (*id, *key.as_bytes())).collect();
        let Options { max_age, max_ahead, .. } = self.options;
        Receiver { mode: self.mode, now: self.now(), max_age, max_ahead, keys, peers: &peers }.open(&self.message)
    }

    /// By each of the calls: the message for the first time, and by the next call to the same client once more.
    fn check_message(&self) {
        let expected = self.expected();
        for call in 0..4 {
            let mut client = self.client();
            let first = calls::open(&mut client, &self.topic, &self.message, call);
            let second = calls::open(&mut client, &self.topic, &self.message, call + 1);
            match &expected {
                Ok(message) => {
                    assert_eq!(first.unwrap(), Outcome::Message { message: message.clone(), repeated: false });
                    self.check_second(second, message);
                }
                Err(refusal) => {
                    assert_eq!((first, &second), (Err((*refusal).into()), &Err((*refusal).into())));
                    assert_eq!(self.state_of(client), self.state_of(self.client()), "an error changes nothing");
                }
            }
        }
    }

    fn check_second(&self, second: calls::Result, message: &reference::Message) {
        let opened = |repeated| Ok(Outcome::Message { message: message.clone(), repeated });
        let expected = match (self.options.max_age, self.options.repeated) {
            (MaxAge::Any, _) => opened(false),
            (MaxAge::Seconds(_), Repeated::Report) => opened(true),
            (MaxAge::Seconds(_), Repeated::Refuse) => Err(Refusal::Repeated.into()),
        };
        assert_eq!(second, expected);
    }

    /// What a client has stored, once it has erased what has expired.
    fn state_of(&self, mut client: TestClient) -> Vec<u8> {
        client.erase_expired_keys().unwrap();
        client.into_store().as_bytes().unwrap().to_vec()
    }

    /// On the control topic every call takes it for a command.
    fn check_command(&self) {
        let mut client = self.client();
        let applied = calls::open(&mut client, &self.topic, &self.message, 0);
        for call in 1..4 {
            assert_eq!(calls::open(&mut self.client(), &self.topic, &self.message, call), applied);
        }

        let parts = Parts::split(Mode::Symmetric, &self.message);
        let body = parts.as_ref().and_then(|parts| parts.open(&command_key(self.mode)));
        match (&applied, body) {
            (Ok(Outcome::Command(_)), Some(body)) => {
                Command::decode(&body).unwrap();
                let newest = Some(Timestamp::from_unix(parts.unwrap().sent));
                assert_eq!(client.newest_command(), newest);
                self.check_second_command(&mut client, &body);
            }
            (Err(OpenError::Refused(Refusal::Command(CommandError::NotATime))), Some(_)) => {
                assert!(parts.is_some_and(|parts| parts.sent >= 1 << 33));
            }
            (
                Err(OpenError::Refused(Refusal::Command(
                    CommandError::WrongMode
                    | CommandError::ControlTopic
                    | CommandError::SharedKey
                    | CommandError::NoCurrentKey,
                ))),
                Some(body),
            ) => {
                Command::decode(&body).unwrap();
            }
            (Err(OpenError::Refused(Refusal::Command(error))), Some(body)) => {
                assert_eq!(Command::decode(&body).unwrap_err(), *error);
            }
            (Err(OpenError::Refused(Refusal::NotAuthentic)), None) => assert!(parts.is_some()),
            (Err(OpenError::Refused(Refusal::NotAuthentic)), Some(body)) => assert!(body.len() > 65),
            (Err(OpenError::Refused(Refusal::TooShort)), None) => assert!(parts.is_none()),
            (other, _) => panic!("{other:?}"),
        }
        match applied {
            Ok(_) => {}
            // It remembers that for its report.
            Err(OpenError::Refused(Refusal::Command(_))) => {
                assert_eq!(held(client), held(self.client()), "a refused command changes no key");
            }
            Err(_) => assert_eq!(self.state_of(client), self.state_of(self.client()), "an error changes nothing"),
        }
    }

    /// A command that replaces the key of commands makes itself unreadable; any other is repeated.
    fn check_second_command(&self, client: &mut TestClient, body: &[u8]) {
        let second = client.open(&self.topic, &self.message).unwrap_err();
        let may_be_unreadable = matches!(body[0], 0x02 | 0x07) && second == OpenError::Refused(Refusal::NotAuthentic);
        assert!(may_be_unreadable || second == OpenError::Refused(Refusal::Repeated), "{second:?}");
    }
}

/// All that a client holds, once it has erased what has expired.
fn held(mut client: TestClient) -> String {
    client.erase_expired_keys().unwrap();
    let topics: Vec<_> = client.key_fingerprints().collect();
    let peers: Vec<_> = client.peers().collect();
    format!("{:?} {topics:?} {peers:?} {:?}", client.newest_command(), client.verifying_key())
}

fn below(key: &Key) -> Key {
    reference::topic_key_at(&reference::key_below(key, Place::Below.topic().strip_prefix("s/")))
}

fn command_key(mode: Mode) -> Key {
    static CONTROL_KEY: LazyLock<Key> =
        LazyLock::new(|| reference::control_key(&world::SEED, &reference::x25519_public(&world::C2_SECRET)));
    match mode {
        Mode::Symmetric => CLIENT_KEY,
        Mode::PublicKey => *CONTROL_KEY,
    }
}

fn peer_key() -> VerifyingKey {
    static PEER_KEY: LazyLock<VerifyingKey> =
        LazyLock::new(|| SigningKey::from_seed(&PEER_SEED).unwrap().verifying_key());
    *PEER_KEY
}

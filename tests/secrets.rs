//! Secrets are never printed, wiped when they are dropped, compared as a whole, and never all zero; everything can be
//! shared between threads; every error says what to do.
#![cfg(all(feature = "std", feature = "getrandom"))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

use core::{convert::Infallible, error::Error, fmt::Debug};
use e4::{
    AppliedCommand, C2PublicKey, C2SecretKey, Client, ClientBuilder, ClientId, ClientKey, Clock, ClockReading, Command,
    CommandError, ControlTopic, CreateError, EncodedCommand, FileStore, FixedKeyRing, Full, GrowableKeyRing, Identity,
    KeyError, LoadError, MaxAge, MemoryStore, Message, Mode, NameError, OpenError, Opened, Options, Refusal, Repeated,
    ReportTopic, RootKey, SealError, SetMaxAgeError, SigningKey, Snapshot, StateError, StorageKey, Store, StoreError,
    Subtree, SubtreeKey, SystemClock, Timestamp, Topic, TopicFilter, TopicHash, TopicKey, VerifyingKey,
    controller::{
        Lane, LaneError, LastReport, OlderReport, Recipient, Report, ReportError, SealCommandsError, SealedCommand,
        StateDigest, StateEntry,
    },
    rand_core::{TryCryptoRng, TryRng},
};
use zeroize::ZeroizeOnDrop;

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

/// What the secret keys have in common, so that each property is checked for all of them.
trait Secret: Sized + Clone + Debug + Eq + ZeroizeOnDrop {
    const DEBUG: &str;
    fn read(bytes: &[u8; 32]) -> Result<Self, KeyError>;
    fn bytes(&self) -> &[u8; 32];
    fn draw() -> Self;
    fn draw_from(rng: &mut Draws) -> Result<Self, KeyError>;
}

macro_rules! secret {
    ($name:ident, $read:ident, $bytes:ident) => {
        impl Secret for $name {
            const DEBUG: &str = concat!(stringify!($name), "(..)");

            fn read(bytes: &[u8; 32]) -> Result<Self, KeyError> {
                Self::$read(bytes)
            }

            fn bytes(&self) -> &[u8; 32] {
                self.$bytes()
            }

            fn draw() -> Self {
                Self::generate().unwrap()
            }

            fn draw_from(rng: &mut Draws) -> Result<Self, KeyError> {
                Self::generate_with_rng(rng)
            }
        }
    };
}
secret!(TopicKey, from_bytes, as_bytes);
secret!(SubtreeKey, from_bytes, as_bytes);
secret!(RootKey, from_bytes, as_bytes);
secret!(ClientKey, from_bytes, as_bytes);
secret!(StorageKey, from_bytes, as_bytes);
secret!(C2SecretKey, from_bytes, as_bytes);
secret!(SigningKey, from_seed, as_seed);

/// Calls a generic function for every type of secret key.
macro_rules! for_every_secret {
    ($check:ident) => {
        $check::<TopicKey>();
        $check::<SubtreeKey>();
        $check::<RootKey>();
        $check::<ClientKey>();
        $check::<StorageKey>();
        $check::<C2SecretKey>();
        $check::<SigningKey>();
    };
}

/// A random generator that draws the same byte for ever.
struct Draws(u8);

impl TryRng for Draws {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes([self.0; 4]))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes([self.0; 8]))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill(self.0);
        Ok(())
    }
}

impl TryCryptoRng for Draws {}

/// 32 bytes, all different, that no name in these tests has next to each other.
fn secret_bytes() -> [u8; 32] {
    core::array::from_fn(|at| 200 + u8::try_from(at).unwrap())
}

fn secret<S: Secret>() -> S {
    S::read(&secret_bytes()).unwrap()
}

/// The value as it prints; fails if that shows two bytes of the secret, as hexadecimal digits or as numbers.
#[track_caller]
fn printed(value: &impl Debug) -> String {
    let line = format!("{value:?}");
    let lines: String = format!("{value:#?}").split_whitespace().collect();
    for shown in [&line, &lines] {
        for pair in secret_bytes().windows(2) {
            let hexadecimal = format!("{:02x}{:02x}", pair[0], pair[1]);
            let decimal = format!("{},{}", pair[0], pair[1]);
            assert!(!shown.to_lowercase().contains(&hexadecimal), "{shown}");
            assert!(!shown.replace(' ', "").contains(&decimal), "{shown}");
        }
    }
    line
}

#[test]
fn keys_do_not_print() {
    fn check<S: Secret>() {
        assert_eq!(printed(&secret::<S>()), S::DEBUG);
    }
    for_every_secret!(check);
}

fn id() -> ClientId {
    ClientId::from_bytes([0x0a; 16])
}

const ID: &str = "ClientId(0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a)";

fn symmetric() -> Identity {
    Identity::symmetric(id(), secret())
}

fn public_key() -> Identity {
    Identity::public_key(id(), secret(), C2SecretKey::read(&[1; 32]).unwrap().public_key()).unwrap()
}

#[test]
fn identities_do_not_print_their_keys() {
    let control = id().control_topic().hash();
    assert_eq!(
        printed(&symmetric()),
        format!("Identity {{ id: {ID}, control: {control:?}, keys: Symmetric(ClientKey(..)) }}")
    );
    let c2 = C2SecretKey::read(&[1; 32]).unwrap().public_key();
    assert_eq!(
        printed(&public_key()),
        format!(
            "Identity {{ id: {ID}, control: {control:?}, \
             keys: PublicKey {{ signing: SigningKey(..), c2: {c2:?}, control: ControlKey(..) }} }}"
        )
    );
}

/// A topic key that is not the client's own.
fn another_key() -> TopicKey {
    TopicKey::from_bytes(&[0x77; 32]).unwrap()
}

#[test]
fn clients_do_not_print_their_keys() {
    let topic = Topic::new("plant/7/pump/pressure").unwrap();
    let builder = Client::builder(symmetric()).topic_key(topic.hash(), another_key()).unwrap();
    assert_eq!(printed(&builder), format!("ClientBuilder {{ id: {ID}, .. }}"));
    let client = builder.create(MemoryStore::new()).unwrap();
    assert_eq!(printed(&client), format!("Client {{ id: {ID}, mode: Symmetric, topics: 1, peers: 0, .. }}"));

    let peer = secret::<SigningKey>().verifying_key();
    let builder = ClientBuilder::<FixedKeyRing<2, 1, 0>>::new(public_key()).peer(id(), peer).unwrap();
    let client = builder.create_with(MemoryStore::new(), SystemClock).unwrap();
    assert_eq!(printed(&client), format!("Client {{ id: {ID}, mode: PublicKey, topics: 0, peers: 1, .. }}"));
}

#[test]
fn commands_do_not_print_the_keys_that_they_carry() {
    let topic = TopicHash::from_bytes([0x0b; 16]);
    for (command, expected) in [
        (
            Command::SetTopicKey { topic, key: secret() },
            "SetTopicKey { topic: TopicHash(0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b), key: TopicKey(..) }",
        ),
        (Command::SetClientKey(secret()), "SetClientKey(ClientKey(..))"),
        (Command::SetSigningKey(secret()), "SetSigningKey(SigningKey(..))"),
    ] {
        assert_eq!(printed(&command), expected);
        assert_eq!(printed(&command.encode()), "EncodedCommand(..)");
    }
}

#[test]
fn recipients_do_not_print_their_keys() {
    let recipient = Recipient::symmetric(id(), &secret());
    assert_eq!(printed(&recipient), format!("Recipient {{ id: {ID}, key: Symmetric(ClientKey(..)) }}"));
    let client = SigningKey::read(&[1; 32]).unwrap().verifying_key();
    let recipient = Recipient::public_key(id(), &secret(), &client).unwrap();
    assert_eq!(printed(&recipient), format!("Recipient {{ id: {ID}, key: PublicKey(ControlKey(..)) }}"));
}

#[test]
fn messages_do_not_print_their_payload() {
    let topic = Topic::new("plant/7/pump/pressure").unwrap();
    let builder = ClientBuilder::<GrowableKeyRing>::new(symmetric()).topic_key(topic.hash(), another_key()).unwrap();
    let mut client = builder.create_with(MemoryStore::new(), StandsStill).unwrap();
    let sealed = client.seal(&topic, &secret_bytes()).unwrap();
    let opened = client.open(&topic, &sealed).unwrap();
    let message = "Message { sent: Timestamp(1800000000), age: Some(0), signer: None, \
                   key: Current, repeated: false, .. }";
    assert_eq!(printed(&opened), format!("Message({message})"));
    let Opened::Message(opened) = opened else { panic!("a message was taken for a command") };
    assert_eq!(opened.payload, secret_bytes());
    assert_eq!(printed(&opened), message);
}

#[test]
fn stores_do_not_print_what_they_hold() {
    let store = MemoryStore::from_bytes(secret_bytes().to_vec());
    assert_eq!(printed(&store), "MemoryStore(..)");
    let store = FileStore::new("pump.e4");
    assert_eq!(printed(&store), r#"FileStore { path: "pump.e4", sealed: false }"#);
    let store = FileStore::sealed("pump.e4", secret(), id());
    assert_eq!(printed(&store), r#"FileStore { path: "pump.e4", sealed: true }"#);

    let mut store = PrintsSnapshots::default();
    Client::builder(symmetric()).create_with(&mut store, StandsStill).unwrap();
    assert_eq!(store.0, ["Snapshot(..)"]);
}

#[derive(Default)]
struct PrintsSnapshots(Vec<String>);

impl Store for PrintsSnapshots {
    fn load(&mut self, _: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        Err(StoreError::Empty)
    }

    fn save(&mut self, state: &Snapshot<'_>) -> Result<(), StoreError> {
        let bytes = state.to_bytes()?;
        assert!(bytes.windows(32).any(|window| window == secret_bytes()), "the secret is in it");
        self.0.push(printed(state));
        Ok(())
    }
}

struct StandsStill;

impl Clock for StandsStill {
    fn read(&self) -> ClockReading {
        ClockReading::Time(NOW)
    }
}

#[test]
fn secrets_are_wiped_when_they_are_dropped() {
    fn check<S: ZeroizeOnDrop>() {}
    for_every_secret!(check);
    check::<EncodedCommand>();
    check::<Command>();
    check::<Identity>();
    check::<Recipient>();
    check::<MemoryStore>();
    // What keys are computed with keeps them or their schedules, and wipes them only when its feature `zeroize` is on.
    check::<ed25519_dalek::SigningKey>();
    check::<aes::Aes256>();
    check::<aes_siv::siv::Aes256Siv>();
    check::<cmac::block_api::CmacCore<aes::Aes256>>();
    check::<ctr::Ctr128BE<aes::Aes256>>();
    check::<sha3::Sha3_256>();
}

#[test]
fn keys_are_equal_when_every_byte_is() {
    fn check<S: Secret>() {
        assert_eq!(secret::<S>(), secret::<S>());
        assert_eq!(secret::<S>(), secret::<S>().clone());
        for at in 0..32 {
            let mut other = secret_bytes();
            other[at] ^= 1;
            assert_ne!(secret::<S>(), S::read(&other).unwrap(), "byte {at}");
        }
    }
    for_every_secret!(check);
}

#[test]
fn keys_come_back_from_their_bytes() {
    fn check<S: Secret>() {
        assert_eq!(secret::<S>().bytes(), &secret_bytes());
    }
    for_every_secret!(check);

    let verifying = secret::<SigningKey>().verifying_key();
    assert_eq!(VerifyingKey::from_bytes(verifying.as_bytes()), Ok(verifying));
    assert_eq!(SigningKey::from_seed_and_public(&secret_bytes(), verifying.as_bytes()), Ok(secret()));
    let c2 = secret::<C2SecretKey>().public_key();
    assert_eq!(C2PublicKey::from_bytes(c2.as_bytes()), Ok(c2));
    assert_eq!(secret::<SubtreeKey>().to_topic_key(), secret::<TopicKey>());
}

#[test]
fn a_key_of_zeros_is_refused() {
    fn check<S: Secret>() {
        assert_eq!(S::read(&[0; 32]), Err(KeyError::AllZero));
        // One bit suffices: it is not for us to judge how random a key looks.
        for at in [0, 31] {
            let mut bytes = [0; 32];
            bytes[at] = 1;
            assert!(S::read(&bytes).is_ok(), "byte {at}");
        }
    }
    for_every_secret!(check);
}

#[test]
fn generated_keys_are_what_the_generator_draws() {
    fn check<S: Secret>() {
        assert_eq!(S::draw_from(&mut Draws(7)).unwrap().bytes(), &[7; 32]);
        assert_eq!(S::draw_from(&mut Draws(0)), Err(KeyError::AllZero), "a broken generator");
        let (one, other) = (S::draw(), S::draw());
        assert_ne!(one, other);
        assert_ne!(one.bytes(), &[0; 32]);
    }
    for_every_secret!(check);
}

#[test]
fn everything_is_shared_between_threads() {
    fn check<T: Send + Sync + 'static>() {}
    for_every_secret!(check);
    check::<(VerifyingKey, C2PublicKey, Identity, Recipient)>();
    check::<(Client, ClientBuilder<GrowableKeyRing>)>();
    check::<Client<FixedKeyRing<8, 4, 32>, MemoryStore, SystemClock>>();
    check::<ClientBuilder<FixedKeyRing<8, 4, 32>>>();
    check::<(GrowableKeyRing, FixedKeyRing<8, 4, 32>)>();
    check::<(MemoryStore, FileStore, SystemClock)>();
    check::<(Command, EncodedCommand, AppliedCommand, SealedCommand)>();
    check::<(Message<Vec<u8>>, Opened<Vec<u8>>, Opened<&'static mut [u8]>)>();
    check::<(ClientId, TopicHash, ControlTopic, ReportTopic)>();
    check::<(Lane, LastReport, Report, StateDigest, StateEntry<'static>)>();
    check::<(Topic<'static>, TopicFilter<'static>, Subtree<'static>)>();
    check::<(Timestamp, ClockReading, Mode, MaxAge, Options, Repeated)>();
    check::<(KeyError, NameError, CommandError, Full, OpenError, Refusal)>();
    check::<(SealError, CreateError, LoadError, SetMaxAgeError, StateError, StoreError)>();
    check::<(ReportError, LaneError, OlderReport, SealCommandsError)>();
}

#[test]
fn every_error_is_a_sentence_of_its_own() {
    let names = [
        NameError::Empty,
        NameError::TooLong,
        NameError::NullCharacter,
        NameError::Wildcard,
        NameError::MisplacedWildcard,
        NameError::NotASubtree,
        NameError::NotCovered,
        NameError::NotHexadecimal,
    ];
    let keys = [KeyError::AllZero, KeyError::NotAPoint, KeyError::SmallOrder, KeyError::MismatchedPair];
    let full = [Full::Topics, Full::Peers, Full::AgeRules, Full::Commands];
    let file = StoreError::File { action: "read the state file", kind: std::io::ErrorKind::PermissionDenied };
    let stores = [
        StoreError::Empty,
        StoreError::InUse,
        StoreError::NotAuthentic,
        StoreError::TooLong(4096),
        StoreError::ReadOnly,
        file,
    ];
    let states = [
        StateError::NotAState,
        StateError::Damaged,
        StateError::NewerVersion(9),
        StateError::Invalid,
        StateError::Full(Full::Topics),
    ];
    let commands = [
        CommandError::UnknownCode(0x66),
        CommandError::WrongLength,
        CommandError::Key(KeyError::AllZero),
        CommandError::WrongMode,
        CommandError::ControlTopic,
    ];
    let refusals = [
        Refusal::TooShort,
        Refusal::TooOld { age: 4711, max_age: 600 },
        Refusal::FromTheFuture { ahead: 4711 },
        Refusal::NoTopicKey,
        Refusal::NotAuthentic,
        Refusal::UnknownSigner(id()),
        Refusal::BadSignature(id()),
        Refusal::Repeated,
        Refusal::BeyondReplayMemory,
        Refusal::Superseded { newest: NOW },
        Refusal::TooOld { age: 1 << 30, max_age: 600 },
        Refusal::FromTheFuture { ahead: 1 << 30 },
        Refusal::FromTheFuture { ahead: 1 << 60 },
        Refusal::Command(CommandError::WrongLength),
        Refusal::Command(CommandError::NotATime),
        Refusal::Command(CommandError::SharedKey),
    ];
    let opening = [
        OpenError::Name(NameError::Wildcard),
        OpenError::BufferTooSmall { needed: 4711 },
        OpenError::Refused(Refusal::NotAuthentic),
        OpenError::Full(Full::Topics),
        OpenError::Store(StoreError::InUse),
    ];
    let sealing = [
        SealError::Name(NameError::Wildcard),
        SealError::ControlTopic,
        SealError::ReportTopic,
        SealError::BufferTooSmall { needed: 4711 },
        SealError::NoTopicKey,
        SealError::TimeUnknown,
    ];
    let creating = [
        CreateError::Exists,
        CreateError::ControlTopic,
        CreateError::WrongMode,
        CreateError::Full(Full::Topics),
        CreateError::Store(StoreError::InUse),
        CreateError::OtherClient(id()),
        CreateError::OtherMode(Mode::Symmetric),
        CreateError::OtherClientKey,
        CreateError::OtherC2Key,
        CreateError::TimeUnknown,
    ];
    let loading = [LoadError::Store(StoreError::Empty), LoadError::State(StateError::Damaged)];
    let ages = [SetMaxAgeError::Full(Full::AgeRules), SetMaxAgeError::Store(StoreError::InUse)];
    let reports = [ReportError::NotAuthentic, ReportError::Version(9), ReportError::Malformed];
    let lanes = [LaneError::TooMany { commands: 17 }, LaneError::Ahead { seconds: 9, until: NOW }, LaneError::NotATime];

    check_sentences(&names);
    check_sentences(&keys);
    check_sentences(&full);
    check_sentences(&stores);
    check_sentences(&states);
    check_sentences(&commands);
    check_sentences(&refusals);
    check_sentences(&opening);
    check_sentences(&sealing);
    check_sentences(&creating);
    check_sentences(&loading);
    check_sentences(&ages);
    check_sentences(&reports);
    check_sentences(&lanes);
    check_sentences(&[SealCommandsError::Equal, SealCommandsError::Lane(LaneError::NotATime)]);
    check_sentences(&[OlderReport]);
}

/// Each has several words, in one line, begins small and ends without a full stop, so that it can stand behind a colon.
fn check_sentences<E: Error + Send + Sync + Copy + 'static>(errors: &[E]) {
    let mut sentences = Vec::new();
    for error in errors {
        let error: Box<dyn Error + Send + Sync> = Box::new(*error);
        let sentence = error.to_string();
        assert!(sentence.split(' ').count() >= 4, "{sentence:?}");
        assert!(sentence.starts_with(|first: char| first.is_ascii_lowercase()), "{sentence:?}");
        assert!(!sentence.ends_with(['.', ' ', ':']) && !sentence.contains('\n'), "{sentence:?}");
        assert!(!sentences.contains(&sentence), "two errors say {sentence:?}");
        sentences.push(sentence);
    }
}

#[test]
fn errors_tell_the_figures_that_they_carry() {
    let shows = |error: &dyn Error, figure: &str| assert!(error.to_string().contains(figure), "{error}");
    let too_old = Refusal::TooOld { age: 4711, max_age: 600 };
    shows(&too_old, "4711");
    shows(&too_old, "600");
    shows(&Refusal::FromTheFuture { ahead: 61 }, "61");
    shows(&Refusal::UnknownSigner(id()), &id().to_string());
    shows(&Refusal::BadSignature(id()), &id().to_string());
    shows(&Refusal::Superseded { newest: NOW }, "1800000000");
    shows(&OpenError::BufferTooSmall { needed: 4711 }, "4711");
    shows(&SealError::BufferTooSmall { needed: 4711 }, "4711");
    shows(&CommandError::UnknownCode(0x66), "0x66");
    shows(&StateError::NewerVersion(9), "9");
    shows(&StoreError::TooLong(4096), "4096");
    shows(&StoreError::Other("the flash is worn out"), "the flash is worn out");
}

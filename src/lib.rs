//! End-to-end encryption and key management for MQTT and other publish/subscribe systems.
//!
#![cfg_attr(all(feature = "std", feature = "getrandom"), doc = "```")]
#![cfg_attr(not(all(feature = "std", feature = "getrandom")), doc = "```ignore")]
//! use e4::{Client, ClientId, ClientKey, Command, Identity, MemoryStore, Opened, Timestamp, Topic, TopicKey};
//! use e4::controller::{Lane, Recipient};
//!
//! # fn main() -> Result<(), Box<dyn core::error::Error>> {
//! // A device, and the key server's view of it.
//! let (id, key) = (ClientId::from_name("pump-7")?, ClientKey::generate()?);
//! let (recipient, mut lane) = (Recipient::symmetric(id, &key), Lane::new());
//! let mut device = Client::builder(Identity::symmetric(id, key)).create(MemoryStore::new())?;
//!
//! // A command gives the device the key of a topic.
//! let topic = Topic::new("plant/7/pump/pressure")?;
//! let command = Command::set_topic_key(&topic, TopicKey::generate()?);
//! for sealed in recipient.seal(&[command], &mut lane, Timestamp::now())? {
//!     device.open(device.control_topic(), sealed.as_bytes())?;
//! }
//!
//! // What it seals opens where the key is, once.
//! let sealed = device.seal(&topic, b"4.2 bar")?;
//! let Opened::Message(message) = device.open(&topic, &sealed)? else { unreachable!() };
//! assert_eq!(message.payload, b"4.2 bar");
//! assert!(device.open(&topic, &sealed).is_err());
//! # Ok(())
//! # }
//! ```
//!
//! # The model
//!
//! A [`Client`] is one device or program. It has an [`Identity`], and a key for each topic that it takes part in. It
//! [seals](Client::seal) what it publishes and [opens](Client::open) what arrives; what arrives on its own
//! [control topic](Client::control_topic) are commands of the key server, which give it topic keys, rotate them and take
//! them away. The key server, a script or a test makes these with [`controller::Recipient`]. In symmetric mode a client
//! shares a [`ClientKey`] with the key server; in public-key mode it has a [`SigningKey`], signs its messages, and knows
//! the public keys of its peers. (In names and on the protocol page the key server is also called C2, for command and
//! control.) A whole namespace of topic keys can be derived from one [`RootKey`], and the key of a
//! [`Subtree`] such as `plant/7/#` opens every topic below it.
//!
//! A client [reports](Client::report) which command it took last, which one it refused and why, and what it holds, in 83 bytes
//! that only its key server can read. A topic gets another key in one of three ways: [`Command::SetTopicKey`] leaves the old one
//! open for an hour, [`Command::SetNextTopicKey`] comes before that where no message may be lost, and
//! [`Command::ReplaceTopicKey`] cuts a removed member off at once. A device without a clock is told the time by
//! [`Command::SetTime`].
//!
//! The crate does no I/O but for its [`FileStore`]: it goes between an application and whatever client it has for MQTT,
//! or for anything else with a topic and a payload.
//!
//! # Levels
//!
//! | | seals | opens | needs |
//! |---|---|---|---|
//! | in place, in the caller's buffer | [`Client::seal_in_place`] | [`Client::open_in_place`] | nothing |
//! | into a slice of the caller's | [`Client::seal_into`] | [`Client::open_into`] | nothing |
//! | into a new `Vec` | [`Client::seal`] | [`Client::open`] | `alloc` |
//!
//! A report is made at the same levels: [`Client::report_in_place`], [`Client::report_into`], [`Client::report`].
//!
//! A sealed message is [`SYMMETRIC_OVERHEAD`] or [`SIGNED_OVERHEAD`] bytes longer than its payload. With a [`Topic`] that
//! was made once, a topic that has a key of its own is not hashed again; and [`Client::seal_in_place`] and
//! [`Client::seal_into`] do not allocate, nor does opening with a [`FixedKeyRing`].
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `std` | yes | [`SystemClock`], the file store, tables that make signatures faster (30 kB); implies `alloc` |
//! | `alloc` | by `std` | the key ring that grows, the memory store, calls that return a `Vec` |
//! | `getrandom` | yes | keys from the operating system's random generator |
//!
//! Without any of them the crate is `no_std` and needs no allocator: see [`FixedKeyRing`].
//!
//! # Pages
//!
//! [Protocol](_documentation::protocol), [security](_documentation::security), [MQTT](_documentation::mqtt),
//! [moving from e4go](_documentation::moving_from_e4go), [architecture](_documentation::architecture), [performance](_documentation::performance),
//! [changes](_documentation::changelog).
#![no_std]
#![cfg_attr(not(test), warn(clippy::std_instead_of_core, clippy::std_instead_of_alloc))]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(feature = "std", test))]
#[cfg_attr(test, macro_use)]
extern crate std;

// Layers only look down: a module knows those above it in this list.
mod bytes;
mod kdf;
mod siv;
mod stack;

mod names;

mod keys;
mod time;
mod topic;

mod filter;

mod tree;

mod message;

mod command;

mod digest;

mod report;

mod replay;

mod key_ring;
mod store;

mod state;

mod client;
pub mod controller;

pub use client::{
    Client, ClientBuilder, CreateError, KeyRole, LoadError, Message, OpenError, Opened, Refusal, SealError,
    SetMaxAgeError, TopicFingerprints,
};
pub use command::{AppliedCommand, Command, CommandError, EncodedCommand};
pub use filter::{Subtree, TopicFilter};
#[cfg(feature = "alloc")]
pub use key_ring::GrowableKeyRing;
pub use key_ring::{FixedKeyRing, Full, KeyRing, MaxAge, Spare};
pub use keys::{
    C2PublicKey, C2SecretKey, ClientKey, ControlKey, KeyError, KeyFingerprint, RootKey, SigningKey, StorageKey,
    SubtreeKey, TopicKey, VerifyingKey,
};
pub use message::{MessageHeader, Mode, SIGNED_OVERHEAD, SYMMETRIC_OVERHEAD};
pub use names::{ClientId, ControlTopic, NameError, ReportTopic, TopicHash};
pub use report::REPORT_LEN;
pub use state::{Identity, Options, Repeated, StateError};
#[cfg(feature = "std")]
pub use store::FileStore;
#[cfg(feature = "alloc")]
pub use store::MemoryStore;
pub use store::{Snapshot, Store, StoreError};
#[cfg(feature = "std")]
pub use time::SystemClock;
pub use time::{Clock, ClockReading, Timestamp};
pub use topic::{AsTopic, Topic};

// Their types are in public signatures.
pub use rand_core;
pub use zeroize;

/// The pages of the project.
#[cfg(any(doc, doctest))]
pub mod _documentation {
    #[doc = include_str!("../docs/protocol.md")]
    pub mod protocol {}
    #[doc = include_str!("../docs/other-languages.md")]
    pub mod other_languages {}
    #[doc = include_str!("../docs/security.md")]
    pub mod security {}
    #[doc = include_str!("../docs/mqtt.md")]
    pub mod mqtt {}
    #[doc = include_str!("../docs/moving-from-e4go.md")]
    pub mod moving_from_e4go {}
    #[doc = include_str!("../docs/architecture.md")]
    pub mod architecture {}
    #[doc = include_str!("../docs/performance.md")]
    pub mod performance {}
    #[doc = include_str!("../CHANGELOG.md")]
    pub mod changelog {}
}

/// The README's examples, so that they compile and hold.
#[cfg(all(doctest, feature = "std", feature = "getrandom"))]
#[doc = include_str!("../README.md")]
struct Readme;

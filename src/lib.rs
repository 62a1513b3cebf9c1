//! End-to-end encryption and key management for MQTT and other publish/subscribe systems.
#![no_std]
#![cfg_attr(not(test), warn(clippy::std_instead_of_core, clippy::std_instead_of_alloc))]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(feature = "std", test))]
#[cfg_attr(test, macro_use)]
extern crate std;

// Layers only look down: nothing knows what stands below it in this list.
mod bytes;
mod siv;

mod keys;
mod names;

mod filter;
mod time;
mod topic;

mod tree;

mod command;
mod message;

mod key_ring;
mod replay;

mod state;
mod store;

mod client;
pub mod controller;

pub use client::{
    Client, ClientBuilder, CreateError, LoadError, Message, OpenError, Opened, Refusal, SealError, SetMaxAgeError,
};
pub use command::{AppliedCommand, Command, CommandError, EncodedCommand};
pub use filter::{Subtree, TopicFilter};
#[cfg(feature = "alloc")]
pub use key_ring::GrowableKeyRing;
pub use key_ring::{FixedKeyRing, Full, KeyRing, MaxAge};
pub use keys::{
    C2PublicKey, C2SecretKey, ClientKey, KeyError, RootKey, SigningKey, StorageKey, SubtreeKey, TopicKey, VerifyingKey,
};
pub use message::{Mode, SIGNED_OVERHEAD, SYMMETRIC_OVERHEAD};
pub use names::{ClientId, ControlTopic, NameError, TopicHash};
pub use rand_core;
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

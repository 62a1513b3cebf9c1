//! The key server's end: seals commands for clients, keeps their order, and understands what clients report (protocol page,
//! sections 4, 6, 7 and 11).
//!
//! It is what a key server, a script or a test is made of, and stores and sends nothing itself. Of each client a key server
//! keeps the key that its commands come under ([`Recipient`]), the times of its commands ([`Lane`]), the place of its reports
//! ([`LastReport`]), and what it is to hold, as a [`StateDigest`] or as what that is made of.
//!
#![cfg_attr(all(feature = "std", feature = "getrandom"), doc = "```")]
#![cfg_attr(not(all(feature = "std", feature = "getrandom")), doc = "```ignore")]
//! # fn main() -> Result<(), Box<dyn core::error::Error>> {
//! # use e4::{Client, Identity, MemoryStore};
//! use e4::controller::{Lane, LastReport, Recipient, StateDigest, StateEntry};
//! use e4::{ClientId, ClientKey, Command, Timestamp, Topic, TopicKey};
//!
//! let (id, key) = (ClientId::from_name("pump-7")?, ClientKey::generate()?); // as the device has them
//! # let mut device = Client::builder(Identity::symmetric(id, key.clone())).create(MemoryStore::new())?;
//! let recipient = Recipient::symmetric(id, &key);
//! let (mut lane, mut last_report) = (Lane::new(), LastReport::new());
//!
//! let (topic, topic_key) = (Topic::new("plant/7/pump/pressure")?, TopicKey::generate()?);
//! let command = Command::set_topic_key(&topic, topic_key.clone());
//! let sealed = recipient.seal(&[command], &mut lane, Timestamp::now())?;
//! // Store the lane and the sealed commands, then publish them on `recipient.control_topic()`.
//! # for command in &sealed { device.open(device.control_topic(), command.as_bytes())?; }
//!
//! // Later, `payload` arrives on `recipient.report_topic()`.
//! # let payload = device.report();
//! let report = recipient.open_report(&payload)?;
//! last_report.accept(&report)?;
//! lane.observe(report.newest);
//! let wanted = StateDigest::of([StateEntry::TopicKey(topic.hash(), &topic_key)]);
//! let is_confirmed = report.digest == wanted && sealed.last().is_some_and(|last| last.is_settled_by(&report));
//! # assert!(is_confirmed);
//! # Ok(())
//! # }
//! ```
//!
//! # Order
//!
//! A client takes a command only if it is not older than the newest that it took, for ever; and within one second it takes a
//! command once, and remembers no more than a few. [`Recipient::seal`] keeps to that with the client's lane, whatever a clock
//! says. Store the lane before the commands go out, publish them in their order, at QoS 1, without retain, and send the same
//! bytes again rather than sealing anew what a client has not confirmed.
//!
//! # What is confirmed
//!
//! That a command was sent, or that the broker took it, says nothing of the client. Its [`Report`] does, and this is what a key
//! server makes of one:
//!
//! 1. [`Recipient::open_report`] opens it, under a key that only the client and the key server have.
//! 2. [`LastReport::accept`] refuses one that is older than the last. Such a one is played back, or the client's disk was put
//!    back: send a [`question`].
//! 3. [`Lane::observe`] takes in [`newest`](Report::newest), so that no command is dated before what the client took.
//! 4. The client holds what it is to hold if the [`digest`](Report::digest) is that of the wanted state *and* the last command
//!    that was sealed for it [is settled](SealedCommand::is_settled_by). Without the latter, the broker can show the report from
//!    before a change as the one from after its undoing.
//!
//! # Features
//!
//! [`Recipient::seal`] and [`HardRotation`] need `alloc`. Without it, [`Lane::reserve_alone`] gives the time for
//! [`Recipient::seal_dated`].

#[cfg(feature = "alloc")]
mod hard_rotation;
mod lane;
mod last_report;
mod question;
mod recipient;
mod sealed_command;

pub use crate::{
    digest::{StateDigest, StateEntry},
    report::{RefusedCommand, Report, ReportError, WhyRefused},
};
#[cfg(feature = "alloc")]
pub use hard_rotation::HardRotation;
pub use lane::{Lane, LaneError};
pub use last_report::{LastReport, OlderReport};
#[cfg(feature = "getrandom")]
pub use question::question;
pub use question::question_with_rng;
pub use recipient::Recipient;
#[cfg(feature = "alloc")]
pub use recipient::SealCommandsError;
pub use sealed_command::SealedCommand;

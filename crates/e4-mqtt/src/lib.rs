//! MQTT with end-to-end encryption: a client that seals what it publishes, opens what arrives, and follows its key
//! server.
//!
//! ```no_run
//! use e4::{Client, ClientId, ClientKey, FileStore, Identity};
//! use e4_mqtt::{Connection, Event, QoS};
//!
//! # async fn run(key: ClientKey) -> Result<(), Box<dyn std::error::Error>> {
//! // The device, with its keys in a file; and its broker, with the options of rumqttc.
//! let identity = Identity::symmetric(ClientId::from_name("pump-7")?, key);
//! let device = Client::builder(identity).load_or_create(FileStore::new("/var/lib/pump-7/state"))?;
//! let options = e4_mqtt::rumqttc_v5::MqttOptions::new("pump-7", ("broker.example", 1883));
//!
//! let (connection, mut events) = Connection::builder(options, device).connect()?;
//! connection.subscribe("plant/7/#", QoS::AtLeastOnce).await?;
//! // A new device has no keys yet: its key server sends them while this loop runs.
//! while let Some(event) = events.next_event().await {
//!     match event {
//!         Event::Message(message) => println!("{}: {} bytes", message.topic, message.payload.len()),
//!         Event::KeysChanged(_) => match connection.publish("plant/7/pump", b"4.2 bar", QoS::AtLeastOnce).await {
//!             Ok(_) => println!("published, sealed"),
//!             Err(error) => eprintln!("not published: {error}"),
//!         },
//!         Event::Refused(refused) => eprintln!("refused on {}: {}", refused.topic, refused.reason),
//!         other => eprintln!("{other:?}"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # The model
//!
//! A [`Connection`] serves one [`e4::Client`] over one MQTT session. A task in the background connects and connects
//! again, subscribes to the client's control topic, and carries out commands as they come: an MQTT acknowledgement leaves
//! only after the new keys are on the disk, so that a power failure at any moment loses no command. What the application
//! has to know comes as an [`Event`] from [`Events::next_event`]; nothing that others publish ends the connection; a
//! broker that sends more than [a client keeps](bounds) does.
//!
//! There is no falling back to the clear: to publish on a topic without a key is an error, and what arrives without a
//! seal is refused, unless [`Builder::clear`] lists the topic.
//!
//! # Queues
//!
//! Both ways are bounded by [`Builder::queue`]. [`Connection::publish`] waits for room. What arrives never waits for the
//! application to keep the connection alive and the keys current: messages of QoS 0 that find no room are lost and
//! [counted](Event::Overflowed), as MQTT allows; those of QoS 1 and 2 are acknowledged when the application is done with
//! them, and until then the broker keeps more of them back. In MQTT 5 it sends as many as the queue holds at most. In 3.1.1 it
//! decides for itself, often 20; an application that leaves so many unacknowledged keeps commands waiting as well.
//!
//! All bounds are in [`bounds`].
//!
//! # Reports
//!
//! A client tells its key server what it holds: after commands, after one that it had to refuse, and within some seconds after
//! each connection ([`Builder::report_within`]), retained, on a topic of its own. Where the broker does not take that, it is an
//! [event](Event::ReportRefused), and [`Builder::no_reports`] ends it. Clients with a clean session, which are tools and no devices,
//! do not report.
//!
//! A key server that uses this crate lets `e4/+/report` [pass in the clear](Builder::clear), and opens what comes with
//! [`Recipient::open_report`](e4::controller::Recipient::open_report).
//!
//! # Equal messages
//!
//! Two messages on one topic with equal payloads, sealed in the same second by the same signer, are equal byte for byte, and
//! receivers take the second one for a replay. So it waits for the next second, and what is published on its topic after it
//! waits behind it; other topics go on. Who has more equal messages a second than that is told by
//! [`Event::EqualMessagesWait`], and [`Connection::publish`] waits: a counter in the payload makes them differ, or receivers
//! [report](e4::Repeated::Report) repeated messages as messages. Two *clients* that publish the same in the same second under
//! one key still make equal messages, unless they sign.
//!
//! # Retained messages and last wills
//!
//! Both are older than a message may be by default: allow their age with [`e4::Client::set_max_age`] on their topics,
//! before connecting or with [`Connection::with_device`].
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `v4` | yes | MQTT 3.1.1, by `rumqttc-v4-next` |
//! | `v5` | yes | MQTT 5, by `rumqttc-v5-next` |
//! | `tls` | yes | TLS by rustls with ring |
//! | `websocket` | no | WebSocket |
//! | `proxy` | no | HTTP and SOCKS proxies |
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(any(feature = "v4", feature = "v5")))]
compile_error!("e4-mqtt needs one of its features `v4` (MQTT 3.1.1) and `v5` (MQTT 5)");

// Layers only look down: a module knows those above it in this list.
pub mod bounds;
mod loss;

mod error;
mod protocol;

mod event;

mod copies;
mod due;
mod limits;
mod pacing;
mod pause;
mod queue;
mod will;

mod shared;

mod delivery;
mod report;

mod driver;

mod connection;

mod builder;

pub use builder::Builder;
pub use connection::{Connection, Events, Shutdown};
pub use delivery::Delivery;
pub use error::{BrokerError, BuildError, Closed, PublishError};
pub use event::{Event, Granted, Message, Overflow, Protection, Refused, Seal};
pub use loss::{Cause, Loss};
pub use protocol::{MqttOptions, QoS, Taken};
pub use will::LastWill;

/// The README's example, so that it compiles.
#[cfg(all(doctest, feature = "v5"))]
#[doc = include_str!("../README.md")]
struct Readme;

// Their types are in public signatures.
pub use e4;
#[cfg(feature = "v4")]
pub use rumqttc_v4;
#[cfg(feature = "v5")]
pub use rumqttc_v5;

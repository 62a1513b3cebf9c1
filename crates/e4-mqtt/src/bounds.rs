//! How much of anything a connection keeps at most. Whatever a broker, a key server or the application does, no more than
//! this waits in memory.
//!
//! | what | bound | beyond it |
//! |---|---|---|
//! | events that wait for the application | [`Builder::queue`](crate::Builder::queue) | messages of QoS 0 and notices are [counted](crate::Event::Overflowed), refusals at half of it |
//! | bytes of messages that wait for the application | [`Builder::queue_bytes`](crate::Builder::queue_bytes), but one message always may | messages of QoS 0 are counted, with others the connection ends ([`Cause::OverBounds`](crate::Cause::OverBounds)) |
//! | messages that are not acknowledged | the queue in MQTT 5, as the broker is told; [`MAX_UNACKNOWLEDGED`] in both | the connection ends ([`Cause::OverBounds`](crate::Cause::OverBounds)), and the broker delivers them again |
//! | a command | [`SealedCommand::MAX_LEN`](e4::controller::SealedCommand::MAX_LEN) bytes | refused at once |
//! | commands that wait for the disk | [`MAX_WAITING_COMMANDS`] | the connection ends ([`Cause::OverBounds`](crate::Cause::OverBounds)); what is not authentic never waits |
//! | messages on their way to the broker | the queue, and as many at the broker | [`Connection::publish`](crate::Connection::publish) waits |
//! | commands on their way to one client | [`MAX_COMMANDS_TO_ONE`], or half of the queue if that is less | [`Connection::send_command`](crate::Connection::send_command) waits, for that client |
//! | equal messages of one topic that wait for their second | [`MAX_EQUAL_WAITING`] | [`Connection::publish`](crate::Connection::publish) waits, for that topic |
//! | a packet that is sent | [`Builder::max_packet`](crate::Builder::max_packet), or less if the broker says so | [`PublishError::TooLarge`](crate::PublishError::TooLarge) |
//! | a packet that arrives | [`Builder::max_packet`](crate::Builder::max_packet) in MQTT 5 | the connection ends ([`Cause::Unreadable`](crate::Cause::Unreadable)) |
//! | reports to the key server | one at a time, after refusals alone one in [`REFUSALS_EVERY`] | the next one says it |
//! | connections in a row that end over a report | [`MAX_ENDED_ON_REPORT`] | there are no more reports ([`Event::ReportRefused`](crate::Event::ReportRefused)) |

use std::time::Duration;

/// What [`Builder::queue`](crate::Builder::queue) takes at most: far above any use, and below what channels refuse.
pub const MAX_QUEUE: usize = 1 << 20;

/// Messages of QoS 1 and 2 that arrived and that the application is not done with. Packet identifiers are two bytes: no broker
/// that keeps to the standard sends more.
pub const MAX_UNACKNOWLEDGED: usize = 65_535;

/// Bytes of messages that wait for the application, if [`Builder::queue_bytes`](crate::Builder::queue_bytes) does not say
/// else.
pub const MAX_UNACKNOWLEDGED_BYTES: usize = 64 << 20;

/// Commands of the key server that wait until they can be stored.
pub const MAX_WAITING_COMMANDS: usize = 256;

/// Commands for one client that are on their way to the broker.
pub const MAX_COMMANDS_TO_ONE: usize = 16;

/// Messages of one topic that wait, in their order, because one of them is equal to another of the same second.
pub const MAX_EQUAL_WAITING: usize = 8;

/// Sealed messages of one second that are remembered, so that none goes out twice. More than that wait for the next second.
pub const MAX_SEALED_A_SECOND: usize = 1 << 16;

/// How long an answer of the broker is awaited.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// How often in a row the broker may close the connection, soon and with nothing done, before what is under way is given up.
pub const MAX_FRUITLESS: u32 = 5;

/// How often the broker may close the connection while it is asked for a subscription, before that is given up.
pub const MAX_CLOSED_ON_QUESTION: u32 = 3;

/// How many connections in a row a broker may close without a word, each soon after it was made, before another client is taken to have
/// the same id.
pub const MAX_CONTESTED: u32 = 12;

/// How often in a row the broker may deliver what cannot be read, such as a topic that is none, or the rest of a handshake that
/// is not known here, before the session is given up with all that waits in it.
pub const MAX_UNREADABLE: u32 = 3;

/// Within how long after a connection is made the client reports to its key server, at a random time, if
/// [`Builder::report_within`](crate::Builder::report_within) does not say else.
pub const REPORT_WITHIN: Duration = Duration::from_secs(5);

/// How long a report waits at most for the end of a series of commands.
pub const MAX_REPORT_DELAY: Duration = Duration::from_secs(1);

/// How soon after another report the client reports a refused command. Anybody who has recorded old commands can have them
/// refused.
pub const REFUSALS_EVERY: Duration = Duration::from_secs(10);

/// How often in a row the broker may end the connection while a report is under way or right after it, before there are no more.
pub const MAX_ENDED_ON_REPORT: u32 = 2;

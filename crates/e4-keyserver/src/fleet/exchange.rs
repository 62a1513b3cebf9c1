//! What goes to and fro between the fleet and whoever delivers.
//!
//! | call | |
//! |---|---|
//! | `fleet.round(&leases, most)` | what is due for so many devices of these slices, stored, to be published now: a [`Round`] |
//! | `fleet.handed(answers)` | what the broker said of it: [`Handed`] |
//! | `fleet.hear(reports)` | what arrived: [`Arrived`] |
//! | `fleet.advance()` | orders go on: [`Advanced`] |

use e4::ClientId;

/// What a round came to.
#[derive(Debug, Clone, Default)]
pub struct Round {
    /// To be published, those of one device in this order.
    pub publications: Vec<Publication>,
    /// How many devices were looked at. As many as were asked for: there may be more.
    pub devices: usize,
}

/// A command that is stored, and goes out now at QoS 1, not retained.
#[derive(Debug, Clone)]
pub struct Publication {
    /// To whom; the topic is its control topic.
    pub device: ClientId,
    /// Its place in the outbox.
    pub position: i64,
    /// The sealed command.
    pub bytes: Vec<u8>,
}

/// What the broker said of a command. None of it says that the device has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handed {
    /// To whom it was sent.
    pub device: ClientId,
    /// Its place in the outbox.
    pub position: i64,
    /// The answer.
    pub answer: Answer,
}

/// An answer of the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// It took it.
    Taken,
    /// It took it, and has no session for the device: the command is lost.
    NoSubscriber,
    /// It did not take it, for this reason.
    NotTaken(String),
}

impl Answer {
    /// As it is stored and shown.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::NoSubscriber => "no subscriber",
            Self::NotTaken(_) => "not taken",
        }
    }
}

/// What arrived on the report topic of a device. Anybody may have written it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// By the topic.
    pub device: ClientId,
    /// What should be a report.
    pub bytes: Vec<u8>,
    /// Whether the broker had kept it.
    pub retained: bool,
}

/// What advancing came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Advanced {
    /// An order waits for reports: what the broker keeps of them is worth reading again.
    pub waits: bool,
    /// Something is due now that was not.
    pub due: bool,
}

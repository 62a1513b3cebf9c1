//! Why there is no connection.

use std::fmt;

/// Why a connection ended, or was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loss {
    /// What kind of thing happened, for programs.
    pub cause: Cause,
    /// The reason in words.
    pub reason: String,
    /// How many connections in a row ended soon after they were made, this one included; 0 if this one lasted, or none was
    /// made. Where it grows, the broker does not allow something that this client does and says no more than that, or another
    /// client connects with the same MQTT client id.
    pub in_a_row: u32,
}

/// What kind of thing ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The broker refused the connection; the reason in words has its code.
    Refused,
    /// The broker speaks another version of MQTT: it said so, or its first answer is of that version.
    WrongVersion,
    /// The broker closed the connection before its first answer. Some that speak only MQTT 3.1.1 do so to MQTT 5, those that
    /// want TLS do so to who comes in the clear.
    ClosedBeforeAnswer,
    /// The broker ended the connection with this reason code (MQTT 5, section 3.14.2.1).
    Ended(u8),
    /// Another client has connected with the same MQTT client id, and the broker said so. The connection does not come back:
    /// the two would throw each other out for ever.
    TakenOver,
    /// What the broker sent can be read, and is not what it may send at that point, such as the rest of a handshake that this
    /// client does not know of. As with what is unreadable, the session is ended if that comes again and again.
    OutOfTurn,
    /// What the broker sent cannot be read, or is a larger packet than it may send. Where it waits in a lasting session it
    /// comes again and again: after [three times](crate::bounds::MAX_UNREADABLE) in a row the session is ended, with all that
    /// waits in it, and a new one begins.
    Unreadable,
    /// The broker answered a message, a subscription or an unsubscription with a reason code that MQTT does not have there, and
    /// the MQTT library ends the connection for it. mosquitto answers so to a message that is larger than its
    /// `message_size_limit`, with 0x95.
    UnknownAnswer(u8),
    /// The broker closed the connection that it had taken, and did not say why: in MQTT 3.1.1 it never does. Too large a
    /// packet, something that is forbidden, and another client with the same MQTT client id look the same.
    Closed,
    /// The broker took one connection after the other and closed each of them soon, without a word: as it does when another
    /// client with the same MQTT client id connects again each time as well. The connection does not come back.
    Contested,
    /// The broker sent more than it may, and this client ended the connection: [bounds](crate::bounds).
    OverBounds,
    /// Anything else: the network, TLS, a name that cannot be resolved.
    Network,
}

impl Cause {
    /// Whether it is no use to connect again: the connection is closed for good.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::TakenOver | Self::Contested)
    }
}

impl Loss {
    /// How often in a row, and what that means, from the third time on.
    #[must_use]
    pub fn repetition(&self) -> Option<String> {
        let guess = match self.cause {
            // The reason is known.
            Cause::UnknownAnswer(_) | Cause::OverBounds | Cause::Unreadable | Cause::OutOfTurn => "",
            _ => ": the broker does not allow what this client does, or another client uses its MQTT client id",
        };
        (self.in_a_row > 2).then(|| format!("{} times in a row{guess}", self.in_a_row))
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        match self.repetition() {
            Some(repetition) => write!(f, " ({repetition})"),
            None => Ok(()),
        }
    }
}

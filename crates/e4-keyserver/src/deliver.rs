//! The broker: what goes out, what is heard, and who of several servers does it for which devices.
//!
//! What is decided is decided by [`fleet`](crate::fleet); here it is sent and heard. A lost message costs time and nothing else:
//! commands lie in the database until a report confirms them, and the retained report is the truth, which is read again.
//!
//! | part | |
//! |---|---|
//! | [`Broker`] | where the broker is, and who we are to it |
//! | `link` | the connection: connects again, subscribes to reports until the broker lets it |
//! | `snapshot` | reads what the broker keeps of reports |
//! | [`Standing`] | how all this stands, for people and metrics |

#[allow(dead_code, reason = "delivery starts it")]
mod broker;
#[allow(dead_code, reason = "delivery starts it")]
mod link;
#[allow(dead_code, reason = "delivery starts it")]
mod nobody;
#[allow(dead_code, reason = "delivery starts it")]
mod snapshot;
#[allow(dead_code, reason = "delivery starts it")]
mod standing;
#[cfg(test)]
mod tests;

pub use broker::{Broker, BrokerOptions, MqttVersion, Unusable};
pub use standing::{BrokerState, Hearing, Standing};

//! What is intended with a fleet, and how it comes true: each change of intention is one transaction; a device's next commands
//! follow from what it should hold; a report says how far that is so.

mod actor;
mod clock;
mod exchange;
mod policy;
mod refusal;

pub use actor::{Actor, Once};
pub use clock::{Clock, SystemClock};
pub use exchange::{Advanced, Answer, Arrived, Handed, Publication, Round};
pub use policy::{GroupPolicy, Leave, Policy, TopicPolicy};
pub use refusal::{Fault, Refusal, RefusalKind};

//! What a device should hold, and the shortest commands to get it there: pure, and without keys.
//!
//! The planner knows *versions* of keys only. What a device holds is [`Holdings`], what it is to hold is [`Wanted`], a command
//! is a [`Step`]. The layers above turn versions into keys ([`Keys`]) when a step is sealed, and entries into digests
//! ([`Entry`]) when a report is judged.
//!
//! The loop of one device:
//!
//! 1. [`next()`] says what is to be done when a device is due: nothing, the same bytes again, a question, or a new series of
//!    commands ([`Plan`], by [`difference()`]).
//! 2. The commands of a batch are sealed in one call, so that they have a second of the device's lane for themselves. They are
//!    stored, then sent.
//! 3. A report is judged ([`judge()`]) against what the device was known to hold ([`Known`]) and what was sent since
//!    ([`Outstanding`]), and [`Known::learn`] keeps what it says.
//!
//! A device that reports has at most one series under way. What it holds after a series is known from its report before the next
//! is planned, so nothing that waits in a broker can meet a plan that was made without it.

mod difference;
mod entry;
mod holdings;
mod judge;
mod known;
mod next;
pub mod pacing;
mod standing;
mod step;
mod time;
mod wanted;

pub use difference::{Batch, Plan, difference};
pub use entry::{Entry, digest_of};
pub use holdings::{Held, Holdings};
pub use judge::{Heard, Judgement, Outstanding, Verdict, judge};
pub use known::Known;
pub use next::{Next, next};
pub use standing::{Limits, Standing};
pub use step::{Keys, Step, StepError};
pub use time::wants_time;
pub use wanted::{Features, Wanted, WantedTopic};

//! What happens, for whoever looks on.

use super::Fleet;
use tokio::sync::broadcast;

/// Something happened that somebody may want to see. The audit is another thing: nothing depends on an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: i64,
    /// To what kind of thing: `device` or `order`.
    pub kind: &'static str,
    /// To which: the id of a device, the number of an order.
    pub subject: String,
    /// In a sentence.
    pub text: String,
}

/// Events that wait for somebody who looks on slowly, before the oldest are dropped.
pub(super) const WAITING: usize = 1024;

impl Fleet {
    /// What happens from now on, in this process.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    pub(super) fn tell(&self, kind: &'static str, subject: impl ToString, text: impl Into<String>) {
        // Nobody may be looking.
        let event = Event { at: self.now(), kind, subject: subject.to_string(), text: text.into() };
        let _listeners = self.events.send(event);
    }
}

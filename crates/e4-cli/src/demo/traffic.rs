//! Messages of which only the number is told.

use super::expect::Seen;
use e4::KeyRole;
use e4_mqtt::Event;

/// What became of many messages.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    sent: usize,
    in_the_clear: usize,
    pub(super) panel: Read,
    pub(super) contractor: Read,
}

/// What one device has read of them.
#[derive(Debug, Default)]
pub(super) struct Read {
    messages: usize,
    /// Those of them that were sealed under a key that the reader does not seal under yet.
    under_next_key: usize,
}

impl Read {
    /// What arrived where this message was to arrive.
    pub(super) fn take(&mut self, payload: &str, event: Option<Event>) {
        let Some(Event::Message(message)) = event else { return };
        let Some(seal) = message.seal() else { return };
        if message.payload == payload.as_bytes() {
            self.messages += 1;
            self.under_next_key += usize::from(seal.key == KeyRole::Next);
        }
    }
}

impl Traffic {
    /// The next message: no two of them are equal.
    pub(super) fn next_payload(&mut self) -> String {
        self.sent += 1;
        format!("message {}", self.sent)
    }

    /// What passed by the broker.
    pub(super) fn saw(&mut self, seen: &[Seen]) {
        self.in_the_clear += seen.iter().filter(|seen| seen.secret.is_some()).count();
    }

    /// Whether nothing was lost, though some were ahead of those who read them, and the broker read none.
    pub(super) fn is_complete(&self) -> bool {
        let all_read = |read: &Read| read.messages == self.sent;
        self.sent > 0
            && all_read(&self.panel)
            && all_read(&self.contractor)
            && self.contractor.under_next_key > 0
            && self.in_the_clear == 0
    }

    pub(super) fn expected(&self) -> String {
        format!("panel-1 and panel-9 read all of {} messages, some under the next key, and the broker none", self.sent)
    }

    /// What happened.
    pub(super) fn in_words(&self) -> String {
        format!(
            "{} messages were sent meanwhile: panel-1 read {}, panel-9 {}, of which {} and {} under the next key; the broker {}",
            self.sent,
            self.panel.messages,
            self.contractor.messages,
            self.panel.under_next_key,
            self.contractor.under_next_key,
            if self.in_the_clear == 0 { "none".to_owned() } else { self.in_the_clear.to_string() },
        )
    }
}

//! Which commands were accepted, and which one was refused (protocol page, sections 6 and 11).

use crate::{
    key_ring::{AcceptedTags, NoRoom},
    report::{RefusedCommand, WhyRefused},
    siv::Tag,
    time::Timestamp,
};

/// The newest second of which a command was accepted, which commands those were, and the newest one that was refused since.
pub(crate) struct CommandOrder<C> {
    pub(crate) newest: Option<Timestamp>,
    /// In the order in which they were accepted.
    pub(crate) accepted: C,
    /// Why the newest command that was refused was, and its time: beside each other they would take twice the room.
    why_refused: Option<WhyRefused>,
    refused_at: Timestamp,
    /// Whether there is a command that could not be stored and is to be tried again. Not stored.
    pub(crate) waits: bool,
}

/// How a command stands to those accepted before.
pub(crate) enum Order {
    /// Newer, or of the newest second and not one of those accepted.
    Next,
    Repeated,
    Older {
        newest: Timestamp,
    },
}

impl<C: AcceptedTags> CommandOrder<C> {
    pub(super) fn new() -> Self {
        let (newest, accepted, why_refused) = (None, C::default(), None);
        Self { newest, accepted, why_refused, refused_at: Timestamp::from_unix(0), waits: false }
    }

    pub(crate) fn place(&self, sent: Timestamp, tag: &Tag) -> Order {
        match self.newest {
            Some(newest) if sent < newest => Order::Older { newest },
            Some(newest) if sent == newest && self.accepted.as_slice().contains(tag) => Order::Repeated,
            _ => Order::Next,
        }
    }

    /// A command is accepted. Room was made sure of before.
    pub(super) fn accept(&mut self, sent: Timestamp, tag: Tag) {
        if self.newest != Some(sent) {
            self.newest = Some(sent);
            self.accepted.clear();
        }
        let _: Result<(), NoRoom> = self.accepted.push(tag);
        self.why_refused = None;
        self.waits = false;
    }

    /// The newest command that was refused since the newest accepted one.
    pub(crate) fn refused(&self) -> Option<RefusedCommand> {
        self.why_refused.map(|why| RefusedCommand { why, sent: self.refused_at })
    }

    pub(super) fn set_refused(&mut self, refused: RefusedCommand) {
        (self.why_refused, self.refused_at) = (Some(refused.why), refused.sent);
    }

    /// Remembers that an authentic command was refused, and says whether that is to be stored at once.
    ///
    /// Only the newest is remembered, by its own time: what anybody can deliver again, and in any order, changes nothing a
    /// second time. So each command that the key server made is stored once at the most, whether it is taken or refused.
    /// One that is older than the newest accepted command may be any of its past, recorded by whoever carries it, and is
    /// remembered in memory only. So is one that could not be stored.
    #[inline(never)]
    pub(crate) fn refuse(&mut self, refused: RefusedCommand) -> bool {
        // A time that is none counts as the oldest that is not older than the newest, or it would hide all others.
        let rank = |sent: Timestamp| if sent.is_plausible() { Some(sent) } else { self.newest };
        let is_newest = match self.refused() {
            None => true,
            // No command is newer than the one that waits.
            Some(last) if refused.why == WhyRefused::NotStored => rank(last.sent) <= rank(refused.sent),
            Some(last) => rank(last.sent) < rank(refused.sent),
        };
        if is_newest {
            self.set_refused(refused);
        }
        is_newest && is_stored(&refused)
    }
}

/// Whether a command that was refused is a part of the stored state.
pub(super) fn is_stored(refused: &RefusedCommand) -> bool {
    !matches!(refused.why, WhyRefused::Superseded | WhyRefused::NotStored)
}

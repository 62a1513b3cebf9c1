//! What a client tells its key server of itself (protocol page, section 11).

use super::Client;
use crate::{
    client::error::{OpenError, Refusal},
    client::seal::SealError,
    key_ring::{AcceptedTags, Full, KeyRing, Table},
    keys::ReportKey,
    report::{REPORT_LEN, RefusedCommand, Report, WhyRefused},
    stack,
    state::Change,
    store::Store,
    time::{Clock, Timestamp},
};
#[cfg(feature = "alloc")]
use alloc::vec::Vec;

impl<R: KeyRing, S: Store, C: Clock> Client<R, S, C> {
    /// What this client tells its key server: which commands it took, which one it refused and why, and a digest of the keys
    /// that it holds. To be published on [`report_topic`](crate::ClientId::report_topic), retained, at QoS 1: after commands,
    /// once for a series, after an authentic one that was refused, and after each connection, there after a random wait.
    ///
    /// Sealed under a key that only this client and its key server have. See [`REPORT_LEN`], and
    /// [`Recipient::open_report`](crate::controller::Recipient::open_report) for the other end.
    ///
    /// What was refused for its content, its age or want of room is stored with the state, and reported after a restart too.
    /// Not so a command that could not be stored, nor one that came behind a newer one: anybody who has recorded old
    /// commands can deliver them, and no device is to wear out its flash for that.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn report(&self) -> Vec<u8> {
        let mut report = [0; REPORT_LEN];
        self.report_in_place(&mut report);
        report.to_vec()
    }

    /// Writes a [`report`](Self::report) into a buffer of the caller's, and returns the part of it that holds the report: the
    /// first [`REPORT_LEN`] bytes.
    ///
    /// # Errors
    ///
    /// [`SealError::BufferTooSmall`] when it is shorter than that.
    pub fn report_into<'o>(&self, out: &'o mut [u8]) -> Result<&'o mut [u8], SealError> {
        let report = out.first_chunk_mut().ok_or(SealError::BufferTooSmall { needed: REPORT_LEN })?;
        self.report_in_place(report);
        Ok(report)
    }

    /// Writes a [`report`](Self::report) into a buffer of its very length.
    pub fn report_in_place(&self, out: &mut [u8; REPORT_LEN]) {
        self.seal_report(out);
        // The client key was at work.
        stack::wipe::<{ stack::DEEP }>();
    }

    #[inline(never)]
    fn seal_report(&self, out: &mut [u8; REPORT_LEN]) {
        let key = ReportKey::of_command_key(self.state.identity.command_key());
        if self.make_report().seal(&key, out).is_err() {
            // It has the length of a report, and so there is no error; should there ever be one, nothing readable leaves.
            out.fill(0);
        }
    }

    fn make_report(&self) -> Report {
        let (state, now, count) = (&self.state, self.time.now(), |n| u32::try_from(n).unwrap_or(u32::MAX));
        let newest = state.order.newest.unwrap_or(Timestamp::from_unix(0));
        let has_clock = self.time.own_clock().is_some();
        Report {
            sent: now.unwrap_or(newest),
            knows_next_keys: true,
            has_clock,
            has_learned_time: now.is_some() && !has_clock,
            command_waits: state.order.waits,
            refused: state.order.refused(),
            newest,
            newest_v: state.order.accepted.as_slice().last().copied().unwrap_or_default(),
            digest: state.digest(),
            topics: count(state.topics.len()),
            room: state.topics.room().map(count),
        }
    }

    /// Remembers for the next report why an authentic command was not applied.
    #[inline(never)]
    pub(super) fn note_refusal(&mut self, sent: Timestamp, error: &OpenError) {
        // What was taken before, or is older than that, can be delivered by anybody, and says nothing of one that waits.
        if !matches!(error, OpenError::Refused(Refusal::Repeated | Refusal::Superseded { .. })) {
            self.state.order.waits = !error.is_final();
        }
        let Some(why) = why_refused(error) else {
            return;
        };
        if self.state.order.refuse(RefusedCommand { why, sent }) {
            // The command is refused whether or not that can be stored; it is with whatever is stored next.
            let _ = self.save(&Change::NONE);
        }
    }
}

/// What the key server is told of an error that a command met; nothing when it was accepted before.
fn why_refused(error: &OpenError) -> Option<WhyRefused> {
    Some(match error {
        OpenError::Full(Full::Peers) => WhyRefused::NoRoomForPeers,
        OpenError::Full(Full::Commands) => WhyRefused::TooManyInOneSecond,
        OpenError::Full(_) => WhyRefused::NoRoomForTopics,
        OpenError::Store(_) => WhyRefused::NotStored,
        OpenError::Refused(Refusal::Command(_)) => WhyRefused::Content,
        OpenError::Refused(Refusal::TooOld { .. }) => WhyRefused::Age,
        OpenError::Refused(Refusal::Superseded { .. }) => WhyRefused::Superseded,
        _ => return None,
    })
}

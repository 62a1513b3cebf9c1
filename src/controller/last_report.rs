//! The order of the reports of one client.

use crate::{report::Report, time::Timestamp};
use core::fmt;

/// The last report that was accepted from a client, as far as it decides about the next: [`newest`](Self::newest) and
/// [`sent`](Self::sent) are all that has to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastReport {
    newest: Timestamp,
    sent: Timestamp,
}

impl LastReport {
    /// For a client that has not reported yet.
    #[must_use]
    pub const fn new() -> Self {
        Self::resume(Timestamp::from_unix(0), Timestamp::from_unix(0))
    }

    /// As it was stored. [`Timestamp::LIMIT`] or more is no time that the report was made at, and counts as 0: no other report
    /// could follow it before the next command.
    #[must_use]
    pub const fn resume(newest: Timestamp, sent: Timestamp) -> Self {
        Self { newest, sent: if sent.is_plausible() { sent } else { Timestamp::from_unix(0) } }
    }

    /// The timestamp of the newest command that the client had accepted; 0 for none. A [`Lane`](super::Lane) that is taken up
    /// again is to [observe](super::Lane::observe) it.
    #[must_use]
    pub const fn newest(&self) -> Timestamp {
        self.newest
    }

    /// When the report was made; 0 if it says no time.
    #[must_use]
    pub const fn sent(&self) -> Timestamp {
        self.sent
    }

    /// Accepts the client's report, unless it is older than the last: it tells of an older command, or of the same and was
    /// made earlier. The last report itself is accepted again.
    ///
    /// # Errors
    ///
    /// [`OlderReport`]; this is as it was.
    pub fn accept(&mut self, report: &Report) -> Result<(), OlderReport> {
        let this = Self::resume(report.newest, report.sent);
        if (this.newest, this.sent) < (self.newest, self.sent) {
            return Err(OlderReport);
        }
        *self = this;
        Ok(())
    }
}

impl Default for LastReport {
    fn default() -> Self {
        Self::new()
    }
}

/// A report is older than the last one that was accepted from its client: believe nothing of it, and ask with a
/// [`question`](super::question()).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OlderReport;

impl fmt::Display for OlderReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the report is older than the last one of this client: somebody plays it back, or the client goes on from an old copy of its state",
        )
    }
}

impl core::error::Error for OlderReport {}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(newest: u64, sent: u64) -> Report {
        Report { newest: Timestamp::from_unix(newest), sent: Timestamp::from_unix(sent), ..Report::example() }
    }

    #[test]
    fn a_report_is_older_by_its_newest_command_and_then_by_its_own_time() {
        let mut last = LastReport::new();
        assert_eq!(last.accept(&report(0, 0)), Ok(()), "of a client that knows nothing, not even the time");
        for (newest, sent, result) in [
            (100, 900, Ok(())),
            (100, 900, Ok(())),
            (99, 901, Err(OlderReport)),
            (100, 899, Err(OlderReport)),
            // Its clock was set back: a newer command counts for more than the time.
            (101, 500, Ok(())),
            (101, 499, Err(OlderReport)),
            (101, 501, Ok(())),
        ] {
            let before = last;
            assert_eq!(last.accept(&report(newest, sent)), result, "{newest}, {sent}");
            let expected =
                if result.is_ok() { (newest, sent) } else { (before.newest.as_unix(), before.sent.as_unix()) };
            assert_eq!((last.newest().as_unix(), last.sent().as_unix()), expected);
            last = LastReport::resume(last.newest(), last.sent());
        }
    }

    #[test]
    fn a_report_of_a_time_that_is_none_keeps_no_other_from_following() {
        for none in [Timestamp::LIMIT.as_unix(), u64::MAX] {
            let mut last = LastReport::resume(Timestamp::from_unix(100), Timestamp::from_unix(none));
            assert_eq!(last.accept(&report(100, 900)), Ok(()), "one that was stored");
            assert_eq!(last.accept(&report(100, none)), Err(OlderReport), "it is not later than all others");
            assert_eq!(last.accept(&report(101, none)), Ok(()));
            assert_eq!((last.newest().as_unix(), last.sent().as_unix()), (101, 0));
            assert_eq!(last.accept(&report(101, 901)), Ok(()), "its clock was set right");
        }
    }
}

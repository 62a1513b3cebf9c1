use e4::{Timestamp, controller::Report};

/// Seconds that a device without a clock of its own may be off.
const TOLERANCE: u64 = 30;

/// Seconds between two `SetTime` for a device that says that it knows the time: on a slow way it would be off after each.
const PAUSE: u64 = 3600;

/// The same for one that says that it does not.
const PAUSE_UNKNOWING: u64 = 60;

/// Whether a device is to be told the time: it has no clock of its own, and its report shows that it does not know the time or
/// is more than 30 s off. `SetTime` makes it report, so one that was told it just now is not told it again.
///
/// `live`: the report was published now, and is not one that the broker kept. How old that one is, nobody knows.
#[must_use]
pub fn wants_time(report: &Report, live: bool, now: Timestamp, told: Option<u64>) -> bool {
    if !report.knows_next_keys || report.has_clock {
        return false;
    }
    let off = report.sent.as_unix().abs_diff(now.as_unix());
    let pause = match report.has_learned_time {
        false => PAUSE_UNKNOWING,
        true if live && off > TOLERANCE => PAUSE,
        true => return false,
    };
    // A clock that was set back makes no difference.
    told.is_none_or(|told| told.abs_diff(now.as_unix()) >= pause)
}

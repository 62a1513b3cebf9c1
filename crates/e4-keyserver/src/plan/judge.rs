//! What a report says of its device.

mod search;

use super::{Entry, Features, Holdings, Known, Standing, Step, Wanted, entry::number};
use e4::{
    Timestamp,
    controller::{Report, StateDigest, WhyRefused},
};

/// A command that was sealed and is not confirmed, in the order of its device's lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outstanding {
    /// What it does.
    pub step: Step,
    /// The second that it carries.
    pub sent: Timestamp,
    /// `V`, by which it is known again in a report.
    pub v: [u8; 16],
    /// Whether its bytes are there and may be sent again.
    pub repeatable: bool,
}

/// A report that opened, and that is not older than the last one.
#[derive(Debug, Clone, Copy)]
pub struct Heard<'a> {
    /// The report.
    pub report: &'a Report,
    /// Whether it came under the key that the device is being moved to.
    pub new_key: bool,
    /// The last second of the device's lane, before the report is observed.
    pub lane_last: Timestamp,
}

/// What a device holds, as far as its report tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All that it is to hold, and nothing that was sent can change that any more.
    Confirmed(Holdings),
    /// This, and nothing that was sent can change that any more.
    Holds(Holdings),
    /// Commands that were sent may still be taken.
    UnderWay,
    /// It took a command that is newer than all that were sent from here.
    Ahead,
    /// Something that is not known here; nothing that was sent can change that any more.
    Unknown,
}

/// A report, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// What the device holds.
    pub verdict: Verdict,
    /// It came on: it took something, or what it holds is known now and was not. If not, the same goes on with the pauses of
    /// [`pacing`](super::pacing), or a device that refuses everything would be sent to as fast as it answers.
    pub progress: bool,
    /// A question is to be sent at once: the device refused the last command, and only a later one makes it too old.
    pub ask: bool,
    /// Why it does not come on, if it says so.
    pub trouble: Option<Standing>,
    /// How many keys of topics and subtrees it has room for in all, if that is limited.
    pub capacity: Option<u32>,
}

/// Judges a report against what is known of its device, what was sent to it since, and what it is to hold. `of_entry` gives the
/// digest of one entry alone; `None` if its key was erased.
///
/// The caller has opened the report, and has had [`LastReport`](e4::controller::LastReport) accept it. If it came under the key
/// that the device is being moved to, `wanted` has it moved already.
pub fn judge(
    heard: &Heard<'_>,
    known: &Known,
    outbox: &[Outstanding],
    wanted: &Wanted,
    features: &Features,
    of_entry: &impl Fn(Entry) -> Option<StateDigest>,
) -> Judgement {
    let report = heard.report;
    let capacity = report.room.map(|room| room.saturating_add(report.topics));
    let judged = |verdict, progress| Judgement { verdict, progress, ask: false, trouble: trouble(report), capacity };
    // Without a command, `newest` is when the device was made.
    if report.newest > heard.lane_last && report.newest_v != [0; 16] {
        return judged(Verdict::Ahead, false);
    }
    if !is_settled(heard, outbox) {
        let took = outbox.iter().any(|sent| sent.v == report.newest_v);
        return Judgement { ask: is_refused(report, outbox), ..judged(Verdict::UnderWay, took) };
    }
    let target = wanted.holdings(features);
    let steps: Vec<_> = outbox.iter().map(|sent| sent.step).collect();
    let found = search::find(number(report.digest), known, &steps, &target, of_entry);
    match found {
        Some(holdings) if holdings == target && wanted.new_client_key.is_none() => {
            Judgement { trouble: None, ..judged(Verdict::Confirmed(holdings), true) }
        }
        Some(holdings) => {
            let is_new = known.holds() != Some(&holdings);
            judged(Verdict::Holds(holdings), is_new || heard.new_key)
        }
        None => judged(Verdict::Unknown, !known.states.is_empty()),
    }
}

/// Whether nothing more can become of all that was sent: the device took the last of it, or a command that is later. What changes
/// no key does not count: a question may come whenever it likes.
fn is_settled(heard: &Heard<'_>, outbox: &[Outstanding]) -> bool {
    let report = heard.report;
    // What moves a device to another key is the last that was sealed under the one before.
    heard.new_key
        || last_change(outbox)
            .is_none_or(|last| report.newest > last.sent || (report.newest == last.sent && report.newest_v == last.v))
}

/// Whether the newest command that the device refused is of the last second, so that it has seen the end of what was sent.
fn is_refused(report: &Report, outbox: &[Outstanding]) -> bool {
    let last = last_change(outbox).map(|last| last.sent);
    report.refused.is_some_and(|refused| refused.why != WhyRefused::NotStored && Some(refused.sent) == last)
}

fn last_change(outbox: &[Outstanding]) -> Option<&Outstanding> {
    outbox.iter().rfind(|sent| sent.step.changes_keys())
}

fn trouble(report: &Report) -> Option<Standing> {
    if report.command_waits {
        return Some(Standing::CannotStore);
    }
    match report.refused?.why {
        WhyRefused::NoRoomForTopics | WhyRefused::NoRoomForPeers => Some(Standing::NoRoom),
        WhyRefused::NotStored => Some(Standing::CannotStore),
        WhyRefused::Content | WhyRefused::Age | WhyRefused::TooManyInOneSecond => Some(Standing::Refuses),
        // What comes late is refused so, and nothing is wrong with that.
        _ => None,
    }
}

#[cfg(test)]
mod tests;

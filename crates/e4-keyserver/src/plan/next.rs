use super::{Batch, Features, Known, Outstanding, Plan, Step, Wanted, difference};

/// What is to be done for a device that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it holds what it is to hold, as far as anybody can know, or there is no room for the rest.
    Nothing {
        /// Topics that there is no room for.
        left_out: usize,
    },
    /// Send what is in the outbox and may be sent again, the same bytes.
    Repeat,
    /// Seal these behind what is in the outbox, and send these alone. Questions that are in the outbox already can be
    /// deleted: they change nothing.
    Ask(Vec<Batch>),
    /// Seal this anew, and send it. What is in the outbox is replaced by it.
    Series(Plan),
}

/// How often the same bytes are sent again before a question takes their place.
const REPETITIONS: u32 = 3;

/// What is to be done for a device that is due, with this in its outbox, which was sent so many times.
///
/// A device that reports gets its series again, and then questions: one that took the commands says so, one that did not take
/// them either takes them late or makes them too old, and says what it holds.
///
/// For a device that does not report, the outbox is what was sealed last. The same bytes would be too old for it, so all is
/// sealed anew.
///
/// [`Known::send`] keeps what follows from it.
#[must_use]
pub fn next(known: &Known, outbox: &[Outstanding], wanted: &Wanted, features: &Features, attempts: u32) -> Next {
    let moves = outbox.iter().any(|sent| sent.step.moves_key());
    if known.ask && features.reports {
        return Next::Ask(question(moves));
    }
    if features.reports && !outbox.is_empty() {
        let is_repeatable = outbox.iter().any(|sent| sent.repeatable && sent.step.changes_keys());
        return if attempts < REPETITIONS && is_repeatable { Next::Repeat } else { Next::Ask(question(moves)) };
    }
    let mut plan = if features.reports {
        difference(known, wanted, features)
    } else {
        let mut known = known.clone();
        known.assume(outbox);
        difference(&known, wanted, features)
    };
    if known.tell_time && features.reports && features.knows_next_keys {
        plan.batches.insert(0, Batch::of(Step::SetTime));
    }
    if features.reports {
        plan.batches.truncate(Plan::SERIES);
    }
    if plan.is_empty() { Next::Nothing { left_out: plan.left_out } } else { Next::Series(plan) }
}

/// While a device is being moved to another key, it is not known under which it opens commands.
fn question(moves: bool) -> Vec<Batch> {
    let keys = if moves { &[false, true][..] } else { &[false] };
    keys.iter().map(|new_key| Batch::of(Step::Question { new_key: *new_key })).collect()
}

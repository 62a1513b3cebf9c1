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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::Mode,
        plan::{Holdings, WantedTopic},
    };
    use e4::{Timestamp, TopicHash};

    const FEATURES: Features = Features { mode: Mode::Symmetric, reports: true, knows_next_keys: true };
    const TOPIC: TopicHash = TopicHash::from_bytes([1; 16]);
    const SET: Step = Step::Replace { topic: TOPIC, version: 1 };

    fn outbox(steps: &[Step]) -> Vec<Outstanding> {
        let sent = |step: &Step| Outstanding {
            step: *step,
            sent: Timestamp::from_unix(1_800_000_000),
            v: [0; 16],
            repeatable: step.is_repeatable(),
        };
        steps.iter().map(sent).collect()
    }

    fn wanted() -> Wanted {
        let topic = WantedTopic { current: 1, next: None, cut: 0, around: 0 };
        Wanted { topics: [(TOPIC, topic)].into(), ..Wanted::default() }
    }

    #[test]
    fn a_series_is_sent_again_and_then_a_question_is_sent_in_its_place() {
        let known = Known::new(Holdings::default());
        let Next::Series(plan) = next(&known, &[], &wanted(), &FEATURES, 0) else { panic!("it lacks a key") };
        assert_eq!(plan.steps().copied().collect::<Vec<_>>(), [SET]);
        let sent = outbox(&[SET]);
        let nexts: Vec<_> = (1..6).map(|times| next(&known, &sent, &wanted(), &FEATURES, times)).collect();
        let ask = Next::Ask(vec![Batch::of(Step::Question { new_key: false })]);
        assert_eq!(nexts, [Next::Repeat, Next::Repeat, ask.clone(), ask.clone(), ask.clone()]);
        // What is good only at its own time is not sent again.
        assert_eq!(next(&known, &outbox(&[Step::SetTime]), &wanted(), &FEATURES, 1), ask);
    }

    #[test]
    fn while_a_device_is_moved_it_is_asked_under_both_keys() {
        let sent = outbox(&[Step::SetClientKey { version: 2 }]);
        let Next::Ask(batches) = next(&Known::default(), &sent, &wanted(), &FEATURES, 9) else { panic!("it is asked") };
        let steps: Vec<_> = batches.iter().flat_map(Batch::steps).copied().collect();
        assert_eq!(steps, [false, true].map(|new_key| Step::Question { new_key }));
    }

    #[test]
    fn a_device_is_told_the_time_before_all_else_and_only_if_it_knows_the_command() {
        let known = Known { tell_time: true, ..Known::new(Holdings::default()) };
        let Next::Series(plan) = next(&known, &[], &wanted(), &FEATURES, 0) else { panic!("it lacks a key") };
        assert_eq!(plan.steps().copied().collect::<Vec<_>>(), [Step::SetTime, SET]);
        let old = Features { knows_next_keys: false, ..FEATURES };
        let Next::Series(plan) = next(&known, &[], &wanted(), &old, 0) else { panic!("it lacks a key") };
        assert!(plan.steps().all(|step| *step != Step::SetTime));
    }

    #[test]
    fn more_than_a_lane_gives_out_at_once_waits_for_the_report() {
        let topics = (0..=u8::MAX).flat_map(|high| {
            (0..4).map(move |low| {
                let mut hash = [high; 16];
                hash[0] = low;
                (TopicHash::from_bytes(hash), WantedTopic { current: 1, next: None, cut: 0, around: 0 })
            })
        });
        let wanted = Wanted { topics: topics.collect(), ..Wanted::default() };
        let mut known = Known::new(Holdings::default());
        let mut sizes = vec![];
        while let Next::Series(plan) = next(&known, &[], &wanted, &FEATURES, 0) {
            sizes.push(plan.steps().count());
            known = Known::new(known.states[0].after(plan.steps()));
        }
        assert_eq!(sizes, [450, 450, 124]);
    }
}

use super::{Features, Holdings, Judgement, Next, Outstanding, Standing, Step, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Seconds between two questions that old reports give rise to.
const ASK_PAUSE: u64 = 60;

/// What is known of what a device holds, apart from the commands that are under way.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Known {
    /// What it holds: one state of a device that reports, all that it may be in of one that does not. Empty: not known.
    #[serde(rename = "states", skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<Holdings>,
    /// What it held before, the newest first: to recognise a device whose disk was put back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub older: Vec<Holdings>,
    /// How many keys of topics and subtrees it has room for in all, if that is limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u32>,
    /// Why it does not come on, as far as it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Standing>,
    /// A question is to be sent: a report came that is older than the last one, or the last command was refused.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ask: bool,
    /// When a question was sent last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<u64>,
    /// It is to be told the time.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tell_time: bool,
    /// When it was told the time last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub told_time: Option<u64>,
}

impl Known {
    /// Older states that are kept.
    pub const OLDER: usize = 6;

    /// Of a device that is enrolled with this in its bundle.
    #[must_use]
    pub fn new(holdings: Holdings) -> Self {
        Self { states: vec![holdings], ..Self::default() }
    }

    /// What a device that reports holds.
    #[must_use]
    pub fn holds(&self) -> Option<&Holdings> {
        match self.states.as_slice() {
            [holdings] => Some(holdings),
            _ => None,
        }
    }

    /// Has a question sent, and says when: anybody can play back an old report, and is not to have a question sent for each.
    pub fn ask(&mut self, now: u64) -> u64 {
        self.ask = true;
        // A clock that was set back does not keep it from being sent.
        self.asked.filter(|asked| *asked <= now).map_or(now, |asked| now.max(asked.saturating_add(ASK_PAUSE)))
    }

    /// Keeps what a report says. Returns whether nothing is under way any more, so that the outbox is to be emptied.
    pub fn learn(&mut self, judgement: &Judgement) -> bool {
        self.capacity = judgement.capacity;
        self.ask |= judgement.ask;
        // A question that it takes says nothing more of what it refused before.
        if judgement.progress || judgement.trouble.is_some() {
            self.trouble = judgement.trouble;
        }
        let states = match &judgement.verdict {
            Verdict::UnderWay => return false,
            Verdict::Confirmed(holdings) | Verdict::Holds(holdings) => vec![holdings.clone()],
            // All that was sent from here is dated before what it took.
            Verdict::Unknown | Verdict::Ahead => vec![],
        };
        self.remember(states);
        true
    }

    /// Keeps what becomes of a device by what is sent to it now. `outbox` is what was in its outbox before.
    pub fn send(&mut self, next: &Next, outbox: &[Outstanding], features: &Features, now: u64) {
        match next {
            Next::Nothing { .. } | Next::Repeat => {}
            Next::Ask(_) => (self.ask, self.asked) = (false, Some(now)),
            Next::Series(plan) => {
                if plan.steps().any(|step| *step == Step::SetTime) {
                    (self.tell_time, self.told_time) = (false, Some(now));
                }
                if !features.reports {
                    self.assume(outbox);
                }
            }
        }
    }

    /// Of a device that does not report: each of these commands may have been taken or not. If it was not known what it holds,
    /// what takes all away is in the outbox, and sent once: again and again it would take away what came behind it.
    pub(super) fn assume(&mut self, outbox: &[Outstanding]) {
        if self.states.is_empty() && !outbox.is_empty() {
            self.states.push(Holdings::default());
        }
        for sent in outbox {
            let taken: Vec<_> = self.states.iter().map(|state| state.after([&sent.step])).collect();
            self.states.extend(taken);
            self.states = compact(&self.states);
        }
    }

    fn remember(&mut self, states: Vec<Holdings>) {
        let before = std::mem::replace(&mut self.states, states);
        self.older.retain(|older| !before.contains(older) && !self.states.contains(older));
        self.older.splice(0..0, before.into_iter().filter(|state| !self.states.contains(state)));
        self.older.truncate(Self::OLDER);
    }
}

/// Few states that say the same of each single thing, as far as a plan depends on it: whether it may be absent, and the lowest
/// and the highest version that it may be. Otherwise, a device that does not report would have one more state a rotation.
fn compact(states: &[Holdings]) -> Vec<Holdings> {
    let (mut absent, mut lowest, mut highest) = (Holdings::default(), Holdings::default(), Holdings::default());
    for topic in states.iter().flat_map(|state| state.topics.keys()).collect::<BTreeSet<_>>() {
        let held = || states.iter().filter_map(|state| state.topics.get(topic)).copied();
        let (Some(low), Some(high)) = (held().min(), held().max()) else { continue };
        lowest.topics.insert(*topic, low);
        highest.topics.insert(*topic, high);
        if states.iter().all(|state| state.topics.contains_key(topic)) {
            absent.topics.insert(*topic, high);
        }
    }
    for peer in states.iter().flat_map(|state| state.peers.keys()).collect::<BTreeSet<_>>() {
        let held = || states.iter().filter_map(|state| state.peers.get(peer)).copied();
        let (Some(low), Some(high)) = (held().min(), held().max()) else { continue };
        lowest.peers.insert(*peer, low);
        highest.peers.insert(*peer, high);
        if states.iter().all(|state| state.peers.contains_key(peer)) {
            absent.peers.insert(*peer, high);
        }
    }
    let keys = || states.iter().map(|state| state.server_key);
    (lowest.server_key, highest.server_key) = (keys().min().flatten(), keys().max().flatten());
    absent.server_key = highest.server_key;
    let mut compact = vec![highest];
    for state in [lowest, absent] {
        if !compact.contains(&state) {
            compact.push(state);
        }
    }
    compact
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::Mode,
        plan::{Wanted, WantedTopic, next},
    };
    use e4::{Timestamp, TopicHash};

    const SILENT: Features = Features { mode: Mode::Symmetric, reports: false, knows_next_keys: false };

    fn topic(number: u8) -> TopicHash {
        TopicHash::from_bytes([number; 16])
    }

    fn outbox(steps: &[Step]) -> Vec<Outstanding> {
        let sent = |step: &Step| Outstanding {
            step: *step,
            sent: Timestamp::from_unix(1_800_000_000),
            v: [0; 16],
            repeatable: step.is_repeatable(),
        };
        steps.iter().map(sent).collect()
    }

    fn learned(known: &mut Known, verdict: Verdict) -> bool {
        let judgement = Judgement { verdict, progress: true, ask: false, trouble: None, capacity: None };
        known.learn(&judgement)
    }

    fn held(version: u32) -> Holdings {
        let set = Step::SetTopic { topic: topic(1), version };
        Holdings::default().after([&set])
    }

    #[test]
    fn what_a_device_held_is_kept_each_state_once_and_the_oldest_are_forgotten() {
        let mut known = Known::new(held(1));
        for version in (2..=9).chain([8, 9]) {
            assert!(learned(&mut known, Verdict::Holds(held(version))));
        }
        assert_eq!(known.holds(), Some(&held(9)));
        assert_eq!(known.older, [8, 7, 6, 5, 4, 3].map(held));
        assert!(!learned(&mut known, Verdict::UnderWay));
        assert!(learned(&mut known, Verdict::Unknown));
        assert_eq!((known.holds(), &known.older[0]), (None, &held(9)));
    }

    #[test]
    fn it_is_stored_as_short_json_and_read_back() {
        let mut known = Known::new(held(3));
        let text = serde_json::to_string(&known).unwrap();
        assert_eq!(text, format!(r#"{{"states":[{{"t":{{"{}":[3,null]}}}}]}}"#, "01".repeat(16)));
        known.older = vec![held(2)];
        (known.capacity, known.trouble, known.told_time) = (Some(4), Some(Standing::NoRoom), Some(7));
        (known.ask, known.asked, known.tell_time) = (true, Some(8), true);
        let text = serde_json::to_string(&known).unwrap();
        assert_eq!(serde_json::from_str::<Known>(&text).unwrap(), known);
        assert_eq!(serde_json::from_str::<Known>("{}").unwrap(), Known::default());
    }

    /// A topic that rotates daily to one that never says what it took.
    #[test]
    fn what_a_silent_device_may_hold_stays_small_and_forgets_no_possibility_that_matters() {
        let mut known = Known::new(held(1));
        for version in 2..400 {
            known
                .assume(&outbox(&[Step::SetTopic { topic: topic(1), version }, Step::RemoveTopic { topic: topic(2) }]));
            assert!(known.states.len() <= 3);
        }
        let versions =
            |known: &Known| known.states.iter().map(|state| state.topics.get(&topic(1)).copied()).collect::<Vec<_>>();
        assert!(
            [1, 399].iter().all(|version| versions(&known).contains(&held(*version).topics.get(&topic(1)).copied()))
        );
        known.assume(&outbox(&[Step::RemoveTopic { topic: topic(1) }]));
        assert!(versions(&known).contains(&None));
        // A version that it may hold is below the cut, whatever it was sent since.
        let wanted = WantedTopic { current: 399, next: None, cut: 2, around: 0 };
        let wanted = Wanted { topics: [(topic(1), wanted)].into(), ..Wanted::default() };
        let Next::Series(plan) = next(&known, &[], &wanted, &SILENT, 0) else { panic!("it may lack the key") };
        let pair = [Step::RemoveTopic { topic: topic(1) }, Step::SetTopic { topic: topic(1), version: 399 }];
        assert_eq!(plan.steps().copied().collect::<Vec<_>>(), pair);
    }

    #[test]
    fn a_silent_device_that_nothing_is_known_of_is_reset_once() {
        let wanted = WantedTopic { current: 1, next: None, cut: 0, around: 0 };
        let wanted = Wanted { topics: [(topic(1), wanted)].into(), ..Wanted::default() };
        let mut known = Known::default();
        let set = Step::SetTopic { topic: topic(1), version: 1 };
        let mut sent: Vec<Step> = vec![];
        for expected in [vec![Step::ResetTopics, set], vec![set], vec![set]] {
            let next = next(&known, &outbox(&sent), &wanted, &SILENT, 0);
            known.send(&next, &outbox(&sent), &SILENT, 0);
            let Next::Series(plan) = next else { panic!("it may lack the key") };
            sent = plan.steps().copied().collect();
            assert_eq!(sent, expected);
        }
    }

    #[test]
    fn whoever_plays_back_old_reports_has_one_question_a_minute_sent() {
        let mut known = Known::default();
        assert_eq!(known.ask(1000), 1000);
        known.send(&Next::Ask(vec![]), &[], &SILENT, 1000);
        assert!(!known.ask);
        assert_eq!((known.ask(1001), known.ask(1059), known.ask(1060), known.ask(2000)), (1060, 1060, 1060, 2000));
        assert_eq!(known.ask(500), 500, "the clock was set back");
    }
}

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

    /// Of a device that does not report: each of these commands may have been taken or not.
    pub(super) fn assume(&mut self, outbox: &[Outstanding]) {
        if self.states.is_empty() {
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
        for state in before {
            if !self.states.contains(&state) {
                self.older.retain(|older| *older != state);
                self.older.insert(0, state);
            }
        }
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

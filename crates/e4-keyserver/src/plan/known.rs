use super::{Holdings, Judgement, Standing, Step, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

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

    /// Keeps what a report says. Afterwards nothing is under way, and the outbox is to be emptied, unless this returns `false`.
    pub fn learn(&mut self, judgement: &Judgement) -> bool {
        self.capacity = judgement.capacity;
        // A question that it takes says nothing more of what it refused before.
        if judgement.progress || judgement.trouble.is_some() {
            self.trouble = judgement.trouble;
        }
        let now = match &judgement.verdict {
            Verdict::UnderWay | Verdict::Ahead => return false,
            Verdict::Confirmed(holdings) | Verdict::Holds(holdings) => vec![holdings.clone()],
            Verdict::Unknown => vec![],
        };
        self.remember(now);
        true
    }

    /// Keeps what a device may hold that does not report, after these commands: each of them may have been taken or not.
    pub fn assume(&mut self, sent: &[Step]) {
        let bases = if self.states.is_empty() { vec![Holdings::default()] } else { self.states.clone() };
        let after: Vec<_> = bases.iter().map(|state| state.after(sent)).collect();
        let mut states = bases;
        states.extend(after);
        self.states = compact(&states);
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

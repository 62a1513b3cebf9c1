//! The shortest list of commands from what a device holds, or may hold, to what it is to hold.

use super::{Features, Held, Holdings, Known, Step, Wanted, WantedTopic};
use crate::model::Mode;
use e4::{ClientId, TopicHash, controller::Lane};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

/// What is sealed in one call, and so has a second of the device's lane for itself: at most [`Batch::MAX`] commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch(Vec<Step>);

impl Batch {
    /// As many commands as the smallest clients remember of one second, less one.
    pub const MAX: usize = Lane::PER_SECOND as usize;

    /// A batch of one command.
    #[must_use]
    pub fn of(step: Step) -> Self {
        Self(vec![step])
    }

    /// In the order in which they go out.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.0
    }
}

/// What brings a device to what it is to hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// In the order in which they go out.
    pub batches: Vec<Batch>,
    /// Topics that there is no room for.
    pub left_out: usize,
}

impl Plan {
    /// Batches of a device that reports which may be under way at once: what its lane gives out before it is too far ahead. The
    /// rest is planned after its report. For a device that does not report, the rest follows when the lane allows it.
    pub const SERIES: usize = 30;

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// All commands in their order.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.batches.iter().flat_map(Batch::steps)
    }

    /// Leaves out the batches of which all was sent already, for a device that does not report.
    pub fn skip(&mut self, sent: &[Step]) {
        self.batches.retain(|batch| !batch.steps().iter().all(|step| sent.contains(step)));
    }
}

/// The commands that bring a device to what it is to hold, from each of the states that it may be in. First what takes away,
/// then peers, then keys (hard rotations first, and inner topics before the subtrees around them), then next keys, and last, as
/// what follows it comes under another key, a key of its own or of the server's.
///
/// If it is not known what the device holds, all is taken away and set anew.
#[must_use]
pub fn difference(known: &Known, wanted: &Wanted, features: &Features) -> Plan {
    let held = Possible::of(&known.states);
    let mut plan = Plan::default();
    if known.states.is_empty() {
        plan.batches.push(Batch::of(Step::ResetTopics));
        if features.mode == Mode::PublicKey {
            plan.batches.push(Batch::of(Step::ResetPeers));
        }
    }
    plan.pack(held.removals(wanted, features));
    if features.mode == Mode::PublicKey {
        let peers = wanted.peers.iter().filter(|(peer, version)| !held.has_peer(peer, **version));
        plan.pack(peers.map(|(peer, version)| vec![Step::SetPeer { peer: *peer, version: *version }]));
    }

    let changes = wanted.topics.iter().filter_map(|(topic, wanted)| {
        Some((Change::of(*topic, held.topic(topic), wanted, features)?, wanted.around, *topic))
    });
    let mut changes: Vec<_> = changes.collect();
    changes.sort_by_key(|(change, around, topic)| (!change.is_hard, Reverse(*around), *topic));
    if let Some(capacity) = known.capacity.and_then(|capacity| usize::try_from(capacity).ok()) {
        let mut room = capacity.saturating_sub(wanted.topics.keys().filter(|topic| !held.may_lack(topic)).count());
        changes.retain(|(.., topic)| {
            let is_new = held.may_lack(topic);
            let fits = !is_new || room > 0;
            room = room.saturating_sub(usize::from(is_new));
            plan.left_out += usize::from(!fits);
            fits
        });
    }
    // The commands of one second can arrive in another order. So those that belong together are not among others, and what
    // builds on another is of a later second.
    let of_len = |is_pair: bool| {
        let commands = changes.iter().map(|(change, ..)| change.current.clone());
        commands.filter(move |commands| !commands.is_empty() && (commands.len() > 1) == is_pair)
    };
    plan.pack(of_len(true));
    plan.pack(of_len(false));
    plan.pack(changes.iter().filter_map(|(change, ..)| Some(vec![change.next?])));
    plan.batches.extend(key_move(known, &held, wanted, features).map(Batch::of));
    plan
}

impl Plan {
    /// Fills batches with commands, of which those in one list stay together.
    fn pack(&mut self, lists: impl Iterator<Item = Vec<Step>>) {
        let mut batch = Vec::new();
        for list in lists {
            if batch.len() + list.len() > Batch::MAX {
                self.batches.push(Batch(std::mem::take(&mut batch)));
            }
            batch.extend(list);
        }
        if !batch.is_empty() {
            self.batches.push(Batch(batch));
        }
    }
}

/// What is to be done about one topic.
struct Change {
    /// The commands that bring its current key.
    current: Vec<Step>,
    /// The command for its next key.
    next: Option<Step>,
    is_hard: bool,
}

impl Change {
    /// `None` if nothing is to be done, whichever of these states the device is in.
    fn of(topic: TopicHash, held: &BTreeSet<Option<Held>>, wanted: &WantedTopic, features: &Features) -> Option<Self> {
        let target = wanted.held(features);
        if held.iter().all(|held| *held == Some(target)) && !held.is_empty() {
            return None;
        }
        let version = wanted.current;
        let has_current = !held.is_empty() && held.iter().all(|held| held.is_some_and(|held| held.current == version));
        let is_hard = held.iter().flatten().any(|held| held.current < wanted.cut);
        let is_new = held.iter().all(Option::is_none);
        let set = Step::SetTopic { topic, version };
        let current = match (has_current, features.knows_next_keys) {
            (true, _) => vec![],
            // One that has no key yet has nothing to lose by it, and one that has a key after all gives it up.
            (false, true) if is_hard || is_new => vec![Step::Replace { topic, version }],
            (false, false) if is_hard && wanted.around > 0 => vec![Step::PushOut { topic }, set],
            (false, false) if is_hard => vec![Step::RemoveTopic { topic }, set],
            (false, _) => vec![set],
        };
        let has_next = |held: &Option<Held>| held.is_some_and(|held| held.next.is_some() && has_current);
        let next = match target.next {
            Some(next) => Some(Step::SetNext { topic, version: next }),
            // The current key takes a waiting next key away; another one has done so by becoming current.
            None if held.iter().any(has_next) => Some(Step::SetNext { topic, version }),
            None => None,
        };
        Some(Self { current, next, is_hard })
    }
}

/// The last command of a series: what follows it comes under another key. Not for a device that does not report, since nobody
/// would know under which.
fn key_move(known: &Known, held: &Possible, wanted: &Wanted, features: &Features) -> Option<Step> {
    let is_public = features.mode == Mode::PublicKey;
    let server = wanted.server_key.filter(|version| {
        is_public && (known.states.is_empty() || held.server_keys.iter().any(|held| *held != Some(*version)))
    });
    let server = server.map(|version| Step::SetServerKey { version });
    let client = wanted.new_client_key.map(|version| Step::SetClientKey { version });
    server.or(client).filter(|_| features.reports)
}

/// What a device may hold: of each thing, all that it may be.
#[derive(Default)]
struct Possible {
    topics: BTreeMap<TopicHash, BTreeSet<Option<Held>>>,
    peers: BTreeMap<ClientId, BTreeSet<Option<u32>>>,
    server_keys: BTreeSet<Option<u32>>,
    none: BTreeSet<Option<Held>>,
}

impl Possible {
    fn of(states: &[Holdings]) -> Self {
        let mut possible = Self::default();
        for topic in states.iter().flat_map(|state| state.topics.keys()) {
            let held = states.iter().map(|state| state.topics.get(topic).copied());
            possible.topics.entry(*topic).or_insert_with(|| held.collect());
        }
        for peer in states.iter().flat_map(|state| state.peers.keys()) {
            let held = states.iter().map(|state| state.peers.get(peer).copied());
            possible.peers.entry(*peer).or_insert_with(|| held.collect());
        }
        possible.server_keys = states.iter().map(|state| state.server_key).collect();
        possible
    }

    /// Empty for one that is not held at all.
    fn topic(&self, topic: &TopicHash) -> &BTreeSet<Option<Held>> {
        self.topics.get(topic).unwrap_or(&self.none)
    }

    /// Whether it may have to make room.
    fn may_lack(&self, topic: &TopicHash) -> bool {
        self.topic(topic).iter().all(Option::is_none) || self.topic(topic).contains(&None)
    }

    fn has_peer(&self, peer: &ClientId, version: u32) -> bool {
        self.peers.get(peer).is_some_and(|held| held.iter().all(|held| *held == Some(version)))
    }

    fn removals(&self, wanted: &Wanted, features: &Features) -> impl Iterator<Item = Vec<Step>> {
        let topics = self.topics.keys().filter(|topic| !wanted.topics.contains_key(topic));
        let topics = topics.map(|topic| vec![Step::RemoveTopic { topic: *topic }]);
        let is_public = features.mode == Mode::PublicKey;
        let peers = self.peers.keys().filter(move |peer| is_public && !wanted.peers.contains_key(peer));
        topics.chain(peers.map(|peer| vec![Step::RemovePeer { peer: *peer }]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_what_a_lane_gives_out_at_once() {
        assert_eq!(Plan::SERIES as u64, Lane::MAX_AHEAD);
    }
}

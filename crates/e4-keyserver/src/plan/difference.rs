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
    plan.batches.extend(key_move(&held, wanted, features).map(Batch::of));
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
/// would know under which; nor for one of which it is not known what it holds, and so not whether it would be another key.
fn key_move(held: &Possible, wanted: &Wanted, features: &Features) -> Option<Step> {
    let is_public = features.mode == Mode::PublicKey;
    let is_moved = |version: &u32| held.server_keys.iter().all(|held| *held == Some(*version));
    let server = wanted.server_key.filter(|version| is_public && !is_moved(version));
    let server = server.map(|version| Step::SetServerKey { version });
    let client = wanted.new_client_key.map(|version| Step::SetClientKey { version });
    server.or(client).filter(|_| features.reports && !held.server_keys.is_empty())
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

    const NEW: Features = Features { mode: Mode::PublicKey, reports: true, knows_next_keys: true };
    const OLD: Features = Features { knows_next_keys: false, ..NEW };

    fn topic(number: u8) -> TopicHash {
        TopicHash::from_bytes([number; 16])
    }

    fn peer(number: u8) -> ClientId {
        ClientId::from_bytes([number; 16])
    }

    fn wants(topics: &[(u8, u32, Option<u32>, u32, u32)]) -> Wanted {
        let topics = topics.iter().map(|(number, current, next, cut, around)| {
            (topic(*number), WantedTopic { current: *current, next: *next, cut: *cut, around: *around })
        });
        Wanted { topics: topics.collect(), server_key: Some(1), ..Wanted::default() }
    }

    fn holds(topics: &[(u8, u32, Option<u32>)]) -> Known {
        let topics =
            topics.iter().map(|(number, current, next)| (topic(*number), Held { current: *current, next: *next }));
        Known::new(Holdings { topics: topics.collect(), server_key: Some(1), ..Holdings::default() })
    }

    fn steps(known: &Known, wanted: &Wanted, features: &Features) -> Vec<Vec<Step>> {
        difference(known, wanted, features).batches.into_iter().map(|batch| batch.0).collect()
    }

    #[test]
    fn a_series_is_what_a_lane_gives_out_at_once() {
        assert_eq!(Plan::SERIES as u64, Lane::MAX_AHEAD);
    }

    #[test]
    fn a_device_that_was_away_for_a_year_gets_one_command_a_topic() {
        let known = holds(&[(1, 1, None), (2, 1, Some(2))]);
        let wanted = wants(&[(1, 366, None, 0, 0), (2, 366, None, 0, 0)]);
        let set = |number| Step::SetTopic { topic: topic(number), version: 366 };
        assert_eq!(steps(&known, &wanted, &NEW), [[set(1), set(2)]]);
        assert!(difference(&holds(&[(1, 366, None), (2, 366, None)]), &wanted, &NEW).is_empty());
    }

    #[test]
    fn what_takes_away_comes_first_and_inner_topics_before_subtrees_around_them() {
        let mut known = holds(&[(9, 1, None)]);
        known.states[0].peers.insert(peer(8), 1);
        let mut wanted = wants(&[(1, 1, None, 0, 0), (2, 1, None, 0, 1), (3, 1, None, 0, 2)]);
        wanted.peers.insert(peer(7), 1);
        let replace = |number| Step::Replace { topic: topic(number), version: 1 };
        let expected = [
            vec![Step::RemoveTopic { topic: topic(9) }, Step::RemovePeer { peer: peer(8) }],
            vec![Step::SetPeer { peer: peer(7), version: 1 }],
            vec![replace(3), replace(2), replace(1)],
        ];
        assert_eq!(steps(&known, &wanted, &NEW), expected);
    }

    #[test]
    fn a_hard_rotation_is_what_the_device_knows_and_goes_before_the_others() {
        let known = holds(&[(1, 1, None), (2, 1, None), (3, 1, None)]);
        let wanted = wants(&[(1, 2, None, 0, 0), (2, 2, None, 2, 0), (3, 2, None, 2, 1)]);
        let set = |number| Step::SetTopic { topic: topic(number), version: 2 };
        let replace = |number| Step::Replace { topic: topic(number), version: 2 };
        assert_eq!(steps(&known, &wanted, &NEW), [[replace(3), replace(2), set(1)]]);
        let pairs = vec![Step::PushOut { topic: topic(3) }, set(3), Step::RemoveTopic { topic: topic(2) }, set(2)];
        assert_eq!(steps(&known, &wanted, &OLD), [pairs, vec![set(1)]], "pairs have a second without others");
    }

    #[test]
    fn pairs_are_not_torn_apart() {
        let known = holds(&(0..20).map(|number| (number, 1, None)).collect::<Vec<_>>());
        let wanted = wants(&(0..20).map(|number| (number, 2, None, 2, 0)).collect::<Vec<_>>());
        let sizes: Vec<_> = steps(&known, &wanted, &OLD).iter().map(Vec::len).collect();
        assert_eq!(sizes, [14, 14, 12]);
    }

    #[test]
    fn a_next_key_comes_a_second_after_the_current_one_that_it_builds_on() {
        let known = holds(&[(1, 1, None), (2, 2, None), (3, 2, Some(3)), (4, 2, Some(3))]);
        let wanted = wants(&[(1, 2, Some(3), 0, 0), (2, 2, Some(3), 0, 0), (3, 2, None, 0, 0), (4, 3, None, 0, 0)]);
        let set = |number, version| Step::SetTopic { topic: topic(number), version };
        let next = |number, version| Step::SetNext { topic: topic(number), version };
        let expected = [vec![set(1, 2), set(4, 3)], vec![next(1, 3), next(2, 3), next(3, 2)]];
        assert_eq!(steps(&known, &wanted, &NEW), expected);
        // Who does not know next keys gets the key when it is current.
        assert_eq!(steps(&holds(&[(1, 2, None)]), &wants(&[(1, 2, Some(3), 0, 0)]), &OLD), Vec::<Vec<Step>>::new());
    }

    #[test]
    fn all_is_set_anew_where_nothing_is_known() {
        let mut wanted = wants(&[(1, 2, None, 0, 0)]);
        wanted.peers.insert(peer(7), 1);
        let expected = [
            Step::ResetTopics,
            Step::ResetPeers,
            Step::SetPeer { peer: peer(7), version: 1 },
            Step::Replace { topic: topic(1), version: 2 },
        ];
        assert_eq!(steps(&Known::default(), &wanted, &NEW), expected.map(|step| vec![step]));
    }

    #[test]
    fn what_moves_a_device_to_another_key_is_the_last_command_and_the_only_one_of_its_kind() {
        let known = holds(&[]);
        let mut wanted = wants(&[(1, 1, None, 0, 0)]);
        (wanted.server_key, wanted.new_client_key) = (Some(2), Some(5));
        let replace = vec![Step::Replace { topic: topic(1), version: 1 }];
        assert_eq!(steps(&known, &wanted, &NEW), [replace.clone(), vec![Step::SetServerKey { version: 2 }]]);
        wanted.server_key = Some(1);
        assert_eq!(steps(&known, &wanted, &NEW), [replace, vec![Step::SetClientKey { version: 5 }]]);
        // Nobody would know whether it was taken.
        let silent = Features { reports: false, ..OLD };
        assert_eq!(steps(&known, &wanted, &silent), [[Step::SetTopic { topic: topic(1), version: 1 }]]);
    }

    #[test]
    fn topics_that_there_is_no_room_for_are_left_out_and_counted() {
        let mut known = holds(&[(1, 1, None), (9, 1, None)]);
        let wanted = wants(&[(1, 2, None, 0, 0), (2, 1, None, 0, 0), (3, 1, None, 0, 0), (4, 1, None, 0, 0)]);
        for (capacity, left_out) in [(Some(2), 2), (Some(3), 1), (Some(4), 0), (None, 0), (Some(0), 3)] {
            known.capacity = capacity;
            let plan = difference(&known, &wanted, &NEW);
            let after = known.states[0].after(plan.steps());
            assert_eq!((plan.left_out, after.topics.len()), (left_out, 4 - left_out), "{capacity:?}");
            assert_eq!(after.topics[&topic(1)].current, 2, "what it holds is kept up to date");
        }
    }

    #[test]
    fn of_all_that_a_device_may_be_each_becomes_what_it_is_to_be() {
        let mut known = holds(&[(1, 1, None), (2, 2, None)]);
        known.states.push(Holdings { server_key: Some(1), ..Holdings::default() });
        known.states.extend(holds(&[(3, 1, None)]).states);
        let wanted = wants(&[(1, 2, None, 2, 0), (2, 2, None, 0, 0)]);
        for features in [NEW, OLD, Features { reports: false, ..OLD }] {
            let plan = difference(&known, &wanted, &features);
            for state in &known.states {
                assert_eq!(state.after(plan.steps()), wanted.holdings(&features), "{features:?}");
            }
        }
    }
}

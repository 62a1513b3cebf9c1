//! Which state, of those that a device can be in, has the digest that it reports.
//!
//! The digest is an XOR over entries, and each command changes the entries of one topic or peer. So the commands are put in
//! groups by what they are about, and each group has a few outcomes, by which of its commands were taken. What is looked for are
//! states near the likely ones: all commands up to some point taken, or all from some point on, and one or two groups otherwise.

use crate::plan::{Entry, Holdings, Known, Step, digest_of, entry::number};
use e4::{ClientId, TopicHash, controller::StateDigest};
use std::collections::{BTreeMap, HashMap};

/// Of so many commands, each subset is looked at.
const EACH_SUBSET: usize = 10;

/// A group of more commands than these is taken up to some point, or from some point on.
const EACH_SUBSET_OF_GROUP: usize = 4;

/// What the device holds, if it is anything that can have become of what is known of it.
pub(super) fn find(
    digest: u128,
    known: &Known,
    steps: &[Step],
    wanted: &Holdings,
    of_entry: &impl Fn(Entry) -> Option<StateDigest>,
) -> Option<Holdings> {
    let is_it = |holdings: &Holdings| digest_of(holdings, of_entry).is_some_and(|found| number(found) == digest);
    if is_it(wanted) {
        return Some(wanted.clone());
    }
    let all_reset = steps.contains(&Step::ResetTopics);
    // Nothing is known, but that all was to be taken away first. The server's key is one of those that there are.
    let anew = known.states.is_empty() && all_reset;
    let server_keys = anew.then(|| {
        let keys = known.older.iter().map(|older| older.server_key).chain([wanted.server_key]);
        keys.map(|server_key| Holdings { server_key, ..Holdings::default() })
    });
    let mut bases: Vec<Holdings> = known.states.iter().cloned().chain(server_keys.into_iter().flatten()).collect();
    let likely = bases.len();
    bases.extend(known.older.iter().cloned());
    bases.dedup();
    bases.iter().enumerate().find_map(|(at, base)| {
        let search = |base: &Holdings, rest: &[Step]| Search::new(base, rest, of_entry)?.run(digest, at < likely);
        // What takes everything away comes first, and alone.
        let resets = steps.iter().take_while(|step| matches!(step, Step::ResetTopics | Step::ResetPeers)).count();
        let (resets, rest) = steps.split_at_checked(resets)?;
        let subsets = 0..1_u32.checked_shl(u32::try_from(resets.len()).ok()?)?;
        subsets.rev().find_map(|subset| {
            let taken = resets.iter().enumerate().filter(|(at, _)| subset & (1 << at) != 0).map(|(_, step)| step);
            search(&base.after(taken), rest)
        })
    })
}

/// What a command is about.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Topic(TopicHash),
    Peer(ClientId),
    Server,
}

impl Subject {
    fn of(step: &Step) -> Option<Self> {
        match step {
            Step::SetTopic { topic, .. }
            | Step::SetNext { topic, .. }
            | Step::Replace { topic, .. }
            | Step::PushOut { topic }
            | Step::RemoveTopic { topic } => Some(Self::Topic(*topic)),
            Step::SetPeer { peer, .. } | Step::RemovePeer { peer } => Some(Self::Peer(*peer)),
            Step::SetServerKey { .. } => Some(Self::Server),
            Step::ResetTopics
            | Step::ResetPeers
            | Step::SetClientKey { .. }
            | Step::SetTime
            | Step::Question { .. } => None,
        }
    }

    /// The part of a state that is about it.
    fn part(&self, of: &Holdings) -> Holdings {
        let mut part = Holdings::default();
        match self {
            Self::Topic(topic) => part.topics.extend(of.topics.get(topic).map(|held| (*topic, *held))),
            Self::Peer(peer) => part.peers.extend(of.peers.get(peer).map(|version| (*peer, *version))),
            Self::Server => part.server_key = of.server_key,
        }
        part
    }
}

/// Commands about one thing, by their places in the series, and what can have become of them.
struct Group {
    places: Vec<usize>,
    /// By which of them were taken: the difference that it makes to the digest. Without those of which that is not known.
    outcomes: BTreeMap<u64, u128>,
}

impl Group {
    /// Which of its commands were taken, if all before a place were.
    fn up_to(&self, place: usize) -> u64 {
        self.mask(|at| at < place)
    }

    /// Which were taken, if all from a place on were.
    fn from(&self, place: usize) -> u64 {
        self.mask(|at| at >= place)
    }

    fn mask(&self, is_taken: impl Fn(usize) -> bool) -> u64 {
        self.places.iter().enumerate().filter(|(_, at)| is_taken(**at)).fold(0, |mask, (bit, _)| mask | 1_u64 << bit)
    }
}

struct Search<'s> {
    base: &'s Holdings,
    steps: &'s [Step],
    digest: u128,
    groups: Vec<Group>,
}

/// For each group, which of its commands were taken.
type Taken = Vec<u64>;

impl<'s> Search<'s> {
    fn new(base: &'s Holdings, steps: &'s [Step], of_entry: &impl Fn(Entry) -> Option<StateDigest>) -> Option<Self> {
        let mut groups: BTreeMap<Subject, Vec<usize>> = BTreeMap::new();
        for (place, step) in steps.iter().enumerate() {
            if let Some(subject) = Subject::of(step) {
                groups.entry(subject).or_default().push(place);
            }
        }
        let number_of = |holdings: &Holdings| digest_of(holdings, of_entry).map(number);
        let groups = groups.into_iter().map(|(subject, places)| {
            let before = subject.part(base);
            let start = number_of(&before)?;
            let commands: Vec<&Step> = places.iter().filter_map(|place| steps.get(*place)).collect();
            let outcome = |mask: u64| {
                let taken = commands.iter().enumerate().filter(|(bit, _)| mask & (1 << bit) != 0);
                Some((mask, start ^ number_of(&before.after(taken.map(|(_, step)| *step)))?))
            };
            let outcomes = masks(commands.len()).into_iter().filter_map(outcome).collect();
            Some(Group { places, outcomes })
        });
        Some(Self { base, steps, digest: number_of(base)?, groups: groups.collect::<Option<_>>()? })
    }

    fn run(&self, digest: u128, thoroughly: bool) -> Option<Holdings> {
        let ends = [self.steps.len(), 0];
        let points: Vec<usize> = if thoroughly { (0..=self.steps.len()).rev().collect() } else { ends.to_vec() };
        let near = |depth| {
            let up_to = points.iter().find_map(|place| self.near(digest, depth, |group| group.up_to(*place)));
            up_to.or_else(|| points.iter().find_map(|place| self.near(digest, depth, |group| group.from(*place))))
        };
        let taken = near(0).or_else(|| near(1));
        let taken = taken.or_else(|| ends.iter().find_map(|place| self.near(digest, 2, |group| group.up_to(*place))));
        let taken = taken.or_else(|| self.each_subset(digest))?;
        Some(self.base.after(self.taken(&taken)))
    }

    /// Looks for the digest where all groups but so many, none, one or two, are as in a likely state.
    fn near(&self, digest: u128, others: usize, likely: impl Fn(&Group) -> u64) -> Option<Taken> {
        let mut taken: Taken = self.groups.iter().map(likely).collect();
        let changes = self.groups.iter().zip(&taken).map(|(group, mask)| group.outcomes.get(mask).copied());
        let changes: Vec<u128> = changes.collect::<Option<_>>()?;
        let missing = changes.iter().fold(self.digest ^ digest, |sum, change| sum ^ change);
        let mut seen: HashMap<u128, (usize, u64)> = HashMap::new();
        if others == 0 {
            return (missing == 0).then_some(taken);
        }
        for (at, (group, change)) in self.groups.iter().zip(&changes).enumerate() {
            let swaps = || group.outcomes.iter().map(|(mask, other)| (*mask, change ^ other));
            for (mask, swap) in swaps() {
                let second = if others == 1 { None } else { seen.get(&(missing ^ swap)).copied() };
                if swap != missing && second.is_none() {
                    continue;
                }
                for (at, mask) in [Some((at, mask)), second].into_iter().flatten() {
                    if let Some(taken) = taken.get_mut(at) {
                        *taken = mask;
                    }
                }
                return Some(taken);
            }
            if others > 1 {
                seen.extend(swaps().map(|(mask, swap)| (swap, (at, mask))));
            }
        }
        None
    }

    /// Looks at everything that can have become of a few commands.
    fn each_subset(&self, digest: u128) -> Option<Taken> {
        if self.steps.len() > EACH_SUBSET {
            return None;
        }
        let mut found = vec![(self.digest, Taken::new())];
        for group in &self.groups {
            let mut next = Vec::with_capacity(found.len() * group.outcomes.len());
            for (sum, taken) in &found {
                for (mask, change) in &group.outcomes {
                    let taken = taken.iter().copied().chain([*mask]).collect();
                    next.push((sum ^ change, taken));
                }
            }
            found = next;
        }
        found.into_iter().find_map(|(sum, taken)| (sum == digest).then_some(taken))
    }

    /// The commands that were taken, in their order.
    fn taken(&self, masks: &Taken) -> Vec<&'s Step> {
        let mut places: Vec<usize> = self
            .groups
            .iter()
            .zip(masks)
            .flat_map(|(group, mask)| group.places.iter().enumerate().filter(move |(bit, _)| mask & (1 << bit) != 0))
            .map(|(_, place)| *place)
            .collect();
        places.sort_unstable();
        places.into_iter().filter_map(|place| self.steps.get(place)).collect()
    }
}

/// Which of so many commands about one thing can have been taken, by bits.
fn masks(commands: usize) -> Vec<u64> {
    let commands = commands.min(63);
    let all = (1_u64 << commands) - 1;
    if commands <= EACH_SUBSET_OF_GROUP {
        return (0..=all).collect();
    }
    (0..=commands).flat_map(|at| [all >> (commands - at), all & !((1 << at) - 1)]).collect()
}

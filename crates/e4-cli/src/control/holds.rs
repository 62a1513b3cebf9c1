//! Which of the keys that a device is to have it has, by the digest in its report.

use crate::fleet::{Device, Fleet};
use e4::{
    Mode,
    controller::{Report, StateDigest, StateEntry},
};
use serde::Serialize;

/// Keys that may be held or not, at most: all their combinations are tried.
const MOST: usize = 20;

/// What was found.
#[derive(Serialize)]
pub(super) struct Holds {
    /// Whether some of the keys of the fleet file are all that it holds.
    known: bool,
    /// Topics that it has the key of, if that is known.
    topics: Vec<String>,
    /// Topics that it is to have the key of and has not, or may not have.
    lacks: Vec<String>,
}

impl Holds {
    /// Compares a report with what the fleet file says; nothing if that names no topic for the device.
    pub(super) fn find(name: &str, device: &Device, fleet: &Fleet, report: &Report) -> Option<Self> {
        let wanted: Vec<_> = fleet.topics().filter(|topic| topic.is_for(name, device)).collect();
        if wanted.is_empty() {
            return None;
        }
        let names = |is_held: &dyn Fn(usize) -> bool| {
            let held = wanted.iter().enumerate().filter(|(at, _)| is_held(*at));
            held.map(|(_, topic)| topic.name.as_str().to_owned()).collect::<Vec<_>>()
        };
        let unknown = || Self { known: false, topics: Vec::new(), lacks: names(&|_| true) };
        let mut entries = Vec::new();
        for topic in &wanted {
            let Ok(key) = topic.key() else { return Some(unknown()) };
            entries.push(StateEntry::TopicKey(topic.name.hash(), key));
        }
        // A device is no peer of its own.
        let peers: Vec<_> = fleet.public_keys().into_iter().filter(|(id, _)| *id != device.id).collect();
        let mut base = StateDigest::default();
        if device.mode == Mode::PublicKey {
            let Ok(c2) = fleet.c2_public_key() else { return Some(unknown()) };
            base.toggle(StateEntry::C2Key(&c2));
            entries.extend(peers.iter().map(|(id, key)| StateEntry::PubKey(id, key)));
        }
        let digests: Vec<_> = entries.iter().map(|entry| bits(&StateDigest::of([*entry]))).collect();
        let Some(held) = combination(&digests, wanted.len(), report.topics, bits(&report.digest) ^ bits(&base)) else {
            return Some(unknown());
        };
        let is_held = |at: usize| held.get(at).is_some_and(|held| *held);
        Some(Self { known: true, topics: names(&is_held), lacks: names(&|at| !is_held(at)) })
    }

    pub(super) fn to_text(&self) -> String {
        if !self.known {
            return "which keys of the fleet file it holds is not known: it holds others, or there are too many to try"
                .to_owned();
        }
        if self.lacks.is_empty() {
            return "holds what the fleet file says".to_owned();
        }
        let lacks: Vec<_> = self.lacks.iter().map(|name| crate::terminal::printable(name)).collect();
        format!("lacks the key that the fleet file has for {}", lacks.join(", "))
    }
}

fn bits(digest: &StateDigest) -> u128 {
    u128::from_le_bytes(*digest.as_bytes())
}

/// Which of the digests make this one together, so that of the first ones, which are of topics, there are so many.
fn combination(digests: &[u128], topics: usize, held_topics: u32, whole: u128) -> Option<Vec<bool>> {
    // All, and of what is no topic nothing, are tried for any number.
    let all_topics = |others: bool| -> Vec<bool> { (0..digests.len()).map(|at| at < topics || others).collect() };
    let makes = |held: &[bool]| {
        let sum = digests.iter().zip(held).filter(|(_, held)| **held).fold(0, |sum, (digest, _)| sum ^ digest);
        let count = held.iter().take(topics).filter(|held| **held).count();
        sum == whole && u32::try_from(count).is_ok_and(|count| count == held_topics)
    };
    if let Some(held) = [false, true].map(all_topics).into_iter().find(|held| makes(held)) {
        return Some(held);
    }
    if digests.len() > MOST {
        return None;
    }
    // From one to the next, one key more or less: a fleet has many devices.
    let mut held = vec![false; digests.len()];
    let (mut sum, mut count) = (0, 0);
    for step in 1..=1_u32 << digests.len() {
        if sum == whole && count == held_topics {
            return Some(held);
        }
        let at = usize::try_from(step.trailing_zeros()).ok()?;
        let (Some(held), Some(digest)) = (held.get_mut(at), digests.get(at)) else { break };
        *held = !*held;
        sum ^= digest;
        if at < topics {
            count = if *held { count + 1 } else { count - 1 };
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::combination;

    #[test]
    fn what_is_held_is_found_by_the_sum_and_the_number_of_topics() {
        let digests = [0x1001, 0x2002, 0x4004, 0x8008, 0x1_0010];
        for held in 0..1_u32 << digests.len() {
            let held: Vec<_> = (0..digests.len()).map(|at| held >> at & 1 == 1).collect();
            let whole = digests.iter().zip(&held).filter(|(_, held)| **held).fold(0, |sum, (digest, _)| sum ^ digest);
            let topics = held.iter().take(3).filter(|held| **held).count();
            let topics = u32::try_from(topics).unwrap();
            assert_eq!(combination(&digests, 3, topics, whole), Some(held));
            assert_eq!(combination(&digests, 3, topics + 1, whole), None, "it has another one, that nobody knows");
            assert_eq!(combination(&digests, 3, topics, whole ^ 1 << 90), None);
        }
        // Too many to try, and all of them.
        let many: Vec<u128> = (0..100).map(|n| 1 << n).collect();
        assert_eq!(combination(&many, 100, 100, (1 << 100) - 1), Some(vec![true; 100]));
        assert_eq!(combination(&many, 100, 99, (1 << 99) - 1), None);
    }
}

//! Who publishes on a topic: those get a new key last, so that those who read it have it already.

use super::device::Device;
use crate::names::KeyName;
use e4::TopicFilter;

impl Device {
    /// When a device is to get the new key of a topic or subtree: 0 if it publishes nothing there, 2 if it does, and 1 if
    /// the fleet file does not say.
    pub(crate) fn turn(&self, name: &KeyName) -> u8 {
        match &self.writes {
            None => 1,
            Some(filters) if filters.iter().any(|filter| writes_there(filter, name)) => 2,
            Some(_) => 0,
        }
    }
}

fn writes_there(filter: &TopicFilter<'_>, name: &KeyName) -> bool {
    match name {
        KeyName::Topic(topic) => filter.matches(topic),
        KeyName::Subtree(subtree) => overlap(filter.as_str(), subtree.as_str()),
    }
}

/// Whether there is a topic that both filters match.
fn overlap(a: &str, b: &str) -> bool {
    let (mut a, mut b) = (a.split('/'), b.split('/'));
    loop {
        match (a.next(), b.next()) {
            // It matches its parent as well.
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(a), Some(b)) if a == b || a == "+" || b == "+" => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_overlap_where_a_topic_matches_both() {
        for (a, b, expected) in [
            ("a/b", "a/b", true),
            ("a/b", "a/c", false),
            ("a/+", "a/b", true),
            ("a/+", "+/b", true),
            ("a/+/c", "a/#", true),
            ("a", "a/#", true),
            ("a/b", "a", false),
            ("b/#", "a/#", false),
            ("#", "a/#", true),
            ("a/b/c", "a/b/c/#", true),
            ("a/+", "a/b/c/#", false),
        ] {
            assert_eq!((overlap(a, b), overlap(b, a)), (expected, expected), "{a} {b}");
        }
    }
}

//! Filters: what one subscribes to (protocol page, section 10; MQTT 5 section 4.7).

use crate::{
    names::{NameError, TopicHash},
    topic::{Text, Topic, check_text},
};
use core::fmt;

/// An MQTT topic filter: a topic, or a pattern with `+` (one level) and `#` (this level and everything below it).
#[derive(Clone)]
pub struct TopicFilter<'a>(Text<'a>);

impl<'a> TopicFilter<'a> {
    /// Checks a filter.
    ///
    /// # Errors
    ///
    /// [`NameError::Empty`], [`NameError::TooLong`], [`NameError::NullCharacter`], [`NameError::MisplacedWildcard`].
    pub fn new(filter: &'a str) -> Result<Self, NameError> {
        check_text(filter)?;
        let mut levels = filter.split('/').peekable();
        while let Some(level) = levels.next() {
            let is_last = levels.peek().is_none();
            let well_formed = match level {
                "+" => true,
                "#" => is_last,
                _ => !level.contains(['+', '#']),
            };
            if !well_formed {
                return Err(NameError::MisplacedWildcard);
            }
        }
        Ok(Self(Text::Borrowed(filter)))
    }

    /// The text of the filter.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether a subscription to the filter brings messages of the topic. A wildcard in the first level does not match
    /// topics whose first character is `$`.
    #[must_use]
    pub fn matches(&self, topic: &Topic<'_>) -> bool {
        matches(self.as_str(), topic.as_str())
    }

    /// The same filter with text of its own, to be kept in a structure.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn into_owned(self) -> TopicFilter<'static> {
        TopicFilter(self.0.into_owned())
    }
}

impl fmt::Display for TopicFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TopicFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TopicFilter").field(&self.as_str()).finish()
    }
}

/// Whether a filter that was checked matches the name of a topic.
pub(crate) fn matches(filter: &str, name: &str) -> bool {
    if name.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = name.split('/');
    for wanted in filter.split('/') {
        if wanted == "#" {
            return true;
        }
        match levels.next() {
            Some(level) if wanted == "+" || wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// How many levels of a filter are no wildcards.
pub(crate) fn named_levels(filter: &str) -> usize {
    filter.split('/').filter(|level| !matches!(*level, "+" | "#")).count()
}

/// A filter that has a key: `p/#`, or `#` for everything.
///
/// `p/#` covers `p` itself and everything below it; `#` covers every topic whose first character is not `$`.
#[derive(Clone)]
pub struct Subtree<'a> {
    text: Text<'a>,
    hash: TopicHash,
}

impl<'a> Subtree<'a> {
    /// Checks and hashes a filter of the form `p/#` or `#`.
    ///
    /// # Errors
    ///
    /// [`NameError::NotASubtree`] for any other filter, and the errors of [`TopicFilter::new`].
    pub fn new(filter: &'a str) -> Result<Self, NameError> {
        TopicFilter::new(filter)?;
        if filter.contains('+') || !(filter == "#" || filter.ends_with("/#")) {
            return Err(NameError::NotASubtree);
        }
        Ok(Self { text: Text::Borrowed(filter), hash: TopicHash::of(filter) })
    }

    /// The text of the filter.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.text.as_str()
    }

    /// The hash that commands name the subtree by.
    #[must_use]
    pub fn hash(&self) -> &TopicHash {
        &self.hash
    }

    /// The same subtree with text of its own, to be kept in a structure.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn into_owned(self) -> Subtree<'static> {
        Subtree { text: self.text.into_owned(), hash: self.hash }
    }

    /// The part before `/#`; `None` for `#`.
    pub(crate) fn prefix(&self) -> Option<&str> {
        self.as_str().strip_suffix("/#")
    }

    /// The levels that lie between the subtree and the topic, or between it and a narrower subtree's prefix: `None` in
    /// the result when there are none.
    ///
    /// # Errors
    ///
    /// [`NameError::NotCovered`].
    pub(crate) fn levels_below<'n>(&self, name: &'n str) -> Result<Option<&'n str>, NameError> {
        let Some(prefix) = self.prefix() else {
            return if name.starts_with('$') { Err(NameError::NotCovered) } else { Ok(Some(name)) };
        };
        let rest = name.strip_prefix(prefix).ok_or(NameError::NotCovered)?;
        if rest.is_empty() {
            return Ok(None);
        }
        rest.strip_prefix('/').map(Some).ok_or(NameError::NotCovered)
    }
}

impl fmt::Display for Subtree<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Subtree<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subtree").field(&self.as_str()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{borrow::ToOwned, string::String};

    #[test]
    fn filters_match_as_the_mqtt_standard_says() {
        for (filter, topic, expected) in [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
            ("sport/tennis/player1/#", "sport/tennis/player10", false),
            ("sport/#", "sport", true),
            ("#", "sport", true),
            ("#", "/", true),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/load", false),
            ("+/load", "$SYS/load", false),
            ("$SYS/#", "$SYS/load", true),
            ("$SYS/+", "$SYS/load", true),
            ("a/+/c/#", "a/b/c", true),
            ("a/+/c/#", "a/b", false),
            ("a", "a", true),
            ("a", "a/", false),
        ] {
            let topic = Topic::new(topic).unwrap();
            assert_eq!(TopicFilter::new(filter).unwrap().matches(&topic), expected, "{filter} {topic:?}");
        }
    }

    #[test]
    fn misplaced_wildcards_are_refused() {
        for filter in ["a#", "a/b#", "#/a", "a/#/b", "+a", "a+/b", "##", "#+"] {
            assert_eq!(TopicFilter::new(filter).unwrap_err(), NameError::MisplacedWildcard, "{filter}");
        }
        assert_eq!(TopicFilter::new("").unwrap_err(), NameError::Empty);
        assert_eq!(TopicFilter::new("a\0").unwrap_err(), NameError::NullCharacter);
    }

    #[test]
    fn only_subtrees_have_a_key() {
        for filter in ["a", "a/b", "+", "+/#", "a/+/#", "a/+"] {
            assert_eq!(Subtree::new(filter).unwrap_err(), NameError::NotASubtree, "{filter}");
        }
        for filter in ["#", "a/#", "/#", "a//#", "$SYS/#"] {
            assert!(Subtree::new(filter).is_ok(), "{filter}");
        }
    }

    #[test]
    fn levels_below_a_subtree() {
        let below = |filter, name| Subtree::new(filter).unwrap().levels_below(name).map(|b| b.map(str::to_owned));
        assert_eq!(below("a/#", "a"), Ok(None));
        assert_eq!(below("a/#", "a/b"), Ok(Some("b".into())));
        assert_eq!(below("a/#", "a/"), Ok(Some(String::new())));
        assert_eq!(below("a/#", "ab"), Err(NameError::NotCovered));
        assert_eq!(below("a/#", "b"), Err(NameError::NotCovered));
        assert_eq!(below("#", "a/b"), Ok(Some("a/b".into())));
        assert_eq!(below("#", "$a"), Err(NameError::NotCovered));
        assert_eq!(below("/#", "/a"), Ok(Some("a".into())));
    }
}

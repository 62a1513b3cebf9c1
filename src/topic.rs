//! Topics: what one publishes to (protocol page, sections 1 and 10).

use crate::names::{ControlTopic, EnclosingHasher, NameError, TopicHash};
use core::fmt;

#[cfg(feature = "alloc")]
use alloc::{boxed::Box, string::String};

/// The largest number of bytes of an MQTT topic or filter.
const MAX_LEN: usize = 65_535;

/// What MQTT asks of topics and filters alike.
pub(crate) fn check_text(text: &str) -> Result<(), NameError> {
    match text.len() {
        0 => Err(NameError::Empty),
        1..=MAX_LEN if text.bytes().any(|byte| byte == 0) => Err(NameError::NullCharacter),
        1..=MAX_LEN => Ok(()),
        _ => Err(NameError::TooLong),
    }
}

/// Text that is borrowed, or owned where there is an allocator.
#[derive(Clone)]
pub(crate) enum Text<'a> {
    Borrowed(&'a str),
    #[cfg(feature = "alloc")]
    Owned(Box<str>),
}

impl Text<'_> {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            #[cfg(feature = "alloc")]
            Self::Owned(text) => text,
        }
    }

    #[cfg(feature = "alloc")]
    pub(crate) fn into_owned(self) -> Text<'static> {
        match self {
            Self::Borrowed(text) => Text::Owned(text.into()),
            Self::Owned(text) => Text::Owned(text),
        }
    }
}

/// A topic name with its hash, made once and used for many messages.
///
/// 1 to 65,535 bytes of UTF-8, without U+0000, `+` or `#`.
///
/// ```
/// # fn main() -> Result<(), e4::NameError> {
/// use e4::Topic;
///
/// const PRESSURE: &str = "plant/7/pump/pressure";
/// let topic: Topic<'static> = Topic::new(PRESSURE)?;
/// assert_eq!(topic.as_str(), PRESSURE);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Topic<'a> {
    text: Text<'a>,
    hash: TopicHash,
}

impl<'a> Topic<'a> {
    /// Checks and hashes a topic name.
    ///
    /// # Errors
    ///
    /// [`NameError::Empty`], [`NameError::TooLong`], [`NameError::NullCharacter`], [`NameError::Wildcard`].
    pub fn new(name: &'a str) -> Result<Self, NameError> {
        check_text(name)?;
        if name.bytes().any(|byte| byte == b'+' || byte == b'#') {
            return Err(NameError::Wildcard);
        }
        Ok(Self { text: Text::Borrowed(name), hash: TopicHash::of(name) })
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.text.as_str()
    }

    /// The hash that commands name the topic by.
    #[must_use]
    pub fn hash(&self) -> &TopicHash {
        &self.hash
    }

    /// The same topic with text of its own, to be kept in a structure.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn into_owned(self) -> Topic<'static> {
        Topic { text: self.text.into_owned(), hash: self.hash }
    }

    /// Every subtree filter that covers the topic, the widest first: its hash, and the levels of the topic below it
    /// (`None` when the filter is the topic with `/#` behind it).
    pub(crate) fn enclosing_subtrees(&self) -> impl Iterator<Item = (TopicHash, Option<&str>)> {
        let name = self.as_str();
        let everything = (!name.starts_with('$')).then(|| (TopicHash::of("#"), Some(name)));
        let mut hasher = EnclosingHasher::new();
        let mut hashed = 0;
        let ends = name.match_indices('/').map(|(at, _)| at).chain([name.len()]);
        everything.into_iter().chain(ends.filter_map(move |end| {
            let hash = hasher.descend(name.get(hashed..end)?);
            hashed = end;
            Some((hash, end.checked_add(1).and_then(|below| name.get(below..))))
        }))
    }
}

impl PartialEq for Topic<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Topic<'_> {}

impl core::hash::Hash for Topic<'_> {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for Topic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl AsRef<str> for Topic<'_> {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for Topic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Topic").field(&self.as_str()).finish()
    }
}

/// What a message can be sealed and opened under: the text of a topic, or a [`Topic`] that was made once.
///
/// Text is checked and hashed on every call, a [`Topic`] is not.
pub trait AsTopic: sealed::Sealed {
    /// The topic.
    ///
    /// # Errors
    ///
    /// Those of [`Topic::new`].
    fn as_topic(&self) -> Result<Topic<'_>, NameError>;
}

impl AsTopic for str {
    fn as_topic(&self) -> Result<Topic<'_>, NameError> {
        Topic::new(self)
    }
}

#[cfg(feature = "alloc")]
impl AsTopic for String {
    fn as_topic(&self) -> Result<Topic<'_>, NameError> {
        Topic::new(self)
    }
}

impl AsTopic for ControlTopic {
    fn as_topic(&self) -> Result<Topic<'_>, NameError> {
        Topic::new(self.as_str())
    }
}

impl AsTopic for Topic<'_> {
    fn as_topic(&self) -> Result<Topic<'_>, NameError> {
        Ok(Topic { text: Text::Borrowed(self.as_str()), hash: self.hash })
    }
}

impl<T: AsTopic + ?Sized> AsTopic for &T {
    fn as_topic(&self) -> Result<Topic<'_>, NameError> {
        (**self).as_topic()
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for str {}
    #[cfg(feature = "alloc")]
    impl Sealed for alloc::string::String {}
    impl Sealed for crate::ControlTopic {}
    impl Sealed for super::Topic<'_> {}
    impl<T: Sealed + ?Sized> Sealed for &T {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        borrow::ToOwned,
        string::{String, ToString},
        vec::Vec,
    };

    fn enclosing(name: &str) -> Vec<(String, Option<String>)> {
        let candidates = ["#", "a/#", "/#", "a/b/#", "a//#", "a/b/c/#", "$a/#", "a/#/#", "//#", "$/#"];
        let topic = Topic::new(name).unwrap();
        topic
            .enclosing_subtrees()
            .map(|(hash, below)| {
                let filter = candidates.iter().find(|filter| TopicHash::of(filter) == hash);
                (filter.unwrap_or(&"?").to_string(), below.map(str::to_owned))
            })
            .collect()
    }

    #[test]
    fn enclosing_subtrees_run_from_the_widest_to_the_closest() {
        let pair = |filter: &str, below: Option<&str>| (filter.to_owned(), below.map(str::to_owned));
        assert_eq!(enclosing("a"), [pair("#", Some("a")), pair("a/#", None)]);
        assert_eq!(enclosing("a/b"), [pair("#", Some("a/b")), pair("a/#", Some("b")), pair("a/b/#", None)]);
        assert_eq!(enclosing("a/"), [pair("#", Some("a/")), pair("a/#", Some("")), pair("a//#", None)]);
        assert_eq!(enclosing("/"), [pair("#", Some("/")), pair("/#", Some("")), pair("//#", None)]);
        assert_eq!(enclosing("$a"), [pair("$a/#", None)]);
        assert_eq!(enclosing("$"), [pair("$/#", None)]);
    }

    #[test]
    fn topics_that_mqtt_forbids_are_refused() {
        let longest = "x".repeat(65_535);
        let long = longest.clone() + "x";
        for (name, error) in [
            ("", NameError::Empty),
            ("a\0b", NameError::NullCharacter),
            ("a/+", NameError::Wildcard),
            ("#", NameError::Wildcard),
            ("a#", NameError::Wildcard),
            (long.as_str(), NameError::TooLong),
        ] {
            assert_eq!(Topic::new(name).unwrap_err(), error);
        }
        assert!(Topic::new(&longest).is_ok());
        assert!(Topic::new("/").is_ok());
        assert!(Topic::new("$SYS/broker/load").is_ok());
    }
}

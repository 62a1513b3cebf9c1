use e4::{ClientId, Subtree, Topic, TopicHash};
use std::fmt;

/// A topic, or a subtree `p/#`, that has keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName {
    text: String,
    hash: TopicHash,
}

impl TopicName {
    /// Checks a name: a topic without wildcards, or a filter that ends in `/#` (or is `#`) and has no other wildcard.
    ///
    /// # Errors
    ///
    /// [`TopicNameError`].
    pub fn new(text: &str) -> Result<Self, TopicNameError> {
        let hash = if text.ends_with('#') {
            *Subtree::new(text).map_err(|error| TopicNameError::Name(error.to_string()))?.hash()
        } else {
            *Topic::new(text).map_err(|error| TopicNameError::Name(error.to_string()))?.hash()
        };
        let below = text.strip_prefix("e4/").and_then(|rest| rest.split('/').next());
        if below.is_some_and(|id| id.parse::<ClientId>().is_ok()) {
            return Err(TopicNameError::Control);
        }
        Ok(Self { text: text.to_owned(), hash })
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// By which clients know it.
    #[must_use]
    pub fn hash(&self) -> &TopicHash {
        &self.hash
    }

    /// Whether it is a subtree.
    #[must_use]
    pub fn is_subtree(&self) -> bool {
        self.text.ends_with('#')
    }

    /// Whether this is a subtree that covers the other one, and not the same.
    #[must_use]
    pub fn encloses(&self, other: &Self) -> bool {
        let Some(above) = self.text.strip_suffix('#') else { return false };
        if self.text == other.text {
            return false;
        }
        if above.is_empty() {
            return !other.text.starts_with('$');
        }
        // `p/#` covers `p` itself and all below it; a subtree below it is covered whole.
        other.text.starts_with(above) || above.strip_suffix('/') == Some(other.text.as_str())
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a text names no topic that can have keys.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TopicNameError {
    /// What `e4` says of it.
    Name(String),
    /// It is the control topic of a device, or below it.
    Control,
}

impl fmt::Display for TopicNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(reason) => f.write_str(reason),
            Self::Control => f.write_str(
                "that is the control topic of a device or lies below it, and carries only what is sealed already",
            ),
        }
    }
}

impl std::error::Error for TopicNameError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subtree_encloses_what_a_client_would_open_with_its_key() {
        let name = |text| TopicName::new(text).unwrap();
        for (outer, inner) in [("a/#", "a"), ("a/#", "a/b"), ("a/#", "a/b/#"), ("#", "a"), ("#", "a/#")] {
            assert!(name(outer).encloses(&name(inner)), "{outer} {inner}");
        }
        for (outer, inner) in [("a/#", "a/#"), ("a/#", "ab"), ("a/b/#", "a"), ("#", "$SYS/x"), ("a", "a/b")] {
            assert!(!name(outer).encloses(&name(inner)), "{outer} {inner}");
        }
    }

    #[test]
    fn no_control_topic_can_have_a_key() {
        let id = ClientId::from_name("pump").unwrap();
        for topic in [id.control_topic().to_string(), id.report_topic().to_string(), format!("e4/{id}/#")] {
            assert_eq!(TopicName::new(&topic), Err(TopicNameError::Control), "{topic}");
        }
        assert!(TopicName::new("e4/lamps").is_ok());
    }
}

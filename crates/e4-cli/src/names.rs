//! Names of topics and subtrees, as arguments and in files.
//!
//! None has a control character in it: MQTT advises against them, and brokers close the connection of who uses them. What
//! others sealed for such a topic can be opened all the same (`e4 open`).

use crate::terminal::printable;
use anyhow::ensure;
use e4::{ClientId, Subtree, Topic, TopicFilter, TopicHash};
use std::str::FromStr;

/// A topic to publish on.
pub(crate) fn topic(text: &str) -> anyhow::Result<Topic<'static>> {
    ensure_no_control_character(text)?;
    Ok(Topic::new(text)?.into_owned())
}

/// A topic filter.
pub(crate) fn filter(text: &str) -> anyhow::Result<TopicFilter<'static>> {
    ensure_no_control_character(text)?;
    Ok(TopicFilter::new(text)?.into_owned())
}

/// A subtree.
pub(crate) fn subtree(text: &str) -> anyhow::Result<Subtree<'static>> {
    ensure_no_control_character(text)?;
    Ok(Subtree::new(text)?.into_owned())
}

pub(crate) fn ensure_no_control_character(name: &str) -> anyhow::Result<()> {
    ensure!(!name.chars().any(char::is_control), "it has a control character in it, such as a line break or a tab");
    Ok(())
}

/// A topic or a subtree: what has a key.
#[derive(Clone)]
pub(crate) enum KeyName {
    Topic(Topic<'static>),
    Subtree(Subtree<'static>),
}

impl FromStr for KeyName {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if text.contains(['+', '#']) { subtree(text).map(Self::Subtree) } else { topic(text).map(Self::Topic) }
    }
}

impl KeyName {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Topic(topic) => topic.as_str(),
            Self::Subtree(subtree) => subtree.as_str(),
        }
    }

    /// As a part of a line.
    pub(crate) fn shown(&self) -> String {
        printable(self.as_str())
    }

    pub(crate) fn hash(&self) -> &TopicHash {
        match self {
            Self::Topic(topic) => topic.hash(),
            Self::Subtree(subtree) => subtree.hash(),
        }
    }

    /// Fails for where a device and its key server speak to each other: the control topic of a device, what is below it, and
    /// the subtree of all of them. That comes under the device's own key.
    pub(crate) fn ensure_not_control(&self) -> anyhow::Result<()> {
        let level = self.as_str().strip_prefix("e4/").and_then(|below| below.split('/').next());
        let is_control =
            level.is_some_and(|level| level == "#" || level.parse().is_ok_and(|id: ClientId| id.to_string() == level));
        ensure!(
            !is_control,
            "{} is for the control topics of devices, where all comes under the device's own key: no topic key belongs there",
            self.shown()
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f22_no_name_has_a_control_character() {
        for character in (0..=0x0010_ffff).filter_map(char::from_u32).filter(|character| character.is_control()) {
            let (name, below) = (format!("a{character}b"), format!("a{character}/#"));
            let taken = [
                topic(&name).is_ok(),
                filter(&name).is_ok(),
                subtree(&below).is_ok(),
                name.parse::<KeyName>().is_ok(),
                below.parse::<KeyName>().is_ok(),
            ];
            assert_eq!(taken, [false; 5], "{character:?}");
        }
        assert!(topic("4,2 bär €/a b").is_ok() && subtree("4,2 bär €/a b/#").is_ok() && filter("+/a b/#").is_ok());
    }

    #[test]
    fn control_topics_and_what_is_below_them_have_no_topic_key() {
        let id = "00112233445566778899aabbccddeeff";
        for (name, may) in [
            (format!("e4/{id}"), false),
            (format!("e4/{id}/report"), false),
            (format!("e4/{id}/#"), false),
            ("e4/#".to_owned(), false),
            (format!("e4/{}", id.to_uppercase()), true),
            (format!("E4/{id}"), true),
            (format!("e4/{id}0"), true),
            (format!("/e4/{id}"), true),
            (format!("site/e4/{id}"), true),
            ("e4".to_owned(), true),
            ("e4/plant/#".to_owned(), true),
            ("#".to_owned(), true),
        ] {
            assert_eq!(name.parse::<KeyName>().unwrap().ensure_not_control().is_ok(), may, "{name}");
        }
    }
}

//! Which topics the fleet file knows, and who is to have their keys.

use super::device::{Device, Loaded};
use crate::names::KeyName;
use anyhow::anyhow;
use e4::TopicKey;

/// A topic or a subtree with its key.
pub(crate) struct WantedTopic {
    pub(crate) name: KeyName,
    pub(super) key: Loaded<TopicKey>,
    /// The devices that are to have it, by name; with the groups, none for all.
    pub(super) to: Vec<String>,
    pub(super) groups: Vec<String>,
}

impl WantedTopic {
    pub(crate) fn key(&self) -> anyhow::Result<&TopicKey> {
        self.key.as_ref().map_err(|reason| anyhow!("{reason}"))
    }

    /// The devices that are to have it by name.
    pub(crate) fn devices(&self) -> &[String] {
        &self.to
    }

    /// The groups that are to have it.
    pub(crate) fn groups(&self) -> &[String] {
        &self.groups
    }

    /// Whether all devices are to have it.
    pub(crate) fn is_for_all(&self) -> bool {
        self.to.is_empty() && self.groups.is_empty()
    }

    /// Whether a device is to have it.
    pub(crate) fn is_for(&self, name: &str, device: &Device) -> bool {
        self.is_for_all()
            || self.to.iter().any(|to| to == name)
            || self.groups.iter().any(|group| device.groups.contains(group))
    }
}

use super::{Held, Holdings};
use crate::model::Mode;
use e4::{ClientId, TopicHash};
use std::collections::BTreeMap;

/// What a device is to hold of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantedTopic {
    /// The version that it seals under.
    pub current: u32,
    /// The version that is to follow: first phase of a rotation without loss. Only devices that know next keys get it.
    pub next: Option<u32>,
    /// Whoever holds a version below this one gets the current one by a hard rotation.
    pub cut: u32,
    /// How many subtrees around the topic the device may hold keys of. Inner ones are set first, so that no topic comes under
    /// a wider key in between.
    pub around: u32,
}

/// What a device is to hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Topics and subtrees.
    pub topics: BTreeMap<TopicHash, WantedTopic>,
    /// Public keys of peers; of no meaning in symmetric mode.
    pub peers: BTreeMap<ClientId, u32>,
    /// The server's public key; of no meaning in symmetric mode.
    pub server_key: Option<u32>,
    /// A new key of its own that the device is to be moved to. `None` as soon as a report has come under it.
    pub new_client_key: Option<u32>,
}

impl Wanted {
    /// What such a device holds once it has all that it is to have: next keys are only for those that know them.
    #[must_use]
    pub fn holdings(&self, features: &Features) -> Holdings {
        let is_public = features.mode == Mode::PublicKey;
        Holdings {
            topics: self.topics.iter().map(|(topic, wanted)| (*topic, wanted.held(features))).collect(),
            peers: if is_public { self.peers.clone() } else { BTreeMap::new() },
            server_key: self.server_key.filter(|_| is_public),
        }
    }
}

impl WantedTopic {
    pub(super) fn held(&self, features: &Features) -> Held {
        let next = self.next.filter(|next| features.knows_next_keys && *next != self.current);
        Held { current: self.current, next }
    }
}

/// What is known of a kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// How it is keyed.
    pub mode: Mode,
    /// Whether it was ever heard. To one that was not, everything is sent in the oldest way, again and again.
    pub reports: bool,
    /// Whether its last report says that it knows next keys, `ReplaceTopicKey` and `SetTime`.
    pub knows_next_keys: bool,
}

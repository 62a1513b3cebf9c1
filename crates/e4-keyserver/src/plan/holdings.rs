use super::{Entry, Step};
use e4::{ClientId, TopicHash};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The keys that a device holds for a topic, by version. A previous key is none of them: it ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "(u32, Option<u32>)", into = "(u32, Option<u32>)")]
pub struct Held {
    /// The one that it seals under.
    pub current: u32,
    /// The one that is to follow.
    pub next: Option<u32>,
}

impl From<(u32, Option<u32>)> for Held {
    fn from((current, next): (u32, Option<u32>)) -> Self {
        Self { current, next }
    }
}

impl From<Held> for (u32, Option<u32>) {
    fn from(held: Held) -> Self {
        (held.current, held.next)
    }
}

/// What a device holds, by versions of keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Holdings {
    /// Keys of topics and subtrees.
    #[serde(rename = "t", with = "by_hex", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub topics: BTreeMap<TopicHash, Held>,
    /// Public keys of peers.
    #[serde(rename = "p", with = "by_hex", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub peers: BTreeMap<ClientId, u32>,
    /// The server's public key; a symmetric device has none.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub server_key: Option<u32>,
}

impl Holdings {
    /// All that shows in a digest.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        let topics = self.topics.iter().flat_map(|(topic, held)| {
            [Some(Entry::Topic(*topic, held.current)), held.next.map(|next| Entry::Next(*topic, next))]
        });
        let peers = self.peers.iter().map(|(peer, version)| Some(Entry::Peer(*peer, *version)));
        topics.chain(peers).flatten().chain(self.server_key.map(Entry::ServerKey))
    }

    /// What a device does that takes a command. One that cannot be carried out changes nothing.
    ///
    /// A key that is pushed out by a random one is not known afterwards: the topic counts as not held, since the command that
    /// brings the new key follows in the same batch.
    pub fn apply(&mut self, step: &Step) {
        match *step {
            Step::SetTopic { topic, version } => {
                let held = self.topics.entry(topic).or_insert(Held { current: version, next: None });
                if held.current != version {
                    *held = Held { current: version, next: None };
                }
            }
            Step::SetNext { topic, version } => {
                if let Some(held) = self.topics.get_mut(&topic) {
                    held.next = (held.current != version).then_some(version);
                }
            }
            Step::Replace { topic, version } => {
                self.topics.insert(topic, Held { current: version, next: None });
            }
            Step::RemoveTopic { topic } | Step::PushOut { topic } => {
                self.topics.remove(&topic);
            }
            Step::ResetTopics => self.topics.clear(),
            Step::SetPeer { peer, version } => {
                self.peers.insert(peer, version);
            }
            Step::RemovePeer { peer } => {
                self.peers.remove(&peer);
            }
            Step::ResetPeers => self.peers.clear(),
            Step::SetServerKey { version } => self.server_key = Some(version),
            Step::SetClientKey { .. } | Step::SetTime | Step::Question { .. } => {}
        }
    }

    /// What a device holds that takes all of these commands.
    #[must_use]
    pub fn after<'s>(&self, steps: impl IntoIterator<Item = &'s Step>) -> Self {
        let mut after = self.clone();
        steps.into_iter().for_each(|step| after.apply(step));
        after
    }
}

/// Maps with keys of 16 bytes, as objects with names in hexadecimal.
mod by_hex {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
    use std::{collections::BTreeMap, fmt::Display, str::FromStr};

    pub(super) fn serialize<K: Display, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(map.iter().map(|(key, value)| (key.to_string(), value)))
    }

    pub(super) fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: FromStr<Err: Display> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        BTreeMap::<String, V>::deserialize(deserializer)?
            .into_iter()
            .map(|(key, value)| Ok((key.parse().map_err(D::Error::custom)?, value)))
            .collect()
    }
}

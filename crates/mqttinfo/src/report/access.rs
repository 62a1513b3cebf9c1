//! What may be read and written, and what payloads look like.

use super::reactions::Reaction;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a connection may do.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// By filter: `#`, `+/#`, `$SYS/#`, `$share/mqttinfo/#`.
    pub read: BTreeMap<String, Reading>,
    /// Subscriptions to topics by their names, of those that `#` or `+/#` showed, when these brought no retained message: not
    /// every broker delivers those to wildcards. None if none was tried.
    #[serde(default)]
    pub exact: Option<Reading>,
    /// Publishing to an ordinary topic with a random name, and whether it reaches a subscriber.
    pub write: Option<Writing>,
    /// Publishing below `$SYS`. Only among the probes that write.
    pub write_sys: Option<Writing>,
}

/// What a subscription brought.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// The broker's word on the subscription.
    pub reaction: Reaction,
    /// Messages that came while listening. Those of topics that begin with `$` count only for a filter that does, too.
    pub messages: u64,
    /// Messages of topics that begin with `$`, which came although the filter begins with a wildcard.
    #[serde(default)]
    pub dollar: u64,
    /// Of these, retained ones.
    pub retained: u64,
    /// Bytes of all payloads.
    pub bytes: u64,
    /// Different topics.
    pub topics: u64,
    /// The topics themselves with the bytes of their last payload, if asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub names: Option<BTreeMap<String, u64>>,
    /// Whether listening ended early because more came than is counted.
    pub cut_short: bool,
}

/// What publishing did.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writing {
    /// The broker's word on the message.
    pub reaction: Reaction,
    /// Whether a subscriber got it.
    pub delivered: bool,
}

/// What payloads look like. A message counts once.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayloadCounts {
    /// As E4 seals: a plausible time in front, and the rest without structure.
    pub e4: u64,
    /// Otherwise without structure: encrypted or compressed.
    pub random: u64,
    /// JSON objects and arrays.
    pub json: u64,
    /// Numbers as text.
    pub number: u64,
    /// Other text.
    pub text: u64,
    /// Binary with structure.
    pub binary: u64,
    /// Nothing.
    pub empty: u64,
}

impl PayloadCounts {
    /// All messages that were looked at.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.e4 + self.random + self.json + self.number + self.text + self.binary + self.empty
    }
}

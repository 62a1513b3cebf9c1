use crate::{Secret, word::words};
use serde::{Deserialize, Serialize};

words! {
    /// What a key version is for.
    KeyRole {
        /// Members open under it already; nobody seals under it yet.
        Next = "next",
        /// Members seal under it.
        Current = "current",
        /// It was current or next once.
        Retired = "retired",
    }
}

words! {
    /// Why a key version was made.
    Reason {
        /// The topic is new.
        New = "new topic",
        /// Somebody asked for it.
        Asked = "asked for",
        /// Somebody lost access.
        Left = "member left",
        /// A device that could read it was withdrawn.
        Withdrawn = "device withdrawn",
        /// Somebody was given access, and is not to read what came before.
        Joined = "member joined",
        /// A rule or a schedule.
        Rule = "rule",
        /// It was in use before this server.
        Imported = "imported",
    }
}

words! {
    /// What happens to a topic when somebody loses it.
    Leave {
        /// A new key at once, and the one before opens nothing any more.
        Hard = "hard",
        /// A new key at once; the one before opens for an hour more.
        Soft = "soft",
        /// A new key in two phases: who left reads on until the second.
        Lossless = "lossless",
        /// Nothing: who left keeps reading until somebody rotates.
        Nothing = "nothing",
    }
}

/// Which topic, for a list of other things.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TopicRef {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: String,
}

/// A topic, or a subtree `p/#`, that has keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Topic {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// By which clients know it.
    pub hash: String,
    /// What it has otherwise than the fleet.
    pub policy: TopicPolicy,
    /// What people wrote about it.
    pub notes: String,
    /// How many devices may read or write it.
    pub members: u64,
    /// The version that members seal under.
    pub current: u64,
    /// The version that members open under already, in a rotation without loss.
    pub next: Option<u64>,
    /// What to know about it, such as a subtree around it whose members can read it as well.
    pub warnings: Vec<String>,
    /// When it was added.
    pub created: String,
    /// Grows with each change of policy or notes.
    pub revision: u64,
}

/// What a topic has otherwise than the fleet. Times are in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct TopicPolicy {
    /// It gets a new key this often. Kept for the rules; nothing acts on it yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotate_every: Option<u32>,
    /// How long a lossless rotation waits in its first phase for those that were seen lately.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lossless_wait: Option<u32>,
    /// What happens when somebody loses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_leave: Option<Leave>,
    /// Whether a device that joins makes a rotation, so that it does not read what came before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub rotate_on_join: bool,
}

/// Which topics.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
pub struct TopicsQuery {
    /// `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// How many items at most; 100 if it is not said, and never more than 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// The one of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A topic to be added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewTopic {
    /// Its name: a topic without wildcards, or a subtree `p/#`.
    pub name: String,
    /// The key that it has already, 64 hexadecimal digits; without it the server makes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Secret>,
    /// What it has otherwise than the fleet.
    #[serde(default)]
    pub policy: TopicPolicy,
    /// What people wrote about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub notes: String,
}

/// What is to be changed about a topic; what is not said stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct TopicChange {
    /// Another policy, as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<TopicPolicy>,
    /// Other notes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
}

/// One key of a topic; never the key itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeyVersion {
    /// Its number, from 1.
    pub version: u64,
    /// What it is for.
    pub role: KeyRole,
    /// Why it was made.
    pub reason: Reason,
    /// When.
    pub created: String,
    /// Since when it is for that.
    pub role_since: String,
    /// By which it can be told from others, and by nobody without the vault.
    pub fingerprint: String,
}

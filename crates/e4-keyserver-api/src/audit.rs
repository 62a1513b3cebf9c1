use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Which entries.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// How many items at most; 100 if it is not said, and never more than 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// By this token or rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Of this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// About this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

/// A change, or an attempt that was refused. Newest first in lists, oldest first in an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditEntry {
    /// Its number.
    pub id: u64,
    /// When.
    pub at: String,
    /// Which token or rule.
    pub actor: String,
    /// From where: an address, or `server`.
    pub origin: String,
    /// What.
    pub action: String,
    /// Of what.
    pub subject: String,
    /// Before and after, without secrets.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub detail: Value,
    /// A MAC over this entry and the one before.
    pub mac: String,
}

/// Where the chain of entries stood, signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Checkpoint {
    /// After which entry.
    pub audit: u64,
    /// When.
    pub at: String,
    /// The digest of the chain up to there.
    pub digest: String,
    /// The server's signature over it.
    pub signature: String,
}

/// A line of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum AuditLine {
    /// An entry.
    Entry(AuditEntry),
    /// A checkpoint, behind the entry that it is about.
    Checkpoint(Checkpoint),
}

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// When.
    pub at: String,
    /// What kind, such as `order`, `device` or `broker`.
    pub kind: String,
    /// Of what: the number of an order, the id of a device.
    pub subject: String,
    /// In a sentence.
    pub text: String,
}

use serde::{Deserialize, Serialize};

/// A named set of devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its members are those with all of these labels, `site=basel,kind=panel`; null: its members are listed.
    pub selector: Option<String>,
    /// What its members have otherwise than the fleet.
    pub policy: GroupPolicy,
    /// How many members it has.
    pub members: u64,
    /// When it was made.
    pub created: String,
    /// Grows with each change.
    pub revision: u64,
}

/// What the members of a group have otherwise than the fleet. Times are in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct GroupPolicy {
    /// Who has not confirmed after this time is late.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late: Option<u32>,
    /// Who was silent for this long is no longer waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dormant: Option<u32>,
    /// Keys are changed without who was silent for this long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lapsed: Option<u32>,
}

/// A group to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewGroup {
    /// Its name.
    pub name: String,
    /// Labels of its members, `site=basel,kind=panel`; without them its members are listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// What its members have otherwise than the fleet.
    #[serde(default)]
    pub policy: GroupPolicy,
}

/// What is to be changed about a group; what is not said stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct GroupChange {
    /// Other labels of its members; a group whose members are listed takes none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Another policy, as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<GroupPolicy>,
}

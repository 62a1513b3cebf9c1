use crate::DeviceRef;
use serde::{Deserialize, Serialize};

/// What somebody may do with a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// May read.
    #[serde(default)]
    pub read: bool,
    /// May write.
    #[serde(default)]
    pub write: bool,
}

/// Who has access to a topic: a device or a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccessEntry {
    /// The device, or null.
    pub device: Option<DeviceRef>,
    /// The name of the group, or null.
    pub group: Option<String>,
    /// What it may do.
    pub access: Access,
}

/// Something was changed that may concern devices.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Change {
    /// Orders that this made, such as the rotations after somebody left. Those that wait for others to leave are made later.
    pub orders: Vec<u64>,
    /// What to know about it.
    pub warnings: Vec<String>,
}

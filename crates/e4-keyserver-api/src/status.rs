use crate::{DeviceRef, Standing, TopicRef};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How the server and its fleet are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServerStatus {
    /// The version of the server.
    pub version: String,
    /// What time it is for the server.
    pub time: String,
    /// Why it sends nothing until somebody releases it; null: it works.
    pub hold: Option<Hold>,
    /// Its connections to brokers.
    pub brokers: Vec<BrokerStatus>,
    /// How many devices there are.
    pub devices: DeviceCounts,
    /// How many topics.
    pub topics: u64,
    /// How many orders are not over.
    pub open_orders: u64,
    /// How many sealed commands are not confirmed.
    pub outstanding: u64,
    /// How many members still hold a key that a withdrawn device has.
    pub exposed: u64,
    /// Devices that need a person, or that have been silent for too long: the first 100.
    pub silent: Vec<Silent>,
    /// What somebody should see to, such as a vault with one slot.
    pub warnings: Vec<String>,
}

/// The server sends nothing and runs no rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Hold {
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: String,
    /// How many devices it would send to if it were released now.
    pub would_send_to: u64,
    /// How many devices took commands that it does not know of.
    pub ahead: u64,
}

/// The connection to a broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BrokerStatus {
    /// Its address.
    pub address: String,
    /// Whether commands can be handed to it.
    pub connected: bool,
    /// Whether devices can be heard through it.
    pub hears_devices: bool,
    /// What is wrong and what to do, or that nothing is.
    pub detail: String,
    /// Since when that is so.
    pub since: String,
}

/// How many devices there are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceCounts {
    /// Known, and never heard.
    pub enrolled: u64,
    /// Heard.
    pub active: u64,
    /// Out for ever.
    pub withdrawn: u64,
    /// How many stand how, without the withdrawn ones; by the words of [`Standing`].
    pub by_standing: BTreeMap<String, u64>,
}

/// A device that does not hold what it should, and what follows from that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Silent {
    /// The device.
    pub device: DeviceRef,
    /// How it stands.
    pub standing: Standing,
    /// Since when.
    pub since: String,
    /// When it was last heard.
    pub reported: Option<String>,
    /// What follows: `still reads plant/7/# under key version 12`.
    pub consequence: String,
}

/// A key that a withdrawn device has and that others still use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Exposure {
    /// The device that was withdrawn.
    pub withdrawn: DeviceRef,
    /// The topic that it could read.
    pub topic: TopicRef,
    /// The newest version of its key that it has.
    pub version: u64,
    /// Since when it is withdrawn.
    pub since: String,
    /// How many members have not confirmed that they hold a later version.
    pub still: u64,
    /// How many of those do not report, and will never confirm it.
    pub unconfirmed: u64,
    /// Some of those members: the first 20.
    pub members: Vec<DeviceRef>,
}

/// The program runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Health {
    /// The version of the server.
    pub version: String,
}

/// Whether the server can do its work now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Readiness {
    /// It can.
    pub ready: bool,
    /// Why not.
    pub reasons: Vec<String>,
}

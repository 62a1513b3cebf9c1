use crate::{Access, DeviceRef, KeyRole, Reason, TopicRef, word::words};
use serde::{Deserialize, Serialize};

words! {
    /// What an order is about.
    OrderKind {
        /// A topic gets a new key.
        RotateTopic = "rotate topic",
        /// A device is out, and all that it could read gets new keys.
        Withdraw = "withdraw",
        /// Devices get new keys of their own.
        RotateClientKeys = "rotate client keys",
        /// The server gets a new key pair.
        RotateServerKey = "rotate server key",
    }
}

words! {
    /// How a topic gets a new key.
    RotationKind {
        /// In two phases: nobody misses a message.
        Lossless = "lossless",
        /// At once; the key before opens for an hour more.
        Soft = "soft",
        /// At once, and the key before opens nothing any more.
        Hard = "hard",
    }
}

words! {
    /// Where an order stands.
    OrderState {
        /// Another order on the same topic goes first.
        Waiting = "waiting",
        /// First phase of a lossless rotation: members get the next key.
        Preparing = "preparing",
        /// Members get the key to seal under.
        Switching = "switching",
        /// All members that are waited for have confirmed it.
        Done = "done",
        /// The policy's time is over; some have not confirmed it.
        GivenUp = "given up",
        /// Somebody cancelled it before anything was sent that cannot be taken back.
        Cancelled = "cancelled",
        /// A later order does its work.
        Overtaken = "overtaken",
    }
}

impl OrderState {
    /// Whether nothing more will happen by itself.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::GivenUp | Self::Cancelled | Self::Overtaken)
    }
}

/// Which orders.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
pub struct OrdersQuery {
    /// `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// How many items at most; 100 if it is not said, and never more than 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only those that are not over, or only those that are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open: Option<bool>,
    /// Those on the topic of this number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<u64>,
    /// Those on the device of this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

/// One intention that takes time. Newest first in lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Order {
    /// Its number.
    pub id: u64,
    /// What it is about.
    pub kind: OrderKind,
    /// Where it stands.
    pub state: OrderState,
    /// How its topic gets a new key.
    pub rotation: Option<RotationKind>,
    /// Its topic.
    pub topic: Option<TopicRef>,
    /// Its device.
    pub device: Option<DeviceRef>,
    /// The key version that it brings.
    pub version: Option<u64>,
    /// Why it was made.
    pub reason: Reason,
    /// Who or which rule asked for it.
    pub asked_by: String,
    /// When.
    pub created: String,
    /// Since when it stands where it does.
    pub phase_since: String,
    /// When it was over.
    pub ended: Option<String>,
    /// How far it is.
    pub progress: Progress,
    /// Some of those that have not confirmed it: the first 20.
    pub waits_for: Vec<DeviceRef>,
}

/// How far an order is, in devices. In a lossless rotation that is its present phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Progress {
    /// How many it concerns.
    pub devices: u64,
    /// How many hold what it brings, by their reports.
    pub confirmed: u64,
    /// How many are waited for.
    pub waiting: u64,
    /// How many are not waited for, since they were silent for too long.
    pub silent: u64,
    /// How many do not report, and are never confirmed.
    pub unconfirmed: u64,
}

/// A topic is to get a new key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Rotate {
    /// How.
    pub kind: RotationKind,
}

/// A device is to be out for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Withdraw {
    /// Only say what it could read, and do nothing.
    pub dry_run: bool,
}

/// What a device that is withdrawn could read, and what follows from that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Withdrawal {
    /// The order; null if this was a dry run.
    pub order: Option<Order>,
    /// All that it could read, each of which gets a new key.
    pub could_read: Vec<Reach>,
    /// How many devices get new keys.
    pub affected: u64,
    /// How many devices hold its public key, and are told to forget it.
    pub peers: u64,
}

/// A topic that a device has the key of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reach {
    /// The topic.
    pub topic: TopicRef,
    /// What it may do with it.
    pub access: Access,
    /// By which ways it has its key.
    pub through: Vec<Through>,
    /// How many other devices are members, and get a new key.
    pub members: u64,
}

/// By which way a device has the key of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Through {
    /// The group that has access; null: the device itself has it.
    pub group: Option<String>,
    /// The subtree around the topic to which there is access; null: to the topic itself.
    pub subtree: Option<String>,
}

/// A key pair of the server itself; never its secret half.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServerKey {
    /// Its number, from 1.
    pub version: u64,
    /// What it is for.
    pub role: KeyRole,
    /// The public X25519 key.
    pub public_key: String,
    /// When it was made.
    pub created: String,
    /// How many devices have it.
    pub devices: u64,
}

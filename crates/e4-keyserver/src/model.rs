//! The words that all layers share: values without behaviour, which know nothing of SQL, HTTP or MQTT.

mod access;
mod coded;
mod device;
mod key_version;
mod labels;
mod order;
mod role;
mod slice;
mod topic;

pub use access::Access;
pub use device::{Mode, Status};
pub use key_version::{KeyRole, Reason};
pub use labels::{LabelError, Labels, Selector};
pub use order::{OrderKind, OrderState, RotationKind};
pub use role::Role;
pub use slice::{Leases, Slice};
pub use topic::{TopicName, TopicNameError};

//! What is intended with a fleet, and how it comes true: each change of intention is one transaction; a device's next commands
//! follow from what it should hold; a report says how far that is so.

mod access;
mod actor;
mod add_devices;
mod advance;
mod audit;
mod behind;
mod cancel;
mod client_keys;
mod clock;
mod device;
mod event;
mod exchange;
mod find;
mod groups;
mod hear;
mod held;
pub(crate) mod intent;
mod invitations;
mod keep_audit;
mod keyring;
mod keys;
mod list;
mod members;
mod policy;
mod refusal;
mod rotate;
mod round;
mod row;
mod said;
mod server_key;
mod sweep;
mod tokens;
mod topics;
mod wanted;
mod withdraw;

pub use access::Who;
pub use actor::{Actor, Once};
pub use add_devices::{Added, NewDevice, NewDeviceKey};
pub use audit::{AuditEntry, ExportCursor, Verified, verify_export};
pub use clock::{Clock, SystemClock};
pub use device::DeviceChange;
pub use event::Event;
pub use exchange::{Advanced, Answer, Arrived, Handed, Publication, Round};
pub use groups::{GroupChange, NewGroup};
pub use hear::Judged;
pub use held::Held;
pub use invitations::{Bundle, Invitation, Registered, ToRegister};
pub(crate) use list::{device_id, moment};
pub use policy::{GroupPolicy, Leave, Policy, TopicPolicy};
pub use refusal::{Fault, Refusal, RefusalKind};
pub use rotate::OrderDetail;
pub use said::Said;
pub use tokens::TokenMade;
pub use topics::{NewTopic, TopicAdded, TopicChange};
pub use withdraw::{Reach, Through, Withdrawal};

use crate::{store::Store, vault::Vault};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::sync::broadcast;

/// A fleet: where it is stored, what opens its secrets, what time it is, and how long what is waited for. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Fleet {
    store: Store,
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
    policy: Arc<Policy>,
    events: broadcast::Sender<Event>,
    pulse: Arc<advance::Pulse>,
}

impl Fleet {
    /// The fleet of a database.
    #[must_use]
    pub fn new(store: Store, vault: Arc<Vault>, clock: Arc<dyn Clock>, policy: Policy) -> Self {
        Self {
            store,
            vault,
            clock,
            policy: Arc::new(policy),
            events: broadcast::Sender::new(event::WAITING),
            pulse: Arc::default(),
        }
    }

    /// Where it is stored.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// What seals and opens its secrets.
    #[must_use]
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// What holds unless a topic or a group says otherwise.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Seconds since 1970, by the fleet's clock.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.clock.now()
    }
}

/// What follows from a change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Change {
    /// Orders that it made.
    pub orders: Vec<i64>,
    /// What to know about it.
    pub warnings: Vec<String>,
}

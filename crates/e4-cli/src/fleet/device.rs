//! A device, as its key server knows it.

use anyhow::anyhow;
use e4::{ClientId, ClientKey, Mode, TopicFilter, VerifyingKey};

/// A key, or why it could not be read: that matters only when the key is needed.
pub(super) type Loaded<K> = Result<K, String>;

/// A device of the fleet.
pub(crate) struct Device {
    pub(crate) id: ClientId,
    pub(crate) mode: Mode,
    pub(super) key: Loaded<DeviceKey>,
    pub(super) groups: Vec<String>,
    pub(super) writes: Option<Vec<TopicFilter<'static>>>,
}

/// What a device in its mode is known by.
pub(crate) enum DeviceKey {
    Symmetric(ClientKey),
    Public(VerifyingKey),
}

impl DeviceKey {
    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        match self {
            Self::Symmetric(key) => key.as_bytes(),
            Self::Public(key) => key.as_bytes(),
        }
    }
}

impl Device {
    pub(crate) fn key(&self) -> anyhow::Result<&DeviceKey> {
        self.key.as_ref().map_err(|reason| anyhow!("{reason}"))
    }

    /// The groups that it is in.
    pub(crate) fn groups(&self) -> &[String] {
        &self.groups
    }

    /// The public key of a device in public-key mode.
    pub(crate) fn public_key(&self) -> anyhow::Result<VerifyingKey> {
        match self.key()? {
            DeviceKey::Public(key) => Ok(*key),
            DeviceKey::Symmetric(_) => Err(anyhow!("the device is in symmetric mode, and has no public key")),
        }
    }
}

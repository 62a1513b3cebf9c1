//! Where a secret lies in the database, to which it is bound.

use std::fmt;

/// The columns that hold sealed secrets. Whoever checks, reseals or copies all of them goes by this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Column {
    /// `server_keys.secret`
    ServerKey,
    /// `devices.secret`
    DeviceKey,
    /// `devices.next_secret`
    NextDeviceKey,
    /// `key_versions.secret`
    TopicKey,
    /// `invitations.secret`
    Invitation,
    /// `meta.lasting`
    Lasting,
    /// `meta.previous_root`
    PreviousRoot,
}

impl Column {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::ServerKey,
        Self::DeviceKey,
        Self::NextDeviceKey,
        Self::TopicKey,
        Self::Invitation,
        Self::Lasting,
        Self::PreviousRoot,
    ];

    /// The table.
    #[must_use]
    pub const fn table(self) -> &'static str {
        match self {
            Self::ServerKey => "server_keys",
            Self::DeviceKey | Self::NextDeviceKey => "devices",
            Self::TopicKey => "key_versions",
            Self::Invitation => "invitations",
            Self::Lasting | Self::PreviousRoot => "meta",
        }
    }

    /// The column; of the table `meta` the row.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ServerKey | Self::DeviceKey | Self::TopicKey | Self::Invitation => "secret",
            Self::NextDeviceKey => "next_secret",
            Self::Lasting => "lasting",
            Self::PreviousRoot => "previous_root",
        }
    }
}

/// One sealed value: column, row and version of the key in it. It opens nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    pub(super) column: Column,
    pub(super) row: Row<'a>,
    pub(super) version: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Row<'a> {
    Bytes(&'a [u8]),
    Number([u8; 8]),
}

impl Row<'_> {
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(bytes) => bytes,
        }
    }
}

impl<'a> Place<'a> {
    /// The key of a device: `version` is its `key_version`.
    #[must_use]
    pub const fn device_key(device: &'a [u8], version: u64) -> Self {
        Self { column: Column::DeviceKey, row: Row::Bytes(device), version }
    }

    /// The key that a device is being moved to: `version` is the `key_version` that it is to have then,
    /// which is one more than it has.
    #[must_use]
    pub const fn next_device_key(device: &'a [u8], version: u64) -> Self {
        Self { column: Column::NextDeviceKey, row: Row::Bytes(device), version }
    }

    /// A key version of a topic.
    #[must_use]
    pub const fn topic_key(topic: i64, version: u64) -> Self {
        Self { column: Column::TopicKey, row: Row::Number(topic.to_be_bytes()), version }
    }

    /// The secret half of a pair of the server.
    #[must_use]
    pub const fn server_key(version: u64) -> Self {
        Self { column: Column::ServerKey, row: Row::Bytes(&[]), version }
    }

    /// What an invitation gives out once.
    #[must_use]
    pub const fn invitation(hash: &'a [u8]) -> Self {
        Self { column: Column::Invitation, row: Row::Bytes(hash), version: 0 }
    }

    /// What the vault keeps for itself.
    pub(crate) const fn of_vault(column: Column) -> Self {
        Self { column, row: Row::Bytes(&[]), version: 0 }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.column.table(), self.column.name())?;
        match self.row {
            Row::Bytes([]) => {}
            Row::Bytes(bytes) => write!(f, " of {}", hex::encode(bytes))?,
            Row::Number(number) => write!(f, " of {}", i64::from_be_bytes(number))?,
        }
        write!(f, ", version {}", self.version)
    }
}

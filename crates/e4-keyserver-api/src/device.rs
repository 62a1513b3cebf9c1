use crate::{Secret, word::words};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

words! {
    /// How a device is keyed.
    Mode {
        /// Its commands come under a key that it shares with the server.
        Symmetric = "symmetric",
        /// It signs, and its commands come under a key agreed with the server's.
        PublicKey = "public-key",
    }
}

words! {
    /// Where a device stands in its life.
    Status {
        /// Its key is known; it was never heard.
        Enrolled = "enrolled",
        /// It was heard.
        Active = "active",
        /// It is out for ever.
        Withdrawn = "withdrawn",
    }
}

words! {
    /// Whether a device holds what it should, and if not, why.
    Standing {
        /// Its last report says that it holds what it should.
        Confirmed = "confirmed",
        /// Commands are on their way.
        UnderWay = "under way",
        /// It was sent what it lacks, and has not answered yet.
        Waiting = "waiting",
        /// It has been silent for longer than such a device should be.
        Late = "late",
        /// It has been silent for so long that nobody waits for it any more.
        Dormant = "dormant",
        /// It has been silent for so long that keys are changed without it.
        Lapsed = "lapsed",
        /// It does not report: what it was sent is never confirmed.
        Unconfirmed = "never confirmed",
        /// It has no room for all the keys that it is to have.
        NoRoom = "no room",
        /// It could not store what it was sent.
        CannotStore = "cannot store",
        /// It refuses what it was sent.
        Refuses = "refuses",
        /// It reports in a later version of the protocol.
        NotUnderstood = "not understood",
        /// It took commands that this server does not know of.
        Ahead = "ahead",
        /// What it holds is not known, and it is being given everything anew.
        Unknown = "unknown",
        /// What arrives on its report topic does not open.
        OtherKey = "other key",
    }
}

/// Which device, for a list of other things.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceRef {
    /// Its id.
    pub id: String,
    /// Its name, if it has one.
    pub name: Option<String>,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Device {
    /// Its id: 32 hexadecimal digits.
    pub id: String,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// How it is keyed.
    pub mode: Mode,
    /// Where it stands in its life.
    pub status: Status,
    /// Whether it holds what it should.
    pub standing: Standing,
    /// What that means, and what to do.
    pub standing_means: String,
    /// Since when.
    pub standing_since: String,
    /// Names and values that people gave it.
    pub labels: BTreeMap<String, String>,
    /// The groups that it is in, listed or by its labels.
    pub groups: Vec<String>,
    /// What people wrote about it.
    pub notes: String,
    /// Its public Ed25519 key, in public-key mode.
    pub public_key: Option<String>,
    /// Since when it has the key that it has.
    pub key_since: String,
    /// When it was added.
    pub created: String,
    /// When it was withdrawn.
    pub withdrawn: Option<String>,
    /// When it last held what it should, by its report.
    pub confirmed: Option<String>,
    /// When its last report came.
    pub reported: Option<String>,
    /// What that report said.
    pub report: Option<Report>,
    /// Grows with each change of name, labels or notes.
    pub revision: u64,
}

/// What a device said of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Report {
    /// When, by its own time; null: it knows none.
    pub sent: Option<String>,
    /// When the newest command that it took was sealed; null: it took none.
    pub newest_command: Option<String>,
    /// Why it refused the newest command that it refused since then.
    pub refused: Option<String>,
    /// How many topics and subtrees it has keys of.
    pub topics: u32,
    /// Of how many more there is room for; null: of as many as one likes.
    pub room: Option<u32>,
    /// Whether it takes the next key of a topic beside the current one.
    pub knows_next_keys: bool,
    /// Whether it has a clock of its own.
    pub has_clock: bool,
    /// Whether a command waits that it could not store yet.
    pub command_waits: bool,
}

/// Which devices.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
pub struct DevicesQuery {
    /// `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// How many items at most; 100 if it is not said, and never more than 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// The one of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Those that have all of these labels: `site=basel,kind=panel`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Those in this group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Those that stand so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
    /// Those that are there in their life; withdrawn ones are only listed if they are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}

/// A device to be added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewDevice {
    /// Its name; without one an id is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its id, unless it follows from the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// How it is keyed.
    pub mode: Mode,
    /// Its client key in symmetric mode, 64 hexadecimal digits; without it the server makes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Secret>,
    /// Its public Ed25519 key in public-key mode, 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// Names and values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The groups that it is a listed member of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// What people wrote about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub notes: String,
}

/// A device to be added, as a row of CSV: one text a column, and an empty one for what is not said.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeviceRow {
    /// [`NewDevice::name`]
    pub name: String,
    /// [`NewDevice::id`]
    pub id: String,
    /// The word of [`NewDevice::mode`]
    pub mode: String,
    /// [`NewDevice::key`]
    pub key: Option<Secret>,
    /// [`NewDevice::public_key`]
    pub public_key: String,
    /// `site=basel,kind=panel`
    pub labels: String,
    /// `panels,visitors`
    pub groups: String,
    /// [`NewDevice::notes`]
    pub notes: String,
}

/// What is wrong with a row. No value is shown: it may be a key in the wrong column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowError {
    /// The column `mode` has none of the words.
    Mode,
    /// The column `labels` is not written so.
    Labels,
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mode => "mode is symmetric or public-key",
            Self::Labels => "labels are written name=value,name=value, each name once",
        })
    }
}

impl std::error::Error for RowError {}

impl TryFrom<DeviceRow> for NewDevice {
    type Error = RowError;

    fn try_from(row: DeviceRow) -> Result<Self, RowError> {
        let said = |text: String| (!text.is_empty()).then_some(text);
        let mut labels = BTreeMap::new();
        for pair in row.labels.split(',').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or(RowError::Labels)?;
            if labels.insert(name.trim().to_owned(), value.trim().to_owned()).is_some() {
                return Err(RowError::Labels);
            }
        }
        Ok(Self {
            name: said(row.name),
            id: said(row.id),
            mode: Mode::from_word(&row.mode).ok_or(RowError::Mode)?,
            key: row.key.filter(|key| !key.reveal().is_empty()),
            public_key: said(row.public_key),
            labels,
            groups: row.groups.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            notes: row.notes,
        })
    }
}

/// All lines were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Imported {
    /// How many devices were added.
    pub added: u64,
}

/// What is to be changed about a device; what is not said stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct DeviceChange {
    /// Another name. The id stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Labels that it gets; null takes one away, and those that are not named stay.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Option<String>>,
    /// Other notes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
}

/// What a device holds as far as is known, and what it should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Holds {
    /// Whether it is known what it holds; it is not before its first report fits, and never for one that does not report.
    pub known: bool,
    /// Topics that it holds a key of or should.
    pub topics: Vec<HeldTopic>,
    /// Peers whose public key it holds or should, in public-key mode.
    pub peers: Vec<HeldPeer>,
    /// The version of the server's key that it holds, in public-key mode.
    pub server_key: Option<u64>,
    /// The commands that it has not confirmed, oldest first.
    pub outstanding: Vec<Outstanding>,
}

/// What a device holds of a topic. Versions are null for none, or if it is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HeldTopic {
    /// Its name; null for a topic that the server does not have any more.
    pub topic: Option<String>,
    /// By which clients know it.
    pub hash: String,
    /// The version of the key that it seals under.
    pub current: Option<u64>,
    /// The version of the key that it opens under already.
    pub next: Option<u64>,
    /// The version that it should seal under.
    pub wanted: Option<u64>,
    /// The version that it should open under already.
    pub wanted_next: Option<u64>,
}

/// What a device holds of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HeldPeer {
    /// The peer.
    pub device: DeviceRef,
    /// The version of its public key.
    pub version: Option<u64>,
    /// The version that it should hold.
    pub wanted: Option<u64>,
}

/// A command that a device has not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Outstanding {
    /// What it is, in words.
    pub command: String,
    /// For which second it is sealed.
    pub sealed: String,
    /// When it was last handed to the broker; null: not yet.
    pub handed: Option<String>,
    /// What the broker said to that.
    pub answer: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_the_same_as_a_line_of_json() {
        let row = DeviceRow {
            name: "panel-1".to_owned(),
            mode: "public-key".to_owned(),
            public_key: "aa".repeat(32),
            labels: "site=basel, kind=panel".to_owned(),
            groups: "panels,visitors".to_owned(),
            key: Some(Secret::from(String::new())),
            ..DeviceRow::default()
        };
        let json = format!(
            r#"{{"name":"panel-1","mode":"public-key","public_key":"{}","labels":{{"kind":"panel","site":"basel"}},
                "groups":["panels","visitors"]}}"#,
            "aa".repeat(32)
        );
        assert_eq!(NewDevice::try_from(row), Ok(serde_json::from_str(&json).unwrap()));
    }

    #[test]
    fn a_row_with_a_column_in_the_wrong_place_is_refused_without_showing_it() {
        let row = |mode: &str, labels: &str| DeviceRow {
            mode: mode.to_owned(),
            labels: labels.to_owned(),
            ..DeviceRow::default()
        };
        assert_eq!(NewDevice::try_from(row(&"5e".repeat(32), "")), Err(RowError::Mode));
        assert_eq!(NewDevice::try_from(row("symmetric", "site")), Err(RowError::Labels));
        assert_eq!(NewDevice::try_from(row("symmetric", "a=1,a=2")), Err(RowError::Labels));
    }

    #[test]
    fn what_is_misspelled_is_not_ignored() {
        assert!(serde_json::from_str::<NewDevice>(r#"{"name":"a","mode":"symmetric","lables":{}}"#).is_err());
        assert!(serde_json::from_str::<DeviceChange>(r#"{"note":"a"}"#).is_err());
    }
}

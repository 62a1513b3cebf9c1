use crate::{Mode, Secret, word::words};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

words! {
    /// What a device gets to begin with.
    BundleForm {
        /// A state file, ready to use by a client of E4.
        State = "state",
        /// Lines of `name=value`, for a QR code or another program.
        Text = "text",
    }
}

/// Asks for a token with which what a device needs to begin with can be fetched, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct NewBundle {
    /// For how many seconds the token works; as the policy says, if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
}

/// Asks for a token with which a device in public-key mode registers its own public key, once.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct NewInvitation {
    /// The name that the device gets; without one, it has to bring one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The labels that it gets.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The groups that it becomes a member of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// For how many seconds the token works; as the policy says, if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
}

/// A token that works once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Invitation {
    /// The token, which is shown here and never again.
    pub token: Secret,
    /// Until when it works.
    pub expires: String,
}

/// Fetches a bundle. The token is in the body, since paths are logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Redeem {
    /// The token of the [`Invitation`].
    pub token: Secret,
    /// In which form.
    pub form: BundleForm,
}

/// What a device needs to begin with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Bundle {
    /// The id of the device.
    pub id: String,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// How it is keyed.
    pub mode: Mode,
    /// The form of its content.
    pub form: BundleForm,
    /// The bytes of the state file in base64, or the text.
    pub content: Secret,
}

/// A device registers its own public key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// The token of the [`Invitation`].
    pub token: Secret,
    /// Its public Ed25519 key, 64 hexadecimal digits.
    pub public_key: String,
    /// Its name, if the invitation has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What a device that registered needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Registered {
    /// Its id.
    pub id: String,
    /// The server's public X25519 key, 64 hexadecimal digits.
    pub server_key: String,
}

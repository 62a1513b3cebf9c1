use crate::{Secret, word::words};
use serde::{Deserialize, Serialize};

words! {
    /// What somebody may do with the server.
    Role {
        /// Looks.
        Viewer = "viewer",
        /// Adds devices, and looks.
        Enroller = "enroller",
        /// Changes devices, groups, topics and access, rotates and withdraws; and what an enroller may.
        Operator = "operator",
        /// Tokens and settings; and what an operator may.
        Administrator = "administrator",
        /// Reads payloads, which nobody else may; nothing more.
        PayloadReader = "payload reader",
    }
}

/// A token with which the server is used; never the token itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Token {
    /// Its number.
    pub id: u64,
    /// Its name, under which its holder is in the audit.
    pub name: String,
    /// What its holder may do.
    pub role: Role,
    /// When it was made.
    pub created: String,
    /// Until when it works; null: until it is removed.
    pub expires: Option<String>,
    /// When it was last used.
    pub used: Option<String>,
}

/// A token to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// Its name.
    pub name: String,
    /// What its holder may do.
    pub role: Role,
    /// For how many seconds it works; without this until it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
}

/// A token that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenMade {
    /// What is known of it from now on.
    pub token: Token,
    /// The token itself, which is shown here and never again.
    pub secret: Secret,
}

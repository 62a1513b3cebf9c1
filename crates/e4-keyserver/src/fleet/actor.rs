//! Who wants something.

use super::{Refusal, RefusalKind};
use crate::model::Role;

/// Who asks for a change: the holder of a token, or a rule of the server itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The name of the token or of the rule.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// From where it comes: an address, or `server`.
    pub origin: String,
    /// Under which key the request is carried out once only.
    pub once: Option<Once>,
}

/// A request that may be sent again, and is carried out once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    /// The key that the caller chose.
    pub key: String,
    /// A digest of the request, so that the key of another request is noticed.
    pub request: [u8; 32],
}

impl Actor {
    /// Somebody with this role.
    #[must_use]
    pub fn new(name: impl Into<String>, role: Role, origin: impl Into<String>) -> Self {
        Self { name: name.into(), role, origin: origin.into(), once: None }
    }

    /// The server, by one of its rules.
    #[must_use]
    pub fn rule(name: &str) -> Self {
        Self::new(format!("rule: {name}"), Role::Administrator, "server")
    }

    /// The same, for a request that is carried out once however often it is sent.
    #[must_use]
    pub fn once(mut self, key: impl Into<String>, request: [u8; 32]) -> Self {
        self.once = Some(Once { key: key.into(), request });
        self
    }

    /// Refuses what somebody of this role may not do.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::NotAllowed`].
    pub fn must_be(&self, at_least: Role) -> Result<(), Refusal> {
        if self.role.includes(at_least) {
            return Ok(());
        }
        Err(RefusalKind::NotAllowed.because(format!(
            "`{}` is {} {}, and this takes {} {}",
            self.name,
            article(self.role),
            self.role.word(),
            article(at_least),
            at_least.word()
        )))
    }
}

const fn article(role: Role) -> &'static str {
    match role {
        Role::Viewer | Role::PayloadReader => "a",
        _ => "an",
    }
}

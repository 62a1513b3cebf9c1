//! Answers of the key server.

use anyhow::Context;
use serde::de::DeserializeOwned;
use serde_json::Value;
use zeroize::Zeroizing;

/// What the key server answered. There may be a secret in it.
pub(super) struct Answer {
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl Answer {
    /// As what it should be.
    pub(super) fn read<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_json::from_slice(&self.body).context(NOT_UNDERSTOOD)
    }

    /// As it is, for programs.
    pub(super) fn value(&self) -> anyhow::Result<Value> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body).context(NOT_UNDERSTOOD)
    }
}

/// Said of an answer in another form.
pub(super) const NOT_UNDERSTOOD: &str = "the answer is not understood: is this the address of a key server, of the same version as this command (`e4 --version`)?";

use crate::kdf::{expand, extract};
use zeroize::Zeroizing;

/// The salt of the extraction; it names this derivation and its version.
const SALT: &[u8] = b"e4 report v1";
const LABEL: &[u8] = b"report key";

/// The key that a client's reports are sealed under. It is one of their own, so that a report never passes for a command of the
/// key server, nor a command for a report.
pub(crate) struct ReportKey(Zeroizing<[u8; 32]>);

impl ReportKey {
    /// From the key that the client's commands come under, its client key or control key `K`:
    /// `expand(extract(salt = "e4 report v1", ikm = K), "report key")`
    pub(crate) fn of_command_key(command_key: &[u8; 32]) -> Self {
        let (mut prk, mut key) = (Zeroizing::new([0; 32]), Zeroizing::new([0; 32]));
        extract(SALT, command_key, &mut prk);
        expand(&prk, &[LABEL], &mut key);
        Self(key)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

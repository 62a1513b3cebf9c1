//! Which key comes from which.
//!
//! ```text
//! slot (passphrase, key file, environment variable)
//!   │  wraps, AES-SIV
//!   ▼
//! root key ── "root fingerprint" ──► shown in clear; checked before anything is opened
//!   │
//!   ├── "seal" | table | column ──► one sealing key for each kind of secret that the database holds (AES-256-SIV)
//!   │
//!   └── seals, as any other row
//!         ▼
//!       lasting secret, which a new root key does not change
//!         ├── "fingerprints" ──► keyed fingerprints: no two keys of the fleet are equal
//!         ├── "audit" ─────────► the chain of the audit
//!         ├── "backups" ───────► says that a backup is of this server
//!         ├── "checkpoints" ───► Ed25519 seed: signs checkpoints of the audit
//!         └── "hedge" ─────────► mixed into each new key
//! ```
//!
//! Each arrow with a label is HKDF over HMAC-SHA3-256, as in the protocol. What must stay comparable over years (the
//! fingerprints of erased keys, the audit, the public key of checkpoints) hangs on the lasting secret, and so survives a new
//! root key.

use super::VaultError;
use hkdf::{GenericHkdf, GenericHkdfExtract};
use hmac::SimpleHmac;
use sha3::Sha3_256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing, zeroize_stack};

type HmacSha3 = SimpleHmac<Sha3_256>;

const ROOT_SALT: &[u8] = b"e4 key server root key v1";
const ROOT_FINGERPRINT: &[u8] = b"e4 key server root fingerprint v1";
const SEAL: &[u8] = b"e4 key server seal v1";
const SLOT_SALT: &[u8] = b"e4 key server slot v1";
const LASTING_SALT: &[u8] = b"e4 key server lasting secret v1";
pub(super) const FINGERPRINTS: &[u8] = b"e4 key server fingerprints v1";
pub(super) const AUDIT: &[u8] = b"e4 key server audit v1";
pub(super) const BACKUPS: &[u8] = b"e4 key server backups v1";
pub(super) const CHECKPOINTS: &[u8] = b"e4 key server checkpoints v1";
pub(super) const HEDGE: &[u8] = b"e4 key server hedge v1";

/// Bytes of stack that a derivation takes. The implementations of HMAC and HKDF leave what they worked with there.
const STACK: usize = 4096;

/// 32 secret bytes in one place on the heap: a value that is moved leaves no copy behind. Wiped on drop, never printed.
pub(super) struct Secret(Box<[u8; 32]>);

impl Secret {
    pub(super) fn filled(fill: impl FnOnce(&mut [u8; 32])) -> Self {
        let mut secret = Self(Box::new([0; 32]));
        fill(&mut secret.0);
        secret
    }

    pub(super) fn from_slice(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 32] = bytes.try_into().ok()?;
        Some(Self::filled(|secret| secret.copy_from_slice(bytes)))
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.as_mut_slice().zeroize();
    }
}

impl ZeroizeOnDrop for Secret {}

/// HKDF-Extract of pieces in a row: HMAC-SHA3-256 with the salt as its key.
pub(super) fn extract(salt: &[u8], pieces: &[&[u8]]) -> Secret {
    #[inline(never)]
    fn leaving_traces(salt: &[u8], pieces: &[&[u8]], prk: &mut [u8; 32]) {
        let mut extract = GenericHkdfExtract::<HmacSha3>::new(Some(salt));
        for piece in pieces {
            extract.input_ikm(piece);
        }
        let (mut output, _) = extract.finalize();
        prk.copy_from_slice(&output);
        output.as_mut_slice().zeroize();
    }
    let prk = Secret::filled(|prk| leaving_traces(salt, pieces, prk));
    zeroize_stack::<STACK>();
    prk
}

/// HKDF-Expand. No label is the beginning of another one that goes with the same key.
pub(super) fn expand(prk: &Secret, label: &[&[u8]], output: &mut [u8]) {
    #[inline(never)]
    fn leaving_traces(prk: &Secret, label: &[&[u8]], output: &mut [u8]) {
        // Fails only for keys of less than 32 bytes, and for outputs of more than 255 blocks of 32 bytes.
        let _ = GenericHkdf::<HmacSha3>::from_prk(prk.as_bytes()).map(|hkdf| hkdf.expand_multi_info(label, output));
    }
    leaving_traces(prk, label, output);
    zeroize_stack::<STACK>();
}

/// Which root key it is: shown and stored in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RootFingerprint([u8; 16]);

impl RootFingerprint {
    /// From what is stored.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// As it is stored.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// What each sealed value begins with, to say which root key it is under.
    pub(super) const fn mark(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.0;
        [a, b, c, d]
    }
}

impl std::fmt::Display for RootFingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// The key that opens the vault.
pub(super) struct Root {
    secret: Secret,
    prk: Secret,
}

impl Root {
    pub(super) fn new(secret: Secret) -> Self {
        let prk = extract(ROOT_SALT, &[secret.as_bytes()]);
        Self { secret, prk }
    }

    pub(super) fn secret(&self) -> &Secret {
        &self.secret
    }

    pub(super) fn fingerprint(&self) -> RootFingerprint {
        let mut fingerprint = [0; 16];
        expand(&self.prk, &[ROOT_FINGERPRINT], &mut fingerprint);
        RootFingerprint(fingerprint)
    }

    /// The AES-256-SIV key for one column.
    pub(super) fn sealing_key(&self, table: &str, column: &str) -> Zeroizing<[u8; 64]> {
        let mut key = Zeroizing::new([0; 64]);
        // A dot is in no name of a table or column.
        expand(&self.prk, &[SEAL, b".", table.as_bytes(), b".", column.as_bytes()], &mut *key);
        key
    }
}

/// The AES-256-SIV key that wraps the root key in a slot, from what opens the slot.
pub(super) fn wrapping_key(unlocked_by: &[u8], kind: &str) -> Zeroizing<[u8; 64]> {
    let mut key = Zeroizing::new([0; 64]);
    expand(&extract(SLOT_SALT, &[unlocked_by]), &[kind.as_bytes()], &mut *key);
    key
}

/// What a new root key does not change.
pub(super) struct Lasting {
    secret: Secret,
    prk: Secret,
}

impl Lasting {
    pub(super) fn new(secret: Secret) -> Self {
        let prk = extract(LASTING_SALT, &[secret.as_bytes()]);
        Self { secret, prk }
    }

    pub(super) fn secret(&self) -> &Secret {
        &self.secret
    }

    pub(super) fn key(&self, label: &[u8]) -> Secret {
        Secret::filled(|key| expand(&self.prk, &[label], key))
    }
}

/// The raw 32 bytes of a key in a file or a variable: as they are, or as hexadecimal digits, or in base64.
///
/// # Errors
///
/// [`VaultError::NotAKey`].
pub fn read_key(bytes: &[u8]) -> Result<Zeroizing<[u8; 32]>, VaultError> {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let mut key = Zeroizing::new([0; 32]);
    let text = bytes.trim_ascii();
    let read = if bytes.len() == 32 {
        key.copy_from_slice(bytes);
        true
    } else if text.len() == 64 {
        hex::decode_to_slice(text, &mut *key).is_ok()
    } else {
        BASE64_STANDARD.decode(text).map(Zeroizing::new).is_ok_and(|decoded| {
            let fits = decoded.len() == 32;
            if fits {
                key.copy_from_slice(&decoded);
            }
            fits
        })
    };
    if read && key.iter().any(|byte| *byte != 0) { Ok(key) } else { Err(VaultError::NotAKey) }
}

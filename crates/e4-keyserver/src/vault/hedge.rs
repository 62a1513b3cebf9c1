//! New keys that are good even where the operating system's generator is not.

use super::{
    VaultError,
    hierarchy::{Secret, expand, extract},
};
use rand_core::{Infallible, TryCryptoRng, TryRng};
use std::sync::atomic::{AtomicU64, Ordering};
use zeroize::Zeroizing;

const NEW_KEY: &[u8] = b"e4 key server new key v1";
const STREAM: &[u8] = b"e4 key server stream v1";

/// Where random bytes come from, and what tells one moment from another.
pub trait Chance: Send + Sync {
    /// Fills `bytes` at random.
    ///
    /// # Errors
    ///
    /// [`VaultError::NoRandomness`].
    fn fill(&self, bytes: &mut [u8]) -> Result<(), VaultError>;

    /// Something that differs from call to call and from machine to machine, as well as can be had: the time, finely.
    fn moment(&self) -> [u8; 16];
}

/// The operating system's generator and clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemChance;

impl Chance for SystemChance {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), VaultError> {
        getrandom::fill(bytes).map_err(|_| VaultError::NoRandomness)
    }

    fn moment(&self) -> [u8; 16] {
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        (since_1970.as_nanos() ^ (u128::from(std::process::id()) << 96)).to_be_bytes()
    }
}

/// Draws 32 bytes: `HKDF(salt: hedge secret, generator | moment | counter)`.
///
/// Where the generator is sound nothing else matters; where it is not, nobody without the hedge secret predicts what comes.
pub(super) struct Hedge {
    secret: Secret,
    drawn: AtomicU64,
}

impl Hedge {
    pub(super) fn new(secret: Secret) -> Self {
        Self { secret, drawn: AtomicU64::new(0) }
    }

    pub(super) fn draw(&self, chance: &dyn Chance) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        let prk = self.seed(chance)?;
        let mut key = Zeroizing::new([0; 32]);
        expand(&prk, &[NEW_KEY], &mut *key);
        Ok(key)
    }

    pub(super) fn generator(&self, chance: &dyn Chance) -> Result<Generator, VaultError> {
        Ok(Generator { prk: self.seed(chance)?, block: 0 })
    }

    fn seed(&self, chance: &dyn Chance) -> Result<Secret, VaultError> {
        let mut random = Zeroizing::new([0; 32]);
        chance.fill(&mut *random)?;
        let count = self.drawn.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        Ok(extract(self.secret.as_bytes(), &[&*random, &chance.moment(), &count]))
    }
}

/// A generator that was begun with a new key: for calls that want one.
pub struct Generator {
    prk: Secret,
    block: u64,
}

impl std::fmt::Debug for Generator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Generator(..)")
    }
}

impl TryRng for Generator {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(32) {
            self.block = self.block.wrapping_add(1);
            expand(&self.prk, &[STREAM, &self.block.to_be_bytes()], chunk);
        }
        Ok(())
    }
}

impl TryCryptoRng for Generator {}

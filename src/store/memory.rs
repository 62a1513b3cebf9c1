use super::{Snapshot, Store, StoreError};
use alloc::vec::Vec;
use core::fmt;
use zeroize::{ZeroizeOnDrop, Zeroizing};

/// Keeps the state in memory, where it is gone with the program. Wiped on drop, never printed.
///
/// # Security
///
/// The memory of accepted commands is gone with the program. A client that is made anew under the same client key refuses
/// what was sent before, unless it is told that this is its [`first_start`](crate::ClientBuilder::first_start).
#[derive(Clone, Default)]
pub struct MemoryStore(Option<Zeroizing<Vec<u8>>>);

// By its only field.
impl ZeroizeOnDrop for MemoryStore {}

impl MemoryStore {
    /// A store with nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A store that holds bytes which another one saved.
    #[must_use]
    pub fn from_bytes(state: Vec<u8>) -> Self {
        Self(Some(Zeroizing::new(state)))
    }

    /// The bytes that were saved last. They hold the client's secrets.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        self.0.as_ref().map(|state| state.as_slice())
    }
}

impl Store for MemoryStore {
    fn load(&mut self, read: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        read(self.as_bytes().ok_or(StoreError::Empty)?);
        Ok(())
    }

    fn save(&mut self, state: &Snapshot<'_>) -> Result<(), StoreError> {
        self.0 = Some(state.to_bytes()?);
        Ok(())
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryStore(..)")
    }
}

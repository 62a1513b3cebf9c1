//! Where a client's state is kept between restarts.

#[cfg(feature = "std")]
mod file;
#[cfg(feature = "alloc")]
mod memory;

#[cfg(feature = "std")]
pub use file::FileStore;
#[cfg(feature = "alloc")]
pub use memory::MemoryStore;

use crate::names::ClientId;
use core::fmt;

/// Keeps the encoded state of one client.
///
/// A client saves before it reports a command as applied, so that a device never claims a key that it loses with its
/// power. On a microcontroller a store writes to flash; [`FileStore`] is for everything with a file system;
/// [`MemoryStore`] is for tests, and for clients that are given everything anew at every start.
pub trait Store {
    /// Calls `read` once, with all of the bytes that were saved last, in one piece. A store without a heap keeps a buffer
    /// for them: [`FixedKeyRing::MAX_STATE_LEN`](crate::FixedKeyRing::MAX_STATE_LEN) says how long.
    ///
    /// # Errors
    ///
    /// [`StoreError::Empty`] when nothing was ever saved, and whatever goes wrong in reading.
    fn load(&mut self, read: &mut dyn FnMut(&[u8])) -> Result<(), StoreError>;

    /// Replaces the saved bytes.
    ///
    /// Whatever happens, an error or a power failure, the next [`load`](Self::load) must find the bytes from before or
    /// these, whole; after a success, these.
    ///
    /// # Errors
    ///
    /// Whatever goes wrong in writing.
    fn save(&mut self, state: &Snapshot<'_>) -> Result<(), StoreError>;
}

#[cfg(feature = "alloc")]
impl<S: Store + ?Sized> Store for alloc::boxed::Box<S> {
    fn load(&mut self, read: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        (**self).load(read)
    }

    fn save(&mut self, state: &Snapshot<'_>) -> Result<(), StoreError> {
        (**self).save(state)
    }
}

impl<S: Store + ?Sized> Store for &mut S {
    fn load(&mut self, read: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        (**self).load(read)
    }

    fn save(&mut self, state: &Snapshot<'_>) -> Result<(), StoreError> {
        (**self).save(state)
    }
}

/// The encoded state of a client, piece by piece, so that it needs no buffer of its size. It holds all of the client's
/// secrets.
pub struct Snapshot<'a> {
    client: &'a ClientId,
    state: &'a dyn Encode,
}

/// Takes the next piece of an encoded state.
pub(crate) type Sink<'a> = dyn FnMut(&[u8]) -> Result<(), StoreError> + 'a;

/// Something that can be encoded again and again.
pub(crate) trait Encode {
    fn encode_to(&self, sink: &mut Sink<'_>) -> Result<(), StoreError>;
}

impl<'a> Snapshot<'a> {
    pub(crate) fn new(client: &'a ClientId, state: &'a dyn Encode) -> Self {
        Self { client, state }
    }

    /// The client whose state this is.
    #[must_use]
    pub fn client(&self) -> &ClientId {
        self.client
    }

    /// Calls `sink` with one piece after the other, from a byte to a few dozen each.
    ///
    /// # Errors
    ///
    /// The error of `sink`, which is not called again after one.
    pub fn write_to(&self, sink: &mut Sink<'_>) -> Result<(), StoreError> {
        self.state.encode_to(sink)
    }

    /// The number of bytes, found by encoding once.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        let mut len = 0_usize;
        // The sink has no error to pass on.
        let _ = self.write_to(&mut |piece| {
            len = len.saturating_add(piece.len());
            Ok(())
        });
        len
    }

    /// All of it in one piece.
    ///
    /// # Errors
    ///
    /// None at present.
    #[cfg(feature = "alloc")]
    pub fn to_bytes(&self) -> Result<zeroize::Zeroizing<alloc::vec::Vec<u8>>, StoreError> {
        // Never grows, so that no copy stays behind.
        let mut bytes = zeroize::Zeroizing::new(alloc::vec::Vec::with_capacity(self.byte_len()));
        self.write_to(&mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes)
    }
}

impl fmt::Debug for Snapshot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Snapshot(..)")
    }
}

/// Why a store could not load or save.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// Nothing was ever saved here.
    Empty,
    /// Another program, or another client of this one, has the state open.
    InUse,
    /// The state is not sealed under this storage key for this client, or it is damaged.
    NotAuthentic,
    /// The store is for another client.
    OtherClient,
    /// The state is longer than the place for it, of so many bytes.
    TooLong(usize),
    /// The state was opened to be looked at only.
    ReadOnly,
    /// A file could not be written or read.
    #[cfg(feature = "std")]
    File {
        /// What was tried, such as "read the state file".
        action: &'static str,
        /// What the operating system said.
        kind: std::io::ErrorKind,
    },
    /// What a store outside this crate has to say.
    Other(&'static str),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there is no state here: create the client first"),
            Self::InUse => f.write_str(
                "the state is in use: stop the other program that runs this client, or give this one its own",
            ),
            Self::NotAuthentic => f.write_str(
                "the sealed state cannot be opened: check the storage key and the client id, or restore the file",
            ),
            Self::TooLong(room) => write!(f, "the state is longer than the {room} bytes that there is room for"),
            Self::ReadOnly => f.write_str("the state was opened to be looked at only, and nothing is stored in it"),
            #[cfg(feature = "std")]
            Self::File { action, kind } => match kind {
                std::io::ErrorKind::NotFound => {
                    write!(f, "could not {action}: its folder does not exist, or the path is wrong")
                }
                std::io::ErrorKind::PermissionDenied => {
                    write!(f, "could not {action}: this user needs the right to write the folder and the files in it")
                }
                _ => write!(f, "could not {action}: {kind}"),
            },
            Self::OtherClient => f.write_str("the store is for another client: check the client id that it was given"),
            Self::Other(reason) => f.write_str(reason),
        }
    }
}

impl core::error::Error for StoreError {}

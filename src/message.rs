//! Protected messages: their layout, sealing, and what can be read of one without a key (protocol page, section 3).
//!
//! ```text
//! symmetric     offset 0           8     24
//!                      timestamp | V   | C (n)
//!
//! public-key    offset 0           8           24    40      40 + n
//!                      timestamp | signer id | V   | C (n) | Ed25519 signature of all before it (64)
//! ```

use crate::{
    bytes::{Reader, WrongLength},
    keys::{SIGNATURE_LEN, SigningKey},
    names::ClientId,
    siv::{self, NotAuthentic, Tag},
    time::Timestamp,
};

const TIMESTAMP_LEN: usize = 8;
const SIGNER_LEN: usize = 16;

/// Bytes that a sealed message of a symmetric client has more than its payload; also those of a sealed command.
pub const SYMMETRIC_OVERHEAD: usize = TIMESTAMP_LEN + siv::TAG_LEN;

/// Bytes that a sealed message of a public-key client has more than its payload.
pub const SIGNED_OVERHEAD: usize = SYMMETRIC_OVERHEAD + SIGNER_LEN + SIGNATURE_LEN;

/// Which of the two kinds of client this is. All clients that share a topic are of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Messages are sealed, commands come under the client key.
    Symmetric,
    /// Messages are sealed and signed, commands come under the control key.
    PublicKey,
}

impl Mode {
    /// Bytes before the payload in a buffer that is sealed or opened in place: 24 or 40.
    #[must_use]
    pub const fn header_len(self) -> usize {
        match self {
            Self::Symmetric => SYMMETRIC_OVERHEAD,
            Self::PublicKey => SYMMETRIC_OVERHEAD + SIGNER_LEN,
        }
    }

    /// Bytes behind the payload in a buffer that is sealed or opened in place: 0 or 64.
    #[must_use]
    pub const fn trailer_len(self) -> usize {
        match self {
            Self::Symmetric => 0,
            Self::PublicKey => SIGNATURE_LEN,
        }
    }

    /// [`SYMMETRIC_OVERHEAD`] or [`SIGNED_OVERHEAD`].
    #[must_use]
    pub const fn overhead(self) -> usize {
        self.header_len() + self.trailer_len()
    }

    /// What can be read of a message without a key, as a client of this mode lays it out. `None` when the message is
    /// shorter than the [`overhead`](Self::overhead).
    ///
    /// A message does not say of which mode it is, nor whether it is protected at all: any bytes that are long enough
    /// have a header.
    ///
    /// ```
    /// use e4::{Mode, Timestamp};
    ///
    /// let header = Mode::Symmetric.read_header(&[0; 30]).unwrap();
    /// assert_eq!((header.sent, header.signer, header.payload_len), (Timestamp::from_unix(0), None, 6));
    /// assert_eq!(Mode::PublicKey.read_header(&[0; 30]), None);
    /// ```
    #[must_use]
    pub fn read_header(self, message: &[u8]) -> Option<MessageHeader> {
        let Header { sent, signer, tag: _ } = Header::read(self, message).ok()?;
        Some(MessageHeader { sent, signer, payload_len: self.body(message)?.len() })
    }

    /// The payload's part of a message.
    pub(crate) fn body(self, message: &[u8]) -> Option<&[u8]> {
        message.get(self.header_len()..message.len().checked_sub(self.trailer_len())?)
    }

    /// The payload's part of a message.
    pub(crate) fn body_mut(self, message: &mut [u8]) -> Option<&mut [u8]> {
        let end = message.len().checked_sub(self.trailer_len())?;
        message.get_mut(self.header_len()..end)
    }
}

/// What a protected message shows to everyone who sees it: see [`Mode::read_header`].
///
/// # Security
///
/// Nobody has checked it. Only what [`Client::open`](crate::Client::open) returns is authentic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageHeader {
    /// When the message says it was sealed.
    pub sent: Timestamp,
    /// Who the message says has signed it; `None` in symmetric mode.
    pub signer: Option<ClientId>,
    /// Bytes of the payload.
    pub payload_len: usize,
}

/// A message is shorter than its overhead.
#[derive(Debug)]
pub(crate) struct TooShort;

impl From<WrongLength> for TooShort {
    fn from(_: WrongLength) -> Self {
        Self
    }
}

/// The front of a protected message.
#[derive(Clone, Copy)]
pub(crate) struct Header {
    pub(crate) sent: Timestamp,
    pub(crate) signer: Option<ClientId>,
    pub(crate) tag: Tag,
}

impl Header {
    /// Reads the front of a message that is at least as long as its overhead.
    pub(crate) fn read(mode: Mode, message: &[u8]) -> Result<Self, TooShort> {
        if message.len() < mode.overhead() {
            return Err(TooShort);
        }
        let mut reader = Reader::new(message);
        let sent = Timestamp::from_wire(*reader.take_array()?);
        let signer = match mode {
            Mode::Symmetric => None,
            Mode::PublicKey => Some(ClientId::from_bytes(*reader.take_array()?)),
        };
        Ok(Self { sent, signer, tag: *reader.take_array()? })
    }

    /// Decrypts the body of the message in place; on failure it holds the ciphertext again.
    pub(crate) fn open_body(&self, key: &[u8; 32], body: &mut [u8]) -> Result<(), NotAuthentic> {
        siv::open(key, &self.sent.to_wire(), &self.tag, body)
    }
}

/// Seals a symmetric message in place: the payload stands at `message[24..]`.
pub(crate) fn seal(key: &[u8; 32], sent: Timestamp, message: &mut [u8]) -> Result<(), TooShort> {
    let (time_field, rest) = message.split_first_chunk_mut().ok_or(TooShort)?;
    let (tag_field, body) = rest.split_first_chunk_mut().ok_or(TooShort)?;
    *time_field = sent.to_wire();
    *tag_field = siv::seal(key, &sent.to_wire(), body);
    Ok(())
}

/// Seals and signs a message in place: the payload stands at `message[40..]`, with 64 bytes behind it.
pub(crate) fn seal_signed(
    key: &[u8; 32],
    sent: Timestamp,
    signer: &ClientId,
    signing_key: &SigningKey,
    message: &mut [u8],
) -> Result<(), TooShort> {
    let (signed, signature_field) = message.split_last_chunk_mut::<SIGNATURE_LEN>().ok_or(TooShort)?;
    let (time_field, rest) = signed.split_first_chunk_mut().ok_or(TooShort)?;
    let (signer_field, rest) = rest.split_first_chunk_mut().ok_or(TooShort)?;
    let (tag_field, body) = rest.split_first_chunk_mut().ok_or(TooShort)?;
    *time_field = sent.to_wire();
    *signer_field = *signer.as_bytes();
    *tag_field = siv::seal(key, &sent.to_wire(), body);
    *signature_field = signing_key.sign(signed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_a_message_is_read_without_a_key() {
        let sent = Timestamp::from_unix(1_800_000_000);
        let mut message = [0; SYMMETRIC_OVERHEAD + 5];
        seal(&[1; 32], sent, &mut message).unwrap();
        let header = Mode::Symmetric.read_header(&message).unwrap();
        assert_eq!(header, MessageHeader { sent, signer: None, payload_len: 5 });

        let signer = ClientId::from_bytes([7; 16]);
        let mut message = [0; SIGNED_OVERHEAD + 5];
        seal_signed(&[1; 32], sent, &signer, &SigningKey::from_seed(&[2; 32]).unwrap(), &mut message).unwrap();
        let header = Mode::PublicKey.read_header(&message).unwrap();
        assert_eq!(header, MessageHeader { sent, signer: Some(signer), payload_len: 5 });
    }

    #[test]
    fn what_is_shorter_than_the_overhead_has_no_header() {
        for mode in [Mode::Symmetric, Mode::PublicKey] {
            let message = [0; SIGNED_OVERHEAD];
            assert_eq!(mode.read_header(&message[..mode.overhead()]).unwrap().payload_len, 0);
            assert_eq!(mode.read_header(&message[..mode.overhead() - 1]), None);
        }
    }
}

use crate::{
    command::{CommandError, MAX_LEN},
    message::{self, Header, Mode, SYMMETRIC_OVERHEAD},
    names::Hex,
    report::Report,
    time::Timestamp,
};
use core::fmt;

/// A command ready to be published on its client's control topic: 25 to 89 bytes. A key server stores it until the client has
/// confirmed it, and sends the same bytes again.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedCommand {
    bytes: [u8; Self::MAX_LEN],
    len: usize,
    sent: Timestamp,
    v: [u8; 16],
}

impl SealedCommand {
    /// Bytes of the longest sealed command.
    pub const MAX_LEN: usize = SYMMETRIC_OVERHEAD + MAX_LEN;

    /// Seals an encoded command, without looking at what it says.
    pub(super) fn seal(key: &[u8; 32], command: &[u8], sent: Timestamp) -> Result<Self, CommandError> {
        let mut bytes = [0; Self::MAX_LEN];
        let message = bytes.get_mut(..SYMMETRIC_OVERHEAD + command.len()).ok_or(CommandError::WrongLength)?;
        let body = Mode::Symmetric.body_mut(message).ok_or(CommandError::WrongLength)?;
        body.copy_from_slice(command);
        message::seal(key, sent, message).map_err(|message::TooShort| CommandError::WrongLength)?;
        Self::from_bytes(message)
    }

    /// Takes the bytes of a sealed command, as they were stored. They are not opened.
    ///
    /// # Errors
    ///
    /// [`CommandError::WrongLength`]: no command is so short or so long.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CommandError> {
        if bytes.len() <= SYMMETRIC_OVERHEAD {
            return Err(CommandError::WrongLength);
        }
        let header = Header::read(Mode::Symmetric, bytes).map_err(|message::TooShort| CommandError::WrongLength)?;
        let mut own = [0; Self::MAX_LEN];
        own.get_mut(..bytes.len()).ok_or(CommandError::WrongLength)?.copy_from_slice(bytes);
        Ok(Self { bytes: own, len: bytes.len(), sent: header.sent, v: header.tag })
    }

    /// The payload to publish.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// The time that the command carries.
    #[must_use]
    pub const fn sent(&self) -> Timestamp {
        self.sent
    }

    /// `V`, by which the command is known again in a [`Report`].
    #[must_use]
    pub const fn v(&self) -> &[u8; 16] {
        &self.v
    }

    /// Whether nothing more can become of the command, by what its client reports: it is the newest that the client accepted, or
    /// the newest is of a later second. In the second case the client may have taken it and may not have; it will not any more.
    ///
    /// Of several commands in one second, those that are not the last of them do not count as settled before a later second.
    #[must_use]
    pub fn is_settled_by(&self, report: &Report) -> bool {
        report.newest > self.sent || (report.newest == self.sent && report.newest_v == self.v)
    }
}

impl AsRef<[u8]> for SealedCommand {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Debug for SealedCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedCommand({})", Hex(self.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_settled_by_itself_and_by_all_that_is_later() {
        let sent = Timestamp::from_unix(1_800_000_000);
        let command = SealedCommand::seal(&[1; 32], &[1], sent).unwrap();
        let is_settled = |newest, newest_v| command.is_settled_by(&Report { newest, newest_v, ..Report::example() });
        assert!(is_settled(sent, command.v));
        assert!(is_settled(sent.plus(1), [0; 16]));
        assert!(!is_settled(sent, [0; 16]), "another one of its second, which can have come before it");
        assert!(!is_settled(sent.minus(1), command.v));
    }
}

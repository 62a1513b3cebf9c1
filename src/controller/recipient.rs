use super::SealedCommand;
#[cfg(feature = "alloc")]
use super::{Lane, LaneError};
use crate::{
    command::{Command, CommandError},
    keys::{C2SecretKey, ClientKey, ControlKey, KeyError, ReportKey, VerifyingKey},
    message::Mode,
    names::{ClientId, ControlTopic, ReportTopic},
    report::{Report, ReportError},
    stack,
    time::Timestamp,
};
#[cfg(feature = "alloc")]
use alloc::vec::Vec;
#[cfg(feature = "alloc")]
use core::fmt;
use subtle::ConstantTimeEq;
use zeroize::ZeroizeOnDrop;

/// A client as its key server sees it: where its commands go, and the key that they are sealed under.
#[derive(Debug, Clone)]
pub struct Recipient {
    id: ClientId,
    key: RecipientKey,
}

// Its key is wiped by its own type.
impl ZeroizeOnDrop for Recipient {}

#[derive(Debug, Clone)]
enum RecipientKey {
    Symmetric(ClientKey),
    PublicKey(ControlKey),
}

impl Recipient {
    /// A symmetric client.
    #[must_use]
    pub fn symmetric(id: ClientId, key: &ClientKey) -> Self {
        Self { id, key: RecipientKey::Symmetric(key.clone()) }
    }

    /// A public-key client, addressed with the key server's secret.
    ///
    /// # Errors
    ///
    /// [`KeyError::SmallOrder`] when the two keys agree on all zeros.
    pub fn public_key(id: ClientId, secret: &C2SecretKey, client: &VerifyingKey) -> Result<Self, KeyError> {
        Ok(Self { id, key: RecipientKey::PublicKey(ControlKey::of_c2(secret, client)?) })
    }

    /// A public-key client whose control key was computed before, by [`ControlKey::of_c2`]. To agree on the keys of a large
    /// fleet anew takes seconds.
    #[must_use]
    pub fn with_control_key(id: ClientId, key: &ControlKey) -> Self {
        Self { id, key: RecipientKey::PublicKey(key.clone()) }
    }

    /// The control key of a public-key client, to be stored; `None` for a symmetric client.
    #[must_use]
    pub fn control_key(&self) -> Option<&ControlKey> {
        match &self.key {
            RecipientKey::Symmetric(_) => None,
            RecipientKey::PublicKey(key) => Some(key),
        }
    }

    /// The client's id.
    #[must_use]
    pub fn id(&self) -> &ClientId {
        &self.id
    }

    /// Where the sealed commands are to be published.
    #[must_use]
    pub fn control_topic(&self) -> ControlTopic {
        self.id.control_topic()
    }

    /// Where the client's reports arrive.
    #[must_use]
    pub fn report_topic(&self) -> ReportTopic {
        self.id.report_topic()
    }

    /// Opens what arrived on the client's report topic.
    ///
    /// # Errors
    ///
    /// [`ReportError`].
    pub fn open_report(&self, message: &[u8]) -> Result<Report, ReportError> {
        let report = Report::open(&ReportKey::of_command_key(self.command_key()), message);
        stack::wipe::<{ stack::DEEP }>();
        report
    }

    /// Seals commands that belong together, with a second of their own in the client's lane, in the order in which they are to be
    /// published. Store the lane before anything goes out.
    ///
    /// In a second of their own, a client takes none of them for the second delivery of an earlier one, and has room for all of
    /// them. So what can go together is better sealed together: the lane gives out no more than
    /// [`Lane::MAX_AHEAD`] seconds in advance.
    ///
    /// After a [`Command::SetClientKey`], [`Command::SetSigningKey`] or [`Command::SetC2Key`] the commands that follow
    /// need a `Recipient` made from the new key, and the same lane.
    ///
    /// # Security
    ///
    /// A broker can swap the commands of one second. Where it matters which of them comes first, as with
    /// [`Command::ResetTopics`] and new keys, seal each in a call of its own: then what comes too early makes the other too old,
    /// and the client's report says so. A [`HardRotation`](super::HardRotation) goes into one call.
    ///
    /// # Errors
    ///
    /// [`SealCommandsError`]: nothing was sealed, and the lane is as it was.
    #[cfg(feature = "alloc")]
    pub fn seal(
        &self,
        commands: &[Command],
        lane: &mut Lane,
        now: Timestamp,
    ) -> Result<Vec<SealedCommand>, SealCommandsError> {
        if commands.iter().enumerate().any(|(at, command)| commands.iter().take(at).any(|other| other == command)) {
            return Err(SealCommandsError::Equal);
        }
        let mut next = *lane;
        let sent = next.reserve_alone(commands.len(), now)?;
        let sealed: Result<_, _> = commands.iter().map(|command| self.seal_dated(command, sent)).collect();
        let sealed = sealed?;
        *lane = next;
        Ok(sealed)
    }

    /// Seals one command that carries this time, for those who keep the order by themselves, and for tests. See
    /// [`seal`](Self::seal).
    ///
    /// # Errors
    ///
    /// [`CommandError::WrongMode`] when the command is for the other kind of client, [`CommandError::ControlTopic`]
    /// when it sets a key for the client's control topic, [`CommandError::NotATime`] when `sent` is
    /// [`Timestamp::LIMIT`] or more, [`CommandError::SharedKey`] when it gives a topic the key that this client's commands
    /// come under: the client would refuse it.
    pub fn seal_dated(&self, command: &Command, sent: Timestamp) -> Result<SealedCommand, CommandError> {
        if !sent.is_plausible() {
            return Err(CommandError::NotATime);
        }
        let key = self.command_key();
        command.check_for(self.mode(), &self.control_topic().hash())?;
        if command.topic_key().is_some_and(|(_, topic_key)| topic_key.as_bytes().ct_eq(key).into()) {
            return Err(CommandError::SharedKey);
        }
        SealedCommand::seal(key, command.encode().as_bytes(), sent)
    }

    fn command_key(&self) -> &[u8; 32] {
        match &self.key {
            RecipientKey::Symmetric(key) => key.as_bytes(),
            RecipientKey::PublicKey(key) => key.as_bytes(),
        }
    }

    fn mode(&self) -> Mode {
        match &self.key {
            RecipientKey::Symmetric(_) => Mode::Symmetric,
            RecipientKey::PublicKey(_) => Mode::PublicKey,
        }
    }
}

/// Why commands were not sealed.
#[cfg(feature = "alloc")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SealCommandsError {
    /// One of them is not for this client.
    Command(CommandError),
    /// There is no time for them.
    Lane(LaneError),
    /// Two of them are equal: within one second the client would take one for the second delivery of the other.
    Equal,
}

#[cfg(feature = "alloc")]
impl From<CommandError> for SealCommandsError {
    fn from(error: CommandError) -> Self {
        Self::Command(error)
    }
}

#[cfg(feature = "alloc")]
impl From<LaneError> for SealCommandsError {
    fn from(error: LaneError) -> Self {
        Self::Lane(error)
    }
}

#[cfg(feature = "alloc")]
impl fmt::Display for SealCommandsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(error) => error.fmt(f),
            Self::Lane(error) => error.fmt(f),
            Self::Equal => f.write_str(
                "two of the commands are equal, and the client would take one for a second delivery: leave one out, or seal it later",
            ),
        }
    }
}

#[cfg(feature = "alloc")]
impl core::error::Error for SealCommandsError {}

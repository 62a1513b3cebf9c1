//! The key server's end: seals commands for clients (protocol page, section 4).

mod lane;

pub use crate::{
    digest::{StateDigest, StateEntry},
    report::{RefusedCommand, Report, ReportError, WhyRefused},
};
pub use lane::{Lane, LaneError};

use crate::{
    command::{Command, CommandError, MAX_LEN},
    keys::{C2SecretKey, ClientKey, ControlKey, KeyError, ReportKey, TopicKey, VerifyingKey},
    message::{self, Mode, SYMMETRIC_OVERHEAD},
    names::{ClientId, ControlTopic, ReportTopic, TopicHash},
    stack,
    time::Timestamp,
};
use core::fmt;
use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::ZeroizeOnDrop;

/// A client as its key server sees it: where its commands go, and the key that they are sealed under.
///
/// # Order
///
/// A client takes a command only if it is not older than the newest that it took, for ever. So seal the commands for a
/// client with timestamps that never decrease, and publish them in that order, at QoS 1, without retain. Several
/// commands may carry the same second; clients remember those of one second up to a bound (16 in the fixed-capacity
/// key ring), so a long series is spread over several seconds. A [`Lane`] for each client sees to all of that.
///
/// ```
/// # fn main() -> Result<(), Box<dyn core::error::Error>> {
/// use e4::{ClientId, ClientKey, Command, Timestamp, Topic, TopicKey, controller::Recipient};
///
/// let key = ClientKey::generate()?; // as the device has it
/// let recipient = Recipient::symmetric(ClientId::from_name("pump-7")?, &key);
/// let topic = Topic::new("plant/7/pump/pressure")?;
/// let command = Command::set_topic_key(&topic, TopicKey::generate()?);
/// let sealed = recipient.seal_dated(&command, Timestamp::from_unix(1_800_000_000))?;
/// // publish `sealed.as_bytes()` on `recipient.control_topic()`
/// # assert_eq!(sealed.as_bytes().len(), 24 + 49);
/// # Ok(())
/// # }
/// ```
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

    /// Seals a command.
    ///
    /// After a [`Command::SetClientKey`], [`Command::SetSigningKey`] or [`Command::SetC2Key`] the commands that follow
    /// need a `Recipient` made from the new key.
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
        let encoded = command.encode();
        let mut sealed = SealedCommand { bytes: [0; SealedCommand::MAX_LEN], len: 0 };
        sealed.len = SYMMETRIC_OVERHEAD + encoded.as_bytes().len();
        let message = sealed.bytes.get_mut(..sealed.len).ok_or(CommandError::WrongLength)?;
        let body = Mode::Symmetric.body_mut(message).ok_or(CommandError::WrongLength)?;
        body.copy_from_slice(encoded.as_bytes());
        message::seal(key, sent, message).map_err(|message::TooShort| CommandError::WrongLength)?;
        Ok(sealed)
    }

    /// Seals the two commands that give a topic a new key and take the old one away at once, without the hour during
    /// which a client still opens messages under its previous key. Publish them in this order.
    ///
    /// Both carry one time. Take it from [`Lane::reserve_alone`], for two commands: then no client has room for the first
    /// and none for the second.
    ///
    /// # Security
    ///
    /// Not twice in one second for one topic: the two removals would be equal, the second one would pass for a replay, and
    /// the rotation would leave the key before as the previous one. And a broker that keeps the removal back and delivers
    /// the rest makes the rotation a soft one: nothing on the wire prevents that.
    ///
    /// Not for a client that holds the key of a subtree around the topic. Between the two commands, or for ever if the second
    /// one is kept back, it would seal under that key, for a wider circle than before: see
    /// [`seal_hard_rotation_in_subtree`](Self::seal_hard_rotation_in_subtree).
    ///
    /// # Errors
    ///
    /// [`CommandError::ControlTopic`], [`CommandError::NotATime`].
    pub fn seal_hard_rotation(
        &self,
        topic: TopicHash,
        key: TopicKey,
        sent: Timestamp,
    ) -> Result<[SealedCommand; 2], CommandError> {
        Ok([
            self.seal_dated(&Command::RemoveTopic(topic), sent)?,
            self.seal_dated(&Command::SetTopicKey { topic, key }, sent)?,
        ])
    }

    /// Seals the two commands of a hard rotation for a client that holds the key of a subtree around the topic: the topic
    /// gets a random key that nobody else gets, and then the new one. So it has a key of its own all the time and never falls
    /// back to the wider circle; what the client keeps as the previous key is the random one. Publish them in this order.
    ///
    /// Both carry one time, from [`Lane::reserve`], for two commands. It serves clients without such a key just as well.
    ///
    /// # Security
    ///
    /// As with [`seal_hard_rotation`](Self::seal_hard_rotation), a broker that keeps the first command back makes the rotation
    /// a soft one. One that keeps the second back leaves a client that nobody understands, and that understands nobody.
    ///
    /// # Errors
    ///
    /// Those of [`seal_dated`](Self::seal_dated), and [`CommandError::Key`] when no random key can be drawn.
    #[cfg(feature = "getrandom")]
    pub fn seal_hard_rotation_in_subtree(
        &self,
        topic: TopicHash,
        key: TopicKey,
        sent: Timestamp,
    ) -> Result<[SealedCommand; 2], CommandError> {
        self.seal_both_keys(topic, [TopicKey::generate()?, key], sent)
    }

    /// [`seal_hard_rotation_in_subtree`](Self::seal_hard_rotation_in_subtree) with a random generator of the caller's.
    ///
    /// # Errors
    ///
    /// The same.
    pub fn seal_hard_rotation_in_subtree_with_rng(
        &self,
        topic: TopicHash,
        key: TopicKey,
        rng: &mut (impl CryptoRng + ?Sized),
        sent: Timestamp,
    ) -> Result<[SealedCommand; 2], CommandError> {
        self.seal_both_keys(topic, [TopicKey::generate_with_rng(rng)?, key], sent)
    }

    fn seal_both_keys(
        &self,
        topic: TopicHash,
        [first, second]: [TopicKey; 2],
        sent: Timestamp,
    ) -> Result<[SealedCommand; 2], CommandError> {
        let seal = |key| self.seal_dated(&Command::SetTopicKey { topic, key }, sent);
        Ok([seal(first)?, seal(second)?])
    }
}

/// A command ready to be published on its client's control topic: 25 to 89 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedCommand {
    bytes: [u8; Self::MAX_LEN],
    len: usize,
}

impl SealedCommand {
    /// Bytes of the longest sealed command.
    pub const MAX_LEN: usize = SYMMETRIC_OVERHEAD + MAX_LEN;

    /// The payload to publish.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl AsRef<[u8]> for SealedCommand {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Debug for SealedCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedCommand({})", crate::names::Hex(self.as_bytes()))
    }
}

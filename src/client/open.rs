use super::{Client, Place};
use crate::{
    command::{AppliedCommand, CommandError},
    key_ring::{Full, KeyCache, KeyRing, MaxAge, Table, TopicEntry, is_in_transition},
    keys::{TopicKey, VerifyingKey},
    message::{Header, Mode, TooShort},
    names::{ClientId, NameError},
    replay::{Delivery, Seen},
    siv::{self, NotAuthentic},
    state::Repeated,
    store::{Store, StoreError},
    time::{Clock, Timestamp},
    topic::{AsTopic, Topic},
};
#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use core::fmt;
use zeroize::Zeroize;

/// What arrived: a message for the application, or a command that the client has carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened<P> {
    /// An authentic message. It is opened for the first time since the client's start, unless any age is allowed on its
    /// topic or [`repeated`](Message::repeated) says otherwise.
    Message(Message<P>),
    /// A command of the key server, applied and stored.
    Command(AppliedCommand),
}

/// A message that was opened.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message<P> {
    /// What the sender sealed.
    pub payload: P,
    /// When it was sealed, by the sender's clock.
    pub sent: Timestamp,
    /// How many seconds ago that was by this client's clock, 0 if it is ahead of it. `None` when the client does not
    /// know the time: then the message may be of any age. A device without a clock knows only how old it is at least.
    pub age: Option<u64>,
    /// Who signed it; `None` in symmetric mode.
    pub signer: Option<ClientId>,
    /// Whether the topic's previous key opened it: the sender has not received the new one yet.
    pub previous_key: bool,
    /// Whether an equal message was opened before; only ever so with [`Repeated::Report`].
    pub repeated: bool,
}

impl<P> Message<P> {
    fn with_payload<Q>(self, payload: Q) -> Message<Q> {
        let Self { payload: _, sent, age, signer, previous_key, repeated } = self;
        Message { payload, sent, age, signer, previous_key, repeated }
    }
}

/// Prints no payload.
impl<P> fmt::Debug for Message<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("sent", &self.sent)
            .field("age", &self.age)
            .field("signer", &self.signer)
            .field("previous_key", &self.previous_key)
            .field("repeated", &self.repeated)
            .finish_non_exhaustive()
    }
}

impl<R: KeyRing, S: Store, C: Clock> Client<R, S, C> {
    /// Opens whatever arrived on a topic: a message, or a command on the client's own control topic.
    ///
    /// A command is applied and stored when this returns.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; nothing has changed.
    #[cfg(feature = "alloc")]
    pub fn open(&mut self, topic: impl AsTopic, message: &[u8]) -> Result<Opened<Vec<u8>>, OpenError> {
        let topic = topic.as_topic()?;
        if topic.hash() == self.state.identity.control() {
            return self.open_command(message).map(Opened::Command);
        }
        let mut payload = self.mode().body(message).unwrap_or_default().to_vec();
        let opened = self.open_message(&topic, Buffers::Separate(message, &mut payload))?;
        Ok(Opened::Message(opened.with_payload(payload)))
    }

    /// Opens whatever arrived on a topic into a buffer of the caller's, the payload at its beginning. A buffer as long
    /// as the message suffices, and so does one that is shorter by [`overhead`](Mode::overhead). A command needs
    /// no buffer.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; nothing has changed, and no plaintext is in `out`.
    pub fn open_into<'o>(
        &mut self,
        topic: impl AsTopic,
        message: &[u8],
        out: &'o mut [u8],
    ) -> Result<Opened<&'o mut [u8]>, OpenError> {
        let topic = topic.as_topic()?;
        if topic.hash() == self.state.identity.control() {
            return self.open_command(message).map(Opened::Command);
        }
        let body = self.mode().body(message).unwrap_or_default();
        let needed = body.len();
        let payload = out.get_mut(..needed).ok_or(OpenError::BufferTooSmall { needed })?;
        payload.copy_from_slice(body);
        let opened = self.open_message(&topic, Buffers::Separate(message, payload))?;
        Ok(Opened::Message(opened.with_payload(payload)))
    }

    /// Opens whatever arrived on a topic where it stands. The payload lies within the message, behind
    /// [`header_len`](Mode::header_len) bytes.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; nothing has changed, and the message holds no plaintext: its ciphertext, or zeros in its place.
    pub fn open_in_place<'m>(
        &mut self,
        topic: impl AsTopic,
        message: &'m mut [u8],
    ) -> Result<Opened<&'m mut [u8]>, OpenError> {
        let topic = topic.as_topic()?;
        if topic.hash() == self.state.identity.control() {
            return self.open_command(message).map(Opened::Command);
        }
        let opened = self.open_message(&topic, Buffers::InPlace(message))?;
        let payload = self.mode().body_mut(message).unwrap_or_default();
        Ok(Opened::Message(opened.with_payload(payload)))
    }

    /// The steps of the protocol page, section 5, in their order.
    fn open_message(&mut self, topic: &Topic<'_>, mut buffers: Buffers<'_>) -> Result<Message<()>, OpenError> {
        self.erase_in_passing();
        let now = self.time.now();
        let mode = self.mode();
        let header = Header::read(mode, buffers.message())?;
        let max_age = self.state.max_age(topic);
        let age = match now {
            Some(now) => {
                if let Some(ahead) = self.too_far_ahead(now, header.sent) {
                    return Err(Refusal::FromTheFuture { ahead }.into());
                }
                Some(check_age(now, header.sent, max_age)?)
            }
            None => None,
        };

        let opened = match self.open_body(topic, now, &header, &mut buffers) {
            Ok(opened) => opened,
            // Garbage, and the buffer still holds it.
            Err(refusal @ (Refusal::NoTopicKey | Refusal::NotAuthentic)) => {
                buffers.wipe_copy();
                return Err(refusal.into());
            }
            Err(refusal) => {
                buffers.wipe(mode);
                return Err(refusal.into());
            }
        };

        let mut repeated = false;
        // Where any age is allowed, redelivery is normal and cannot be told from replay.
        if max_age != MaxAge::Any {
            let seen = Seen::new(header.sent, topic.hash(), header.signer.as_ref(), header.tag);
            match self.replay.deliver(seen) {
                Delivery::First => {}
                Delivery::Repeated if self.state.options.repeated == Repeated::Report => repeated = true,
                delivery => {
                    buffers.wipe(mode);
                    let repeated = delivery == Delivery::Repeated;
                    return Err(if repeated { Refusal::Repeated } else { Refusal::BeyondReplayMemory }.into());
                }
            }
        }
        if let Some(key) = opened.derived {
            self.derived.insert(*topic.hash(), key);
        }
        Ok(Message {
            payload: (),
            sent: header.sent,
            age,
            signer: header.signer,
            previous_key: opened.previous_key,
            repeated,
        })
    }

    /// How many seconds a time is ahead, if that is more than the client allows.
    fn too_far_ahead(&self, now: Timestamp, sent: Timestamp) -> Option<u64> {
        let ahead = sent.seconds_since(now);
        (ahead > self.state.options.max_ahead).then_some(ahead)
    }

    /// Finds the key, decrypts the body and checks the signature.
    fn open_body(
        &self,
        topic: &Topic<'_>,
        now: Option<Timestamp>,
        header: &Header,
        buffers: &mut Buffers<'_>,
    ) -> Result<OpenedBody, Refusal> {
        // The exact entry, and a key that was derived before, come without a search.
        if let Some(entry) = self.state.topics.get(topic.hash()) {
            return self.open_with_entry(entry, Place::Exact, now, header, buffers);
        }
        if let Some(key) = self.derived.get(topic.hash()) {
            if self.open_with_key(key, header, buffers).is_ok() {
                self.check_signature(key, header, buffers)?;
                return Ok(OpenedBody { previous_key: false, derived: None });
            }
            if self.transitions.is_none() {
                // No topic has a previous key to try.
                return Err(Refusal::NotAuthentic);
            }
        }
        let (entry, place) = self.find_subtree(topic).ok_or(Refusal::NoTopicKey)?;
        self.open_with_entry(entry, place, now, header, buffers)
    }

    fn open_with_entry(
        &self,
        entry: &TopicEntry,
        place: Place<'_>,
        now: Option<Timestamp>,
        header: &Header,
        buffers: &mut Buffers<'_>,
    ) -> Result<OpenedBody, Refusal> {
        let is_derived = matches!(place, Place::Below(_));
        let mut try_key = |key: &TopicKey, previous_key| {
            Self::with_key(key, place, |key| match self.open_with_key(key, header, buffers) {
                Ok(()) => Some(self.check_signature(key, header, buffers).map(|()| OpenedBody {
                    previous_key,
                    derived: (is_derived && !previous_key).then(|| key.clone()),
                })),
                Err(NotAuthentic) => None,
            })
        };
        if let Some(result) = try_key(&entry.key, false) {
            return result;
        }
        if let (Some(previous), Some(now)) = (&entry.previous, now)
            && is_in_transition(previous.replaced, now)
            && let Some(result) = try_key(&previous.key, true)
        {
            return result;
        }
        Err(Refusal::NotAuthentic)
    }

    fn open_with_key(&self, key: &TopicKey, header: &Header, buffers: &mut Buffers<'_>) -> Result<(), NotAuthentic> {
        header.open_body(key.as_bytes(), buffers.body(self.mode()))
    }

    /// Checks the signature of a message whose body is decrypted. A forger without the topic key never gets this far,
    /// and so costs no signature check.
    fn check_signature(&self, key: &TopicKey, header: &Header, buffers: &mut Buffers<'_>) -> Result<(), Refusal> {
        let Some(signer) = &header.signer else {
            return Ok(());
        };
        let public = self.state.peers.get(signer).ok_or(Refusal::UnknownSigner(*signer))?;
        let genuine = match buffers {
            Buffers::Separate(message, _) => is_signed_by(public, message),
            Buffers::InPlace(message) => {
                // The signature covers the ciphertext: restore it for the check.
                let Some(body) = Mode::PublicKey.body_mut(message) else {
                    return Err(Refusal::TooShort);
                };
                siv::apply_keystream(key.as_bytes(), &header.tag, body);
                let genuine = is_signed_by(public, message);
                if genuine && let Some(body) = Mode::PublicKey.body_mut(message) {
                    siv::apply_keystream(key.as_bytes(), &header.tag, body);
                }
                genuine
            }
        };
        if genuine { Ok(()) } else { Err(Refusal::BadSignature(*signer)) }
    }
}

/// `now - max_age <= t`; returns the age in seconds.
pub(super) fn check_age(now: Timestamp, sent: Timestamp, max_age: MaxAge) -> Result<u64, Refusal> {
    let age = now.seconds_since(sent);
    match max_age {
        MaxAge::Seconds(max_age) if age > max_age => Err(Refusal::TooOld { age, max_age }),
        _ => Ok(age),
    }
}

/// Seconds in ten years: either a clock was never set, or the bytes are no timestamp.
const TEN_YEARS: u64 = 10 * 365 * 24 * 3600;

/// Seconds that no clock is behind, were it never set: the bytes are no timestamp. So begin all that is text, and nearly all
/// that is not E4.
const NO_TIME: u64 = 1 << 32;

fn is_signed_by(public: &VerifyingKey, message: &[u8]) -> bool {
    message.split_last_chunk().is_some_and(|(signed, signature)| public.verifies(signed, signature))
}

struct OpenedBody {
    previous_key: bool,
    /// The key of the topic, when it was derived just now.
    derived: Option<TopicKey>,
}

/// A message as it arrived, and where its payload is to be.
enum Buffers<'b> {
    InPlace(&'b mut [u8]),
    /// The message, and a copy of its body that becomes the payload.
    Separate(&'b [u8], &'b mut [u8]),
}

impl Buffers<'_> {
    fn message(&self) -> &[u8] {
        match self {
            Self::InPlace(message) => message,
            Self::Separate(message, _) => message,
        }
    }

    fn body(&mut self, mode: Mode) -> &mut [u8] {
        match self {
            Self::InPlace(message) => mode.body_mut(message).unwrap_or_default(),
            Self::Separate(_, payload) => payload,
        }
    }

    /// Leaves nothing of a plaintext.
    fn wipe(&mut self, mode: Mode) {
        self.body(mode).zeroize();
    }

    /// Empties a separate buffer. A message in place stays as it arrived.
    fn wipe_copy(&mut self) {
        if let Self::Separate(_, payload) = self {
            payload.fill(0);
        }
    }
}

/// Why what arrived was not opened: the caller's mistake, the sender's, or a local resource. Nothing has changed.
///
/// # Acknowledging
///
/// A transport acknowledges what met a [final](Self::is_final) error, or it would be delivered again for ever. After any
/// other error it disconnects without acknowledging, has the disk mended, and connects again before it opens anything else: a command that it left out would be too old once a later one is accepted. The one exception is a
/// command that makes room: see [`Client::may_overtake`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The topic is not the name of a topic.
    Name(NameError),
    /// The buffer is shorter than the payload.
    BufferTooSmall {
        /// Bytes that suffice.
        needed: usize,
    },
    /// What arrived is not acceptable. Drop it and go on.
    Refused(Refusal),
    /// A command is authentic, and the key ring has no room for what it brings. The key server makes room first, and
    /// sends it again with a later time.
    Full(Full),
    /// A command is authentic, and its result could not be stored.
    Store(StoreError),
}

/// Why something that arrived is not acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// It is shorter than the overhead of a protected message.
    TooShort,
    /// It was sent too long ago.
    TooOld {
        /// Seconds since it was sent.
        age: u64,
        /// Seconds that are allowed.
        max_age: u64,
    },
    /// The message was sent in the future.
    FromTheFuture {
        /// Seconds from now.
        ahead: u64,
    },
    /// The client has no key for the topic, nor for a subtree around it.
    NoTopicKey,
    /// It was changed, or was never sealed under a key that the client has for this.
    NotAuthentic,
    /// The client does not have the public key of the signer.
    UnknownSigner(ClientId),
    /// The signature is not the signer's.
    BadSignature(ClientId),
    /// An equal message or command was accepted before.
    Repeated,
    /// The message was sent before the time that the memory of opened messages covers: it may have been opened before.
    BeyondReplayMemory,
    /// The command is older than one that was accepted before.
    Superseded {
        /// When the newest accepted command was sent.
        newest: Timestamp,
    },
    /// The command is authentic and cannot be carried out.
    Command(CommandError),
}

impl OpenError {
    /// Whether the same bytes would meet the same error if they were delivered again. Not so for [`Store`](Self::Store),
    /// which is the fault of this device and loses a command if it is acknowledged. A store without room for so long a state ([`StoreError::TooLong`]) has none the next time either:
    /// that is final, as [`Full`](Self::Full) is.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Store(error) => matches!(error, StoreError::TooLong(_)),
            _ => true,
        }
    }
}

impl From<NameError> for OpenError {
    fn from(error: NameError) -> Self {
        Self::Name(error)
    }
}

impl From<Refusal> for OpenError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<TooShort> for OpenError {
    fn from(_: TooShort) -> Self {
        Self::Refused(Refusal::TooShort)
    }
}

impl From<TooShort> for Refusal {
    fn from(_: TooShort) -> Self {
        Self::TooShort
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::BufferTooSmall { needed } => write!(f, "the buffer is too small: the payload takes {needed} bytes"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Full(full) => write!(f, "the command cannot be applied: {full}"),
            Self::Store(error) => write!(f, "the command was not applied, because it could not be stored: {error}"),
        }
    }
}

impl core::error::Error for OpenError {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort => f.write_str("too short to be protected: the sender does not use E4, or not in this mode"),
            Self::TooOld { age, .. } if *age > TEN_YEARS => f.write_str(
                "not E4, or sealed by a device whose clock was never set: it bears a time of more than ten years ago; if the sender uses E4, check its clock and this client's",
            ),
            Self::FromTheFuture { ahead } if *ahead > NO_TIME => {
                f.write_str("not E4: it does not begin with a time, as text and other formats do not; check what the sender publishes")
            }
            Self::FromTheFuture { ahead } if *ahead > TEN_YEARS => f.write_str(
                "sent more than ten years in the future: set this client's clock; if it is right, the sender does not use E4",
            ),
            Self::TooOld { age, max_age } => write!(
                f,
                "sent {age} s ago, more than the {max_age} s that are allowed: check both clocks, or allow a larger age on this topic"
            ),
            Self::FromTheFuture { ahead } => {
                write!(f, "sent {ahead} s in the future: check the clocks of the sender and of this client")
            }
            Self::NoTopicKey => {
                f.write_str("no key for this topic: have the key server send it, or that of a subtree around it")
            }
            Self::NotAuthentic => f.write_str(
                "not authentic: it was changed on the way, sealed under a key that this client does not have, or by a client of the other mode",
            ),
            Self::UnknownSigner(signer) => {
                write!(f, "signed by client {signer}, whose public key this client does not have: have the key server send it")
            }
            Self::BadSignature(signer) => write!(
                f,
                "the signature does not match the public key of client {signer}: it is forged, or the key server has to send that client's new key"
            ),
            Self::Repeated => f.write_str("accepted before: this is a replay, or a second delivery"),
            Self::BeyondReplayMemory => f.write_str(
                "too late to be told from a replay: the memory of opened messages does not reach back so far",
            ),
            Self::Superseded { newest } => {
                write!(
                    f,
                    "older than the newest accepted command, sent at {newest} (Unix time): a replay, or out of order; if not, have the key server send it again with the present time"
                )
            }
            Self::Command(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for Refusal {}

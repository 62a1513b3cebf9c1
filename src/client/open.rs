use super::{Client, Place};
use crate::{
    client::error::{OpenError, Refusal},
    command::AppliedCommand,
    key_ring::{KeyCache, KeyRing, MaxAge, Spare, Table, TopicEntry, is_in_transition},
    keys::{TopicKey, VerifyingKey},
    message::{Header, Mode},
    names::ClientId,
    replay::Delivery,
    siv::{self, NotAuthentic},
    state::Repeated,
    store::Store,
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
    /// Which of the topic's keys opened it.
    pub key: KeyRole,
    /// Whether an equal message was opened before; only ever so with [`Repeated::Report`].
    pub repeated: bool,
}

impl<P> Message<P> {
    fn with_payload<Q>(self, payload: Q) -> Message<Q> {
        let Self { payload: _, sent, age, signer, key, repeated } = self;
        Message { payload, sent, age, signer, key, repeated }
    }
}

/// What a key of a topic or subtree is to the client at the time of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRole {
    /// The one that this client seals under.
    Current,
    /// The one before: the sender has not received the current one yet.
    Previous,
    /// The one that is to follow: the sender has it as its current one already.
    Next,
}

/// Prints no payload.
impl<P> fmt::Debug for Message<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("sent", &self.sent)
            .field("age", &self.age)
            .field("signer", &self.signer)
            .field("key", &self.key)
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
    /// [`OpenError`]; nothing has changed but what is [reported](Self::report) as refused.
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
    /// As [`open`](Self::open) has them, and no plaintext is in `out`.
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
    /// As [`open_into`](Self::open_into) has them, and the message holds no plaintext: its ciphertext, or zeros in its place.
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
        self.notice_time();
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
            let seen = self.replay.seen(header.sent, topic.hash(), header.signer.as_ref(), header.tag);
            match self.replay.deliver(seen) {
                Delivery::First => {}
                Delivery::Repeated if self.repeated() == Repeated::Report => repeated = true,
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
        Ok(Message { payload: (), sent: header.sent, age, signer: header.signer, key: opened.key, repeated })
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
                return Ok(OpenedBody { key: KeyRole::Current, derived: None });
            }
            if !self.has_spare_keys {
                // There is nothing else to try on any topic.
                return Err(Refusal::NotAuthentic);
            }
            // The current key was tried just now, and is not tried again.
            let (entry, place) = self.find_subtree(topic).ok_or(Refusal::NoTopicKey)?;
            return self.open_with_spare(entry, place, now, header, buffers);
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
        match self.try_key(&entry.key, KeyRole::Current, place, header, buffers) {
            Err(Refusal::NotAuthentic) => self.open_with_spare(entry, place, now, header, buffers),
            result => result,
        }
    }

    fn open_with_spare(
        &self,
        entry: &TopicEntry,
        place: Place<'_>,
        now: Option<Timestamp>,
        header: &Header,
        buffers: &mut Buffers<'_>,
    ) -> Result<OpenedBody, Refusal> {
        let spare = entry.spare.as_ref().ok_or(Refusal::NotAuthentic)?;
        let role = match spare.role {
            Spare::Next => KeyRole::Next,
            Spare::Previous { replaced } if now.is_some_and(|now| is_in_transition(replaced, now)) => KeyRole::Previous,
            Spare::Previous { .. } => return Err(Refusal::NotAuthentic),
        };
        self.try_key(&spare.key, role, place, header, buffers)
    }

    /// Decrypts and checks under the key that an entry has for the topic. Only the cipher says that it is not authentic.
    fn try_key(
        &self,
        key: &TopicKey,
        role: KeyRole,
        place: Place<'_>,
        header: &Header,
        buffers: &mut Buffers<'_>,
    ) -> Result<OpenedBody, Refusal> {
        let is_kept = matches!(place, Place::Below(_)) && role == KeyRole::Current;
        Self::with_key(key, place, |key| {
            self.open_with_key(key, header, buffers).map_err(|NotAuthentic| Refusal::NotAuthentic)?;
            self.check_signature(key, header, buffers)?;
            Ok(OpenedBody { key: role, derived: is_kept.then(|| key.clone()) })
        })
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

fn is_signed_by(public: &VerifyingKey, message: &[u8]) -> bool {
    message.split_last_chunk().is_some_and(|(signed, signature)| public.verifies(signed, signature))
}

struct OpenedBody {
    key: KeyRole,
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

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use crate::{ClientKey, Command, Identity, MemoryStore, Subtree, SubtreeKey, controller::Recipient};

    /// In a transition there are two keys to try.
    #[test]
    fn f15_garbage_costs_as_many_cipher_calls_as_there_are_keys_to_try() {
        let (id, key) = (ClientId::from_bytes([1; 16]), ClientKey::from_bytes(&[1; 32]).unwrap());
        let recipient = Recipient::symmetric(id, &key);
        let subtree = Subtree::new("plant/#").unwrap();
        for topic in ["plant/7/pump", "plant"] {
            let builder = Client::builder(Identity::symmetric(id, key.clone())).first_start();
            let mut client = builder.create(MemoryStore::new()).unwrap();
            let calls = |client: &mut Client, topic: &str, message: &[u8]| {
                let before = siv::open_calls();
                let _ = client.open(topic, message);
                siv::open_calls() - before
            };
            let key = |n: u8| SubtreeKey::from_bytes(&[0x20 + n; 32]).unwrap();
            for (n, keys) in [(1_u8, 1), (2, 2), (3, 2)] {
                let command = match n {
                    1 => Command::set_subtree_key(&subtree, &key(1)),
                    2 => Command::set_next_subtree_key(&subtree, &key(2)),
                    _ => Command::set_subtree_key(&subtree, &key(3)),
                };
                let sealed = recipient.seal_dated(&command, Timestamp::now()).unwrap();
                client.open(client.control_topic(), sealed.as_bytes()).unwrap();
                let good = client.seal(topic, &[n]).unwrap();
                let mut garbage = good.clone();
                garbage[8] ^= 1;
                assert_eq!(calls(&mut client, topic, &garbage), keys, "before a topic key was derived");
                assert_eq!(calls(&mut client, topic, &good), 1);
                assert_eq!(calls(&mut client, topic, &garbage), keys, "with the derived key at hand");
            }
        }
    }
}

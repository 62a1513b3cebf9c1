//! The keys that a device's commands bring, and the digests of what it can hold.

use super::{Fleet, Refusal, row::DeviceRow, wanted::Context};
use crate::{
    model::Mode,
    plan::{Entry, Keys},
};
use e4::{
    ClientId, Command, TopicHash, TopicKey, VerifyingKey,
    controller::{StateDigest, StateEntry},
};

/// All keys for one device.
pub(super) struct Keyring<'a> {
    context: &'a Context,
    /// The command that brings its new key, and that key's version.
    new_key: Option<(u32, Command)>,
}

impl<'a> Keyring<'a> {
    pub(super) fn of(fleet: &Fleet, context: &'a Context, device: &DeviceRow) -> Result<Self, Refusal> {
        let command = match device.mode {
            Mode::Symmetric => device.next_client_key(fleet)?.map(Command::SetClientKey),
            Mode::PublicKey => device.next_signing_key(fleet)?.map(Command::SetSigningKey),
        };
        Ok(Self { context, new_key: command.map(|command| (device.key_version + 1, command)) })
    }
}

impl Keys for Keyring<'_> {
    fn topic(&self, topic: &TopicHash, version: u32) -> Option<TopicKey> {
        self.context.topic_key(topic, version).cloned()
    }

    fn peer(&self, peer: &ClientId, version: u32) -> Option<VerifyingKey> {
        self.context.peer_key(peer, version).cloned()
    }

    fn client(&self, version: u32) -> Option<Command> {
        self.new_key.as_ref().filter(|(found, _)| *found == version).map(|(_, command)| command.clone())
    }

    fn server(&self, version: u32) -> Option<Command> {
        let pair = self.context.pairs.iter().find(|pair| pair.version == version)?;
        Some(Command::SetC2Key(pair.public))
    }
}

impl Context {
    /// The digest of one thing that a device can hold; `None` if its key was erased.
    pub(super) fn digest_of(&self, entry: Entry) -> Option<StateDigest> {
        Some(match entry {
            Entry::Topic(topic, version) => {
                StateDigest::of([StateEntry::TopicKey(&topic, self.topic_key(&topic, version)?)])
            }
            Entry::Next(topic, version) => {
                StateDigest::of([StateEntry::NextTopicKey(&topic, self.topic_key(&topic, version)?)])
            }
            Entry::Peer(peer, version) => StateDigest::of([StateEntry::PubKey(&peer, self.peer_key(&peer, version)?)]),
            Entry::ServerKey(version) => {
                let pair = self.pairs.iter().find(|pair| pair.version == version)?;
                StateDigest::of([StateEntry::C2Key(&pair.public)])
            }
        })
    }
}

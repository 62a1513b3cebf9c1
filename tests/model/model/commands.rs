//! What each command changes, written from sections 4 and 7 to 9 of the protocol page.

use super::{Entry, Model, OwnKeys, Spare, State, own_keys};
use crate::{
    cast,
    command::{Command, Set, decode},
    wire::{control_topic, short_hash},
};
use e4::{AppliedCommand, ClientId, CommandError, Full, OpenError, Refusal, Timestamp, TopicHash};

impl Model {
    /// Changes the state as the command says. After an error it may be half changed.
    pub(super) fn apply(&mut self, body: &[u8], now: u64) -> Result<AppliedCommand, OpenError> {
        let refused = |error| OpenError::Refused(Refusal::Command(error));
        let wrong_mode = || refused(CommandError::WrongMode);
        let command = decode(body).map_err(refused)?;
        let state = &mut self.state;
        match (command, state.keys) {
            (Command::RemoveTopic(topic), _) => {
                state.topics.remove(&topic);
                Ok(AppliedCommand::RemoveTopic(TopicHash::from_bytes(topic)))
            }
            (Command::ResetTopics, _) => {
                state.topics.clear();
                Ok(AppliedCommand::ResetTopics)
            }
            (Command::TopicKey { what, key, topic }, _) => {
                if topic == short_hash(&control_topic(&cast::CLIENT)) {
                    return Err(refused(CommandError::ControlTopic));
                }
                if own_keys(state.keys).contains(&key) {
                    return Err(refused(CommandError::SharedKey));
                }
                let is_full = state.topics.len() >= self.room.topics;
                let hash = TopicHash::from_bytes(topic);
                let applied = match what {
                    Set::Current => AppliedCommand::SetTopicKey(hash),
                    Set::Next => AppliedCommand::SetNextTopicKey(hash),
                    Set::Only => AppliedCommand::ReplaceTopicKey(hash),
                };
                match (what, state.topics.get_mut(&topic)) {
                    (Set::Current, Some(entry)) if entry.key == key => {}
                    (Set::Current, Some(entry)) => {
                        *entry = Entry { key, spare: Some(Spare::Previous(entry.key, now)) };
                    }
                    (Set::Next, Some(entry)) if entry.key == key => {
                        if matches!(entry.spare, Some(Spare::Next(_))) {
                            entry.spare = None;
                        }
                    }
                    (Set::Next, Some(entry)) => entry.spare = Some(Spare::Next(key)),
                    (Set::Next, None) => return Err(refused(CommandError::NoCurrentKey)),
                    (Set::Only, Some(entry)) => *entry = Entry { key, spare: None },
                    (Set::Current | Set::Only, None) if is_full => return Err(OpenError::Full(Full::Topics)),
                    (Set::Current | Set::Only, None) => {
                        state.topics.insert(topic, Entry { key, spare: None });
                    }
                }
                Ok(applied)
            }
            (Command::SetTime(now), _) => Ok(AppliedCommand::SetTime(Timestamp::from_unix(now))),
            (Command::SetClientKey(key), OwnKeys::Symmetric(_)) => {
                state.keys = state.unless_shared(OwnKeys::Symmetric(key)).map_err(refused)?;
                Ok(AppliedCommand::SetIdKey)
            }
            (Command::SetSigningKey(seed), OwnKeys::PublicKey { c2, .. }) => {
                state.keys = state.unless_shared(OwnKeys::PublicKey { seed, c2 }).map_err(refused)?;
                Ok(AppliedCommand::SetIdKey)
            }
            (Command::RemovePubKey(client), OwnKeys::PublicKey { .. }) => {
                state.peers.remove(&client);
                Ok(AppliedCommand::RemovePubKey(ClientId::from_bytes(client)))
            }
            (Command::ResetPubKeys, OwnKeys::PublicKey { .. }) => {
                state.peers.clear();
                Ok(AppliedCommand::ResetPubKeys)
            }
            (Command::SetPubKey { key, client }, OwnKeys::PublicKey { .. }) => {
                if !state.peers.contains_key(&client) && state.peers.len() >= self.room.peers {
                    return Err(OpenError::Full(Full::Peers));
                }
                state.peers.insert(client, key);
                Ok(AppliedCommand::SetPubKey(ClientId::from_bytes(client)))
            }
            (Command::SetC2Key(c2), OwnKeys::PublicKey { seed, .. }) => {
                state.keys = state.unless_shared(OwnKeys::PublicKey { seed, c2 }).map_err(refused)?;
                Ok(AppliedCommand::SetC2Key)
            }
            (_, OwnKeys::Symmetric(_) | OwnKeys::PublicKey { .. }) => Err(wrong_mode()),
        }
    }
}

impl State {
    /// New keys of the client, if no topic has them.
    fn unless_shared(&self, keys: OwnKeys) -> Result<OwnKeys, CommandError> {
        let own = own_keys(keys);
        let is_own =
            |entry: &Entry| own.contains(&entry.key) || entry.spare.is_some_and(|spare| own.contains(&spare.key()));
        if self.topics.values().any(is_own) { Err(CommandError::SharedKey) } else { Ok(keys) }
    }
}

//! Commands as section 4 of the protocol page has them, and which keys section 9 refuses in them.

use crate::{
    cast,
    wire::{Key, Name},
};
use e4::{CommandError, KeyError};

pub(crate) enum Command {
    RemoveTopic(Name),
    ResetTopics,
    SetClientKey(Key),
    SetSigningKey(Key),
    TopicKey { what: Set, key: Key, topic: Name },
    RemovePubKey(Name),
    ResetPubKeys,
    SetPubKey { key: Key, client: Name },
    SetC2Key(Key),
    SetTime(u64),
}

/// What a key is to be for its topic: the current one beside the one before, the next one, or the only one.
#[derive(Clone, Copy)]
pub(crate) enum Set {
    Current,
    Next,
    Only,
}

/// What a command says; no key in it is bad.
pub(crate) fn decode(command: &[u8]) -> Result<Command, CommandError> {
    let (code, body) = command.split_first().ok_or(CommandError::WrongLength)?;
    let key_at = |at: usize| -> Key { body[at..at + 32].try_into().unwrap() };
    let name_at = |at: usize| -> Name { body[at..at + 16].try_into().unwrap() };
    Ok(match (code, body.len()) {
        (0, 16) => Command::RemoveTopic(name_at(0)),
        (1, 0) => Command::ResetTopics,
        (2, 32) => Command::SetClientKey(not_zero(key_at(0))?),
        (2, 64) => {
            let seed = not_zero(key_at(0))?;
            match cast::seed_of_public(&key_at(32)) {
                Some(n) if cast::seed(n) == seed => Command::SetSigningKey(seed),
                _ => return Err(CommandError::Key(KeyError::MismatchedPair)),
            }
        }
        (3 | 8 | 9, 48) => {
            let what = match code {
                3 => Set::Current,
                8 => Set::Next,
                _ => Set::Only,
            };
            Command::TopicKey { what, key: not_zero(key_at(0))?, topic: name_at(32) }
        }
        (10, 8) => match u64::from_le_bytes(body.try_into().unwrap()) {
            now if now >= 1 << 33 => return Err(CommandError::NotATime),
            now => Command::SetTime(now),
        },
        (4, 16) => Command::RemovePubKey(name_at(0)),
        (5, 0) => Command::ResetPubKeys,
        (6, 48) => match cast::bad_publics().iter().find(|(bad, _)| *bad == key_at(0)) {
            Some((_, error)) => return Err(CommandError::Key(*error)),
            None => Command::SetPubKey { key: key_at(0), client: name_at(32) },
        },
        (7, 32) if cast::bad_c2_publics().contains(&key_at(0)) => {
            return Err(CommandError::Key(KeyError::SmallOrder));
        }
        (7, 32) => Command::SetC2Key(key_at(0)),
        (0..=10, _) => return Err(CommandError::WrongLength),
        (code, _) => return Err(CommandError::UnknownCode(*code)),
    })
}

fn not_zero(key: Key) -> Result<Key, CommandError> {
    if key == [0; 32] { Err(CommandError::Key(KeyError::AllZero)) } else { Ok(key) }
}

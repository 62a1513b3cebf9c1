//! What a client reports, written from section 11 of the protocol page.

use super::{Model, Moment, OwnKeys, STORE_FAILS, Spare};
use crate::wire::{Tag, entry_hash, report_key, seal};
use e4::{ClockReading, Full, OpenError, Refusal};

impl Model {
    /// All 83 bytes.
    pub(crate) fn report(&self, at: Moment) -> Vec<u8> {
        let (now, state) = (self.now(at.clock), &self.state);
        let has_clock = matches!(at.clock, ClockReading::Time(_));
        let flags = 1
            | u8::from(has_clock) << 1
            | u8::from(!has_clock && now.is_some()) << 2
            | u8::from(self.command_waits) << 3;
        let (why, refused_at) = state.refused.unwrap_or((0, 0));
        let (newest, tags) = state.newest.clone().unwrap_or((0, Vec::new()));
        let newest_v = tags.last().copied().unwrap_or_default();
        let room = self.room.topics.checked_sub(state.topics.len()).filter(|_| self.room.topics != usize::MAX);
        let body = [
            &[1, flags, why][..],
            &newest.to_le_bytes(),
            &newest_v,
            &refused_at.to_le_bytes(),
            &self.digest(),
            &(state.topics.len() as u32).to_le_bytes(),
            &room.map_or(u32::MAX, |room| room as u32).to_le_bytes(),
        ]
        .concat();
        seal(&report_key(&self.command_key()), now.unwrap_or(newest), &body)
    }

    /// The XOR over all entries, by a walk.
    fn digest(&self) -> Tag {
        let state = &self.state;
        let topics = state.topics.iter().flat_map(|(topic, entry)| {
            let next = match entry.spare {
                Some(Spare::Next(key)) => Some(entry_hash(8, topic, &key)),
                _ => None,
            };
            [Some(entry_hash(3, topic, &entry.key)), next]
        });
        let peers = state.peers.iter().map(|(client, key)| Some(entry_hash(6, client, key)));
        let c2 = match state.keys {
            OwnKeys::Symmetric(_) => None,
            OwnKeys::PublicKey { c2, .. } => Some(entry_hash(7, &[], &c2)),
        };
        let mut digest = [0; 16];
        for hash in topics.chain(peers).chain([c2]).flatten() {
            digest.iter_mut().zip(hash).for_each(|(byte, other)| *byte ^= other);
        }
        digest
    }

    /// Remembers why a command of the key server was refused, if no newer one was.
    pub(super) fn note_refusal(&mut self, sent: u64, error: &OpenError, at: Moment) {
        let why = match error {
            OpenError::Full(Full::Peers) => 2,
            OpenError::Full(Full::Commands) => 3,
            OpenError::Full(_) => 1,
            OpenError::Refused(Refusal::Command(_)) => 4,
            OpenError::Refused(Refusal::TooOld { .. }) => 5,
            OpenError::Refused(Refusal::Superseded { .. }) => 6,
            OpenError::Store(_) => 7,
            _ => 0,
        };
        // What was carried out before, and what is older, is no news of one that waits.
        if !matches!(error, OpenError::Refused(Refusal::Repeated | Refusal::Superseded { .. })) {
            self.command_waits = *error == OpenError::Store(STORE_FAILS);
        }
        // A time that is none counts as that of the newest accepted command.
        let newest = self.state.newest.as_ref().map_or(-1, |(newest, _)| i128::from(*newest));
        let rank = |sent: u64| if sent < 1 << 33 { i128::from(sent) } else { newest };
        let is_newest =
            self.state.refused.is_none_or(|(_, last)| rank(last) < rank(sent) || why == 7 && rank(last) == rank(sent));
        if why == 0 || !is_newest {
            return;
        }
        self.state.refused = Some((why, sent));
        if why < 6 {
            let _ = self.save(at);
        }
    }
}

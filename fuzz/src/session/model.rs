//! What a client knows, as plain maps, and what each command does to it (protocol page, sections 4 to 6).

use crate::{
    matcher,
    reference::{self, Id, Key, Parts},
    world::{self, C2_SECRET, CLIENT_KEY, SEED},
};
use e4::{
    Command, CommandError, FixedKeyRing, Full, KeyRole, MaxAge, Mode, OpenError, Options, Refusal, Spare, Timestamp,
};
use std::{cmp::Reverse, collections::BTreeMap};

pub type SmallKeyRing = FixedKeyRing<3, 1, 4>;

/// How much a key ring holds.
#[derive(Clone, Copy)]
pub struct Capacity {
    pub topics: usize,
    pub peers: usize,
    pub opened: usize,
    pub rules: usize,
    pub filter_len: usize,
    pub commands: usize,
    /// Bytes of the longest state.
    pub state_len: usize,
}

impl Capacity {
    pub const GROWABLE: Self = Self {
        topics: usize::MAX,
        peers: usize::MAX,
        opened: usize::MAX,
        rules: usize::MAX,
        filter_len: usize::MAX,
        commands: 1 << 12,
        state_len: usize::MAX,
    };
    pub const SMALL: Self = Self {
        topics: 3,
        peers: 1,
        opened: 4,
        rules: 4,
        filter_len: SmallKeyRing::MAX_FILTER_LEN,
        commands: 16,
        state_len: SmallKeyRing::MAX_STATE_LEN,
    };
}

#[derive(Clone)]
pub struct Model {
    pub mode: Mode,
    pub capacity: Capacity,
    pub topics: BTreeMap<Id, TopicKeys>,
    pub peers: BTreeMap<Id, Key>,
    pub newest: Option<u64>,
    pub options: Options,
    pub rules: Vec<(String, MaxAge)>,
    /// The Ed25519 seed and its public half, and the C2's public key; for a symmetric client there is the command key only.
    pub seed: Key,
    pub public: Key,
    pub c2: Key,
    pub command_key: Key,
    /// `V` of the commands of the newest second.
    same_second: Vec<[u8; 16]>,
    /// The latest time seen while there is a previous key.
    latest: Option<u64>,
    /// Why the newest command that was not applied since the newest accepted one was refused, by its number, and its time.
    pub refused: Option<(u8, u64)>,
    /// Whether the last command could not be stored.
    pub command_waits: bool,
}

#[derive(Clone)]
pub struct TopicKeys {
    pub current: Key,
    pub spare: Option<(Key, Spare)>,
}

impl TopicKeys {
    /// When the current key took the place of one that is still kept.
    fn replaced(&self) -> Option<u64> {
        match self.spare {
            Some((_, Spare::Previous { replaced })) => Some(replaced.as_unix()),
            _ => None,
        }
    }

    fn next(&self) -> Option<Key> {
        self.spare.filter(|(_, role)| *role == Spare::Next).map(|(key, _)| key)
    }
}

fn previous(key: Key, replaced: u64) -> Option<(Key, Spare)> {
    Some((key, Spare::Previous { replaced: Timestamp::from_unix(replaced) }))
}

impl Model {
    pub fn new(mode: Mode, capacity: Capacity) -> Self {
        let mut model = Self {
            mode,
            capacity,
            topics: BTreeMap::new(),
            peers: BTreeMap::new(),
            newest: None,
            options: Options::default(),
            rules: Vec::new(),
            seed: SEED,
            c2: reference::x25519_public(&C2_SECRET),
            public: [0; 32],
            command_key: CLIENT_KEY,
            same_second: Vec::new(),
            latest: None,
            refused: None,
            command_waits: false,
        };
        model.agree();
        model
    }

    /// What follows from the seed and the C2's key.
    fn agree(&mut self) {
        if self.mode == Mode::PublicKey {
            self.public = reference::ed25519_public(&self.seed);
            self.command_key = reference::control_key(&self.seed, &self.c2);
        }
    }

    pub fn erase_expired(&mut self, now: Option<u64>) {
        let Some(now) = now else {
            return;
        };
        self.age_previous(now);
        for topic in self.topics.values_mut() {
            if topic.replaced().is_some_and(|replaced| !reference::is_in_transition(replaced, now)) {
                topic.spare = None;
            }
        }
        self.forget_time_without_previous();
    }

    /// A clock that is set back makes no previous key younger.
    pub fn age_previous(&mut self, now: u64) {
        let Some(last) = self.topics.values().filter_map(TopicKeys::replaced).max() else {
            return;
        };
        let back = self.latest.unwrap_or(last).saturating_sub(now);
        for topic in self.topics.values_mut() {
            if let Some(replaced) = topic.replaced().filter(|replaced| reference::is_in_transition(*replaced, now)) {
                topic.spare = topic.spare.and_then(|(key, _)| previous(key, replaced.saturating_sub(back)));
            }
        }
        self.latest = Some(now);
    }

    fn forget_time_without_previous(&mut self) {
        if self.topics.values().all(|topic| topic.replaced().is_none()) {
            self.latest = None;
        }
    }

    /// The rule of the topic itself, or of the filter that matches and has most levels that are no wildcards, of several
    /// the strictest, or what the options say.
    pub fn max_age(&self, topic: &str) -> MaxAge {
        let of_topic = self.rules.iter().find(|(filter, _)| filter == topic);
        let matching = self.rules.iter().filter(|(filter, _)| matcher::matches(filter, topic));
        let named_levels = |filter: &str| filter.split('/').filter(|level| !["+", "#"].contains(level)).count();
        let seconds = |age: MaxAge| if let MaxAge::Seconds(seconds) = age { seconds.into() } else { u128::MAX };
        let closest = || matching.min_by_key(|(filter, age)| (Reverse(named_levels(filter)), seconds(*age)));
        of_topic.or_else(closest).map_or(self.options.max_age, |(_, age)| *age)
    }

    pub fn set_rule(&mut self, filter: &str, age: MaxAge) -> Result<(), Full> {
        if let Some((_, old)) = self.rules.iter_mut().find(|(other, _)| other == filter) {
            *old = age;
        } else if self.rules.len() == self.capacity.rules || filter.len() > self.capacity.filter_len {
            return Err(Full::AgeRules);
        } else {
            self.rules.push((filter.into(), age));
        }
        Ok(())
    }

    /// The keys of a topic: its own, or derived from the closest subtree's; the previous one when it is in transition.
    pub fn keys_of(&self, topic: &str, now: Option<u64>) -> Option<(Key, Option<(Key, KeyRole)>)> {
        let (entry, below) = self.entry_of(topic)?;
        let of_topic = |key: Key| match below {
            None => key,
            Some(ref levels) => reference::topic_key_at(&reference::key_below(&key, levels.as_deref())),
        };
        let opens = |at| now.is_some_and(|now| reference::is_in_transition(at, now));
        let spare = entry.spare.and_then(|(key, role)| match role {
            Spare::Next => Some((of_topic(key), KeyRole::Next)),
            Spare::Previous { replaced } => opens(replaced.as_unix()).then(|| (of_topic(key), KeyRole::Previous)),
        });
        Some((of_topic(entry.current), spare))
    }

    /// The entry that serves a topic; of a subtree, with the levels of the topic below it.
    fn entry_of(&self, topic: &str) -> Option<(&TopicKeys, Option<Option<String>>)> {
        if let Some(entry) = self.topics.get(&reference::short_hash(topic)) {
            return Some((entry, None));
        }
        let levels: Vec<&str> = topic.split('/').collect();
        let subtree = |depth: usize| {
            let filter = if depth == 0 { "#".into() } else { levels[..depth].join("/") + "/#" };
            let entry = self.topics.get(&reference::short_hash(&filter))?;
            let below = (depth < levels.len()).then(|| levels[depth..].join("/"));
            Some((entry, Some(below)))
        };
        let widest = usize::from(topic.starts_with('$'));
        (widest..=levels.len()).rev().find_map(subtree)
    }

    /// What becomes of a command: its body when it is to be carried out.
    pub fn judge_command(&self, message: &[u8], now: Option<u64>, has_clock: bool) -> Result<Vec<u8>, OpenError> {
        let parts = Parts::split(Mode::Symmetric, message).ok_or(Refusal::TooShort)?;
        let body = parts.open(&self.command_key).filter(|body| body.len() <= 65).ok_or(Refusal::NotAuthentic)?;
        let is_same_second = self.newest == Some(parts.sent);
        match self.newest {
            Some(newest) if parts.sent < newest => {
                return Err(Refusal::Superseded { newest: Timestamp::from_unix(newest) }.into());
            }
            _ if is_same_second && self.same_second.contains(&parts.v) => return Err(Refusal::Repeated.into()),
            _ => {}
        }
        // The time that was learned from commands proves nothing too old.
        if let Some(now) = now.filter(|_| has_clock) {
            reference::check_time(now, parts.sent, self.options.command_max_age, u64::MAX)?;
        }
        if parts.sent >= 1 << 33 {
            return Err(Refusal::Command(CommandError::NotATime).into());
        }
        let command = Command::decode(&body).map_err(Refusal::Command)?;
        self.check_mode(&body).map_err(Refusal::Command)?;
        self.check_keys(&body).map_err(Refusal::Command)?;
        if is_same_second && self.same_second.len() == self.capacity.commands {
            return Err(OpenError::Full(Full::Commands));
        }
        match command {
            Command::SetTopicKey { topic, .. } | Command::ReplaceTopicKey { topic, .. }
                if !self.topics.contains_key(topic.as_bytes()) && self.topics.len() == self.capacity.topics =>
            {
                Err(OpenError::Full(Full::Topics))
            }
            Command::SetPubKey { client, .. }
                if !self.peers.contains_key(client.as_bytes()) && self.peers.len() == self.capacity.peers =>
            {
                Err(OpenError::Full(Full::Peers))
            }
            _ => Ok(body),
        }
    }

    fn check_mode(&self, body: &[u8]) -> Result<(), CommandError> {
        let fits = match (body[0], self.mode) {
            (0x02, Mode::Symmetric) => body.len() == 33,
            (0x02, Mode::PublicKey) => body.len() == 65,
            (0x04..=0x07, Mode::Symmetric) => false,
            _ => true,
        };
        let control = reference::short_hash(world::client_id().control_topic().as_str());
        match body[0] {
            _ if !fits => Err(CommandError::WrongMode),
            0x03 | 0x08 | 0x09 if body[33..] == control => Err(CommandError::ControlTopic),
            _ => Ok(()),
        }
    }

    /// No topic has a key that is one of the client itself.
    fn check_keys(&self, body: &[u8]) -> Result<(), CommandError> {
        let key = |at: usize| -> Key { body[at..at + 32].try_into().unwrap() };
        let mut changed = self.clone();
        match body[0] {
            0x02 if self.mode == Mode::Symmetric => changed.command_key = key(1),
            0x02 => changed.seed = key(1),
            0x03 | 0x08 | 0x09 => {
                return match self.topics.get(&body[33..]) {
                    _ if self.own_keys().contains(&key(1)) => Err(CommandError::SharedKey),
                    None if body[0] == 0x08 => Err(CommandError::NoCurrentKey),
                    _ => Ok(()),
                };
            }
            0x07 => changed.c2 = key(1),
            _ => return Ok(()),
        }
        changed.agree();
        let own = changed.own_keys();
        let held = self.topics.values().flat_map(|keys| [Some(keys.current), keys.spare.map(|(key, _)| key)]);
        if held.flatten().any(|key| own.contains(&key)) { Err(CommandError::SharedKey) } else { Ok(()) }
    }

    fn own_keys(&self) -> Vec<Key> {
        match self.mode {
            Mode::Symmetric => vec![self.command_key],
            Mode::PublicKey => vec![self.command_key, self.seed, self.public, self.c2],
        }
    }

    /// Carries out a command that was judged good.
    pub fn apply(&mut self, message: &[u8], body: &[u8], changed_at: u64) {
        let key = |at: usize| -> Key { body[at..at + 32].try_into().unwrap() };
        let id = |at: usize| -> Id { body[at..at + 16].try_into().unwrap() };
        match body[0] {
            0x00 => {
                self.topics.remove(&id(1));
            }
            0x01 => self.topics.clear(),
            0x02 if self.mode == Mode::Symmetric => self.command_key = key(1),
            0x02 => self.seed = key(1),
            0x03 | 0x08 | 0x09 => self.set_topic_key(body[0], id(33), key(1), changed_at),
            0x0a => {}
            0x04 => {
                self.peers.remove(&id(1));
            }
            0x05 => self.peers.clear(),
            0x06 => {
                self.peers.insert(id(33), key(1));
            }
            _ => self.c2 = key(1),
        }
        if matches!(body[0], 0x02 | 0x07) {
            self.agree();
        }
        let parts = Parts::split(Mode::Symmetric, message).unwrap();
        if self.newest != Some(parts.sent) {
            self.same_second.clear();
        }
        self.newest = Some(parts.sent);
        self.same_second.push(parts.v);
        (self.refused, self.command_waits) = (None, false);
    }

    /// Remembers why a command was refused, if no newer one was; says whether the client tries to store that.
    pub fn refuse(&mut self, sent: u64, error: &OpenError) -> bool {
        let why = match error {
            OpenError::Full(Full::Topics) => 1,
            OpenError::Full(Full::Peers) => 2,
            OpenError::Full(_) => 3,
            OpenError::Refused(Refusal::Command(_)) => 4,
            OpenError::Refused(Refusal::TooOld { .. }) => 5,
            OpenError::Refused(Refusal::Superseded { .. }) => 6,
            OpenError::Store(_) => 7,
            _ => 0,
        };
        if !matches!(error, OpenError::Refused(Refusal::Repeated | Refusal::Superseded { .. })) {
            self.command_waits = why == 7;
        }
        // A time that is none counts as that of the newest accepted command, which is before all others that may be refused.
        let rank = |sent: u64| if sent < 1 << 33 { Some(sent) } else { self.newest };
        let is_newest = match self.refused {
            None => true,
            Some((_, last)) => rank(last) < rank(sent) || why == 7 && rank(last) == rank(sent),
        };
        if why > 0 && is_newest {
            self.refused = Some((why, sent));
        }
        (1..6).contains(&why) && is_newest
    }

    /// The 59 bytes of what the client reports.
    pub fn report(&self, has_clock: bool, knows_time: bool) -> Vec<u8> {
        let flags =
            1 | u8::from(has_clock) << 1 | u8::from(knows_time && !has_clock) << 2 | u8::from(self.command_waits) << 3;
        let (why, refused_at) = self.refused.unwrap_or((0, 0));
        let room = if self.capacity.topics == usize::MAX {
            u32::MAX
        } else {
            u32::try_from(self.capacity.topics - self.topics.len()).unwrap()
        };
        [
            &[1, flags, why][..],
            &self.newest.unwrap_or(0).to_le_bytes(),
            &self.same_second.last().copied().unwrap_or_default(),
            &refused_at.to_le_bytes(),
            &self.digest(),
            &u32::try_from(self.topics.len()).unwrap().to_le_bytes(),
            &room.to_le_bytes(),
        ]
        .concat()
    }

    fn digest(&self) -> [u8; 16] {
        let current = self.topics.iter().map(|(topic, keys)| reference::entry_hash(0x03, topic, &keys.current));
        let next =
            self.topics.iter().filter_map(|(topic, keys)| Some(reference::entry_hash(0x08, topic, &keys.next()?)));
        let peers = self.peers.iter().map(|(client, key)| reference::entry_hash(0x06, client, key));
        let c2 = (self.mode == Mode::PublicKey).then(|| reference::entry_hash(0x07, &[], &self.c2));
        current
            .chain(next)
            .chain(peers)
            .chain(c2)
            .fold([0; 16], |sum, hash| core::array::from_fn(|at| sum[at] ^ hash[at]))
    }

    fn set_topic_key(&mut self, code: u8, topic: Id, key: Key, changed_at: u64) {
        let (current, spare) = match (code, self.topics.get(&topic)) {
            (0x03, Some(old)) if old.current == key => (key, old.spare),
            (0x03, Some(old)) => (key, previous(old.current, changed_at)),
            // A previous key stays where there is no next one to take away.
            (0x08, Some(old)) if old.current == key => (key, old.spare.filter(|_| old.next().is_none())),
            (0x08, Some(old)) => (old.current, Some((key, Spare::Next))),
            _ => (key, None),
        };
        self.topics.insert(topic, TopicKeys { current, spare });
    }
}

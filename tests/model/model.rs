//! What a client must do, written from section 5 of the protocol page and to be checked against it by eye.

mod commands;
mod previous;
mod report;

use crate::{
    cast,
    command::{Command, decode},
    wire::{
        Key, Name, Tag, control_topic, derive_topic_key, filter_matches, seal, seal_signed, short_hash, sign, siv_open,
    },
};
use e4::{
    AppliedCommand, ClientId, ClockReading, CommandError, Full, KeyRole, MaxAge, NameError, OpenError, Options,
    Refusal, Repeated, SealError, SetMaxAgeError, StoreError, Timestamp,
};
use previous::TRANSITION;
use std::{cmp::Reverse, collections::BTreeMap};

/// What a store that does not work answers.
pub(crate) const STORE_FAILS: StoreError = StoreError::Other("the disk is full");

/// Everything that survives a restart.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct State {
    pub(crate) keys: OwnKeys,
    pub(crate) options: Options,
    pub(crate) ages: BTreeMap<String, MaxAge>,
    pub(crate) topics: BTreeMap<Name, Entry>,
    pub(crate) peers: BTreeMap<Name, Key>,
    /// The newest second of which a command was accepted, and the commands accepted of it.
    pub(crate) newest: Option<(u64, Vec<Tag>)>,
    /// The latest time seen while there is a previous key.
    pub(crate) latest: Option<u64>,
    /// Why the newest command that was not applied since the newest accepted one was refused, by its number, and its time.
    pub(crate) refused: Option<(u8, u64)>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum OwnKeys {
    Symmetric(Key),
    PublicKey { seed: Key, c2: Key },
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) spare: Option<Spare>,
}

/// The other key that an entry may have.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Spare {
    /// The key before, and when it was replaced.
    Previous(Key, u64),
    /// The key that is to follow.
    Next(Key),
}

impl Spare {
    pub(crate) fn key(self) -> Key {
        match self {
            Self::Previous(key, _) | Self::Next(key) => key,
        }
    }

    fn map_key(self, map: impl FnOnce(Key) -> Key) -> Self {
        match self {
            Self::Previous(key, replaced) => Self::Previous(map(key), replaced),
            Self::Next(key) => Self::Next(map(key)),
        }
    }
}

impl Entry {
    pub(crate) fn replaced(&self) -> Option<u64> {
        match self.spare {
            Some(Spare::Previous(_, replaced)) => Some(replaced),
            _ => None,
        }
    }
}

/// How much a client has room for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) topics: usize,
    pub(crate) peers: usize,
    pub(crate) opened_messages: usize,
    pub(crate) age_rules: usize,
    pub(crate) filter_len: usize,
    pub(crate) commands_of_a_second: usize,
}

pub(crate) struct Model {
    pub(crate) state: State,
    /// What the store holds.
    pub(crate) saved: State,
    room: Room,
    /// Opened messages. Gone after a restart.
    opened: Vec<OpenedMessage>,
    /// Messages of this second or older are refused. Gone after a restart.
    floor: Option<u64>,
    /// By the application.
    asked: Option<u64>,
    knew_time: bool,
    /// The time learned from a command, and the uptime then. Gone after a restart.
    learned: Option<(u64, u64)>,
    /// Whether the key server told it: then other commands teach nothing. Gone after a restart.
    told: bool,
    /// The store still holds keys that were erased; when it was last told to save.
    save_tried: Option<u64>,
    /// By how much previous keys have grown older since the last save.
    unsaved_age: u64,
    /// Whether the last command could not be stored. Gone after a restart.
    command_waits: bool,
}

#[derive(Clone, PartialEq, Debug)]
struct OpenedMessage {
    sent: u64,
    topic: String,
    tag: Tag,
    signer: Option<Name>,
}

/// The surroundings of one step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) clock: ClockReading,
    pub(crate) store_works: bool,
}

/// What opening brings, in full.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Outcome {
    Message { payload: Vec<u8>, sent: u64, age: Option<u64>, signer: Option<Name>, key: KeyRole, repeated: bool },
    Command(AppliedCommand),
}

impl Model {
    pub(crate) fn new(state: State, room: Room) -> Self {
        let saved = state.clone();
        let (opened, floor, asked, knew_time) = (Vec::new(), None, None, false);
        let (learned, told, save_tried, unsaved_age, command_waits) = (None, false, None, 0, false);
        Self {
            state,
            saved,
            room,
            opened,
            floor,
            asked,
            knew_time,
            learned,
            told,
            save_tried,
            unsaved_age,
            command_waits,
        }
    }

    pub(crate) fn restart(&mut self, at: Moment) {
        *self = self.reloaded();
        self.forget_time_without_previous_keys();
        self.erase_in_passing(at);
    }

    /// A client that was taken up from the store just now.
    pub(crate) fn reloaded(&self) -> Self {
        Self::new(self.saved.clone(), self.room)
    }

    /// The time, if it is known: a device without a clock counts on by its uptime from what it learned.
    pub(crate) fn now(&self, clock: ClockReading) -> Option<u64> {
        match (clock, self.learned) {
            (ClockReading::Time(now), _) => Some(now.as_unix()),
            (ClockReading::Uptime(uptime), Some((time, then))) => {
                Some(time.saturating_add(uptime.saturating_sub(then)))
            }
            (ClockReading::Uptime(_), None) => None,
        }
    }

    // Opening a message.

    pub(crate) fn open(&mut self, topic: &str, wire: &[u8], at: Moment) -> Result<Outcome, OpenError> {
        check_name(topic)?;
        self.notice_time(at);
        self.erase_in_passing(at);
        if topic == control_topic(&cast::CLIENT) {
            return self.open_command(wire, at).map(Outcome::Command);
        }
        self.open_message(topic, wire, at)
    }

    fn open_message(&mut self, topic: &str, wire: &[u8], at: Moment) -> Result<Outcome, OpenError> {
        let now = self.now(at.clock);

        // 1. length
        let parts = self.split(wire).ok_or(Refusal::TooShort)?;

        // 2. time
        let max_age = self.max_age(topic);
        if let Some(now) = now {
            let ahead = parts.sent.saturating_sub(now);
            if ahead > self.state.options.max_ahead {
                return Err(Refusal::FromTheFuture { ahead }.into());
            }
            check_not_too_old(now, parts.sent, max_age)?;
        }

        // 3. a key for the topic
        let keys = self.keys_for(topic).ok_or(Refusal::NoTopicKey)?;

        // 4. the cipher, under the current key and then under the next one or a previous one that has not expired
        let open = |key| siv_open(key, parts.sent, &parts.tag, &parts.ciphertext);
        let (payload, key) = match (open(&keys.key), keys.spare) {
            (Some(payload), _) => (payload, KeyRole::Current),
            (None, Some(Spare::Previous(key, replaced)))
                if now.is_some_and(|now| now.abs_diff(replaced) <= TRANSITION) =>
            {
                (open(&key).ok_or(Refusal::NotAuthentic)?, KeyRole::Previous)
            }
            (None, Some(Spare::Next(key))) => (open(&key).ok_or(Refusal::NotAuthentic)?, KeyRole::Next),
            (None, _) => return Err(Refusal::NotAuthentic.into()),
        };

        // 5. the signature: Ed25519 has one per key and text, which the model can make
        if let Some(signer) = parts.signer {
            let id = ClientId::from_bytes(signer);
            let public = self.state.peers.get(&signer).ok_or(Refusal::UnknownSigner(id))?;
            let seed = cast::seed(cast::seed_of_public(public).unwrap());
            let (signed, signature) = wire.split_last_chunk::<64>().unwrap();
            if sign(&seed, signed) != *signature {
                return Err(Refusal::BadSignature(id).into());
            }
        }

        // 6. replay
        let message = OpenedMessage { sent: parts.sent, topic: topic.to_owned(), tag: parts.tag, signer: parts.signer };
        let repeated = if max_age == MaxAge::Any { false } else { self.check_replay(message)? };

        let age = now.map(|now| now.saturating_sub(parts.sent));
        Ok(Outcome::Message { payload, sent: parts.sent, age, signer: parts.signer, key, repeated })
    }

    /// Whether the message was opened before; an error where that is to be one, or cannot be known.
    fn check_replay(&mut self, message: OpenedMessage) -> Result<bool, Refusal> {
        if self.floor.max(self.asked).is_some_and(|floor| message.sent <= floor) {
            return Err(Refusal::BeyondReplayMemory);
        }
        if self.opened.contains(&message) {
            return match self.state.options.repeated {
                Repeated::Refuse => Err(Refusal::Repeated),
                Repeated::Report => Ok(true),
            };
        }
        self.opened.push(message);
        if self.opened.len() > self.room.opened_messages {
            let oldest = self.opened.iter().map(|message| message.sent).min().unwrap();
            self.opened.retain(|message| message.sent != oldest);
            self.floor = self.floor.max(Some(oldest));
        }
        Ok(false)
    }

    pub(crate) fn refuse_sent_until(&mut self, second: u64) {
        self.asked = self.asked.max(Some(second.saturating_add(self.state.options.max_ahead)));
    }

    /// Once the time is known, what is dated far ahead does not fill the memory.
    fn notice_time(&mut self, at: Moment) {
        let now = self.now(at.clock);
        if let Some(now) = now.filter(|_| !self.knew_time) {
            let latest = now.saturating_add(self.state.options.max_ahead);
            self.opened.retain(|message| message.sent <= latest);
            self.floor = self.floor.map(|floor| floor.min(latest));
        }
        self.knew_time = now.is_some();
    }

    fn split(&self, wire: &[u8]) -> Option<Parts> {
        let part = |range: core::ops::Range<usize>| wire.get(range).unwrap().to_vec();
        let sent = |wire: &[u8]| u64::from_le_bytes(wire[..8].try_into().unwrap());
        let name = |bytes: Vec<u8>| -> Name { bytes.try_into().unwrap() };
        match self.state.keys {
            OwnKeys::Symmetric(_) => (wire.len() >= 24).then(|| Parts {
                sent: sent(wire),
                signer: None,
                tag: name(part(8..24)),
                ciphertext: part(24..wire.len()),
            }),
            OwnKeys::PublicKey { .. } => (wire.len() >= 104).then(|| Parts {
                sent: sent(wire),
                signer: Some(name(part(8..24))),
                tag: name(part(24..40)),
                ciphertext: part(40..wire.len() - 64),
            }),
        }
    }

    /// The rule for the topic itself, or of the filter that matches and names most levels, or what holds for all. Of
    /// filters that name equally many the strictest counts.
    fn max_age(&self, topic: &str) -> MaxAge {
        let ages = &self.state.ages;
        let matching = || {
            let matching = ages.iter().filter(|(filter, _)| filter_matches(filter, topic));
            let named = |filter: &str| filter.split('/').filter(|level| *level != "+" && *level != "#").count();
            matching.max_by_key(|(filter, age)| (named(filter), Reverse(**age))).map(|(_, age)| age)
        };
        *ages.get(topic).or_else(matching).unwrap_or(&self.state.options.max_age)
    }

    /// The topic's own keys, or those derived from the keys of the closest subtree around it.
    pub(crate) fn keys_for(&self, topic: &str) -> Option<Entry> {
        if let Some(entry) = self.state.topics.get(&short_hash(topic)) {
            return Some(entry.clone());
        }
        let subtree = |(filter, levels): (String, Vec<&str>)| {
            let Entry { key, spare } = self.state.topics.get(&short_hash(&filter))?;
            let derive = |key: Key| derive_topic_key(&key, &levels);
            Some(Entry { key: derive(*key), spare: spare.map(|spare| spare.map_key(derive)) })
        };
        subtrees_around(topic).into_iter().find_map(subtree)
    }

    // Opening a command.

    fn open_command(&mut self, wire: &[u8], at: Moment) -> Result<AppliedCommand, OpenError> {
        // 1. length, cipher; nothing longer than the longest command is one
        if wire.len() < 24 {
            return Err(Refusal::TooShort.into());
        }
        let sent = u64::from_le_bytes(wire[..8].try_into().unwrap());
        let tag: Tag = wire[8..24].try_into().unwrap();
        if wire.len() > 24 + 65 {
            return Err(Refusal::NotAuthentic.into());
        }
        let body = siv_open(&self.command_key(), sent, &tag, &wire[24..]).ok_or(Refusal::NotAuthentic)?;
        self.obey(sent, tag, &body, at).inspect_err(|error| self.note_refusal(sent, error, at))
    }

    fn obey(&mut self, sent: u64, tag: Tag, body: &[u8], at: Moment) -> Result<AppliedCommand, OpenError> {
        // 2. order
        let of_this_second = match &self.state.newest {
            Some((newest, _)) if sent < *newest => {
                return Err(Refusal::Superseded { newest: Timestamp::from_unix(*newest) }.into());
            }
            Some((newest, accepted)) if sent == *newest => accepted.clone(),
            _ => Vec::new(),
        };
        if of_this_second.contains(&tag) {
            return Err(Refusal::Repeated.into());
        }

        // 3. time: nothing is too far ahead, and learned time proves nothing too old
        if let ClockReading::Time(now) = at.clock {
            check_not_too_old(now.as_unix(), sent, self.state.options.command_max_age)?;
        }
        if sent >= 1 << 33 {
            return Err(Refusal::Command(CommandError::NotATime).into());
        }

        // 4. completely or not at all, and stored first
        let before = self.state.clone();
        let is_full = of_this_second.len() >= self.room.commands_of_a_second;
        self.state.newest = Some((sent, [of_this_second, vec![tag]].concat()));
        // What a device without a clock knows of the time once it has accepted this.
        let told = match decode(body) {
            Ok(Command::SetTime(now)) => Some(now),
            _ => None,
        };
        let time_of_change = match (at.clock, told) {
            (ClockReading::Time(now), _) => now.as_unix(),
            (ClockReading::Uptime(_), Some(now)) => now,
            (ClockReading::Uptime(_), None) => match self.now(at.clock) {
                Some(now) if self.told => now,
                now => now.map_or(sent, |now| now.max(sent)),
            },
        };
        self.state.refused = None;
        let applied = match self.apply(body, time_of_change) {
            Err(OpenError::Refused(refusal)) => Err(refusal.into()),
            _ if is_full => Err(OpenError::Full(Full::Commands)),
            applied => applied.and_then(|applied| self.save(at).map(|()| applied).map_err(OpenError::Store)),
        };
        if applied.is_ok() {
            self.age_those_before(&before, time_of_change);
            self.command_waits = false;
        }
        match (&applied, at.clock) {
            (Err(_), _) => self.state = before,
            (Ok(_), ClockReading::Uptime(uptime)) => {
                self.learned = Some((time_of_change, uptime));
                self.told |= told.is_some();
            }
            (Ok(_), ClockReading::Time(_)) => {}
        }
        if applied.is_ok() {
            // A device without a clock knows only now how late it is.
            self.notice_time(at);
            self.erase_in_passing(at);
        }
        applied
    }

    /// The key that commands come under.
    pub(crate) fn command_key(&self) -> Key {
        own_keys(self.state.keys)[0]
    }

    // What the application asks for.

    pub(crate) fn seal(&self, topic: &str, payload: &[u8], at: Moment) -> Result<Vec<u8>, SealError> {
        check_name(topic)?;
        if topic == control_topic(&cast::CLIENT) {
            return Err(SealError::ControlTopic);
        }
        let sent = self.now(at.clock).ok_or(SealError::TimeUnknown)?;
        let key = self.keys_for(topic).ok_or(SealError::NoTopicKey)?.key;
        Ok(match self.state.keys {
            OwnKeys::Symmetric(_) => seal(&key, sent, payload),
            OwnKeys::PublicKey { seed, .. } => seal_signed(&key, sent, &cast::CLIENT, &seed, payload),
        })
    }

    pub(crate) fn set_options(&mut self, options: Options, at: Moment) -> Result<(), StoreError> {
        let before = core::mem::replace(&mut self.state.options, options);
        self.save(at).inspect_err(|_| self.state.options = before)
    }

    pub(crate) fn set_max_age(&mut self, filter: &str, age: MaxAge, at: Moment) -> Result<(), SetMaxAgeError> {
        let before = self.state.clone();
        let ages = &mut self.state.ages;
        let has_room = ages.len() < self.room.age_rules && filter.len() <= self.room.filter_len;
        if !ages.contains_key(filter) && !has_room {
            return Err(SetMaxAgeError::Full(Full::AgeRules));
        }
        ages.insert(filter.to_owned(), age);
        self.save(at).map_err(SetMaxAgeError::Store).inspect_err(|_| self.state = before)
    }

    pub(crate) fn remove_max_age(&mut self, filter: &str, at: Moment) -> Result<(), StoreError> {
        let before = self.state.clone();
        if self.state.ages.remove(filter).is_none() {
            return Ok(());
        }
        self.save(at).inspect_err(|_| self.state = before)
    }
}

/// The key that commands come under, and the others of the client itself.
fn own_keys(keys: OwnKeys) -> Vec<Key> {
    match keys {
        OwnKeys::Symmetric(key) => vec![key],
        OwnKeys::PublicKey { seed, c2 } => {
            let number = cast::seed_number(&seed).unwrap();
            let control = cast::control_key_of(number, cast::c2_number(&c2).unwrap());
            vec![control, seed, c2, cast::public(number)]
        }
    }
}

struct Parts {
    sent: u64,
    signer: Option<Name>,
    tag: Tag,
    ciphertext: Vec<u8>,
}

fn check_name(topic: &str) -> Result<(), NameError> {
    match topic {
        "" => Err(NameError::Empty),
        _ if topic.contains(['+', '#']) => Err(NameError::Wildcard),
        _ => Ok(()),
    }
}

fn check_not_too_old(now: u64, sent: u64, max_age: MaxAge) -> Result<(), Refusal> {
    let age = now.saturating_sub(sent);
    match max_age {
        MaxAge::Seconds(max_age) if age > max_age => Err(Refusal::TooOld { age, max_age }),
        MaxAge::Seconds(_) | MaxAge::Any => Ok(()),
    }
}

/// The filters of the subtrees that cover a topic, the closest first, with the topic's levels below each.
fn subtrees_around(topic: &str) -> Vec<(String, Vec<&str>)> {
    let levels: Vec<&str> = topic.split('/').collect();
    let below = |n: usize| (format!("{}/#", levels[..n].join("/")), levels[n..].to_vec());
    let mut subtrees: Vec<_> = (1..=levels.len()).rev().map(below).collect();
    if !topic.starts_with('$') {
        subtrees.push(("#".to_owned(), levels));
    }
    subtrees
}

//! The steps of a session: what the input can ask for.

use super::{START, Session, model::Model};
use crate::{
    Input, calls,
    reference::{self, Id, Key},
};
use e4::{
    KeyRing, MaxAge, Mode, NameError, OpenError, Repeated, SealError, SetMaxAgeError, StoreError, Timestamp, Topic,
    TopicFilter,
};

const TOPICS: [&str; 6] = ["a", "a/b", "a/b/c", "s/x", "$s/x", "/"];
const SUBTREES: [&str; 6] = ["#", "a/#", "a/b/#", "s/#", "$s/#", "/#"];
/// The last is one byte longer than the fixed key ring takes.
const FILTERS: [&str; 8] =
    ["a", "a/b", "#", "+/b", "a/#", "$s/+", "+/+/#", "a/forty-eight bytes, one more than there is room"];
const PEERS: [Id; 3] = [*b"the first peer  ", *b"the second peer ", *b"the fuzzed one  "];
/// Seconds, at and around the limits.
#[rustfmt::skip]
const DELTAS: [i64; 24] = [
    0, 0, 0, 0, 1, -1, 2, -2, 30, -30, 60, 61, -599, -600, -601, -3599, -3600, -3601, 3600, 3601, 100_000, -100_000,
    i64::MAX, i64::MIN,
];
const AGES: [MaxAge; 5] =
    [MaxAge::Seconds(600), MaxAge::Any, MaxAge::Seconds(0), MaxAge::Seconds(5000), MaxAge::Seconds(u64::MAX)];

fn key(input: &mut Input<'_>) -> Key {
    // The first is the one that is refused.
    [input.byte() % 5; 32]
}

fn seed(input: &mut Input<'_>) -> Key {
    [0x40 | (input.byte() % 3); 32]
}

impl<R: KeyRing> Session<R> {
    pub(super) fn step(&mut self, input: &mut Input<'_>) {
        let code = input.byte();
        let variant = code >> 4;
        match code & 15 {
            0..3 => self.command(input, variant),
            3..6 => self.message(input, variant),
            6 => self.again(input, variant),
            7 => self.again_changed(input, variant),
            8 => self.clock.set(self.clock.get().saturating_add_signed(input.choose(&DELTAS))),
            9 => self.restart(variant),
            10 => self.set_options(input),
            11 if variant & 1 == 0 => self.set_max_age(input),
            11 => self.remove_max_age(input),
            12 => self.store.fail_after((variant & 1 == 0).then(|| input.u16().into())),
            13 => self.refuse_sent_until(input),
            14 => self.erase_expired_keys(),
            _ => self.seal(input, variant),
        }
    }

    fn time(&self, input: &mut Input<'_>) -> u64 {
        self.now().unwrap_or(START).saturating_add_signed(input.choose(&DELTAS))
    }

    /// A command of the key server, by its lane or dated by hand, or of somebody who holds no key.
    fn command(&mut self, input: &mut Input<'_>, variant: u8) {
        let control = self.client.control_topic().as_str().to_owned();
        let by_lane = if variant & 4 == 0 { None } else { self.next_in_lane() };
        let sent = by_lane.unwrap_or_else(|| self.time(input));
        let body = self.command_body(input, &control);
        let key = if variant & 8 == 0 { self.model.command_key } else { key(input) };
        self.send(control, reference::seal(&key, sent, &body), variant);
        if by_lane.is_some() {
            let is_out_of_order = matches!(self.model.refused, Some((3 | 6, at)) if at == sent);
            assert!(!is_out_of_order, "a lane keeps the order");
        }
    }

    /// The time of the next command, by a lane that is told what the client reports.
    fn next_in_lane(&mut self) -> Option<u64> {
        self.lane.observe(Timestamp::from_unix(self.model.newest.unwrap_or(0)));
        let now = Timestamp::from_unix(self.now().unwrap_or(START));
        self.lane.reserve_alone(1, now).ok().map(Timestamp::as_unix)
    }

    fn command_body(&self, input: &mut Input<'_>, control: &str) -> Vec<u8> {
        let names: Vec<&str> = TOPICS.into_iter().chain(SUBTREES).chain([control]).collect();
        let topic = |input: &mut Input<'_>| reference::short_hash(names[input.index(names.len())]);
        match input.byte() % 16 {
            0 => [&[0x00][..], &topic(input)].concat(),
            1 => vec![0x01],
            2 => [&[0x02][..], &key(input)].concat(),
            3 => {
                let seed = seed(input);
                [&[0x02][..], &seed, &reference::ed25519_public(&seed)].concat()
            }
            4 => [&[0x04][..], &input.choose(&PEERS)].concat(),
            5 => vec![0x05],
            6 | 7 => [&[0x06][..], &reference::ed25519_public(&seed(input)), &input.choose(&PEERS)].concat(),
            8 => [&[0x07][..], &reference::x25519_public(&seed(input))].concat(),
            9 => {
                let len = input.index(68);
                input.slice(len).to_vec()
            }
            10 => [&[0x0a][..], &self.time(input).to_le_bytes()].concat(),
            11 => [&[0x09][..], &key(input), &topic(input)].concat(),
            12 | 13 => [&[0x08][..], &key(input), &topic(input)].concat(),
            _ => [&[0x03][..], &key(input), &topic(input)].concat(),
        }
    }

    /// A message of a peer, or of somebody who claims to be one.
    fn message(&mut self, input: &mut Input<'_>, variant: u8) {
        let topic = input.choose(&TOPICS);
        let sent = self.time(input);
        let key = match (variant & 12, self.model.keys_of(topic, self.now())) {
            (0 | 4, Some((current, _))) => current,
            (8, Some((_, Some((spare, _))))) => spare,
            _ => key(input),
        };
        let len = input.index(40);
        let message = if self.model.mode == Mode::Symmetric {
            reference::seal(&key, sent, input.slice(len))
        } else {
            let (signer, seed) = (input.choose(&PEERS), seed(input));
            reference::seal_signed(&key, sent, &signer, &seed, input.slice(len))
        };
        self.send(topic.into(), message, variant);
    }

    fn send(&mut self, topic: String, message: Vec<u8>, call: u8) {
        self.deliver(&topic, &message, call);
        self.sealed.push((topic, message));
    }

    /// Something that was sealed before, once more.
    fn again(&mut self, input: &mut Input<'_>, call: u8) {
        if !self.sealed.is_empty() {
            let (topic, message) = self.sealed[input.index(self.sealed.len())].clone();
            self.deliver(&topic, &message, call);
        }
    }

    /// Something that was sealed before, changed or on another topic.
    fn again_changed(&mut self, input: &mut Input<'_>, variant: u8) {
        if self.sealed.is_empty() {
            return;
        }
        let (mut topic, mut message) = self.sealed[input.index(self.sealed.len())].clone();
        let control = self.client.control_topic().as_str().to_owned();
        match variant >> 2 {
            0 if !message.is_empty() => {
                let at = input.index(message.len());
                message[at] ^= input.byte();
            }
            1 => message.truncate(input.index(message.len() + 1)),
            2 => topic = input.choose(&TOPICS).into(),
            _ => topic = control,
        }
        self.deliver(&topic, &message, variant);
    }

    fn set_options(&mut self, input: &mut Input<'_>) {
        let mut options = self.model.options;
        options.max_age = input.choose(&AGES);
        options.max_ahead = input.choose(&[60, 0, 3600, u64::MAX]);
        options.command_max_age = input.choose(&[MaxAge::Any, MaxAge::Seconds(3600)]);
        options.repeated = input.choose(&[Repeated::Refuse, Repeated::Report]);
        match self.client.set_options(options) {
            Ok(()) => self.model.options = options,
            Err(error) => self.assert_store_failed(error),
        }
    }

    fn set_max_age(&mut self, input: &mut Input<'_>) {
        let (filter, age) = (input.choose(&FILTERS), input.choose(&AGES));
        let mut changed = self.model.clone();
        let expected = changed.set_rule(filter, age);
        match (self.client.set_max_age(&TopicFilter::new(filter).unwrap(), age), expected) {
            (Ok(()), Ok(())) => self.model = changed,
            (Err(SetMaxAgeError::Store(error)), Ok(())) => self.assert_store_failed(error),
            (result, expected) => assert_eq!(result, expected.map_err(SetMaxAgeError::Full)),
        }
    }

    fn remove_max_age(&mut self, input: &mut Input<'_>) {
        let filter = input.choose(&FILTERS);
        match self.client.remove_max_age(&TopicFilter::new(filter).unwrap()) {
            Ok(()) => self.model.rules.retain(|(other, _)| other != filter),
            Err(error) => self.assert_store_failed(error),
        }
    }

    fn refuse_sent_until(&mut self, input: &mut Input<'_>) {
        let second = self.time(input);
        self.client.refuse_sent_until(Timestamp::from_unix(second));
        self.floor = self.floor.max(Some(second.saturating_add(self.model.options.max_ahead)));
    }

    fn erase_expired_keys(&mut self) {
        let now = self.now();
        self.model.erase_expired(now);
        match self.client.erase_expired_keys() {
            Ok(()) if now.is_some() => {
                self.compare();
                // Not so the time of the change, which is set back with the clock and stored now and then.
                let key = |topic: &super::model::TopicKeys| topic.spare.map(|(key, _)| key);
                let of = |model: &Model| model.topics.values().map(key).collect::<Vec<_>>();
                assert_eq!(of(&self.model), of(&self.saved.1), "what is erased is erased in the store");
            }
            Ok(()) => {}
            Err(error) => self.assert_store_failed(error),
        }
    }

    fn assert_store_failed(&self, error: StoreError) {
        assert!(self.store.fails(), "{error}");
    }

    /// The client seals, what a peer would find genuine.
    fn seal(&mut self, input: &mut Input<'_>, variant: u8) {
        let control = self.client.control_topic().as_str().to_owned();
        let topic = match variant {
            0 => &control,
            1 => "a/#",
            _ => input.choose(&TOPICS),
        };
        let len = input.index(40);
        let payload = input.slice(len);
        if let Ok(topic) = Topic::new(topic) {
            let has_key = self.model.keys_of(topic.as_str(), None).is_some();
            assert_eq!(self.client.has_key_for(&topic), has_key);
            if variant & 8 != 0 {
                assert_eq!(self.client.prepare(&topic), if has_key { Ok(()) } else { Err(SealError::NoTopicKey) });
            }
        }
        let sealed = calls::seal(&self.client, topic, payload, input.byte());
        let expected = match (variant, self.now(), self.model.keys_of(topic, None)) {
            (0, ..) => Err(SealError::ControlTopic),
            (1, ..) => Err(SealError::Name(NameError::Wildcard)),
            (_, None, _) => Err(SealError::TimeUnknown),
            (_, _, None) => Err(SealError::NoTopicKey),
            (_, Some(now), Some((key, _))) if self.model.mode == Mode::Symmetric => {
                Ok(reference::seal(&key, now, payload))
            }
            (_, Some(now), Some((key, _))) => {
                let id = self.client.id().as_bytes();
                Ok(reference::seal_signed(&key, now, id, &self.model.seed, payload))
            }
        };
        assert_eq!(sealed, expected);
        if let Ok(message) = sealed {
            self.sealed.push((topic.into(), message));
        } else if variant == 1 {
            let opened = self.client.open(topic, payload);
            assert_eq!(opened, Err(OpenError::Name(NameError::Wildcard)));
        }
    }
}

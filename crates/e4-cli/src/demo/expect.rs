//! What is expected of what arrives, and whether it was so.

use super::broker::PATIENCE;
use e4::{AppliedCommand, KeyRole, OpenError, Refusal};
use e4_mqtt::{Event, Message, Protection};
use std::fmt;

/// What a device is to make of what arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// A message, under the topic's newest key, as it was sent.
    Reads(&'static str),
    /// The same, from the broker's memory.
    ReadsRetained(&'static str),
    /// The same, from somebody who still has the key before.
    ReadsUnderPreviousKey(&'static str),
    TakesKey,
    TakesNextKey,
    ReplacesKey,
    Refuses(Because),
}

/// Why something is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Because {
    /// It is sealed under a key that the device does not have.
    OtherKey,
    /// The same message was opened before.
    MessageAgain,
    /// The command is not newer than one that was applied.
    OldCommand,
    TooOld,
}

const TAKES_KEY: &str = "takes the new key";
const TAKES_NEXT_KEY: &str = "takes the next key";
const REPLACES_KEY: &str = "takes the new key and no other";

impl Expected {
    fn is_met_by(self, event: &Event) -> bool {
        match (self, event) {
            (Self::Reads(payload), Event::Message(message)) => {
                reads(message, payload, KeyRole::Current) && !message.retained
            }
            (Self::ReadsRetained(payload), Event::Message(message)) => {
                reads(message, payload, KeyRole::Current) && message.retained
            }
            (Self::ReadsUnderPreviousKey(payload), Event::Message(message)) => {
                reads(message, payload, KeyRole::Previous) && !message.retained
            }
            (Self::TakesKey, Event::KeysChanged(command)) => matches!(command, AppliedCommand::SetTopicKey(_)),
            (Self::TakesNextKey, Event::KeysChanged(command)) => matches!(command, AppliedCommand::SetNextTopicKey(_)),
            (Self::ReplacesKey, Event::KeysChanged(command)) => matches!(command, AppliedCommand::ReplaceTopicKey(_)),
            (Self::Refuses(because), Event::Refused(refused)) => because.is(&refused.reason),
            _ => false,
        }
    }
}

fn reads(message: &Message, payload: &str, key: KeyRole) -> bool {
    let under_that_key = matches!(message.protection, Protection::Sealed(seal) if seal.key == key);
    message.payload == payload.as_bytes() && under_that_key
}

impl Because {
    fn is(self, reason: &OpenError) -> bool {
        let OpenError::Refused(refusal) = reason else { return false };
        match self {
            Self::OtherKey => *refusal == Refusal::NotAuthentic,
            Self::MessageAgain => *refusal == Refusal::Repeated,
            // In the second of the newest command it is recognized, later it is too old.
            Self::OldCommand => matches!(refusal, Refusal::Superseded { .. } | Refusal::Repeated),
            Self::TooOld => matches!(refusal, Refusal::TooOld { .. }),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reads(payload) => write!(f, "reads {payload:?} under the newest key"),
            Self::ReadsRetained(payload) => write!(f, "reads the retained {payload:?} under the newest key"),
            Self::ReadsUnderPreviousKey(payload) => write!(f, "reads {payload:?} under the previous key"),
            Self::TakesKey => f.write_str(TAKES_KEY),
            Self::TakesNextKey => f.write_str(TAKES_NEXT_KEY),
            Self::ReplacesKey => f.write_str(REPLACES_KEY),
            Self::Refuses(because) => write!(f, "refuses, because {because}"),
        }
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherKey => "it is sealed under a key that it does not have",
            Self::MessageAgain => "it opened the same message before",
            Self::OldCommand => "the command is an old one",
            Self::TooOld => "the message is too old",
        })
    }
}

/// A payload on its way, as the broker and everybody who may subscribe sees it.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    /// What it gives away and should not.
    pub(super) secret: Option<&'static str>,
}

/// One line of the story: what was sent, what that looked like on its way, what came of it.
pub(super) struct Row {
    pub(super) sender: String,
    pub(super) sent: String,
    pub(super) seen: Vec<Seen>,
    pub(super) received: Vec<Received>,
    /// Devices that are switched off, for which it waits in the broker.
    pub(super) waits_for: Vec<&'static str>,
}

impl Row {
    pub(super) fn new(sender: impl Into<String>, sent: impl Into<String>, seen: Vec<Seen>) -> Self {
        Self { sender: sender.into(), sent: sent.into(), seen, received: Vec::new(), waits_for: Vec::new() }
    }
}

/// What a device made of what arrived.
pub(super) struct Received {
    pub(super) who: &'static str,
    pub(super) expected: Expected,
    /// None if nothing arrived.
    pub(super) event: Option<Event>,
}

impl Received {
    pub(super) fn is_as_expected(&self) -> bool {
        self.event.as_ref().is_some_and(|event| self.expected.is_met_by(event))
    }

    /// In words.
    pub(super) fn outcome(&self) -> String {
        match &self.event {
            Some(Event::Message(message)) => {
                let retained = if message.retained { "the retained " } else { "" };
                let key = match message.seal() {
                    Some(seal) => match seal.key {
                        KeyRole::Current => "",
                        KeyRole::Previous => " under the previous key",
                        KeyRole::Next => " under the next key",
                    },
                    None => " in the clear",
                };
                format!("reads {retained}{:?}{key}", String::from_utf8_lossy(&message.payload))
            }
            Some(Event::KeysChanged(AppliedCommand::SetTopicKey(_))) => TAKES_KEY.to_owned(),
            Some(Event::KeysChanged(AppliedCommand::SetNextTopicKey(_))) => TAKES_NEXT_KEY.to_owned(),
            Some(Event::KeysChanged(AppliedCommand::ReplaceTopicKey(_))) => REPLACES_KEY.to_owned(),
            Some(Event::Refused(refused)) => format!("refuses: {}", refused.reason),
            Some(Event::Disconnected(reason)) => format!("lost its connection: {reason}"),
            Some(other) => format!("{other:?}"),
            None => format!("received nothing for {} s", PATIENCE.as_secs()),
        }
    }
}

/// What was expected and what happened instead.
pub(super) struct Broken {
    pub(super) expected: String,
    pub(super) happened: String,
}

/// Counts what came out as expected: everything goes through here.
#[derive(Default)]
pub(super) struct Checks {
    pub(super) held: usize,
}

impl Checks {
    /// Holds a row against what is expected of it; what did not hold.
    pub(super) fn judge(&mut self, row: &Row) -> Vec<Broken> {
        let mut broken = Vec::new();
        for seen in &row.seen {
            broken.extend(self.check(seen.secret.is_none(), || Broken {
                expected: format!("the broker sees no plaintext and no key on {}", seen.topic),
                happened: format!("it sees {} in the clear", seen.secret.unwrap_or_default()),
            }));
        }
        for received in &row.received {
            broken.extend(self.check(received.is_as_expected(), || Broken {
                expected: format!("{} {}", received.who, received.expected),
                happened: format!("{} {}", received.who, received.outcome()),
            }));
        }
        broken
    }

    /// One expectation: counts it, or says what happened otherwise.
    pub(super) fn check(&mut self, holds: bool, otherwise: impl FnOnce() -> Broken) -> Option<Broken> {
        if holds {
            self.held += 1;
            None
        } else {
            Some(otherwise())
        }
    }
}

/// The story ends at the first row that is not as expected: what would follow from it says nothing.
#[derive(Debug)]
pub(super) struct NotAsExpected;

impl fmt::Display for NotAsExpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the demo did not come out as expected: see above")
    }
}

impl std::error::Error for NotAsExpected {}

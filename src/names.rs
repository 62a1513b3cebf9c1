//! Who is meant: client ids, topic hashes, control topics, report topics (protocol page, section 1).

use core::{fmt, str::FromStr};
use sha3::{Digest, Sha3_256};

/// The first 16 bytes of SHA3-256 of `text`, given in pieces.
pub(crate) fn short_hash(pieces: &[&[u8]]) -> [u8; 16] {
    let mut hasher = Sha3_256::new();
    for piece in pieces {
        hasher.update(piece);
    }
    truncate(hasher)
}

fn truncate(hasher: Sha3_256) -> [u8; 16] {
    let full: [u8; 32] = hasher.finalize().into();
    let mut short = [0; 16];
    for (short, full) in short.iter_mut().zip(full) {
        *short = full;
    }
    short
}

/// Bytes in lower-case hexadecimal.
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The two hexadecimal digits of a byte, lower case.
fn hex_digits(byte: u8) -> [u8; 2] {
    [byte >> 4, byte & 15].map(|nibble| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 })
}

/// Defines a public 16-byte identifier that is written in hexadecimal.
macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Takes any 16 bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Hex(&self.0).fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            /// Reads 32 hexadecimal digits, of either case.
            fn from_str(text: &str) -> Result<Self, NameError> {
                let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
                    return Err(NameError::NotHexadecimal);
                };
                let mut bytes = [0; 16];
                if pairs.len() != bytes.len() {
                    return Err(NameError::NotHexadecimal);
                }
                for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
                    let digit = |ascii: u8| char::from(ascii).to_digit(16).and_then(|d| u8::try_from(d).ok());
                    let (Some(high), Some(low)) = (digit(*high), digit(*low)) else {
                        return Err(NameError::NotHexadecimal);
                    };
                    *byte = high << 4 | low;
                }
                Ok(Self(bytes))
            }
        }
    };
}

identifier! {
    /// The 16 bytes that name a client: `SHA3-256(name)[0..16]`, or any 16 bytes.
    ClientId
}

impl ClientId {
    /// The id of a client with this name, which is hashed as it is: spaces and case count.
    ///
    /// # Errors
    ///
    /// [`NameError::Empty`]: clients without a name would all share one id.
    pub fn from_name(name: &str) -> Result<Self, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        Ok(Self(short_hash(&[name.as_bytes()])))
    }

    /// The topic on which this client receives its commands.
    #[must_use]
    pub fn control_topic(&self) -> ControlTopic {
        ControlTopic::new(self)
    }

    /// The topic on which this client reports what it holds.
    #[must_use]
    pub fn report_topic(&self) -> ReportTopic {
        ReportTopic::new(self)
    }

    /// Whose report topic this is, for a key server that subscribes to `e4/+/report`; `None` if it is no report topic.
    #[must_use]
    pub fn of_report_topic(topic: &str) -> Option<Self> {
        let id: Self = topic.strip_prefix(OWN_TOPIC_PREFIX)?.strip_suffix(REPORT_SUFFIX)?.parse().ok()?;
        (id.report_topic().as_str() == topic).then_some(id)
    }
}

identifier! {
    /// The 16 bytes that stand for a topic in commands and in the state: `SHA3-256(topic)[0..16]`.
    ///
    /// The hash of a subtree such as `plant/7/#` is that of the filter's text.
    TopicHash
}

impl TopicHash {
    pub(crate) fn of(text: &str) -> Self {
        Self(short_hash(&[text.as_bytes()]))
    }
}

/// The hashes of the filters `l1/#`, `l1/l2/#`, … over a topic, one hash state for all of them.
pub(crate) struct EnclosingHasher(Sha3_256);

impl EnclosingHasher {
    pub(crate) fn new() -> Self {
        Self(Sha3_256::new())
    }

    /// Goes on by a part of the topic and returns the hash of all parts so far with `/#` behind them.
    pub(crate) fn descend(&mut self, part: &str) -> TopicHash {
        self.0.update(part.as_bytes());
        TopicHash(truncate(self.0.clone().chain_update(b"/#")))
    }
}

/// Defines a topic that belongs to one client: `e4/`, the client id in lower-case hexadecimal, and what is behind it.
macro_rules! own_topic {
    ($(#[$doc:meta])* $name:ident, $len:literal bytes, $suffix:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub struct $name([u8; Self::LEN]);

        impl $name {
            /// Bytes of the text.
            pub const LEN: usize = $len;

            fn new(id: &ClientId) -> Self {
                let mut text = [0; Self::LEN];
                let digits = id.as_bytes().iter().flat_map(|byte| hex_digits(*byte));
                let all = OWN_TOPIC_PREFIX.bytes().chain(digits).chain($suffix.bytes());
                for (to, from) in text.iter_mut().zip(all) {
                    *to = from;
                }
                Self(text)
            }

            /// The text, to subscribe to or to publish on.
            #[must_use]
            pub fn as_str(&self) -> &str {
                // Always ASCII: `new` writes nothing else.
                core::str::from_utf8(&self.0).unwrap_or_default()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

const OWN_TOPIC_PREFIX: &str = "e4/";
/// What follows the control topic in the report topic.
pub(crate) const REPORT_SUFFIX: &str = "/report";

own_topic! {
    /// The topic on which a client receives its commands: `e4/` and the client id in lower-case hexadecimal.
    ControlTopic, 35 bytes, ""
}

impl ControlTopic {
    /// The hash of the text.
    #[must_use]
    pub fn hash(&self) -> TopicHash {
        TopicHash::of(self.as_str())
    }
}

own_topic! {
    /// The topic on which a client reports what it holds: its control topic and `/report` behind it.
    ReportTopic, 42 bytes, REPORT_SUFFIX
}

/// Why a name, a topic or a filter was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// The text is empty.
    Empty,
    /// The text has more than 65,535 bytes.
    TooLong,
    /// The text has the character U+0000, which MQTT forbids.
    NullCharacter,
    /// The topic has `+` or `#`: it is a filter, not the name of a topic.
    Wildcard,
    /// The filter has `#` before its end, or `+` or `#` beside other characters of a level.
    MisplacedWildcard,
    /// The filter is not of the form `p/#` or `#`, with no `+`.
    NotASubtree,
    /// The topic or the narrower subtree does not lie in the subtree.
    NotCovered,
    /// The text is not 32 hexadecimal digits.
    NotHexadecimal,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the text is empty: give at least one character",
            Self::TooLong => "the topic or filter is longer than the 65,535 bytes that MQTT allows: shorten it",
            Self::NullCharacter => "the topic or filter has the character U+0000, which MQTT forbids: remove it",
            Self::Wildcard => {
                "the topic has a wildcard (+ or #): messages are sealed and opened under the full name of a topic"
            }
            Self::MisplacedWildcard => {
                "the filter has a misplaced wildcard: + and # must fill a level, and # must be the last one"
            }
            Self::NotASubtree => "the filter has no key: only # and filters that end in /# without any + have one",
            Self::NotCovered => {
                "this does not lie in the subtree: derive its key from that of a subtree that covers it"
            }
            Self::NotHexadecimal => {
                "the id or hash is not written as 32 hexadecimal digits: check that it was copied whole"
            }
        })
    }
}

impl core::error::Error for NameError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_report_topic_is_the_control_topic_with_report_behind_it_and_tells_whose_it_is() {
        let id = ClientId::from_bytes(core::array::from_fn(|at| 0xf8 + u8::try_from(at % 8).unwrap()));
        let topic = id.report_topic();
        assert_eq!(topic.to_string(), id.control_topic().to_string() + "/report");
        assert_eq!(ClientId::of_report_topic(topic.as_str()), Some(id));
        let upper = topic.as_str().replace('f', "F");
        for other in ["", "e4//report", id.control_topic().as_str(), &upper, &format!("{topic}/"), &format!("/{topic}")]
        {
            assert_eq!(ClientId::of_report_topic(other), None, "{other}");
        }
    }
}

//! What a client tells its key server of itself, as bytes and as a value (protocol page, section 11).
//!
//! ```text
//! report   offset 0           8    24
//!                 timestamp | V  | body (59)          83 in all; sealed under the report key
//!
//! body     offset 0         1       2         3        11             27           35       51       55     59
//!                 version | flags | refusal | newest | V of newest  | refused at | digest | topics | room
//!                 1         1       1         8        16             8            16       4        4
//! ```

use crate::{
    bytes::{Reader, WrongLength},
    digest::StateDigest,
    keys::ReportKey,
    message::{self, Header, Mode, SYMMETRIC_OVERHEAD},
    siv::{NotAuthentic, Tag},
    time::Timestamp,
};
use core::fmt;

/// Bytes of a report.
pub const REPORT_LEN: usize = SYMMETRIC_OVERHEAD + BODY_LEN;

const BODY_LEN: usize = 59;

/// Bytes of the longest message that is looked at: later versions may say more.
const LONGEST: usize = 256;

const VERSION: u8 = 1;

const KNOWS_NEXT_KEYS: u8 = 1 << 0;
const HAS_CLOCK: u8 = 1 << 1;
const HAS_LEARNED_TIME: u8 = 1 << 2;
const COMMAND_WAITS: u8 = 1 << 3;

/// Stands for as much room as one likes.
const UNLIMITED: u32 = u32::MAX;

/// What a client says of itself.
///
/// # Security
///
/// It comes from the holder of the client's key, or from the key server itself, and anybody can play back an old one. A client
/// can lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// When the report was made, by the client's time. A client that does not know the time takes that of the newest command
    /// that it accepted, or 0.
    pub sent: Timestamp,
    /// Whether the client knows the commands `SetNextTopicKey`, `ReplaceTopicKey` and `SetTime`. To others, send none of them.
    pub knows_next_keys: bool,
    /// Whether the client has a clock of its own.
    pub has_clock: bool,
    /// Whether the client, without a clock of its own, has learned the time.
    pub has_learned_time: bool,
    /// Whether a command waits with the client because it could not be stored.
    pub command_waits: bool,
    /// The newest authentic command that was refused since the newest accepted one. The repetition of an accepted one is none.
    pub refused: Option<RefusedCommand>,
    /// The timestamp of the newest command that the client accepted; 0 for none.
    pub newest: Timestamp,
    /// `V` of that command, as it stands in the sealed command; zeros for none.
    pub newest_v: [u8; 16],
    /// What the client holds, to be compared with what it is to hold.
    pub digest: StateDigest,
    /// How many keys of topics and subtrees the client holds.
    pub topics: u32,
    /// How many more there is room for; `None` for as many as one likes.
    pub room: Option<u32>,
}

/// An authentic command that a client refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusedCommand {
    /// Why.
    pub why: WhyRefused,
    /// The timestamp of the command.
    pub sent: Timestamp,
}

/// Why a client refused an authentic command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhyRefused {
    /// No room for another topic.
    NoRoomForTopics,
    /// No room for another peer.
    NoRoomForPeers,
    /// More commands carry one second than the client remembers.
    TooManyInOneSecond,
    /// What it says: a code that the client does not know, a bad key, a command for clients of the other mode.
    Content,
    /// It is older than the client takes.
    Age,
    /// It is older than the newest accepted one.
    Superseded,
    /// The client could not store it.
    NotStored,
}

impl WhyRefused {
    /// The number by which the protocol names it.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::NoRoomForTopics => 1,
            Self::NoRoomForPeers => 2,
            Self::TooManyInOneSecond => 3,
            Self::Content => 4,
            Self::Age => 5,
            Self::Superseded => 6,
            Self::NotStored => 7,
        }
    }

    pub(crate) const fn of_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::NoRoomForTopics,
            2 => Self::NoRoomForPeers,
            3 => Self::TooManyInOneSecond,
            4 => Self::Content,
            5 => Self::Age,
            6 => Self::Superseded,
            7 => Self::NotStored,
            _ => return None,
        })
    }
}

impl Report {
    /// Seals the report. Deriving the key leaves traces of it on the stack, as does sealing.
    pub(crate) fn seal(&self, key: &ReportKey, message: &mut [u8; REPORT_LEN]) -> Result<(), message::TooShort> {
        let body = Mode::Symmetric.body_mut(message).ok_or(message::TooShort)?;
        self.encode(body);
        message::seal(key.as_bytes(), self.sent, message)
    }

    /// Opens what arrived on the client's report topic.
    pub(crate) fn open(key: &ReportKey, message: &[u8]) -> Result<Self, ReportError> {
        // One of a later version may have another length, and what it is shows only inside.
        let mut buffer = [0; LONGEST];
        let buffer = buffer.get_mut(..message.len()).ok_or(ReportError::NotAuthentic)?;
        buffer.copy_from_slice(message);
        let header = Header::read(Mode::Symmetric, buffer).map_err(|message::TooShort| ReportError::NotAuthentic)?;
        let body = Mode::Symmetric.body_mut(buffer).ok_or(ReportError::NotAuthentic)?;
        header.open_body(key.as_bytes(), body).map_err(|NotAuthentic| ReportError::NotAuthentic)?;
        Self::decode(header.sent, body)
    }

    fn flags(&self) -> u8 {
        [
            (self.knows_next_keys, KNOWS_NEXT_KEYS),
            (self.has_clock, HAS_CLOCK),
            (self.has_learned_time, HAS_LEARNED_TIME),
            (self.command_waits, COMMAND_WAITS),
        ]
        .into_iter()
        .fold(0, |flags, (is_set, flag)| if is_set { flags | flag } else { flags })
    }

    /// Writes the body, whose layout is drawn above.
    fn encode(&self, body: &mut [u8]) {
        let (refusal, refused_at) =
            self.refused.map_or((0, Timestamp::from_unix(0)), |refused| (refused.why.code(), refused.sent));
        let fields: [&[u8]; 7] = [
            &[VERSION, self.flags(), refusal],
            &self.newest.to_wire(),
            &self.newest_v,
            &refused_at.to_wire(),
            self.digest.as_bytes(),
            &self.topics.to_le_bytes(),
            &self.room.unwrap_or(UNLIMITED).to_le_bytes(),
        ];
        for (to, from) in body.iter_mut().zip(fields.iter().copied().flatten()) {
            *to = *from;
        }
    }

    /// Reads what [`encode`](Self::encode) writes, and nothing else.
    fn decode(sent: Timestamp, body: &[u8]) -> Result<Self, ReportError> {
        let mut reader = Reader::new(body);
        match reader.take_byte()? {
            VERSION => {}
            version => return Err(ReportError::Version(version)),
        }
        let flags = reader.take_byte()?;
        let has = |flag| flags & flag != 0;
        let refusal = reader.take_byte()?;
        let newest = Timestamp::from_wire(*reader.take_array()?);
        let newest_v: Tag = *reader.take_array()?;
        let refused_at = Timestamp::from_wire(*reader.take_array()?);
        let refused = match (refusal, refused_at.as_unix()) {
            (0, 0) => None,
            (code, _) => {
                Some(RefusedCommand { why: WhyRefused::of_code(code).ok_or(ReportError::Malformed)?, sent: refused_at })
            }
        };
        let digest = StateDigest::from_bytes(*reader.take_array()?);
        let topics = u32::from_le_bytes(*reader.take_array()?);
        let room = u32::from_le_bytes(*reader.take_array()?);
        reader.finish()?;
        let report = Self {
            sent,
            knows_next_keys: has(KNOWS_NEXT_KEYS),
            has_clock: has(HAS_CLOCK),
            has_learned_time: has(HAS_LEARNED_TIME),
            command_waits: has(COMMAND_WAITS),
            refused,
            newest,
            newest_v,
            digest,
            topics,
            room: (room != UNLIMITED).then_some(room),
        };
        // Flags without a meaning come with a later version, and no client can have accepted a command of such a time.
        let is_sound = report.flags() == flags && newest.is_plausible();
        is_sound.then_some(report).ok_or(ReportError::Malformed)
    }
}

/// In words for people who run the key server; what is refused is the subject.
impl fmt::Display for WhyRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRoomForTopics => "it has no room for the key of another topic: remove one first",
            Self::NoRoomForPeers => "it has no room for the key of another peer: remove one first",
            Self::TooManyInOneSecond => "more commands carry one second than it remembers: send it again",
            Self::Content => "it does not take a command that says this: check which commands it knows, and their keys",
            Self::Age => "the command was older than it takes: send it again",
            Self::Superseded => "the command was dated before the newest one that it took, or before the client was made: send it again, dated later",
            Self::NotStored => "it could not store what the command changes: check its disk",
        })
    }
}

/// Why what arrived on a client's report topic is no report of this client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReportError {
    /// Somebody without the client's key made it, or it was changed on its way, or the client has another key.
    NotAuthentic,
    /// The client reports in a later version of the protocol.
    Version(u8),
    /// It is authentic, and says what no client says.
    Malformed,
}

impl From<WrongLength> for ReportError {
    fn from(_: WrongLength) -> Self {
        Self::Malformed
    }
}

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAuthentic => f.write_str(
                "the report is not one of this client with this key: somebody else wrote to its report topic, or it has another key than the key server thinks",
            ),
            Self::Version(version) => write!(
                f,
                "the report is of version {version}, and version {VERSION} is the newest one known here: update the key server"
            ),
            Self::Malformed => {
                f.write_str("the report is authentic and says what no client says: check the client's software")
            }
        }
    }
}

impl core::error::Error for ReportError {}

#[cfg(test)]
impl Report {
    pub(crate) fn example() -> Self {
        Self {
            sent: Timestamp::from_unix(1_800_000_000),
            knows_next_keys: true,
            has_clock: false,
            has_learned_time: true,
            command_waits: false,
            refused: Some(RefusedCommand { why: WhyRefused::Age, sent: Timestamp::from_unix(3) }),
            newest: Timestamp::from_unix(0x0102_0304),
            newest_v: [0xa5; 16],
            digest: StateDigest::from_bytes([0x5a; 16]),
            topics: 7,
            room: Some(9),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{string::ToString, vec};

    const SENT: Timestamp = Timestamp::from_unix(1_800_000_000);

    fn body(report: &Report) -> [u8; BODY_LEN] {
        let mut body = [0; BODY_LEN];
        report.encode(&mut body);
        body
    }

    #[test]
    fn each_field_stands_where_the_drawing_says() {
        let body = body(&Report::example());
        assert_eq!(body[..3], [1, 0b101, 5]);
        assert_eq!(body[3..11], [4, 3, 2, 1, 0, 0, 0, 0]);
        assert_eq!(body[11..27], [0xa5; 16]);
        assert_eq!(body[27..35], [3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(body[35..51], [0x5a; 16]);
        assert_eq!(body[51..], [7, 0, 0, 0, 9, 0, 0, 0]);
    }

    #[test]
    fn a_report_comes_back_as_it_was_sealed_and_under_its_own_key_only() {
        let key = ReportKey::of_command_key(&[1; 32]);
        for room in [None, Some(0), Some(UNLIMITED - 1)] {
            for refused in [None, Report::example().refused] {
                let report = Report { room, refused, ..Report::example() };
                let mut message = [0; REPORT_LEN];
                assert!(report.seal(&key, &mut message).is_ok());
                assert_eq!(Report::open(&key, &message), Ok(report));
                assert_eq!(
                    Report::open(&ReportKey::of_command_key(&[2; 32]), &message),
                    Err(ReportError::NotAuthentic)
                );
                for at in 0..REPORT_LEN {
                    let mut changed = message;
                    changed[at] ^= 1;
                    assert_eq!(Report::open(&key, &changed), Err(ReportError::NotAuthentic), "{at}");
                }
                assert_eq!(Report::open(&key, &message[1..]), Err(ReportError::NotAuthentic));
            }
        }
    }

    #[test]
    fn what_is_read_is_what_would_be_written_and_all_else_is_refused() {
        let good = body(&Report::example());
        for (at, accepted) in [(0, 1..=1), (1, 0..=15), (2, 1..=7), (8, 0..=0)] {
            for byte in 0..=u8::MAX {
                let mut changed = good;
                changed[at] = byte;
                // Byte 8 of the body is worth 2^40 seconds.
                match Report::decode(SENT, &changed) {
                    Ok(report) => {
                        assert!(accepted.contains(&byte), "{at}: {byte}");
                        assert_eq!(body(&report), changed);
                    }
                    Err(_) => assert!(!accepted.contains(&byte), "{at}: {byte}"),
                }
            }
        }
        let mut none = good;
        none[2] = 0;
        assert_eq!(Report::decode(SENT, &none), Err(ReportError::Malformed), "refused at a time, and not refused");
    }

    #[test]
    fn a_higher_version_is_told_whatever_its_length() {
        let key = ReportKey::of_command_key(&[1; 32]);
        for len in [1, BODY_LEN - 1, BODY_LEN, BODY_LEN + 1, LONGEST - SYMMETRIC_OVERHEAD] {
            for version in [VERSION, VERSION + 1] {
                let mut message = vec![0; SYMMETRIC_OVERHEAD + len];
                let body = Mode::Symmetric.body_mut(&mut message).unwrap();
                body[0] = version;
                message::seal(key.as_bytes(), SENT, &mut message).unwrap();
                let expected = match (version, len) {
                    (VERSION, BODY_LEN) => Ok(()),
                    (VERSION, _) => Err(ReportError::Malformed),
                    _ => Err(ReportError::Version(version)),
                };
                assert_eq!(Report::open(&key, &message).map(drop), expected, "{version}, {len}");
            }
        }
        for len in [0, SYMMETRIC_OVERHEAD, LONGEST + 1] {
            assert_eq!(Report::open(&key, &vec![0; len]), Err(ReportError::NotAuthentic), "{len}");
        }
    }

    #[test]
    fn a_higher_version_is_refused_with_a_clear_message() {
        let mut body = body(&Report::example());
        body[0] = 2;
        // Whatever else it says.
        body[1] = 0xff;
        let error = Report::decode(SENT, &body).unwrap_err();
        assert_eq!(error, ReportError::Version(2));
        assert!(error.to_string().contains("version 2") && error.to_string().contains("update"), "{error}");
    }
}

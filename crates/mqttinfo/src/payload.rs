//! What a payload looks like: sealed, encrypted, or readable by anybody.
//!
//! It is a guess by form alone. [`Kind::E4`] and [`Kind::Random`] need 24 and 16 bytes at least to be told from chance,
//! and ciphertext in Base64 or hexadecimal is [`Kind::Text`]. How often the guess is wrong is measured by the tests of
//! this module, on messages that they make:
//!
//! | what it is | is taken for |
//! |---|---|
//! | random, 16 bytes and more | other binary: 2 % at most |
//! | sealed by E4 | other binary: 2 % at most |
//! | structured messages by which the checks were set | random or E4: 1 % at most; records around a random id 75 % |
//! | structured messages that the checks had not seen | random or E4: from none to nearly all, by format |
//!
//! The last row counts. Of twelve formats that were tried once the checks stood (the tests keep eight), eight were mostly
//! taken for encrypted: short ones that fill their bytes, such as registers, audio of 24 bits, positions, packed bits. So a low
//! count of `random` says that little is encrypted, and a high one does not say that much is. [`Kind::E4`] is safer, as
//! it asks for a time in seconds in eight bytes at the front; but a record that has just that, and then 16 dense bytes,
//! is taken for it.

mod random;

use crate::report::PayloadCounts;
use e4::Mode;
use serde::de::IgnoredAny;

/// What a payload looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// As E4 seals: a plausible time in front, and the rest without structure.
    E4,
    /// Otherwise without structure that shows: encrypted, compressed without saying so, or short and dense.
    Random,
    /// A JSON object or array, or the beginning of one.
    Json,
    /// A number as text.
    Number,
    /// Other text.
    Text,
    /// Binary with structure, or too short to tell.
    Binary,
    /// Nothing.
    Empty,
}

/// 2015-01-01, before which nobody sealed by E4.
const FIRST_YEAR: u64 = 1_420_070_400;
/// A clock may be wrong by that.
const AHEAD: u64 = 24 * 60 * 60;

/// Says what a payload looks like that arrived at this time.
#[must_use]
pub fn classify(payload: &[u8], now: jiff::Timestamp) -> Kind {
    if payload.is_empty() {
        Kind::Empty
    } else if let Some(text) = as_text(payload) {
        classify_text(text)
    } else if has_magic(payload) {
        Kind::Binary
    } else if is_e4(payload, now) {
        Kind::E4
    } else if random::looks_random(without_time(payload, now)) {
        Kind::Random
    } else {
        Kind::Binary
    }
}

impl PayloadCounts {
    /// Counts a payload that arrived at a time.
    pub fn count(&mut self, payload: &[u8], now: jiff::Timestamp) {
        let counter = match classify(payload, now) {
            Kind::E4 => &mut self.e4,
            Kind::Random => &mut self.random,
            Kind::Json => &mut self.json,
            Kind::Number => &mut self.number,
            Kind::Text => &mut self.text,
            Kind::Binary => &mut self.binary,
            Kind::Empty => &mut self.empty,
        };
        *counter += 1;
    }
}

/// A text without control characters. Programs in C often send the zero at its end, too.
fn as_text(payload: &[u8]) -> Option<&str> {
    let mut bytes = payload;
    while let [rest @ .., 0] = bytes {
        bytes = rest;
    }
    if bytes.is_empty() {
        return None;
    }
    let text = match core::str::from_utf8(bytes) {
        Ok(text) => text,
        // Cut off within a character, by whoever limits how much is looked at.
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => {
            core::str::from_utf8(bytes.get(..error.valid_up_to())?).ok()?
        }
        Err(_) => return None,
    };
    let harmless = |c: char| !c.is_control() || matches!(c, '\t' | '\n' | '\r' | '\u{1b}');
    text.chars().all(harmless).then(|| text.trim_start_matches('\u{feff}').trim())
}

fn classify_text(text: &str) -> Kind {
    if text.starts_with(['{', '[']) && is_json(text) {
        Kind::Json
    } else if is_number(text) {
        Kind::Number
    } else {
        Kind::Text
    }
}

/// One or several values, of which the last may be cut off.
fn is_json(text: &str) -> bool {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    values.all(|value| value.map_or_else(|error| error.is_eof(), |_| true))
}

fn is_number(text: &str) -> bool {
    // Rust also reads `inf` and `nan`.
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') && digits.parse::<f64>().is_ok()
}

/// Compressed files and pictures look random after their first bytes, and say what they are.
fn has_magic(payload: &[u8]) -> bool {
    const MAGIC: [&[u8]; 20] = [
        b"\x1f\x8b\x08",
        b"\x28\xb5\x2f\xfd",
        b"\x04\x22\x4d\x18",
        b"\xfd7zXZ\0",
        b"BZh",
        b"PK\x03\x04",
        b"7z\xbc\xaf\x27\x1c",
        b"Rar!",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"GIF8",
        b"RIFF",
        b"OggS",
        b"fLaC",
        b"ID3",
        b"%PDF",
        b"\x7fELF",
        b"\0asm",
        b"\x00\x00\x00\x01\x67",
        b"SQLite format 3\0",
    ];
    // zlib: deflate, a window of 32 KiB, and a check of both bytes (RFC 1950, 2.2).
    let zlib = matches!(payload, [0x78, 0x01 | 0x5E | 0x9C | 0xDA, ..]);
    // MP4 and its like: a length, and then the type of the file.
    let mp4 = payload.get(4..8) == Some(b"ftyp".as_slice());
    zlib || mp4 || MAGIC.iter().any(|magic| payload.starts_with(magic))
}

/// What is behind a time at the front in milliseconds or microseconds, or in seconds in the other order of bytes: other
/// systems send that in the clear before what they have encrypted, and devices before what they have measured.
fn without_time(payload: &[u8], now: jiff::Timestamp) -> &[u8] {
    let Some((first, rest)) = payload.split_first_chunk() else { return payload };
    let plausible = |time: u64, parts: u64| is_plausible(time / parts, now);
    let (little, big) = (u64::from_le_bytes(*first), u64::from_be_bytes(*first));
    let is_time = [1000, 1_000_000].iter().any(|parts| plausible(little, *parts) || plausible(big, *parts));
    if is_time || plausible(big, 1) { rest } else { payload }
}

fn is_plausible(seconds: u64, now: jiff::Timestamp) -> bool {
    let latest = u64::try_from(now.as_second()).unwrap_or_default().saturating_add(AHEAD);
    (FIRST_YEAR..=latest).contains(&seconds)
}

/// A plausible time, and behind it nothing that has structure: a tag and ciphertext, and perhaps a signature. A
/// signer's id is random if it was made of a name, and may be anything otherwise.
fn is_e4(payload: &[u8], now: jiff::Timestamp) -> bool {
    let random_from = |start| payload.get(start..).is_some_and(random::looks_random);
    [Mode::Symmetric, Mode::PublicKey].into_iter().any(|mode| {
        let Some(header) = mode.read_header(payload) else { return false };
        let before_tag = match header.signer {
            None => 8,
            Some(_) => 24,
        };
        is_plausible(header.sent.as_unix(), now) && random_from(before_tag)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-27T12:00:00Z";

    fn kind(payload: &[u8]) -> Kind {
        classify(payload, NOW.parse().unwrap())
    }

    #[test]
    fn texts_are_told_apart() {
        for (text, expected) in [
            ("", Kind::Empty),
            ("{}", Kind::Json),
            (" {\"t\": 21.5}\n", Kind::Json),
            ("[1, 2", Kind::Json),
            ("{\"a\": [{\"b\": \"c", Kind::Json),
            ("{\"a\":1}\n{\"a\":2}\n", Kind::Json),
            ("\u{feff}{\"a\":1}", Kind::Json),
            ("{\"a\":1} and more", Kind::Text),
            ("{name}", Kind::Text),
            ("[INFO] started", Kind::Text),
            ("\"quoted\"", Kind::Text),
            ("true", Kind::Text),
            ("0", Kind::Number),
            ("21.5", Kind::Number),
            ("-3e4", Kind::Number),
            ("+7", Kind::Number),
            (".5", Kind::Number),
            (" 42\r\n", Kind::Number),
            ("42\0", Kind::Number),
            ("123456789012345678901234567890", Kind::Number),
            ("21,5", Kind::Text),
            ("21.5 °C", Kind::Text),
            ("1 2", Kind::Text),
            ("0x1F", Kind::Text),
            ("1.2.3", Kind::Text),
            ("nan", Kind::Text),
            ("inf", Kind::Text),
            ("-inf", Kind::Text),
            ("-", Kind::Text),
            ("ON", Kind::Text),
            ("ON\0", Kind::Text),
            (" ", Kind::Text),
            ("grüß dich", Kind::Text),
            ("<xml a=\"1\"/>", Kind::Text),
            ("3q2+7w3q2+7w3q2+7w3q2+7w3q2+7w3q2+7w3q2+7w==", Kind::Text),
        ] {
            assert_eq!(kind(text.as_bytes()), expected, "{text:?}");
        }
        // Cut off within a character.
        assert_eq!(kind("{\"name\": \"grü".as_bytes().split_last().unwrap().1), Kind::Json);
        assert_eq!(kind("grü".as_bytes().split_last().unwrap().1), Kind::Text);
        // Deep nesting is no trap.
        assert_eq!(kind(&b"[".repeat(65_536)), Kind::Json);
    }

    #[test]
    fn short_or_structured_bytes_are_binary() {
        for bytes in [
            &[0][..],
            &[1],
            &[0xFF, 0xFE],
            &[0x80; 15],
            &[0x3A, 0x91, 0xE4, 0x07, 0xBC, 0x55, 0xD2, 0x68, 0x1F, 0xA3, 0x70, 0xC9, 0x0E, 0x86, 0xF3],
            &[0; 64],
            &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24],
        ] {
            assert_eq!(kind(bytes), Kind::Binary, "{bytes:?}");
        }
    }

    #[test]
    fn compressed_files_that_say_so_are_binary() {
        let mut random = fastrand::Rng::with_seed(1);
        for magic in [&b"\x1f\x8b\x08"[..], b"\x28\xb5\x2f\xfd", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\x78\x9c"] {
            let mut bytes = magic.to_vec();
            bytes.extend(core::iter::repeat_with(|| random.u8(..)).take(500));
            assert_eq!(kind(&bytes), Kind::Binary, "{magic:x?}");
            assert_eq!(kind(&bytes[magic.len()..]), Kind::Random);
        }
    }

    /// A message as E4 lays it out. What is in it is as random as ciphertext.
    fn sealed(random: &mut fastrand::Rng, time: u64, len: usize) -> Vec<u8> {
        let mut message = time.to_le_bytes().to_vec();
        message.extend(core::iter::repeat_with(|| random.u8(..)).take(len - 8));
        message
    }

    #[test]
    fn sealed_messages_are_seen_as_such_by_their_time() {
        let now = NOW.parse::<jiff::Timestamp>().unwrap().as_second().unsigned_abs();
        let mut random = fastrand::Rng::with_seed(2);
        for (time, expected) in [
            (now, Kind::E4),
            (now + 86_400, Kind::E4),
            (now + 86_401, Kind::Binary),
            (1_420_070_400, Kind::E4),
            (1_420_070_399, Kind::Binary),
            // Milliseconds, and the other order of bytes.
            (now * 1000, Kind::Random),
            (now.swap_bytes(), Kind::Random),
        ] {
            let mut seen: Vec<Kind> = (0..9).map(|_| kind(&sealed(&mut random, time, 40))).collect();
            seen.sort_by_key(|kind| *kind == expected);
            assert_eq!(seen[4], expected, "{time}");
        }
        // A signer's id may have structure; what is behind it may not.
        let mut signed = sealed(&mut random, now, 150);
        signed[8..24].copy_from_slice(b"sensor-000000001");
        assert_eq!(kind(&signed), Kind::E4);
        signed[24..].fill(7);
        assert_eq!(kind(&signed), Kind::Binary);
        // Too short for a tag.
        assert_ne!(kind(&sealed(&mut random, now, 23)), Kind::E4);
    }

    #[test]
    fn what_e4_seals_is_counted_as_sealed() {
        let now = NOW.parse::<jiff::Timestamp>().unwrap();
        let mut random = fastrand::Rng::with_seed(3);
        for len in [24, 25, 30, 40, 64, 104, 150, 1000] {
            let time = now.as_second().unsigned_abs() - random.u64(0..100_000_000);
            let mut counts = PayloadCounts::default();
            for _ in 0..3000 {
                counts.count(&sealed(&mut random, time, len), now);
            }
            assert_eq!(counts.total(), 3000);
            assert!(counts.e4 >= 2940, "{len}: {counts:?}");
        }
    }

    #[test]
    fn every_kind_has_its_counter() {
        let mut counts = PayloadCounts::default();
        let now = NOW.parse::<jiff::Timestamp>().unwrap();
        let mut random = fastrand::Rng::with_seed(4);
        let payloads: [(Vec<u8>, usize); 7] = [
            (sealed(&mut random, now.as_second().unsigned_abs(), 200), 1),
            (sealed(&mut random, 0x9E37_79B9_7F4A_7C15, 200), 2),
            (b"{}".to_vec(), 3),
            (b"1".to_vec(), 4),
            (b"a".to_vec(), 5),
            (vec![0], 6),
            (Vec::new(), 7),
        ];
        for (payload, times) in &payloads {
            for _ in 0..*times {
                counts.count(payload, now);
            }
        }
        let expected = PayloadCounts { e4: 1, random: 2, json: 3, number: 4, text: 5, binary: 6, empty: 7 };
        assert_eq!(counts, expected);
    }
}

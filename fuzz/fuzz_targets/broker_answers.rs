//! What a broker, or whatever else listens there, may answer to mqttinfo: any bytes, in pieces of any size.
//!
//! The input: protocol level; KiB to put in, above 127; where to put them (2 bytes); how many sizes of pieces; the sizes;
//! and the answer.
#![no_main]

use core::fmt::Debug;
use e4_fuzz::Input;
use libfuzzer_sys::fuzz_target;
use mqttinfo::{
    Report,
    output::{
        json::{self, Problem, Reader},
        printable,
    },
    packets::{Cutter, Frame, KEPT, NoPacket, looks_like},
    tls::{Answer, parse_server_hello},
};
use std::io::BufReader;

/// Bytes of the longest fixed header.
const LONGEST_HEADER: usize = 5;

fuzz_target!(|input: &[u8]| {
    let mut input = Input::new(input);
    let level = input.choose(&[3, 4, 5, 6]);
    let filling = usize::from(input.byte().saturating_sub(127)) << 10;
    let place = usize::from(input.u16());
    let count = input.index(8);
    let sizes = input.slice(count);
    let answer = input.rest();

    check_cutting(answer, sizes, 1, level);
    if filling > 0 {
        let mut long = answer.to_vec();
        let place = place.min(long.len());
        long.splice(place..place, core::iter::repeat_n(b'x', filling));
        check_cutting(&long, sizes, 64, level);
    }
    let _known = looks_like(answer);
    check_server_hello(answer, sizes);
    check_printable(&String::from_utf8_lossy(answer));
    check_lines(answer, sizes);
});

/// Whatever the pieces, the same packets are cut, those that a cutter by the letter finds in the whole.
fn check_cutting(answer: &[u8], sizes: &[u8], least: usize, level: u8) {
    let (expected, ends_well) = by_the_letter(answer);
    let mut cutter = Cutter::default();
    let mut frames = Vec::new();
    let mut result = Ok(());
    let mut sizes = sizes.iter().copied().chain([255]).cycle();
    let mut rest = answer;
    while result.is_ok() && !rest.is_empty() {
        let piece;
        (piece, rest) = rest.split_at(usize::from(sizes.next().unwrap_or(1)).max(least).min(rest.len()));
        cutter.buffer().extend_from_slice(piece);
        result = loop {
            match cutter.take_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let buffered = cutter.buffer().len();
        assert!(result.is_err() || buffered < KEPT + LONGEST_HEADER, "{buffered} bytes are kept");
    }
    assert_eq!(result, if ends_well { Ok(()) } else { Err(NoPacket) });
    assert_eq!(frames.len(), expected.len());
    for (frame, (bytes, header_len)) in frames.iter().zip(expected) {
        check_frame(frame, bytes, header_len, level);
    }
}

/// The packets as they lie in the stream, as far as each is kept, with the lengths of their headers; and whether
/// nothing was there that begins none.
fn by_the_letter(mut stream: &[u8]) -> (Vec<(&[u8], usize)>, bool) {
    let mut packets = Vec::new();
    while let [first, length @ ..] = stream {
        if *first < 0x10 {
            return (packets, false);
        }
        // MQTT 5, section 1.5.5.
        let digits = length.iter().take_while(|byte| **byte >= 0x80).count();
        if digits >= 4 {
            return (packets, false);
        }
        let Some(digits) = length.get(..=digits) else { break };
        let body = digits.iter().rev().fold(0, |value, digit| (value << 7) | usize::from(digit & 0x7F));
        let header = 1 + digits.len();
        let Some(kept) = stream.get(..header + body.min(KEPT)) else { break };
        packets.push((kept, header));
        stream = stream.get(header + body..).unwrap_or_default();
    }
    (packets, true)
}

fn check_frame(frame: &Frame, bytes: &[u8], header_len: usize, level: u8) {
    assert_eq!((frame.first, &frame.body[..]), (bytes[0], &bytes[header_len..]));
    assert_eq!(frame.body.len(), frame.body_len.min(KEPT));
    for most in [0, 3, 32, usize::MAX] {
        let shown = frame.bytes(most);
        assert_eq!(shown.len(), most.min(shown.len()));
        // A length in more bytes than it needs is shown in as few as it needs.
        assert!(frame.bytes(usize::MAX).starts_with(&shown) && bytes.len() >= shown.len());
    }
    assert!(frame.bytes(usize::MAX).ends_with(&frame.body));
    if let Some(mqtt5_protocol::Packet::Publish(message)) = frame.packet(level) {
        assert!(frame.body.ends_with(&message.payload));
    }
    let Some(connack) = frame.connack(level) else {
        assert!(frame.first >> 4 != 2 || frame.body.len() < 2);
        return;
    };
    assert_eq!(connack.code, frame.body[1]);
    assert!(hex(&frame.bytes(512)) == connack.bytes);
    let properties: String =
        connack.properties.iter().map(|property| format!("{:02x}{}", property.id, property.value)).collect();
    assert!(level >= 5 || properties.is_empty());
    // Behind flags, code and the length of the properties.
    let length = frame.body[2..].iter().take_while(|byte| **byte >= 0x80).count() + 1;
    let rest = frame.body.get(2 + length..).unwrap_or_default();
    assert!(hex(rest).starts_with(&properties), "{properties} is not how {} begins", hex(rest));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Once it is clear what an answer is, more bytes do not change it.
fn check_server_hello(answer: &[u8], sizes: &[u8]) {
    let whole = parse_server_hello(answer);
    for size in sizes {
        let part = parse_server_hello(&answer[..usize::from(*size).min(answer.len())]);
        assert!(part == Answer::Incomplete || part == whole, "{part:?}, and then {whole:?}");
    }
}

/// What is shown steers nothing, and still says what was there.
fn check_printable(text: &str) {
    let shown = printable(text);
    let steers = |character: char| {
        character.is_control() || ('\u{202a}'..='\u{202e}').contains(&character) || character == '\u{feff}'
    };
    assert!(!shown.contains(steers), "{shown:?}");
    let mut parts = shown.split('\\');
    let mut back = parts.next().unwrap_or_default().to_owned();
    while let Some(part) = parts.next() {
        let (character, rest) = match part.chars().next() {
            // Two in a row: one that was there, and what stands behind it.
            None => ('\\', parts.next().unwrap_or_default()),
            Some('u') => {
                let (digits, rest) = part[2..].split_once('}').unwrap();
                (u32::from_str_radix(digits, 16).ok().and_then(char::from_u32).unwrap(), rest)
            }
            Some('n') => ('\n', &part[1..]),
            Some('r') => ('\r', &part[1..]),
            Some('t') => ('\t', &part[1..]),
            Some(other) => panic!("\\{other}"),
        };
        back.push(character);
        back.push_str(rest);
    }
    assert_eq!(back, text);
}

/// A file of reports: each line is a report or an error, whatever the buffers; and a report stays what it is.
fn check_lines(text: &[u8], sizes: &[u8]) {
    let capacity = 1 + usize::from(*sizes.first().unwrap_or(&63));
    let in_pieces = Reader::<_, Report>::new(BufReader::with_capacity(capacity, text));
    let mut line = 0;
    for (whole, in_pieces) in Reader::<_, Report>::new(text).zip(in_pieces) {
        assert_same(&whole, &in_pieces);
        match whole {
            Err(error) => {
                assert!(error.line > line && !matches!(error.problem, Problem::TooLong | Problem::Io(_)));
                line = error.line;
            }
            Ok(mut report) => {
                // Numbers with a point may come back as their neighbours.
                report.seconds = 1.0;
                report.products.clear();
                let written = json::line(&report).unwrap();
                assert_eq!(written.find('\n'), Some(written.len() - 1));
                let back = Reader::<_, Report>::new(written.as_bytes()).next().unwrap().unwrap();
                assert_same(&back, &report);
            }
        }
    }
    assert!(Reader::<_, Report>::new(text).count() <= text.split(|byte| *byte == b'\n').count());
}

fn assert_same(one: &impl Debug, other: &impl Debug) {
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
}

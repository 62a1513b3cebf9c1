//! Targets from lines of text.

use crate::{Target, output::printable, target::InvalidTarget};
use std::{
    fmt,
    io::{self, BufRead, Read},
};

/// The longest line, which is more than any URL has that a broker is found at.
const LONGEST_LINE: u64 = 8192;

/// How much of a line that is no target is shown.
const SHOWN: usize = 80;

/// A line that is no target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// Which line, from 1.
    pub line: u64,
    /// How it begins, for a terminal.
    pub text: String,
    /// Why it is none.
    pub reason: String,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} is no target ({}): {}", self.line, self.text, self.reason)
    }
}

/// What a line is.
pub(super) enum Line {
    Target(Target),
    Bad(BadLine),
    /// The input cannot be read any further.
    Broken(io::Error),
}

/// Reads to the end, or until `send` says that nobody wants more.
pub(super) fn read(
    mut input: impl BufRead,
    parse: impl Fn(&str) -> Result<Target, InvalidTarget>,
    mut send: impl FnMut(Line) -> bool,
) {
    let mut number = 0;
    let mut buffer = Vec::new();
    loop {
        let line = match next(&mut input, &mut buffer, &mut number) {
            Ok(None) => return,
            Ok(Some(text)) => match text.and_then(|text| parse(text).map_err(|error| error.to_string())) {
                Ok(target) => Line::Target(target),
                Err(reason) => {
                    // The password of a URL that is refused for it is not shown.
                    let text = String::from_utf8_lossy(&buffer);
                    let text: String = text.trim().chars().take(SHOWN).collect();
                    let text = if text.contains('@') { "with an @" } else { &text };
                    Line::Bad(BadLine { line: number, text: printable(text).into_owned(), reason })
                }
            },
            Err(error) => {
                send(Line::Broken(error));
                return;
            }
        };
        if !send(line) {
            return;
        }
    }
}

/// Counts the lines that are to be targets.
///
/// # Errors
///
/// The input cannot be read.
pub fn count(mut input: impl BufRead) -> io::Result<u64> {
    let (mut buffer, mut number, mut targets) = (Vec::new(), 0, 0);
    while next(&mut input, &mut buffer, &mut number)?.is_some() {
        targets += 1;
    }
    Ok(targets)
}

/// The next line that is not blank and no comment, without spaces around it and without a comment behind it, or why it is
/// none; nothing at the end.
fn next<'b>(
    input: &mut impl BufRead,
    buffer: &'b mut Vec<u8>,
    number: &mut u64,
) -> io::Result<Option<Result<&'b str, String>>> {
    loop {
        buffer.clear();
        if input.take(LONGEST_LINE).read_until(b'\n', buffer)? == 0 {
            return Ok(None);
        }
        *number += 1;
        if u64::try_from(buffer.len()).is_ok_and(|length| length == LONGEST_LINE) && !buffer.ends_with(b"\n") {
            input.skip_until(b'\n')?;
            // A comment may have any length.
            if without_comment(buffer) == buffer.len() {
                return Ok(Some(Err("it is too long".to_owned())));
            }
        }
        // Editors of Windows write this mark in front.
        let mark = "\u{feff}".as_bytes();
        if buffer.starts_with(mark) {
            buffer.drain(..mark.len());
        }
        buffer.truncate(without_comment(buffer));
        if !buffer.trim_ascii().is_empty() {
            break;
        }
    }
    let text = str::from_utf8(buffer).map(str::trim);
    Ok(Some(text.map_err(|_| "it is not UTF-8".to_owned())))
}

/// How long a line is up to a comment: that begins with a `#` at the beginning or behind a space, since within a URL it is
/// part of that.
fn without_comment(line: &[u8]) -> usize {
    let mut before = b' ';
    for (at, byte) in line.iter().enumerate() {
        if *byte == b'#' && before.is_ascii_whitespace() {
            return at;
        }
        before = *byte;
    }
    line.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        read(input, str::parse, |line| {
            lines.push(match line {
                Line::Target(target) => target.to_string(),
                Line::Bad(line) => line.to_string(),
                Line::Broken(error) => error.to_string(),
            });
            true
        });
        lines
    }

    #[test]
    fn blank_lines_and_comments_are_passed_over_and_the_rest_is_read_or_named() {
        let long = "x".repeat(10_000);
        let input = format!("\u{feff}a\r\n\n  # no\n\t b:2\n#\n{long}\nc d\x1b\nu:geheim@h\nlast");
        let read = lines(input.as_bytes());
        assert_eq!(read[..2], ["mqtt://a:1883", "mqtt://b:2"]);
        assert_eq!(read[2], format!("line 6 is no target ({}): it is too long", "x".repeat(80)));
        assert!(read[3].starts_with(r"line 7 is no target (c d\u{1b}): there is no host"), "{}", read[3]);
        assert!(read[4].starts_with("line 8 is no target (with an @): leave user"), "{}", read[4]);
        assert_eq!(read[5..], ["mqtt://last:1883"]);
        assert_eq!(count(input.as_bytes()).unwrap(), 6);
        assert_eq!(lines(b"\xff\nb"), ["line 1 is no target (\u{fffd}): it is not UTF-8", "mqtt://b:1883"]);
    }

    #[test]
    fn f53_a_comment_may_stand_behind_a_target() {
        let input = "a:1 # the first\nb\t#\n[::1]:2 #x # y\nws://c/mqtt#part # z\n \t# none\nd#e:3\n";
        let read = lines(input.as_bytes());
        assert_eq!(read[..4], ["mqtt://a:1", "mqtt://b:1883", "mqtt://[::1]:2", "ws://c:80/mqtt"]);
        assert!(read[4].starts_with("line 6 is no target (d#e:3)"), "{}", read[4]);
        assert_eq!(count(input.as_bytes()).unwrap(), 5);
    }

    #[test]
    fn reading_ends_when_nobody_wants_more() {
        let mut read_lines = 0;
        read(&b"a\nb\nc\n"[..], str::parse, |_| {
            read_lines += 1;
            read_lines < 2
        });
        assert_eq!(read_lines, 2);
    }
}

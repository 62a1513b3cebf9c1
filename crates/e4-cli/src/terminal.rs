//! Text on its way to people: nothing from outside steers a terminal, and nobody reads a key there.
//!
//! Everything that the command says to people goes through here, and all its JSON. Payloads go out as they are into files
//! and pipes only, or where that is asked for.

use serde::Serialize;
use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, IsTerminal, Write},
};

/// Says something on standard error, to whoever still reads it.
pub(crate) fn note(text: impl AsRef<str>) {
    let _nobody_reads = writeln!(io::stderr().lock(), "{}", clean(&without_keys(text.as_ref())));
}

/// Text for people that may have several lines: what would steer a terminal is escaped.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    let steers = |character: char| character != '\n' && character != '\t' && is_hidden(character);
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(escape(text, steers))
}

/// Text from outside, as a part of a line: without the characters that would steer a terminal or begin another line, and
/// so that no two texts look the same.
pub(crate) fn printable(text: &str) -> String {
    escape(text, |character| character == '\\' || is_hidden(character))
}

fn escape(text: &str, which: impl Fn(char) -> bool) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, character| {
        if which(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
        shown
    })
}

/// Characters that steer a terminal, break lines, show others in another order than they have, or show nothing.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// One line of JSON, whose strings have these characters as `\u0000`.
pub(crate) fn json(value: &impl Serialize) -> serde_json::Result<String> {
    let json = serde_json::to_string(value)?;
    if !json.contains(is_hidden) {
        return Ok(json);
    }
    // Outside of strings JSON has none of them.
    Ok(json.chars().fold(String::with_capacity(json.len()), |mut escaped, character| {
        if is_hidden(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _never_fails = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(character);
        }
        escaped
    }))
}

/// A payload for standard output: on a terminal it is text that steers nothing, unless it is wanted as it is; everywhere
/// else it is as it is.
pub(crate) fn payload(bytes: &[u8], as_it_is: bool) -> Cow<'_, [u8]> {
    if as_it_is || !io::stdout().is_terminal() {
        return Cow::Borrowed(bytes);
    }
    Cow::Owned(text_of(bytes).into_bytes())
}

fn text_of(bytes: &[u8]) -> String {
    bytes.utf8_chunks().fold(String::with_capacity(bytes.len()), |mut text, chunk| {
        text.push_str(&clean(chunk.valid()));
        for byte in chunk.invalid() {
            let _never_fails = write!(text, "\\x{byte:02x}");
        }
        text
    })
}

/// Hexadecimal digits in a row from which on they may be a key, or most of one. Ids and hashes have 32.
const DIGITS_OF_A_KEY: usize = 33;
/// The same in base64, where a key has 43.
const CHARACTERS_OF_A_KEY: usize = 40;

/// Text without the keys that somebody wrote where a name belongs.
pub(crate) fn without_keys(text: &str) -> Cow<'_, str> {
    let is_part =
        |character: char| character.is_ascii_alphanumeric() || matches!(character, '+' | '/' | '_' | '-' | '=');
    let mut shown = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_part) {
        let (before, from_word) = rest.split_at(start);
        let (word, after) =
            from_word.split_at(from_word.find(|character| !is_part(character)).unwrap_or(from_word.len()));
        shown.push_str(before);
        shown.push_str(if may_be_a_key(word) { "(not shown: it may be a key)" } else { word });
        rest = after;
    }
    if shown.is_empty() {
        return Cow::Borrowed(text);
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

fn may_be_a_key(word: &str) -> bool {
    let mut pieces = word.split(|character: char| !character.is_ascii_hexdigit());
    pieces.any(|digits| digits.len() >= DIGITS_OF_A_KEY) || (word.len() >= CHARACTERS_OF_A_KEY && is_mixed(word))
}

/// Whether small letters, capitals and digits change as often as they do in base64 and never in words and paths.
fn is_mixed(word: &str) -> bool {
    let kind = |byte: &u8| (byte.is_ascii_uppercase(), byte.is_ascii_digit(), byte.is_ascii_lowercase());
    let kinds: Vec<_> = word.as_bytes().iter().filter(|byte| byte.is_ascii_alphanumeric()).map(kind).collect();
    let changes = kinds.windows(2).filter(|pair| pair.first() != pair.last()).count();
    changes * 3 >= word.len() && word.contains(|character: char| character.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine, prelude::BASE64_STANDARD};

    #[test]
    fn f45_nothing_that_steers_a_terminal_is_left() {
        let steering: Vec<char> = (0..=0x0010_ffff).filter_map(char::from_u32).filter(|c| is_hidden(*c)).collect();
        for character in
            ['\0', '\x07', '\x1b', '\x7f', '\u{80}', '\u{9b}', '\u{9f}', '\u{61c}', '\u{200e}', '\u{202e}', '\u{2066}']
        {
            assert!(steering.contains(&character), "{character:?}");
        }
        for character in steering {
            let text = format!("a{character}b");
            for shown in [printable(&text), text_of(text.as_bytes()), clean(&text).into_owned(), json(&text).unwrap()] {
                let stays = matches!(character, '\n' | '\t') && !shown.contains('\\');
                assert!(stays || !shown.contains(is_hidden), "{character:?}: {shown:?}");
            }
            assert_eq!(serde_json::from_str::<String>(&json(&text).unwrap()).unwrap(), text);
        }
        assert_eq!(json(&"\u{9b}31m\u{7f}").unwrap(), r#""\u009b31m\u007f""#);
        assert_eq!(text_of(b"a\x9bb\n\xff"), "a\\x9bb\n\\xff");
        assert_eq!((printable("a\nb\\n"), clean("a\nb\\n").as_ref()), ("a\\nb\\\\n".to_owned(), "a\nb\\n"));
        assert_eq!(printable("4,2 bär €"), "4,2 bär €");
    }

    #[test]
    fn f44_what_may_be_a_key_is_not_shown_and_names_are() {
        for n in 0..200_u8 {
            let key: [u8; 32] =
                sha3::Digest::finalize(sha3::Digest::chain_update(sha3::Sha3_256::default(), [n])).into();
            let hex = hex::encode(key);
            for written in [
                hex.clone(),
                hex.to_uppercase(),
                hex.get(1..).unwrap().to_owned(),
                hex.get(..40).unwrap().to_owned(),
                format!("keys/{hex}.key"),
                format!("key_{hex}"),
                BASE64_STANDARD.encode(key),
                BASE64_STANDARD.encode(key).trim_end_matches('=').to_owned(),
            ] {
                let shown = without_keys(&format!("could not read {written}: no such file")).into_owned();
                assert!(!shown.contains(written.get(6..18).unwrap()), "{shown}");
                assert!(shown.starts_with("could not read ") && shown.ends_with(": no such file"), "{shown}");
            }
        }
        for name in [
            "",
            "pump-7.key",
            "a7dcef9aef26202fce82a7c7d6672afb",
            "e4/a7dcef9aef26202fce82a7c7d6672afb",
            "/home/somebody/projects/Plant7/site/keys/pump-7/of-the-second-floor/Pump7.key",
        ] {
            assert_eq!(without_keys(name), name);
        }
    }
}

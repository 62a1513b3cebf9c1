//! Looks for secrets in what is public.

use std::fmt::Write;

/// Whether `text` has `part` in it.
pub(crate) fn contains(text: &[u8], part: &[u8]) -> bool {
    assert!(!part.is_empty());
    let (first, rest) = (part[0], &part[1..]);
    let mut text = text;
    while let Some(at) = text.iter().position(|byte| *byte == first) {
        text = &text[at + 1..];
        if text.starts_with(rest) {
            return true;
        }
    }
    false
}

/// Whether `text` has a secret in it, in any form in which programs print bytes.
pub(crate) fn gives_away(text: &str, secret: &[u8]) -> bool {
    let hex = secret.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    });
    let list = format!("{secret:?}");
    let escaped = secret.escape_ascii().to_string();
    let inside = list.trim_matches(['[', ']']);
    let lines = inside.replace(", ", ",");
    // Lists that are printed over several lines.
    let squeezed: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    contains(text.as_bytes(), secret)
        || text.to_lowercase().contains(&hex)
        || text.contains(&escaped)
        || squeezed.contains(&lines)
}

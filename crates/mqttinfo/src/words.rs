//! How things are said.

/// A text of the broker as it is shown: it may be long, and may have characters that move the cursor.
pub(crate) fn short(text: &str, most: usize) -> String {
    let mut letters = text.chars().filter(|letter| !letter.is_control());
    let mut shown: String = letters.by_ref().take(most).collect();
    if letters.next().is_some() {
        shown.push('…');
    }
    shown
}

/// With a capital letter in front and a full stop behind.
pub(crate) fn sentence(text: &str) -> String {
    let text = text.trim();
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    let stop = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{stop}", letters.as_str())
}

/// `1 message`, `2 messages`.
pub(crate) fn count(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_broker_sends_is_shown_without_control_characters() {
        assert_eq!(short("a\u{1b}[2Jb\n", 48), "a[2Jb");
        assert_eq!(short(&"é".repeat(60), 48).chars().count(), 49);
    }
}

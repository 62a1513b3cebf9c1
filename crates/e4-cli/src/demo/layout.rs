//! Text in columns that are no wider than the terminal.

use crate::terminal::clean;
use anstyle::Style;

/// Text that is painted in one way.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) style: Style,
    pub(super) text: String,
}

impl Line {
    pub(super) fn new(style: Style, text: impl Into<String>) -> Self {
        // A broker says why it ends a connection, and others publish on it.
        Self { style, text: clean(&text.into()).into_owned() }
    }

    fn painted(&self) -> String {
        let style = self.style;
        format!("{style}{}{style:#}", self.text)
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

pub(super) const INDENT: &str = "  ";
const GAP: usize = 2;

/// The widths of the three columns: sent, seen, received.
#[derive(Debug, Clone, Copy)]
pub(super) struct Columns(pub(super) [usize; 3]);

impl Columns {
    pub(super) fn within(width: usize) -> Self {
        let room = width.saturating_sub(INDENT.len() + 2 * GAP).max(12);
        let (sent, seen) = (room * 22 / 100, room * 33 / 100);
        Self([sent, seen, room - sent - seen])
    }

    /// Sets cells beside each other. Their lines must fit already.
    pub(super) fn lay_out(self, cells: [&[Line]; 3]) -> Vec<String> {
        let height = cells.iter().map(|cell| cell.len()).max().unwrap_or_default();
        (0..height).map(|index| self.lay_out_line(cells.map(|cell| cell.get(index)))).collect()
    }

    fn lay_out_line(self, lines: [Option<&Line>; 3]) -> String {
        let mut text = INDENT.to_owned();
        let mut missing = 0;
        for (line, width) in lines.into_iter().zip(self.0) {
            if let Some(line) = line {
                text.push_str(&" ".repeat(missing));
                text.push_str(&line.painted());
                missing = 0;
            }
            missing += (width + GAP).saturating_sub(line.map_or(0, Line::width));
        }
        text
    }
}

/// Breaks text between words into lines of at most `width` characters; a word that is longer than that anywhere. Lines
/// after the first one are indented by `hanging` characters.
pub(super) fn wrap(text: &str, width: usize, hanging: usize) -> Vec<String> {
    let width = width.max(1);
    let hanging = if hanging < width { hanging } else { 0 };
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut length = 0;
    for word in text.split_whitespace() {
        let word_length = word.chars().count();
        if length > 0 && length + 1 + word_length <= width {
            line.push(' ');
            line.push_str(word);
            length += 1 + word_length;
            continue;
        }
        for character in std::iter::once(None).chain(word.chars().map(Some)) {
            // A word begins on a line of its own, and goes on on the next one when that is full.
            let is_full = if character.is_none() { length > 0 } else { length == width };
            if is_full {
                lines.push(std::mem::replace(&mut line, " ".repeat(hanging)));
                length = hanging;
            }
            if let Some(character) = character {
                line.push(character);
                length += 1;
            }
        }
    }
    lines.push(line);
    lines
}

/// As much of some text as fits, with a sign if it goes on.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// Bytes as hexadecimal digits, as many as fit into some lines.
pub(super) fn hex_lines(bytes: &[u8], width: usize, lines: usize) -> Vec<String> {
    // Whole bytes on a line.
    let width = (width - width % 2).max(2);
    let digits: Vec<char> = hex::encode(bytes).chars().collect();
    let mut shown: Vec<String> = digits.chunks(width).take(lines).map(|line| line.iter().collect()).collect();
    if digits.len() > width * lines
        && let Some(last) = shown.last_mut()
    {
        *last = last.chars().take(width - 2).chain(['…']).collect();
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapped_text_has_no_line_that_is_too_long_and_loses_no_word() {
        let text = "refuses: not authentic, sealed under a keythatislongerthantheline and so on";
        for width in 1..80 {
            let lines = wrap(text, width, 2);
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{width}: {lines:?}");
            let squeezed = |text: &str| text.replace(' ', "");
            assert_eq!(squeezed(&lines.concat()), squeezed(text), "{width}");
        }
        assert_eq!(wrap("one two three", 7, 2), ["one two", "  three"]);
        assert_eq!(wrap("", 7, 2), [""]);
    }

    #[test]
    fn columns_stand_below_each_other_and_fit_the_width() {
        for width in [20, 40, 80, 120] {
            let columns = Columns::within(width);
            let [sent, seen, received] = columns.0;
            let full = |width: usize| vec![Line::new(Style::new(), "x".repeat(width)); 2];
            let lines = columns.lay_out([&full(sent), &full(seen)[..1], &full(received)]);
            assert_eq!(lines.len(), 2);
            assert!(lines.iter().all(|line| line.chars().count() == width), "{width}: {lines:?}");
        }
    }

    #[test]
    fn hexadecimal_is_cut_between_bytes_and_says_so() {
        assert_eq!(hex_lines(&[0xab; 4], 9, 1), ["abababab"]);
        assert_eq!(hex_lines(&[0xab; 5], 9, 1), ["ababab…"]);
        assert_eq!(hex_lines(&[0xab; 5], 8, 2), ["abababab", "ab"]);
        assert_eq!(hex_lines(&[], 8, 2), [""; 0]);
        assert_eq!(cut("plant/7/pump", 8), "plant/7…");
    }
}

//! Prints the story, in colour where the terminal has it, at a pace that one can follow.

use super::{
    expect::{Broken, Checks, Expected, NotAsExpected, Received, Row},
    layout::{Columns, INDENT, Line, cut, hex_lines, wrap},
    stage::Stage,
};
use anstyle::{AnsiColor, Style};
use std::{
    io::{self, Write},
    time::Duration,
};

const PLAIN: Style = Style::new();
const BOLD: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();
const TITLE: Style = AnsiColor::Cyan.on_default().bold();
const SEALED: Style = AnsiColor::Magenta.on_default();
const GOOD: Style = AnsiColor::Green.on_default();
const KEYS: Style = AnsiColor::Cyan.on_default();
const REFUSED: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// The width that a pipe gets.
const USUAL_WIDTH: usize = 80;
/// Columns that are wider than this are hard to read.
const MAX_WIDTH: usize = 120;

pub(super) struct Narrator {
    width: usize,
    fast: bool,
    chapters: usize,
    checks: Checks,
}

impl Narrator {
    pub(super) fn new(fast: bool) -> Self {
        let terminal = terminal_size::terminal_size_of(io::stdout());
        let width = terminal.map_or(USUAL_WIDTH, |(width, _height)| usize::from(width.0)).min(MAX_WIDTH);
        Self { width, fast, chapters: 0, checks: Checks::default() }
    }

    pub(super) async fn opening(&self, title: &str, text: &str) -> io::Result<()> {
        self.print(wrap(title, self.width, 0).iter().map(|line| Line::new(BOLD, line)))?;
        self.paragraph(PLAIN, text)?;
        self.pause(Duration::from_millis(1000)).await;
        Ok(())
    }

    pub(super) async fn chapter(&mut self, title: &str, text: &str) -> io::Result<()> {
        self.chapters += 1;
        let title = format!("{}. {title}", self.chapters);
        self.print([Line::new(PLAIN, "")])?;
        self.print(wrap(&title, self.width, 3).iter().map(|line| Line::new(TITLE, line)))?;
        self.paragraph(PLAIN, text)?;
        self.pause(Duration::from_millis(700)).await;
        self.print([Line::new(PLAIN, "")])?;
        let columns = self.columns();
        let titles = ["Application sent", "Broker saw", "Devices received"];
        let [sent, seen, received] = [0, 1, 2].map(|index| {
            let (title, width) = (titles.get(index), columns.0.get(index));
            [Line::new(BOLD.underline(), cut(title.unwrap_or(&""), *width.unwrap_or(&0)))]
        });
        self.print_lines(&columns.lay_out([&sent, &seen, &received]))
    }

    /// Something that happens on the stage.
    pub(super) async fn note(&self, text: &str) -> io::Result<()> {
        self.aside(FAINT, text)?;
        self.pause(Duration::from_millis(250)).await;
        Ok(())
    }

    /// Between the rows.
    fn aside(&self, style: Style, text: &str) -> io::Result<()> {
        let lines = wrap(&format!("({text})"), self.width.saturating_sub(INDENT.len()), 1);
        self.print(lines.into_iter().map(|line| Line::new(style, format!("{INDENT}{line}"))))
    }

    /// Shows a row, and whether it is as expected. If not, the story ends here.
    pub(super) async fn tell(&mut self, row: &Row) -> anyhow::Result<()> {
        let columns = self.columns();
        let [sent, seen, received] = columns.0;
        let cells = [sent_cell(row, sent), seen_cell(row, seen), received_cell(row, received)];
        let [sent, seen, received] = &cells;
        self.print_lines(&columns.lay_out([sent, seen, received]))?;
        let broken = self.checks.judge(row);
        self.complain(&broken)?;
        self.pause(Duration::from_millis(340)).await;
        Ok(())
    }

    /// States something about what was shown. If it is not so, the story ends here.
    pub(super) async fn fact(&mut self, holds: bool, text: &str, otherwise: &str) -> anyhow::Result<()> {
        let (expected, happened) = (text.to_owned(), otherwise.to_owned());
        let broken = self.checks.check(holds, || Broken { expected, happened });
        if holds {
            self.aside(GOOD, text)?;
        }
        self.complain(broken.as_slice())?;
        self.pause(Duration::from_millis(340)).await;
        Ok(())
    }

    fn complain(&self, broken: &[Broken]) -> anyhow::Result<()> {
        for Broken { expected, happened } in broken {
            for text in [format!("EXPECTED  {expected}"), format!("HAPPENED  {happened}")] {
                self.print(wrap(&text, self.width, 10).into_iter().map(|line| Line::new(BAD, line)))?;
            }
        }
        if broken.is_empty() { Ok(()) } else { Err(NotAsExpected.into()) }
    }

    /// The end of a story that came out as expected.
    pub(super) fn summary(&self, stage: &Stage) -> anyhow::Result<()> {
        let (payloads, bytes) = stage.eavesdropper.overheard();
        self.print([Line::new(PLAIN, "")])?;
        self.paragraph(GOOD.bold(), &format!("{} expectations held.", self.checks.held))?;
        self.paragraph(
            PLAIN,
            &format!("The eavesdropper has recorded {payloads} payloads, {bytes} bytes in all, and read nothing."),
        )?;
        if stage.is_embedded() {
            self.paragraph(FAINT, "The same on a broker of yours: e4 demo --broker HOST:PORT")?;
        }
        Ok(())
    }

    fn paragraph(&self, style: Style, text: &str) -> io::Result<()> {
        self.print(wrap(text, self.width, 0).into_iter().map(|line| Line::new(style, line)))
    }

    fn columns(&self) -> Columns {
        Columns::within(self.width)
    }

    fn print(&self, lines: impl IntoIterator<Item = Line>) -> io::Result<()> {
        let painted = lines.into_iter().map(|line| format!("{}{}{:#}", line.style, line.text, line.style));
        self.print_lines(&painted.collect::<Vec<_>>())
    }

    fn print_lines(&self, lines: &[String]) -> io::Result<()> {
        let mut out = anstream::stdout().lock();
        for line in lines {
            writeln!(out, "{line}")?;
        }
        out.flush()
    }

    async fn pause(&self, time: Duration) {
        if !self.fast {
            tokio::time::sleep(time).await;
        }
    }
}

fn sent_cell(row: &Row, width: usize) -> Vec<Line> {
    let sender = [Line::new(FAINT, cut(&row.sender, width))];
    let sent = wrap(&row.sent, width, 0).into_iter().map(|line| Line::new(BOLD, line));
    sender.into_iter().chain(sent).collect()
}

/// Each payload with its topic, in two lines of hexadecimal if there is only one.
fn seen_cell(row: &Row, width: usize) -> Vec<Line> {
    let lines = if row.seen.len() == 1 { 2 } else { 1 };
    let mut cell = Vec::new();
    for seen in &row.seen {
        cell.push(Line::new(FAINT, cut(&seen.topic, width)));
        cell.extend(hex_lines(&seen.payload, width, lines).into_iter().map(|line| Line::new(SEALED, line)));
    }
    cell
}

fn received_cell(row: &Row, width: usize) -> Vec<Line> {
    let mut cell = Vec::new();
    for received in &row.received {
        let text = format!("{} {}", received.who, received.outcome());
        let style = style_of(received);
        cell.extend(wrap(&text, width, 2).into_iter().map(|line| Line::new(style, line)));
    }
    for who in &row.waits_for {
        let text = format!("{who} is off: it waits");
        cell.extend(wrap(&text, width, 2).into_iter().map(|line| Line::new(FAINT, line)));
    }
    cell
}

fn style_of(received: &Received) -> Style {
    if !received.is_as_expected() {
        return BAD;
    }
    match received.expected {
        Expected::Reads(_) | Expected::ReadsRetained(_) => GOOD,
        Expected::TakesKey | Expected::TakesNextKey | Expected::ReplacesKey => KEYS,
        Expected::Refuses(_) | Expected::ReadsUnderPreviousKey(_) => REFUSED,
    }
}

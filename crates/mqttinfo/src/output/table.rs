//! One report for people: what is worst comes first, and what is good is short.

use super::{levels, printable};
use crate::report::{Access, Finding, LevelReport, Outcome, ProductGuess, Report, Severity};
use anstyle::{AnsiColor, Style as Ink};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

/// How text for people is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Whether with colours.
    pub color: bool,
    /// How many columns there are. Below 40 it is taken as 40; configuration lines and topics are never broken.
    pub width: usize,
}

impl Style {
    /// What fits standard output: its width, 80 columns if it is no terminal, and 100 at most, as longer lines are hard
    /// to read; colours if it is a terminal that has them, and `NO_COLOR` is not set.
    #[must_use]
    pub fn of_stdout() -> Self {
        let stdout = std::io::stdout();
        let width = terminal_size::terminal_size_of(&stdout).map_or(80, |(width, _)| usize::from(width.0)).min(100);
        Self { color: anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never, width }
    }

    pub(crate) fn paint(self, ink: Ink, text: &str) -> String {
        if self.color && !text.is_empty() { format!("{ink}{text}{ink:#}") } else { text.to_owned() }
    }
}

pub(crate) const BOLD: Ink = Ink::new().bold();
pub(crate) const DIM: Ink = Ink::new().dimmed();

/// A report as text. It ends with a line feed.
#[must_use]
pub fn render(report: &Report, style: Style) -> String {
    let style = Style { width: style.width.max(40), ..style };
    let mut text = Text { out: String::new(), style, told: BTreeSet::new() };
    text.header(report);
    text.verdict(report);
    for severity in Severity::ALL.into_iter().rev() {
        text.findings(report, severity);
    }
    text.topics(report);
    text.out
}

/// Mark, ink and heading of a severity. The mark tells them apart where there is no colour.
const fn look(severity: Severity) -> (&'static str, Ink, &'static str) {
    match severity {
        Severity::High => ("✖", AnsiColor::Red.on_default().bold(), "Serious"),
        Severity::Medium => ("!", AnsiColor::Red.on_default(), "Medium"),
        Severity::Low => ("~", AnsiColor::Yellow.on_default(), "Small"),
        Severity::Note => ("·", AnsiColor::Cyan.on_default(), "Worth knowing"),
        Severity::Good => ("✔", AnsiColor::Green.on_default(), "Good"),
    }
}

struct Text {
    out: String,
    style: Style,
    /// Remedies that were told: several findings have the same one.
    told: BTreeSet<String>,
}

impl Text {
    fn line(&mut self, ink: Ink, text: &str) {
        self.out.push_str(&self.style.paint(ink, text));
        self.out.push('\n');
    }

    /// Wraps a text whose first line begins with something of the same width as the indentation of the others.
    fn wrapped(&mut self, ink: Ink, first: &str, indent: usize, text: &str) {
        let width = self.style.width.saturating_sub(indent).max(10);
        let mut start = Cow::Borrowed(first);
        for line in textwrap::wrap(text, width) {
            let painted = self.style.paint(ink, &line);
            self.out.push_str(start.as_ref());
            self.out.push_str(&painted);
            self.out.push('\n');
            start = Cow::Owned(" ".repeat(indent));
        }
    }

    fn header(&mut self, report: &Report) {
        self.line(BOLD, &printable(&report.target));
        let mut about = String::new();
        if let Some(address) = &report.address {
            let _ = write!(about, "{}, ", printable(address));
        }
        let _ = write!(about, "{}, {:.1} s", report.started.strftime("%Y-%m-%d %H:%M:%S UTC"), report.seconds);
        self.line(DIM, &about);
        match report.products.split_first() {
            _ if report.outcome != Outcome::Broker => {}
            None => self.line(Ink::new(), "Product: none that is known here"),
            Some((best, others)) => {
                self.wrapped(Ink::new(), "", 2, &format!("Product: {}", product(best)));
                for evidence in &best.evidence {
                    self.wrapped(DIM, "  - ", 4, &printable(evidence));
                }
                if !others.is_empty() {
                    let others = others.iter().take(3).map(product).collect::<Vec<_>>().join(", ");
                    self.wrapped(DIM, "  or ", 5, &others);
                }
            }
        }
    }

    /// All in a sentence.
    fn verdict(&mut self, report: &Report) {
        self.out.push('\n');
        let bad = look(Severity::High).1;
        match &report.outcome {
            Outcome::NotMqtt { reason } => {
                self.wrapped(bad, "", 2, &format!("✖ This is no MQTT broker: {}", printable(reason)));
            }
            Outcome::Unreachable { reason } => {
                self.wrapped(bad, "", 2, &format!("✖ It cannot be reached: {}", printable(reason)));
            }
            Outcome::Broker => {
                let counts = Severity::ALL.into_iter().rev().filter_map(|severity| {
                    let count = report.findings.iter().filter(|finding| finding.severity == severity).count();
                    (count > 0).then(|| self.style.paint(look(severity).1, &format!("{count} {}", counted(severity))))
                });
                let counts = counts.collect::<Vec<_>>().join(", ");
                let counts = if counts.is_empty() { "Nothing was found".to_owned() } else { counts };
                let _ = writeln!(self.out, "{counts}");
            }
        }
        if let Some(reason) = &report.incomplete {
            let text = format!("! Not everything was looked at: {}", printable(reason));
            self.wrapped(look(Severity::Low).1, "", 2, &text);
        }
    }

    fn findings(&mut self, report: &Report, severity: Severity) {
        // One column for the versions of MQTT, as wide as the widest of the report.
        let column = report.findings.iter().map(|finding| levels(finding).len()).max().unwrap_or(0);
        let findings: Vec<_> = report.findings.iter().filter(|finding| finding.severity == severity).collect();
        if findings.is_empty() {
            return;
        }
        let (mark, ink, heading) = look(severity);
        self.out.push('\n');
        self.line(BOLD, heading);
        for finding in findings {
            let gap = if column > 0 { 2 } else { 0 };
            let start = format!("{} {:column$}{}", self.style.paint(ink, mark), levels(finding), " ".repeat(gap));
            let indent = 2 + column + gap;
            let title = printable(&finding.title);
            if severity == Severity::Good {
                self.wrapped(Ink::new(), &start, indent, &title);
            } else {
                self.wrapped(BOLD, &start, indent, &title);
                self.more(finding, indent);
            }
        }
    }

    fn more(&mut self, finding: &Finding, indent: usize) {
        // On a narrow screen the column would leave no room.
        let indent = if indent + 40 > self.style.width { 2 } else { indent };
        let margin = " ".repeat(indent);
        let mut detail = finding.detail.as_deref().map(printable).unwrap_or_default().into_owned();
        if let Some(reference) = &finding.reference {
            let gap = if detail.is_empty() { "" } else { " " };
            let _ = write!(detail, "{gap}({})", printable(reference));
        }
        if !detail.is_empty() {
            self.wrapped(DIM, &margin, indent, &detail);
        }
        let Some(remedy) = &finding.remedy else { return };
        if !self.told.insert(remedy.clone()) {
            self.wrapped(Ink::new(), &margin, indent, "To mend it: as above.");
            return;
        }
        let green = look(Severity::Good).1;
        let mut lead = "To mend it: ";
        for line in remedy.trim().lines() {
            if lead.is_empty() && !is_prose(line) {
                // Nothing is added to it and no line broken, so that it can be copied.
                let line = format!("{margin}    {}", printable(line.trim_end()));
                self.line(green, &line);
            } else {
                self.wrapped(Ink::new(), &margin, indent, &format!("{lead}{}", printable(line.trim())));
            }
            lead = "";
        }
    }

    fn topics(&mut self, report: &Report) {
        let levels = || [&report.mqtt_3_1_1, &report.mqtt_5].into_iter().flatten();
        type Who = fn(&LevelReport) -> Option<&Access>;
        let readers: [(&str, Who); 2] = [
            ("Topics that a stranger can read", |level| level.stranger.as_ref()),
            ("Topics that the user can read", |level| level.user.as_ref()),
        ];
        for (heading, who) in readers {
            let readings: Vec<_> = levels().filter_map(who).flat_map(|access| access.read.values()).collect();
            let mut topics = BTreeMap::new();
            for (name, bytes) in readings.iter().filter_map(|reading| reading.names.as_ref()).flatten() {
                let largest = topics.entry(name).or_insert(0);
                *largest = (*bytes).max(*largest);
            }
            if topics.is_empty() {
                continue;
            }
            self.out.push('\n');
            self.line(BOLD, &format!("{heading}, with the bytes of a message"));
            for (name, bytes) in topics {
                let _ = writeln!(self.out, "{bytes:>10}  {}", printable(name));
            }
            if readings.iter().any(|reading| reading.cut_short) {
                self.line(DIM, "            … and more");
            }
        }
    }
}

/// Whether a line of a remedy is a sentence, and not a line of configuration: those have no sentence mark at the end.
fn is_prose(line: &str) -> bool {
    line.ends_with(['.', ':', '!', '?']) && !line.starts_with([' ', '\t', '#'])
}

fn product(guess: &ProductGuess) -> String {
    let version = guess.version.as_ref().map(|version| format!(" {}", printable(version))).unwrap_or_default();
    format!("{}{version} ({:.0} % sure)", printable(&guess.product), guess.confidence * 100.0)
}

const fn counted(severity: Severity) -> &'static str {
    match severity {
        Severity::High => "serious",
        Severity::Medium => "medium",
        Severity::Low => "small",
        Severity::Note => "worth knowing",
        Severity::Good => "good",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::{self, finding};

    const PLAIN: Style = Style { color: false, width: 60 };

    #[test]
    fn a_remedy_is_told_once() {
        let mut report = example::report();
        report.findings = ["One.", "Two."]
            .map(|title| Finding {
                remedy: Some("Close the door.".into()),
                ..finding("write-topic", Severity::High, title)
            })
            .into();
        let text = render(&report, PLAIN);
        assert_eq!(text.matches("Close the door.").count(), 1, "{text}");
        let (first, second) = text.split_once("Two.").unwrap();
        assert!(first.contains("To mend it: Close the door.") && second.contains("To mend it: as above."), "{text}");
    }

    #[test]
    fn the_worst_comes_first_and_the_good_is_short() {
        let text = render(&example::report(), PLAIN);
        assert_eq!(
            text,
            "\
mqtts://broker.example:8883
192.0.2.7:8883, 2026-11-27 04:16:48 UTC, 3.2 s
Product: mosquitto 2.0.11 (95 % sure)
  - $SYS/broker/version says so
  - CONNACK has 22 000a 21 0014
  or mochi (10 % sure)

1 serious, 1 medium, 1 small, 1 worth knowing, 1 good
! Not everything was looked at: the time for it was over

Serious
✖ 3.1.1, 5  Anyone may connect.
            A client without user name and password may
            subscribe to every topic.
            To mend it: Ask for a password in
            mosquitto.conf:
                allow_anonymous false
                password_file /etc/mosquitto/passwd
            Then start the broker again.

Medium
!           No authority vouches for the certificate.

Small
~ 5         A filter that the standard forbids is taken.
            The filter A+ was taken. Other clients may trust
            that it is not. (MQTT 5, 4.7.1)

Worth knowing
·           Packets of up to 2 MB are taken.

Good
✔           Messages of QoS 1 and 2 arrive.

Topics that a stranger can read, with the bytes of a message
      1234  plant/valve
         4  plant/温度
"
        );
    }

    #[test]
    fn without_colour_there_is_no_escape_and_with_it_only_what_text_there_is_as_well() {
        let plain = render(&example::report(), PLAIN);
        assert!(!plain.contains('\x1b'));
        let coloured = render(&example::report(), Style { color: true, ..PLAIN });
        assert!(coloured.contains("\x1b[1m\x1b[31m✖"), "{coloured}");
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
    }

    #[test]
    fn nothing_from_a_broker_steers_the_terminal_or_makes_lines() {
        let text = render(&example::hostile(), Style { width: 4000, ..PLAIN });
        assert!(!text.contains(['\x1b', '\u{202e}']), "{text}");
        let forged = text.lines().filter(|line| line.trim_start().starts_with("✔ fine")).count();
        // Remedies are the only texts that keep their lines, and they stand further in.
        let remedies = text.lines().filter(|line| line.starts_with("                ✔ fine")).count();
        assert_eq!(forged, remedies, "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with('✔')).count(), 1, "{text}");
        assert!(text.contains(r"evil\u{1b}[31m\u{202e}\n✔ fine"), "{text}");
    }

    #[test]
    fn what_is_no_broker_is_said_with_the_reason() {
        let mut report = example::unreachable();
        assert_eq!(
            render(&report, PLAIN),
            "mqtt://down.example:1883\n2026-11-27 04:16:48 UTC, 3.2 s\n\n✖ It cannot be reached: connection refused\n"
        );
        report.outcome = Outcome::NotMqtt { reason: "it speaks \x1bHTTP".into() };
        report.findings = vec![finding("tls", Severity::Low, "Old TLS.")];
        let text = render(&report, PLAIN);
        assert!(text.ends_with("\n✖ This is no MQTT broker: it speaks \\u{1b}HTTP\n\nSmall\n~ Old TLS.\n"), "{text}");
    }

    #[test]
    fn lines_keep_to_the_width() {
        for width in [0, 40, 61, 100] {
            let text = render(&example::report(), Style { color: false, width });
            let width = width.max(40);
            for line in text.lines().filter(|line| !line.contains("passw") && !line.starts_with("Topics")) {
                let columns = textwrap::core::display_width(line);
                assert!(columns <= width || line.starts_with("192.") || line.contains("worth"), "{width}: {line}");
            }
        }
    }

    #[test]
    fn configuration_is_told_from_sentences() {
        for (line, prose) in [
            ("allow_anonymous false", false),
            ("Then start it again.", true),
            ("In mosquitto.conf:", true),
            ("  listener: 1883:", false),
            ("# a comment.", false),
        ] {
            assert_eq!(is_prose(line), prose, "{line}");
        }
    }
}

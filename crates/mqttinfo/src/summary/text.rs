//! The summary as text.

use super::{
    counts::Summary,
    rows::{Row, Section, thousands},
};
use crate::{
    findings::Rule,
    output::table::{BOLD, DIM, Style},
};
use anstyle::AnsiColor;
use std::fmt::Write;
use textwrap::core::display_width;

/// Columns of a label; longer ones get a line of their own.
const LABEL: usize = 34;

pub(super) fn render(summary: &Summary, rules: &[Rule], style: Style) -> String {
    let style = Style { width: style.width.max(40), ..style };
    let mut out = String::new();
    wrapped(&mut out, style, &summary.about());
    for section in summary.sections(rules) {
        render_section(&mut out, style, &section);
    }
    out
}

fn wrapped(out: &mut String, style: Style, text: &str) {
    for line in textwrap::wrap(text, style.width) {
        let _ = writeln!(out, "{}", style.paint(DIM, &line));
    }
}

fn render_section(out: &mut String, style: Style, section: &Section) {
    let _ = writeln!(out, "\n{}", style.paint(BOLD, &section.title));
    wrapped(out, style, &section.note);
    let label = section.rows.iter().map(|row| display_width(&row.label)).max().unwrap_or(0).min(LABEL);
    let counts: Vec<_> = section.rows.iter().map(counts).collect();
    let widest = counts.iter().map(|count| display_width(count)).max().unwrap_or(0);
    // Between label, share and counts; the last column is as it comes.
    let bar = style.width.saturating_sub(2 + label + 1 + 7 + 1 + 1 + widest).clamp(8, 40);
    for (row, count) in section.rows.iter().zip(counts) {
        let width = display_width(&row.label);
        if width > label {
            let _ = writeln!(out, "  {}", row.label);
            let _ = write!(out, "  {:label$}", "");
        } else {
            let _ = write!(out, "  {}{}", row.label, " ".repeat(label - width));
        }
        let drawn = bar_of(row, bar);
        let gap = " ".repeat(bar.saturating_sub(display_width(&drawn)));
        let drawn = style.paint(AnsiColor::Cyan.on_default(), &drawn);
        let _ = writeln!(out, " {:>7} {drawn}{gap} {count}", row.percent());
        if section.severities {
            let _ = writeln!(out, "  {:label$}         {}", "", style.paint(DIM, &row.parts_in_words()));
        }
    }
}

fn counts(row: &Row) -> String {
    let before = row.before.map(|before| format!("  2019: {before}")).unwrap_or_default();
    format!("{} of {}{before}", thousands(row.hits), thousands(row.of))
}

/// A bar as long as the share, in eighths of a column. It is empty only if the share is.
fn bar_of(row: &Row, columns: usize) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let share = row.permille().and_then(|share| usize::try_from(share).ok()).unwrap_or(0).min(1000);
    let eighths = share * columns * 8 / 1000;
    let eighths = if row.hits > 0 { eighths.max(1) } else { 0 };
    format!("{}{}", "█".repeat(eighths / 8), PARTS.get(eighths % 8).unwrap_or(&""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{example, report::Severity, summary::shares::Share};

    const PLAIN: Style = Style { color: false, width: 80 };

    #[test]
    fn the_table_of_2019_comes_first_with_its_denominators() {
        let mut summary = Summary::default();
        summary.add(&example::report());
        summary.add(&example::unreachable());
        let text = summary.text(&[], PLAIN);
        let expected = "\
2 targets were looked at on 2026-11-27. 2 of them were looked at with
--intrusive. 1 of them not to the end.

Brokers that let anyone connect
By one version of MQTT at least: 1 brokers. Each row is about those of them
where it was looked at, and counts what one version of MQTT lets through.
Publishing to $SYS is looked at with --intrusive only. 2019 is the scan of
23,287 such brokers by the first mqttinfo.
  let anyone subscribe to #       100.0 % █████████████ 1 of 1  2019: 88.5 %
  let anyone publish to $SYS        0.0 %               0 of 1  2019: 71.5 %
  accept ill-formed UTF-8 (C3 28)   0.0 %               0 of 1  2019: 77.5 %
  accept the filter A+              0.0 %               0 of 1  2019: 2.3 %
  accept a QoS of 3                 0.0 %               0 of 1  2019: 4.5 %
  look like mosquitto             100.0 % █████████████ 1 of 1  2019: about 70 %
  speak MQTT 5                    100.0 % █████████████ 1 of 1  2019: about 10 %

Targets
Of all targets.
  MQTT broker     50.0 % ████████████████████                     1 of 2
  something else   0.0 %                                          0 of 2
  unreachable     50.0 % ████████████████████                     1 of 2
";
        assert!(text.starts_with(expected), "{text}");
    }

    #[test]
    fn an_empty_file_has_no_shares() {
        let text = Summary::default().text(&[], PLAIN);
        assert!(text.contains("let anyone subscribe to #             –               0 of 0"), "{text}");
        assert!(!text.contains("Targets\n"), "{text}");
    }

    #[test]
    fn findings_are_told_by_their_rule_and_severity() {
        let mut summary = Summary::default();
        summary.add(&example::report());
        let mut other = example::report();
        other.findings.retain(|finding| finding.id == "anonymous-access");
        other.findings[0].severity = Severity::Good;
        summary.add(&other);
        let rules = [Rule { id: "anonymous-access", summary: "Who may connect", severity: Severity::High, help: "" }];
        let text = summary.text(&rules, PLAIN);
        assert!(text.contains("  Who may connect  50.0 % █"), "{text}");
        assert!(text.contains("1 serious, 1 good"), "{text}");
        assert!(!text.contains("anonymous-access"), "{text}");
    }

    #[test]
    fn bars_are_as_long_as_the_share() {
        let bar = |hits, of| bar_of(&Row::new("", Share { hits, of }), 10);
        assert_eq!(bar(1, 1), "█".repeat(10));
        assert_eq!(bar(1, 2), "█".repeat(5));
        assert_eq!(bar(5, 16), "███▏");
        assert_eq!(bar(1, 1_000_000), "▏", "little is not nothing");
        assert_eq!(bar(0, 5), "");
        assert_eq!(bar(0, 0), "");
    }

    #[test]
    fn nothing_from_a_broker_steers_the_terminal() {
        let mut summary = Summary::default();
        let mut report = example::hostile();
        report.target = "ws\x1b://h".into();
        report.findings[0].id = example::HOSTILE.into();
        summary.add(&report);
        let text = summary.text(&[], PLAIN);
        assert!(!text.contains(['\x1b', '\u{202e}']) && !text.contains("\n✔"), "{text}");
        assert!(text.contains(r"\u{1b}[31m"), "{text}");
    }
}

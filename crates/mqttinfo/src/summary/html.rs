//! The summary as a page.

use super::{
    counts::Summary,
    rows::{Row, Section, permille, thousands, word},
};
use crate::{findings::Rule, report::Severity};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Colours for light and dark, bars, and tables that stay readable on a telephone.
const CSS: &str = include_str!("page.css");

pub(super) fn render(summary: &Summary, rules: &[Rule]) -> String {
    let sections = summary.sections(rules);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                // Names in it come from strangers. They are escaped; should one slip through, nothing is run or loaded.
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                meta name="color-scheme" content="light dark";
                title { "MQTT brokers, seen from outside" }
                style { (PreEscaped(CSS)) }
            }
            body {
                header {
                    h1 { "MQTT brokers, seen from outside" }
                    p { (summary.about()) }
                    dl {
                        (figure(summary.reports, "targets"))
                        (figure(summary.brokers, "brokers"))
                        (figure(summary.anonymous.brokers, "let anyone connect"))
                    }
                }
                main { @for part in &sections { (section(part)) } }
                footer { "Made by mqttinfo " (env!("CARGO_PKG_VERSION")) ". Each report of the file counts." }
            }
        }
    };
    page.into_string()
}

fn figure(number: u64, what: &str) -> Markup {
    html! { div { dt { (what) } dd { (thousands(number)) } } }
}

fn section(section: &Section) -> Markup {
    let compared = section.rows.iter().any(|row| row.before.is_some());
    html! {
        section {
            h2 { (section.title) }
            p { (section.note) @if compared { " The mark on a bar is the share of 2019." } }
            @if section.severities {
                p.legend {
                    @for severity in Severity::ALL.into_iter().rev() {
                        span { i class=(severity.name()) aria-hidden="true" {} (word(severity)) } " "
                    }
                }
            }
            table {
                thead {
                    tr {
                        th scope="col" { "What" }
                        th.chart scope="col" aria-hidden="true" {}
                        th.number scope="col" { "Share" }
                        @if compared { th.number scope="col" { "2019" } }
                        th.number scope="col" { "Count" }
                    }
                }
                tbody {
                    @for row in &section.rows {
                        tr {
                            th scope="row" {
                                (row.label)
                                @if section.severities { small { (row.parts_in_words()) } }
                            }
                            // The figures beside it say the same, to who cannot see it.
                            td.chart aria-hidden="true" { (bar(row, section.severities)) }
                            td.number { (row.percent()) }
                            @if compared { td.number { (row.before.unwrap_or("–")) } }
                            td.number { (thousands(row.hits)) " of " (thousands(row.of)) }
                        }
                    }
                }
            }
        }
    }
}

fn bar(row: &Row, severities: bool) -> Markup {
    html! {
        div.bar {
            @if severities {
                @for (count, severity) in row.parts.iter().zip(Severity::ALL).rev().filter(|(count, _)| **count > 0) {
                    span class=(severity.name()) style={ "width:" (width(permille(*count, row.of))) } {}
                }
            } @else if row.hits > 0 {
                span.share style={ "width:" (width(row.permille())) } {}
            }
            @if let Some(before) = row.before.and_then(number) {
                i.before style={ "left:" (before) "%" } {}
            }
        }
    }
}

fn width(share: Option<u64>) -> String {
    let share = share.unwrap_or(0).min(1000);
    format!("{}.{}%", share / 10, share % 10)
}

/// The number in `about 70 %`.
fn number(text: &str) -> Option<f64> {
    text.split(' ').find_map(|word| word.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    fn page() -> String {
        let mut summary = Summary::default();
        summary.add(&example::report());
        summary.add(&example::unreachable());
        summary.html(&[])
    }

    #[test]
    fn the_page_shows_the_shares_and_the_scan_of_2019() {
        let page = page();
        for part in [
            "<h2>Brokers that let anyone connect</h2>",
            "<th scope=\"row\">let anyone subscribe to #</th>",
            "<span class=\"share\" style=\"width:100.0%\"></span><i class=\"before\" style=\"left:88.5%\"></i>",
            "<td class=\"number\">100.0 %</td><td class=\"number\">88.5 %</td><td class=\"number\">1 of 1</td>",
            "<i class=\"before\" style=\"left:70%\"></i>",
            "<td class=\"number\">50.0 %</td><td class=\"number\">1 of 2</td>",
            "<span class=\"high\" style=\"width:100.0%\"></span>",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
    }

    #[test]
    fn the_page_needs_nothing_else_and_runs_nothing() {
        let page = page();
        for wrong in ["<script", "http://", "https://", "src=", "href=", "url(", "@import", "javascript:"] {
            assert!(!page.contains(wrong), "{wrong}");
        }
        assert!(page.contains("prefers-color-scheme: dark"));
    }

    #[test]
    fn names_from_brokers_are_text() {
        let mut summary = Summary::default();
        let mut report = example::hostile();
        report.findings[0].id = example::HOSTILE.into();
        report.target = "<b>://x".into();
        summary.add(&report);
        let page = summary.html(&[]);
        assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
        assert!(page.contains(r"evil\u{1b}[31m\u{202e}\n✔ fine &lt;script&gt;&amp;&quot;"), "{page}");
        assert!(!page.contains(['\x1b', '\u{202e}']), "{page}");
    }
}

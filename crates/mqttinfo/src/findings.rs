//! What is good and bad about a broker, from what was seen of it.
//!
//! What was not looked at is not mentioned: no finding means nothing is known. [`catalogue`] lists everything that can
//! be found.

mod access;
mod catalogue;
mod draft;
mod limits;
mod payloads;
mod remedy;
mod standard;
#[cfg(test)]
mod tests;
mod tls;

pub use catalogue::{Rule, catalogue};

use crate::report::{Finding, Level, LevelReport, Outcome, Report, Severity};
use draft::{Draft, Drafts};
use remedy::Maker;

/// Judges a report, whose products are known already. Worst first; in the order of the [`catalogue`] where equally bad.
#[must_use]
pub fn judge(report: &Report) -> Vec<Finding> {
    let mut drafts = Drafts::default();
    reached(report, &mut drafts);
    tls::judge(report, &mut drafts);
    if report.outcome == Outcome::Broker {
        standard::judge_versions(report, &mut drafts);
        for (level, seen) in levels(report) {
            access::judge(report, level, seen, &mut drafts);
            standard::judge(level, seen, &mut drafts);
            limits::judge(level, seen, &mut drafts);
        }
        payloads::judge(report, &mut drafts);
    }
    drafts.finish(Maker::of(report))
}

fn levels(report: &Report) -> impl Iterator<Item = (Level, &LevelReport)> {
    let older = report.mqtt_3_1_1.as_ref().map(|seen| (Level::V3_1_1, seen));
    let newer = report.mqtt_5.as_ref().map(|seen| (Level::V5, seen));
    older.into_iter().chain(newer)
}

fn reached(report: &Report, drafts: &mut Drafts) {
    drafts.add(match &report.outcome {
        Outcome::Broker => Draft::new("reachable", Severity::Good, "An MQTT broker answers."),
        Outcome::NotMqtt { reason } => {
            Draft::new("reachable", Severity::Note, "What answers here does not speak MQTT.").detail(sentence(reason))
        }
        Outcome::Unreachable { reason } => {
            Draft::new("reachable", Severity::Note, "No connection could be made.").detail(sentence(reason))
        }
    });
    if let Some(reason) = &report.incomplete {
        drafts.add(
            Draft::new("incomplete", Severity::Note, "Not everything was looked at.")
                .detail(format!("{} What is not mentioned is not known.", sentence(reason))),
        );
    }
}

/// With a capital letter in front and a full stop behind.
fn sentence(text: &str) -> String {
    let text = text.trim();
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    let stop = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{stop}", letters.as_str())
}

/// `1 message`, `2 messages`.
fn count(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

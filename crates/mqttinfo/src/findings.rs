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

use crate::{
    report::{Finding, Outcome, Report, Severity},
    words::sentence,
};
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
        for (level, seen) in report.levels() {
            access::judge(report, level, seen, &mut drafts);
            standard::judge(level, seen, &mut drafts);
            limits::judge(level, seen, &mut drafts);
        }
        payloads::judge(report, &mut drafts);
    }
    drafts.finish(Maker::of(report))
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

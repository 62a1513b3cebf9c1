//! Counters, and what is counted of an answer.

use crate::report::{Answer, Level, Report, Severity};
use std::collections::BTreeMap;

/// Names that are told apart; further ones count together, so that no file makes the counters grow without end.
pub(super) const NAMES: usize = 1000;

/// How many of each severity, in the order of [`Severity::ALL`].
pub(super) type BySeverity = [u64; 5];

pub(super) fn count_severity(counts: &mut BySeverity, severity: Severity) {
    for (count, one) in counts.iter_mut().zip(Severity::ALL) {
        *count += u64::from(one == severity);
    }
}

/// How many of those that were looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) hits: u64,
    pub(super) of: u64,
}

impl Share {
    /// Counts what is known.
    pub(super) fn count(&mut self, hit: Option<bool>) {
        self.of += u64::from(hit.is_some());
        self.hits += u64::from(hit == Some(true));
    }
}

/// Counters by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Names<T>(pub(super) BTreeMap<String, T>);

impl<T: Default> Names<T> {
    pub(super) fn of(&mut self, name: &str) -> &mut T {
        let known = self.0.contains_key(name) || self.0.len() < NAMES;
        self.0.entry(if known { name } else { "(others)" }.to_owned()).or_default()
    }
}

/// The answers to a stranger's CONNECT: of MQTT 3.1, 3.1.1 and 5.
pub(super) fn answers(report: &Report) -> [Option<&Answer>; 3] {
    [
        report.mqtt_3_1.as_ref(),
        report.mqtt_3_1_1.as_ref().map(|level| &level.anonymous),
        report.mqtt_5.as_ref().map(|level| &level.anonymous),
    ]
}

/// Whether a broker speaks the protocol level that it was asked for, from its answer to CONNECT; none if that does not
/// say. One that does not speak it says so by 0x01, or 0x84 in MQTT 5, or closes.
pub(super) fn speaks(answer: &Answer, level: u8) -> Option<bool> {
    match answer {
        Answer::Accepted(_) => Some(true),
        // The codes of MQTT 5 begin at 0x80; one below is an answer of an older version.
        Answer::Refused(connack) if level == Level::V5.byte() => Some(connack.code >= 0x80 && connack.code != 0x84),
        Answer::Refused(connack) => Some(connack.code != 1),
        Answer::Closed | Answer::Other { .. } => Some(false),
        Answer::Silent | Answer::Failed { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    #[test]
    fn a_level_is_spoken_by_who_lets_in_or_refuses_for_another_reason() {
        for (answer, level, speaks_it) in [
            (example::let_in(), 5, Some(true)),
            (example::turned_away(5), 4, Some(true)),
            (example::turned_away(1), 4, Some(false)),
            (example::turned_away(0x87), 5, Some(true)),
            (example::turned_away(0x84), 5, Some(false)),
            (example::turned_away(1), 5, Some(false)),
            (Answer::Closed, 5, Some(false)),
            (Answer::Silent, 5, None),
        ] {
            assert_eq!(speaks(&answer, level), speaks_it, "{answer:?}");
        }
    }
}

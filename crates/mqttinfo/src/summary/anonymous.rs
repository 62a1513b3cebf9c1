//! The table of the scan of 2019, for the brokers that let anyone connect.

use super::{
    rows::{Row, Section, thousands},
    shares::{Share, answers, speaks},
};
use crate::report::{Access, LevelReport, Oddity, Reaction, Report};

/// Of brokers that let anyone connect: how many there are, and what they do.
#[derive(Debug, Clone, Default)]
pub(super) struct Anonymous {
    pub(super) brokers: u64,
    subscribe_all: Share,
    publish_sys: Share,
    bad_utf8: Share,
    bad_filter: Share,
    qos_3: Share,
    mosquitto: Share,
    mqtt_5: Share,
}

impl Anonymous {
    pub(super) fn add(&mut self, report: &Report) {
        self.brokers += 1;
        let levels = || report.levels().map(|(_, seen)| seen);
        let strangers = || levels().filter_map(|level| level.stranger.as_ref());
        let subscribed = |access: &Access| access.read.get("#").and_then(|reading| accepted(&reading.reaction));
        let published = |access: &Access| {
            access.write_sys.as_ref().and_then(
                |writing| {
                    if writing.delivered { Some(true) } else { accepted(&writing.reaction) }
                },
            )
        };
        let takes = |oddity: Oddity| move |level: &LevelReport| level.oddities.get(&oddity).and_then(accepted);
        self.subscribe_all.count(any(strangers().map(subscribed)));
        self.publish_sys.count(any(strangers().map(published)));
        self.bad_utf8.count(any(levels().map(takes(Oddity::Utf8Truncated))));
        self.bad_filter.count(any(levels().map(takes(Oddity::InvalidFilter))));
        let qos_3 = [Oddity::PublishQos3, Oddity::SubscribeQos3];
        self.qos_3.count(any(qos_3.into_iter().flat_map(|oddity| levels().map(takes(oddity)))));
        let product = report.products.first().map(|guess| guess.product.to_lowercase());
        self.mosquitto.count(Some(product.is_some_and(|product| product.contains("mosquitto"))));
        let [_, _, answer] = answers(report);
        self.mqtt_5.count(answer.and_then(|answer| speaks(answer, 5)));
    }

    pub(super) fn section(&self) -> Section {
        let rows = [
            ("let anyone subscribe to #", self.subscribe_all, "88.5 %"),
            ("let anyone publish to $SYS", self.publish_sys, "71.5 %"),
            ("accept ill-formed UTF-8 (C3 28)", self.bad_utf8, "77.5 %"),
            ("accept the filter A+", self.bad_filter, "2.3 %"),
            ("accept a QoS of 3", self.qos_3, "4.5 %"),
            ("look like mosquitto", self.mosquitto, "about 70 %"),
            ("speak MQTT 5", self.mqtt_5, "about 10 %"),
        ];
        Section {
            title: "Brokers that let anyone connect".to_owned(),
            note: format!(
                "By one version of MQTT at least: {} brokers. Each row is about those of them where it was looked at, \
                 and counts what one version of MQTT lets through. Publishing to $SYS is looked at with --intrusive \
                 only. 2019 is the scan of 23,287 such brokers by the first mqttinfo.",
                thousands(self.brokers)
            ),
            rows: rows.map(|(label, share, before)| Row { before: Some(before), ..Row::new(label, share) }).into(),
            severities: false,
        }
    }
}

/// Whether something went through, if that can be said.
fn accepted(reaction: &Reaction) -> Option<bool> {
    match reaction {
        Reaction::Accepted { .. } => Some(true),
        Reaction::Refused { .. } | Reaction::Closed | Reaction::Ignored => Some(false),
        Reaction::Unclear { .. } => None,
    }
}

/// Whether one is true; none if nothing is known.
fn any(known: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    known.flatten().reduce(|one, other| one || other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::{self, no, reading, yes};

    #[test]
    fn each_row_counts_those_where_it_was_looked_at() {
        let mut anonymous = Anonymous::default();
        // Takes nothing that is forbidden, but `#`.
        anonymous.add(&example::report());
        // Takes what is a row, and nothing else, by MQTT 5 only, and was not asked about `$SYS`.
        let mut bad = example::report();
        bad.products = Vec::new();
        if let Some(level) = &mut bad.mqtt_3_1_1 {
            level.stranger = Some(Access { read: [("#".to_owned(), reading(no(), 3, 2))].into(), ..Access::default() });
        }
        if let Some(level) = &mut bad.mqtt_5 {
            let rows = [Oddity::Utf8Truncated, Oddity::InvalidFilter, Oddity::SubscribeQos3];
            level.oddities.extend(rows.map(|oddity| (oddity, yes())));
            level.stranger = Some(Access { read: [("#".to_owned(), reading(no(), 3, 2))].into(), ..Access::default() });
        }
        anonymous.add(&bad);
        // Nothing could be said, and there is no MQTT 5.
        let mut unclear = example::report();
        unclear.mqtt_5 = None;
        if let Some(level) = &mut unclear.mqtt_3_1_1 {
            level.stranger = None;
            level.oddities = [(Oddity::InvalidFilter, Reaction::Unclear { reason: String::new() })].into();
        }
        anonymous.add(&unclear);

        let shares = anonymous.section().rows.iter().map(|row| (row.hits, row.of)).collect::<Vec<_>>();
        assert_eq!(shares, [(1, 2), (0, 1), (1, 2), (1, 2), (1, 2), (2, 3), (2, 2)]);
        assert_eq!(anonymous.brokers, 3);
    }
}

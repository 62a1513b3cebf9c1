//! A report as named text values, which is what the marks of a product look at.
//!
//! The names are listed in `fingerprints.toml`. What was not looked at is not there, so that no mark speaks for or
//! against a product because of a probe that was not made.

use crate::{
    report::{Access, Answer, Connack, Level, LevelReport, Outcome, Reaction, Report},
    words::short,
};
use std::collections::BTreeMap;

/// Values by name. Most names have one value; `sys.topic`, `sys.text`, `reason` and `tls.*` may have several.
#[derive(Debug, Default)]
pub(super) struct Facts(BTreeMap<String, Vec<String>>);

/// Properties that a CONNACK may have. One that did not come is the fact `absent`: that too tells products apart.
const PROPERTIES: [u8; 17] =
    [0x11, 0x12, 0x13, 0x15, 0x16, 0x1a, 0x1c, 0x1f, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a];

/// Maximum QoS and what is available: most brokers leave these out where the value is the standard's default.
const CAPABILITIES: [u8; 5] = [0x24, 0x25, 0x28, 0x29, 0x2a];

impl Facts {
    pub(super) fn of(report: &Report) -> Self {
        let mut facts = Self::default();
        if report.outcome != Outcome::Broker {
            return facts;
        }
        facts.add_levels(report);
        for (level, seen) in report.levels() {
            facts.add_level(suffix(level), seen);
        }
        facts.add_sys(report);
        facts.add_tls(report);
        facts
    }

    /// All values of a name.
    pub(super) fn get(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// What sets a broker apart, for one that nobody knows yet: facts with their values, the telling ones first.
    pub(super) fn marks(&self) -> Vec<String> {
        /// Names, as in `fingerprints.toml`, and how many values of each are worth a line.
        const TELLING: [(&str, usize); 10] = [
            ("sys.text", 2),
            ("sys.topic", 3),
            ("levels", 1),
            ("level.unknown", 1),
            ("connack.5.bytes", 1),
            ("assigned_id.5", 1),
            ("response_information", 1),
            ("reason", 1),
            ("tls.issuer", 1),
            ("tls.name", 1),
        ];
        const SHOWN: usize = 80;
        let line = |name: &str, value: &str| format!("{name} = {}", short(value, SHOWN));
        let telling = TELLING
            .iter()
            .flat_map(|(name, most)| self.get(name).iter().take(*most).map(move |value| line(name, value)));
        let mut marks: Vec<_> = telling.collect();
        let reactions = self.0.iter().filter(|(name, _)| {
            ["oddity.", "qos1.", "qos2.", "read.", "empty_id."].iter().any(|kind| name.starts_with(kind))
                && !name.starts_with("empty_id.5.")
        });
        marks.extend(reactions.flat_map(|(name, values)| values.iter().map(|value| line(name, value))));
        marks
    }

    #[cfg(test)]
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    fn add(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.entry(name.into()).or_default().push(value.into());
    }

    fn add_levels(&mut self, report: &Report) {
        let answers = [
            ("3.1", report.mqtt_3_1.as_ref()),
            ("3.1.1", report.mqtt_3_1_1.as_ref().map(|seen| &seen.anonymous)),
            ("5", report.mqtt_5.as_ref().map(|seen| &seen.anonymous)),
        ];
        for (name, answer) in answers {
            if let Some(text) = answer.and_then(answer_text) {
                self.add(format!("level.{name}"), text);
            }
            if let Some(reason) = answer.and_then(Answer::connack).and_then(|connack| connack.reason.as_ref()) {
                self.add("reason", reason);
            }
        }
        // Only when all were looked at: a version that was not tried is not one that is missing.
        if answers.iter().all(|(_, answer)| answer.and_then(answer_text).is_some()) {
            let spoken: Vec<_> = answers
                .iter()
                .filter(|(_, answer)| answer.is_some_and(Answer::speaks))
                .map(|(name, _)| *name)
                .collect();
            self.add("levels", spoken.join(","));
        }
        match &report.unknown_level {
            Some(Answer::Accepted(connack) | Answer::Refused(connack)) => self.add("level.unknown", &connack.bytes),
            Some(Answer::Other { bytes, .. }) => self.add("level.unknown", format!("other {bytes}")),
            Some(answer) => {
                if let Some(text) = answer_text(answer) {
                    self.add("level.unknown", text);
                }
            }
            None => {}
        }
    }

    fn add_level(&mut self, level: &str, seen: &LevelReport) {
        let in_with = [Some(&seen.anonymous), seen.credentials.as_ref()];
        if let Some(Answer::Accepted(connack)) = in_with.into_iter().flatten().find(|answer| answer.is_accepted()) {
            self.add_connack("connack", level, connack);
        }
        if let Some(answer) = &seen.empty_id {
            if let Some(text) = answer_text(answer) {
                self.add(format!("empty_id.{level}"), text);
            }
            if let Answer::Accepted(connack) = answer {
                self.add_connack("empty_id", level, connack);
                if let Some(id) = &connack.assigned_id {
                    self.add(format!("assigned_id.{level}"), id);
                }
            }
        }
        for (oddity, reaction) in &seen.oddities {
            self.add_reaction(format!("oddity.{}.{level}", oddity.name()), reaction);
        }
        if let Some(flows) = &seen.flows {
            self.add_reaction(format!("qos1.{level}"), &flows.qos1_in);
            self.add_reaction(format!("qos2.{level}"), &flows.qos2_in);
        }
        // Defaults show in what a stranger may do; a user's rights are the operator's choice.
        if let Some(access) = &seen.stranger {
            self.add_access(level, access);
        }
    }

    fn add_access(&mut self, level: &str, access: &Access) {
        for (filter, reading) in &access.read {
            self.add_reaction(format!("read.{filter}.{level}"), &reading.reaction);
        }
        if let Some(writing) = &access.write {
            self.add_reaction(format!("write.{level}"), &writing.reaction);
        }
        if let Some(writing) = &access.write_sys {
            self.add_reaction(format!("write_sys.{level}"), &writing.reaction);
        }
    }

    fn add_connack(&mut self, kind: &str, level: &str, connack: &Connack) {
        if level != suffix(Level::V5) {
            return;
        }
        let properties = &connack.properties;
        let bytes: String =
            properties.iter().map(|property| format!("{:02x}{}", property.id, property.value)).collect();
        self.add(format!("{kind}.{level}.bytes"), or_none(bytes));
        let order: Vec<_> = properties.iter().map(|property| format!("{:02x}", property.id)).collect();
        self.add(format!("{kind}.{level}.order"), or_none(order.join(",")));
        for id in PROPERTIES {
            let value = properties.iter().find(|property| property.id == id).map(|property| property.value.as_str());
            self.add(format!("{kind}.{level}.{id:02x}"), value.unwrap_or("absent"));
        }
        let mut capabilities: Vec<_> =
            properties.iter().filter(|property| CAPABILITIES.contains(&property.id)).collect();
        capabilities.sort_by_key(|property| property.id);
        let capabilities: Vec<_> =
            capabilities.iter().map(|property| format!("{:02x}={}", property.id, property.value)).collect();
        self.add(format!("{kind}.{level}.capabilities"), or_none(capabilities.join(",")));
        if let Some(text) = properties.iter().find(|property| property.id == 0x1a).and_then(|it| string(&it.value)) {
            self.add("response_information", text);
        }
    }

    fn add_sys(&mut self, report: &Report) {
        for (topic, text) in &report.sys {
            self.add("sys.topic", topic);
            if let Some(text) = text {
                self.add("sys.text", format!("{topic}={text}"));
            }
        }
        // "No $SYS" can only be said where reading it was allowed.
        let allowed = report.levels().any(|(_, seen)| {
            let reading = seen.stranger.as_ref().and_then(|access| access.read.get("$SYS/#"));
            reading.is_some_and(|reading| reading.reaction.is_accepted() && reading.messages == 0)
        });
        if report.sys.is_empty() && allowed {
            self.add("sys.topic", "none");
        }
    }

    fn add_tls(&mut self, report: &Report) {
        let Some(tls) = &report.tls else { return self.add("tls", "no") };
        self.add("tls", "yes");
        if let Some(certificate) = tls.chain.first() {
            self.add("tls.issuer", &certificate.issuer);
            for name in &certificate.names {
                self.add("tls.name", name);
            }
        }
    }

    fn add_reaction(&mut self, name: String, reaction: &Reaction) {
        let text = match reaction {
            Reaction::Accepted { by } | Reaction::Refused { by } => by,
            Reaction::Closed => "closed",
            Reaction::Ignored => "ignored",
            Reaction::Unclear { .. } => return,
        };
        self.add(name, text);
    }
}

const fn suffix(level: Level) -> &'static str {
    match level {
        Level::V3_1_1 => "3.1.1",
        Level::V5 => "5",
    }
}

fn or_none(text: String) -> String {
    if text.is_empty() { "none".to_owned() } else { text }
}

/// None for a connection that could not be made: that says nothing about the broker.
fn answer_text(answer: &Answer) -> Option<String> {
    Some(match answer {
        Answer::Accepted(_) => "accepted".to_owned(),
        Answer::Refused(connack) => format!("refused 0x{:02x}", connack.code),
        Answer::Closed => "closed".to_owned(),
        Answer::Silent => "silent".to_owned(),
        Answer::Other { .. } => "other".to_owned(),
        Answer::Failed { .. } => return None,
    })
}

/// The text of a string property: two bytes of length in front.
fn string(value: &str) -> Option<String> {
    let bytes = hex::decode(value).ok()?;
    String::from_utf8(bytes.get(2..)?.to_vec()).ok()
}

/// Whether there may be a fact of that name.
#[cfg(test)]
pub(super) fn is_name(name: &str) -> bool {
    use crate::report::Oddity;
    let single = ["levels", "level.3.1", "level.unknown", "sys.topic", "sys.text", "reason", "response_information"];
    let of_level = |name: &str| {
        let property = |rest: &str| {
            matches!(rest, "bytes" | "order" | "capabilities")
                || u8::from_str_radix(rest, 16).is_ok_and(|id| PROPERTIES.contains(&id))
        };
        match name {
            "level" | "empty_id" | "assigned_id" | "qos1" | "qos2" | "write" | "write_sys" => true,
            "read.#" | "read.+/#" | "read.$SYS/#" | "read.$share/mqttinfo/#" => true,
            name if name.starts_with("oddity.") => Oddity::ALL.iter().any(|it| name == format!("oddity.{}", it.name())),
            _ => {
                let rest = name.strip_prefix("connack.5.").or_else(|| name.strip_prefix("empty_id.5."));
                rest.is_some_and(property)
            }
        }
    };
    single.contains(&name)
        || matches!(name, "tls" | "tls.issuer" | "tls.name")
        || name.strip_suffix(".3.1.1").or_else(|| name.strip_suffix(".5")).is_some_and(of_level)
        || (name.starts_with("connack.5.") || name.starts_with("empty_id.5.")) && of_level(name)
}

//! What the standard says, and whether the broker does it.

use super::{
    access::{answer_text, lower, reaction_text},
    draft::{Draft, Drafts},
    remedy::Remedy,
};
use crate::{
    report::{Answer, Flows, Level, LevelReport, Oddity, Reaction, Report, Severity},
    words::{count, sentence, short},
};

/// Which versions are spoken.
pub(super) fn judge_versions(report: &Report, drafts: &mut Drafts) {
    if let Some(answer) = report.mqtt_3_1.as_ref().filter(|answer| !matches!(answer, Answer::Failed { .. })) {
        drafts.add(if answer.speaks() {
            Draft::new("mqtt-3-1", Severity::Note, "The broker speaks MQTT 3.1, which is older than the standard.")
                .detail(format!("{}.", answer_text(answer)))
                .remedy(Remedy::Version3)
        } else {
            Draft::new("mqtt-3-1", Severity::Good, "The broker does not speak MQTT 3.1.")
                .detail(format!("{}.", answer_text(answer)))
        });
    }
    for (level, seen) in report.levels() {
        version(level, seen, drafts);
    }
    if let Some(draft) = report.unknown_level.as_ref().and_then(unknown_level) {
        drafts.add(draft);
    }
}

fn version(level: Level, seen: &LevelReport, drafts: &mut Drafts) {
    let id = match level {
        Level::V3_1_1 => "mqtt-3-1-1",
        Level::V5 => "mqtt-5",
    };
    let spoken = seen.anonymous.speaks() || seen.credentials.as_ref().is_some_and(Answer::speaks);
    if spoken {
        drafts.add(Draft::new(id, Severity::Good, format!("The broker speaks {}.", level.name())).at(level));
    } else if !matches!(seen.anonymous, Answer::Failed { .. }) {
        drafts.add(
            Draft::new(id, Severity::Note, format!("The broker does not speak {}.", level.name()))
                .at(level)
                .detail(format!("{}.", answer_text(&seen.anonymous))),
        );
    }
}

fn unknown_level(answer: &Answer) -> Option<Draft> {
    let id = "unknown-level";
    let draft = match answer {
        Answer::Refused(connack) if matches!(connack.code, 0x01 | 0x84) => {
            Draft::new(id, Severity::Good, "A version of MQTT that does not exist is refused with the right words.")
        }
        // MQTT 5 allows that; MQTT 3.1.1 wants a word.
        Answer::Closed => {
            Draft::new(id, Severity::Note, "A version of MQTT that does not exist is refused without a word.")
        }
        Answer::Refused(_) => {
            Draft::new(id, Severity::Note, "A version of MQTT that does not exist is refused with another reason.")
        }
        Answer::Accepted(_) => {
            Draft::new(id, Severity::Low, "A version of MQTT that does not exist is accepted.").remedy(Remedy::Maker)
        }
        Answer::Silent | Answer::Other { .. } => {
            Draft::new(id, Severity::Low, "A version of MQTT that does not exist is not answered.")
                .remedy(Remedy::Maker)
        }
        Answer::Failed { .. } => return None,
    };
    Some(draft.detail(format!("{}.", answer_text(answer))).reference("[MQTT-3.1.2-2]"))
}

/// What one version shows.
pub(super) fn judge(level: Level, seen: &LevelReport, drafts: &mut Drafts) {
    let mut add = |draft: Option<Draft>| {
        if let Some(draft) = draft {
            drafts.add(draft.at(level));
        }
    };
    add(seen.empty_id.as_ref().and_then(|answer| assigned_id(level, answer)));
    if let Some(flows) = &seen.flows {
        add(flow("qos-1", 1, &flows.qos1_in, "MQTT 3.1.1 and 5, section 4.3.2"));
        add(flow("qos-2", 2, &flows.qos2_in, "MQTT 3.1.1 and 5, section 4.3.3"));
        add(Some(delivery(flows)));
    }
    for rule in &RULES {
        add(rule.judge(level, seen));
    }
    add(dollar_topics(seen));
}

/// Whether a subscription to `#` keeps to topics that do not begin with `$`.
fn dollar_topics(seen: &LevelReport) -> Option<Draft> {
    let id = "dollar-topics";
    let came: u64 = [&seen.stranger, &seen.user]
        .into_iter()
        .flatten()
        .flat_map(|access| access.read.values())
        .map(|reading| reading.dollar)
        .max()
        .unwrap_or_default();
    let draft = match seen.oddities.get(&Oddity::WildcardDollar) {
        Some(Reaction::Accepted { .. }) => {
            Draft::new(id, Severity::Low, "Filters that begin with a wildcard also bring topics that begin with $.")
                .detail("A message on a topic of our own, $mqttinfo/…, came to who had subscribed to #.")
        }
        _ if came > 0 => {
            Draft::new(id, Severity::Low, "Filters that begin with a wildcard also bring topics that begin with $.")
                .detail(format!("{} came while listening.", count(came, "such message")))
        }
        Some(Reaction::Ignored) => {
            Draft::new(id, Severity::Good, "Filters that begin with a wildcard bring no topics that begin with $.")
        }
        _ => return None,
    };
    Some(draft.remedy(Remedy::Maker).reference("[MQTT-4.7.2-1]"))
}

fn assigned_id(level: Level, answer: &Answer) -> Option<Draft> {
    let id = "assigned-client-id";
    let draft = match answer {
        Answer::Accepted(connack) => {
            let draft = Draft::new(id, Severity::Good, "A client without an id of its own is let in.");
            match (&connack.assigned_id, level) {
                (Some(assigned), _) => draft.detail(format!("It was called {}.", short(assigned, 80))),
                (None, Level::V5) => draft.detail("It was not told its id, as MQTT 5 wants."),
                (None, Level::V3_1_1) => draft,
            }
        }
        Answer::Refused(_) | Answer::Closed => {
            Draft::new(id, Severity::Note, "A client without an id of its own is not let in.")
                .detail(format!("{}.", answer_text(answer)))
        }
        _ => return None,
    };
    Some(draft.reference("[MQTT-3.1.3-6]"))
}

fn flow(id: &'static str, qos: u8, reaction: &Reaction, reference: &'static str) -> Option<Draft> {
    let said = reaction_text(reaction);
    let draft = match reaction {
        Reaction::Accepted { by } if qos == 2 && by.starts_with("PUBACK") => {
            Draft::new(id, Severity::Low, "Messages of QoS 2 are acknowledged as if they were of QoS 1.")
                .remedy(Remedy::Maker)
        }
        Reaction::Accepted { .. } => {
            Draft::new(id, Severity::Good, format!("Messages of QoS {qos} are acknowledged as they should be."))
        }
        // QoS not supported; a choice that CONNACK announces.
        Reaction::Refused { by } if by.ends_with("0x9b") => {
            Draft::new(id, Severity::Note, format!("Messages of QoS {qos} are not supported."))
        }
        Reaction::Refused { .. } | Reaction::Closed => {
            Draft::new(id, Severity::Note, format!("Messages of QoS {qos} are refused."))
        }
        Reaction::Ignored => {
            Draft::new(id, Severity::Low, format!("Messages of QoS {qos} are not acknowledged.")).remedy(Remedy::Maker)
        }
        Reaction::Unclear { .. } => return None,
    };
    Some(draft.detail(format!("{said}.")).reference(reference))
}

fn delivery(flows: &Flows) -> Draft {
    let id = "qos-delivery";
    match flows.qos_out {
        Some(2) => Draft::new(id, Severity::Good, "Messages come back at the QoS at which they were sent."),
        Some(qos) => Draft::new(id, Severity::Note, format!("Messages come back at QoS {qos} at most.")),
        None => Draft::new(id, Severity::Low, "No message came back from the broker with its flow complete.")
            .detail("Neither of the highest QoS that the broker takes, nor of the next lower one."),
    }
    .reference("MQTT 3.1.1 and 5, section 4.3")
}

/// A finding about something that the standard forbids; several oddities of one kind make one finding.
struct Rule {
    id: &'static str,
    /// What is sent, for the middle of a sentence.
    what: &'static str,
    oddities: &'static [(Oddity, &'static str)],
    reference: [&'static str; 2],
}

const RULES: [Rule; 6] = [
    Rule {
        id: "qos-3",
        what: "QoS 3, which does not exist",
        oddities: &[(Oddity::PublishQos3, "in a message"), (Oddity::SubscribeQos3, "in a subscription")],
        reference: ["[MQTT-3.3.1-4], [MQTT-3.8.3-4]", "[MQTT-3.3.1-4], section 3.8.3.1"],
    },
    Rule {
        id: "invalid-filter",
        what: "the invalid filter A+",
        oddities: &[(Oddity::InvalidFilter, "A+")],
        reference: ["[MQTT-4.7.1-3]", "[MQTT-4.7.1-2]"],
    },
    Rule {
        id: "ill-formed-utf8",
        what: "text that is no UTF-8",
        oddities: &[
            (Oddity::Utf8Truncated, "a sequence that does not go on (C3 28)"),
            (Oddity::Utf8Overlong, "more bytes than needed (C0 AF)"),
            (Oddity::Utf8Surrogate, "half of a surrogate pair (ED A0 80)"),
            (Oddity::Utf8Null, "the character U+0000"),
        ],
        reference: ["[MQTT-1.5.3-1], [MQTT-1.5.3-2]", "[MQTT-1.5.4-1], [MQTT-1.5.4-2]"],
    },
    Rule {
        id: "reserved-flags",
        what: "a subscription with wrong reserved flags",
        oddities: &[(Oddity::ReservedFlags, "SUBSCRIBE")],
        reference: ["[MQTT-3.8.1-1]", "[MQTT-3.8.1-1]"],
    },
    Rule {
        id: "second-connect",
        what: "a second CONNECT on one connection",
        oddities: &[(Oddity::SecondConnect, "CONNECT")],
        reference: ["[MQTT-3.1.0-2]", "[MQTT-3.1.0-2]"],
    },
    Rule {
        id: "empty-id-persistent",
        what: "an empty client id without clean session",
        oddities: &[(Oddity::EmptyIdWithoutCleanSession, "CONNECT")],
        reference: ["[MQTT-3.1.3-8]", "[MQTT-3.1.3-8]"],
    },
];

impl Rule {
    fn judge(&self, level: Level, seen: &LevelReport) -> Option<Draft> {
        // MQTT 5 allows an empty client id with a session that lasts.
        if level == Level::V5 && self.id == "empty-id-persistent" {
            return None;
        }
        let tried: Vec<_> = self
            .oddities
            .iter()
            .filter_map(|(oddity, name)| Some((seen.oddities.get(oddity)?, *oddity, *name)))
            .filter(|(reaction, ..)| !matches!(reaction, Reaction::Unclear { .. }))
            .collect();
        let accepted = tried.iter().any(|(reaction, ..)| reaction.is_accepted());
        // Passed on to a subscriber, it breaks the connection of that one.
        let delivered = tried.iter().any(|(reaction, oddity, _)| {
            *oddity == Oddity::PublishQos3 && matches!(reaction, Reaction::Accepted { by } if by.starts_with("PUBLISH"))
        });
        let (severity, verb) = match () {
            () if tried.is_empty() => return None,
            () if delivered => (Severity::Medium, "passes on"),
            () if accepted => (Severity::Low, "takes"),
            () if tried.iter().all(|(reaction, ..)| reaction.is_refusal()) => (Severity::Good, "refuses"),
            () => (Severity::Low, "ignores"),
        };
        let [older, newer] = self.reference;
        // U+0000 is UTF-8, and forbidden all the same.
        let only_null =
            !tried.iter().any(|(reaction, oddity, _)| !reaction.is_refusal() && *oddity != Oddity::Utf8Null);
        let what = match severity {
            Severity::Good => self.what,
            _ if self.id == "ill-formed-utf8" && only_null => "text with the character U+0000",
            _ => self.what,
        };
        Some(
            Draft::new(self.id, severity, format!("The broker {verb} {what}."))
                .detail(detail(&tried))
                .remedy(Remedy::Maker)
                .reference(if level == Level::V5 { newer } else { older }),
        )
    }
}

fn detail(tried: &[(&Reaction, Oddity, &str)]) -> String {
    if let [(reaction, ..)] = tried {
        return format!("{}.", reaction_text(reaction));
    }
    let parts: Vec<_> =
        tried.iter().map(|(reaction, _, name)| format!("{name}: {}", lower(&reaction_text(reaction)))).collect();
    format!("{}.", sentence(&parts.join("; ")).trim_end_matches('.'))
}

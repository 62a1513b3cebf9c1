//! Limits that CONNACK of MQTT 5 names.

use super::{
    draft::{Draft, Drafts},
    remedy::Remedy,
};
use crate::report::{Level, LevelReport, Limits, Severity};

/// Larger than anything that devices send; a broker that takes more has no limit worth the name.
const LARGE: u32 = 16 * 1024 * 1024;

pub(super) fn judge(level: Level, seen: &LevelReport, drafts: &mut Drafts) {
    let Some(limits) = &seen.limits else { return };
    packet_size(level, limits, drafts);
    drafts.add(
        Draft::new("limits", Severity::Note, "The broker names limits for its clients.")
            .at(level)
            .detail(list(limits))
            .reference("MQTT 5, section 3.2.2.3"),
    );
}

fn packet_size(level: Level, limits: &Limits, drafts: &mut Drafts) {
    let (severity, title, detail) = match limits.maximum_packet_size {
        None => (
            Severity::Note,
            "The broker names no limit to the size of a packet.",
            "Then a packet may have 256 MB, unless the broker has a limit that it does not tell.".to_owned(),
        ),
        Some(bytes) if bytes > LARGE => {
            (Severity::Note, "The largest packet that the broker takes is very large.", format!("{bytes} bytes."))
        }
        Some(bytes) => (Severity::Good, "The broker limits the size of a packet.", format!("{bytes} bytes.")),
    };
    drafts.add(
        Draft::new("maximum-packet-size", severity, title)
            .at(level)
            .detail(detail)
            .remedy(Remedy::PacketSize)
            .reference("MQTT 5, section 3.2.2.3.6"),
    );
}

fn list(limits: &Limits) -> String {
    let mut parts = vec![
        format!("Publishes under way to it: {}", limits.receive_maximum),
        format!("topic aliases: {}", limits.topic_alias_maximum),
        format!("highest QoS: {}", limits.maximum_qos),
        match limits.server_keep_alive {
            Some(seconds) => format!("keep alive: {seconds} s, dictated"),
            None => "keep alive: the client's".to_owned(),
        },
        match limits.session_expiry {
            Some(u32::MAX) => "sessions expire: never".to_owned(),
            Some(seconds) => format!("sessions expire: after {seconds} s"),
            None => "sessions expire: as the client asks".to_owned(),
        },
    ];
    let missing: Vec<_> = [
        (limits.retain_available, "retained messages"),
        (limits.wildcard_subscriptions, "wildcards"),
        (limits.subscription_identifiers, "subscription identifiers"),
        (limits.shared_subscriptions, "shared subscriptions"),
    ]
    .into_iter()
    .filter(|(available, _)| !available)
    .map(|(_, name)| name)
    .collect();
    if !missing.is_empty() {
        parts.push(format!("not available: {}", missing.join(", ")));
    }
    format!("{}.", parts.join("; "))
}

//! What the messages looked like that could be read.

use super::{
    draft::{Draft, Drafts},
    remedy::Remedy,
};
use crate::{
    report::{Reader, Report, Severity},
    words::count,
};

pub(super) fn judge(report: &Report, drafts: &mut Drafts) {
    let seen = &report.payloads;
    // Empty payloads hide nothing and show nothing.
    let total = seen.total() - seen.empty;
    if total == 0 {
        return;
    }
    let readable = seen.json + seen.number + seen.text + seen.binary;
    let kinds = [
        (seen.json, "JSON"),
        (seen.number, "numbers"),
        (seen.text, "other text"),
        (seen.binary, "binary data with structure"),
        (seen.e4, "sealed by E4"),
        (seen.random, "without structure, so encrypted or compressed"),
    ];
    let kinds: Vec<_> =
        kinds.iter().filter(|(number, _)| *number > 0).map(|(number, kind)| format!("{number} {kind}")).collect();
    let who = match report.payloads_by {
        Reader::Stranger => "a stranger",
        Reader::User => "the user",
    };
    let detail = format!("Of {} that {who} could read: {}.", count(total, "payload"), kinds.join(", "));
    let (severity, title) = match (readable, readable == total) {
        (0, _) => (Severity::Good, format!("The payloads that {who} could read look encrypted.")),
        (_, true) => (Severity::Medium, format!("The payloads that {who} could read are in the clear.")),
        _ => (Severity::Medium, format!("Some of the payloads that {who} could read are in the clear.")),
    };
    drafts.add(
        Draft::new("payloads", severity, title)
            .detail(detail)
            .remedy(Remedy::EndToEnd)
            .reference("MQTT 5, section 5.4.5"),
    );
}

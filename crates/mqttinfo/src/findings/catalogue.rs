//! Everything that can be found, in one place: for SARIF, for the documentation, and for whoever counts findings.

use crate::report::Severity::{self, High, Low, Medium, Note};

/// Something that is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rule {
    /// Stable: `anonymous-access`.
    pub id: &'static str,
    /// What is looked at, in a few words.
    pub summary: &'static str,
    /// How bad it is at its worst.
    pub severity: Severity,
    /// Why it matters.
    pub help: &'static str,
}

/// All rules.
#[must_use]
pub const fn catalogue() -> &'static [Rule] {
    &RULES
}

/// Where a rule stands, which is the order of findings that are equally bad.
pub(super) fn position(id: &str) -> usize {
    RULES.iter().position(|rule| rule.id == id).unwrap_or(RULES.len())
}

const fn rule(id: &'static str, summary: &'static str, severity: Severity, help: &'static str) -> Rule {
    Rule { id, summary, severity, help }
}

// How bad is what:
//
// High     a stranger can read or write what is not his, or throw out a client that has a password.
// Medium   it needs one more thing to do harm: somebody on the way (no TLS, old TLS, certificates that clients cannot
//          check), guessing (user names, client ids), or that what was allowed is also delivered.
// Low      against the standard, or weaker than it has to be, and no way to do harm by it is known here.
// Note     a choice that the operator should know about.
// Good     as it should be.
//
// Anyone may connect is Medium, not High: what strangers may do then is judged by itself.
const RULES: [Rule; 44] = [
    rule("reachable", "Whether a broker answers", Note, "Nothing else can be said of what does not answer."),
    rule("incomplete", "Whether everything was looked at", Note, "What was not looked at is not mentioned."),
    rule(
        "anonymous-access",
        "Connecting without credentials",
        Medium,
        "Where anyone can connect, access rights are all that stands between a stranger and the messages.",
    ),
    rule(
        "credentials",
        "What credentials add",
        Low,
        "Credentials that give no more rights than a stranger has protect nothing.",
    ),
    rule(
        "login-errors",
        "Telling unknown users from wrong passwords",
        Medium,
        "Different answers let an attacker find user names first, and guess passwords for these alone.",
    ),
    rule(
        "read-everything",
        "Subscribing to all topics with #",
        High,
        "Whoever may subscribe to # reads every message of everybody.",
    ),
    rule(
        "read-every-level",
        "Subscribing to all topics with +/#",
        High,
        "The filter +/# matches nearly all topics, and goes around a rule that forbids only #.",
    ),
    rule(
        "read-shared",
        "Subscribing to all topics with a shared subscription",
        High,
        "A shared subscription may go around rules for #. Who joins a group of others also takes messages from them.",
    ),
    rule(
        "read-sys",
        "Reading $SYS",
        Low,
        "Topics below $SYS tell the product, its version, how many clients there are, and sometimes their ids.",
    ),
    rule(
        "retained-visible",
        "Retained messages that strangers see",
        Medium,
        "Retained messages show names, places and states at once, without waiting for anything to be sent.",
    ),
    rule(
        "write-topic",
        "Writing to an ordinary topic",
        High,
        "Whoever may write can command devices and fake what sensors say.",
    ),
    rule(
        "write-sys",
        "Writing below $SYS",
        High,
        "Topics below $SYS are the broker's own. Who can write there deceives those who watch it.",
    ),
    rule(
        "stranger-takeover",
        "Taking over a user's session without credentials",
        High,
        "A second connection with the same client id ends the first one, and gets its session and its messages.",
    ),
    rule(
        "takeover",
        "Taking over a session of one's like",
        Medium,
        "The standard wants that a second connection with a client id ends the first. Among strangers, anyone can end \
         the connection of anyone.",
    ),
    rule(
        "payloads",
        "Whether payloads are readable",
        Medium,
        "Readable payloads are readable by all who receive them.",
    ),
    rule(
        "tls",
        "Protection of the connection",
        Medium,
        "Without TLS everybody on the way reads and changes everything.",
    ),
    rule("tls-incomplete", "Whether TLS could be looked at", Note, "What was not looked at is not mentioned."),
    rule(
        "tls-old-versions",
        "TLS 1.0 and 1.1",
        Medium,
        "TLS 1.0 and 1.1 have known weaknesses, and are not to be used.",
    ),
    rule("tls-1-3", "TLS 1.3", Note, "TLS 1.3 has no weak suites, and hides certificates from those on the way."),
    rule("tls-suites", "Cipher suites", Medium, "A weak suite may be broken by somebody on the way."),
    rule(
        "tls-certificate-validity",
        "Dates of the certificate",
        Medium,
        "Clients refuse a certificate that is not valid now, or were told not to check it.",
    ),
    rule(
        "tls-certificate-trust",
        "Who vouches for the certificate",
        Low,
        "Clients that do not know who made a certificate cannot tell the broker from somebody else.",
    ),
    rule(
        "tls-certificate-name",
        "Name in the certificate",
        Medium,
        "Clients that check names refuse it, and those that do not accept any certificate of the same maker.",
    ),
    rule("tls-key", "Key of the certificate", Medium, "A short key may be broken."),
    rule("tls-signature", "Signatures of the chain", Medium, "Signatures by SHA-1 and MD5 can be forged."),
    rule(
        "tls-client-certificate",
        "Client certificates",
        Note,
        "A client certificate cannot be guessed, and keeps strangers out before they can send anything.",
    ),
    rule("tls-alpn", "ALPN mqtt", Note, "By the name mqtt, one port can serve several protocols and tell them apart."),
    rule("mqtt-3-1", "MQTT 3.1", Note, "MQTT 3.1 was never a standard of OASIS, and few clients need it."),
    rule("mqtt-3-1-1", "MQTT 3.1.1", Note, "Most devices speak MQTT 3.1.1."),
    rule("mqtt-5", "MQTT 5", Note, "MQTT 5 lets a broker say why it refuses something, and what its limits are."),
    rule(
        "unknown-level",
        "Answer to an unknown version",
        Low,
        "A client of a later version has to learn that it is not spoken.",
    ),
    rule(
        "assigned-client-id",
        "Empty client id with clean session",
        Note,
        "A broker may assign ids to clients that have none.",
    ),
    rule("qos-1", "Receiving QoS 1", Low, "A message of QoS 1 has to be acknowledged."),
    rule("qos-2", "Receiving QoS 2", Low, "A message of QoS 2 has to be acknowledged in two steps."),
    rule("qos-delivery", "Sending QoS 1 and 2", Low, "A subscriber should get messages at the QoS that it asked for."),
    rule("qos-3", "QoS 3", Medium, "There is no QoS 3. Passed on, such a packet breaks the connections of others."),
    rule("invalid-filter", "Invalid filters", Low, "What + means within a level is not defined, and brokers differ."),
    rule(
        "ill-formed-utf8",
        "Ill-formed UTF-8",
        Low,
        "Access rules may be compared with other text than was meant, and clients that check close the connection.",
    ),
    rule(
        "reserved-flags",
        "Reserved flags",
        Low,
        "A broker that lets reserved bits pass may not notice other errors either.",
    ),
    rule("second-connect", "A second CONNECT", Low, "A second CONNECT could change who a connection belongs to."),
    rule(
        "empty-id-persistent",
        "Empty client id without clean session",
        Low,
        "A session that nobody can come back to stays behind.",
    ),
    rule(
        "dollar-topics",
        "Topics that begin with $, and wildcards",
        Low,
        "What brokers and their tools say among themselves below $ is not for who asks for everything else.",
    ),
    rule(
        "maximum-packet-size",
        "Largest packet",
        Note,
        "Without a limit, one client can fill the memory of the broker.",
    ),
    rule("limits", "Limits that the broker names", Note, "What clients may count on."),
];

/// Whether a rule may give a severity.
#[cfg(test)]
pub(super) fn allows(rule: &Rule, severity: Severity) -> bool {
    severity == Severity::Good || severity <= rule.severity
}

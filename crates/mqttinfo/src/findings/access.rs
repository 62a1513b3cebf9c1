//! Who may connect, and what strangers and users may do.

use super::{
    draft::{Draft, Drafts},
    remedy::Remedy,
};
use crate::{
    report::{Access, Answer, Level, LevelReport, LoginErrors, Reaction, Reading, Report, Severity, Takeover, Writing},
    words::{count, sentence, short},
};

const AUTHENTICATION: &str = "MQTT 3.1.1 and 5, section 5.4.1";
const AUTHORIZATION: &str = "MQTT 3.1.1 and 5, section 5.4.2";
const SYS: &str = "MQTT 3.1.1 and 5, section 4.7.2";

pub(super) fn judge(report: &Report, level: Level, seen: &LevelReport, drafts: &mut Drafts) {
    let mut add = |draft: Option<Draft>| {
        if let Some(draft) = draft {
            drafts.add(draft.at(level));
        }
    };
    add(anonymous(seen));
    add(credentials(seen));
    add(seen.login_errors.as_ref().and_then(login_errors));
    if let Some(stranger) = &seen.stranger {
        add(stranger.read.get("#").and_then(read_everything));
        add(stranger.read.get("+/#").and_then(|reading| read_every_level(reading, stranger.read.get("#"))));
        add(stranger.read.get("$share/mqttinfo/#").and_then(|reading| read_shared(level, seen, reading)));
        add(stranger.read.get("$SYS/#").and_then(|reading| read_sys(report, reading)));
        add(retained(stranger));
        add(stranger.write.as_ref().and_then(|writing| write_topic(level, writing)));
        add(stranger.write_sys.as_ref().and_then(|writing| write_sys(level, writing)));
    }
    if let Some(takeover) = &seen.takeover {
        add(takeover.by_stranger.as_ref().and_then(stranger_takeover));
        add(by_like(takeover, seen.anonymous.is_accepted()));
    }
}

fn anonymous(seen: &LevelReport) -> Option<Draft> {
    let draft = match &seen.anonymous {
        Answer::Accepted(_) => {
            Draft::new("anonymous-access", Severity::Medium, "Anyone can connect, without a user name or a password.")
        }
        // Bad user name or password, not authorized, banned, bad authentication method; of both versions.
        answer @ Answer::Refused(connack) if matches!(connack.code, 0x04 | 0x05 | 0x86 | 0x87 | 0x8a | 0x8c) => {
            Draft::new("anonymous-access", Severity::Good, "Nobody can connect without credentials.")
                .detail(format!("{}.", answer_text(answer)))
        }
        answer @ Answer::Refused(_) if answer.speaks() => Draft::new(
            "anonymous-access",
            Severity::Note,
            "A connection without credentials is refused, but not for the lack of them.",
        )
        .detail(format!("{}.", answer_text(answer))),
        // Not answered at all: only the credentials tell that this version is spoken.
        answer @ (Answer::Closed | Answer::Silent) if seen.credentials.as_ref().is_some_and(Answer::is_accepted) => {
            Draft::new("anonymous-access", Severity::Good, "Nobody can connect without credentials.")
                .detail(format!("{}.", answer_text(answer)))
        }
        _ => return None,
    };
    Some(draft.remedy(Remedy::Anonymous).reference(AUTHENTICATION))
}

fn credentials(seen: &LevelReport) -> Option<Draft> {
    let draft = match seen.credentials.as_ref()? {
        Answer::Accepted(_) if !seen.anonymous.is_accepted() => {
            let title = "With the credentials that were given one can connect, and without them not.";
            let draft = Draft::new("credentials", Severity::Good, title);
            match &seen.user {
                Some(user) => draft.detail(format!("The user may: {}.", rights(user))),
                None => draft,
            }
        }
        Answer::Accepted(_) => {
            let (stranger, user) = (seen.stranger.as_ref()?, seen.user.as_ref()?);
            let added = added(stranger, user);
            if added.is_empty() {
                // A user who may do nothing of what was tried has rights that were not tried.
                if abilities(user).is_empty() {
                    return None;
                }
                Draft::new("credentials", Severity::Low, "Credentials add nothing: a stranger may do as much.")
                    .detail(format!("Both may: {}.", rights(user)))
                    .remedy(Remedy::Rights)
            } else {
                Draft::new("credentials", Severity::Good, "Credentials allow more than a stranger may do.")
                    .detail(format!("They add: {}.", added.join(", ")))
            }
        }
        answer @ (Answer::Refused(_) | Answer::Closed | Answer::Silent) => {
            Draft::new("credentials", Severity::Note, "The credentials that were given are not accepted.")
                .detail(format!("{}.", answer_text(answer)))
        }
        Answer::Other { .. } | Answer::Failed { .. } => return None,
    };
    Some(draft.reference(AUTHENTICATION))
}

/// What the access is that was looked at, in words.
fn abilities(access: &Access) -> Vec<String> {
    let reads = access.read.iter().filter(|(_, reading)| reading.reaction.is_accepted());
    let mut can: Vec<_> = reads.map(|(filter, _)| format!("subscribing to {filter}")).collect();
    let delivered = |writing: &Option<Writing>| writing.as_ref().is_some_and(|writing| writing.delivered);
    if delivered(&access.write) {
        can.push("writing to an ordinary topic".to_owned());
    }
    if delivered(&access.write_sys) {
        can.push("writing below $SYS".to_owned());
    }
    can
}

fn rights(access: &Access) -> String {
    let can = abilities(access);
    if can.is_empty() { "nothing of what was tried".to_owned() } else { can.join(", ") }
}

fn added(stranger: &Access, user: &Access) -> Vec<String> {
    let before = abilities(stranger);
    let mut added: Vec<_> = abilities(user).into_iter().filter(|ability| !before.contains(ability)).collect();
    // Some brokers accept every subscription, and filter what they deliver.
    for (filter, reading) in &user.read {
        let more = stranger.read.get(filter).is_some_and(|other| {
            other.reaction.is_accepted()
                && reading.reaction.is_accepted()
                && other.messages == 0
                && reading.messages > 0
        });
        if more {
            added.push(format!("messages by {filter}"));
        }
    }
    added
}

fn login_errors(errors: &LoginErrors) -> Option<Draft> {
    let (wrong, unknown) = (&errors.wrong_password, &errors.unknown_user);
    let failed = |answer: &Answer| matches!(answer, Answer::Failed { .. } | Answer::Accepted(_));
    if failed(wrong) || failed(unknown) {
        return None;
    }
    let (wrong, unknown) = (answer_text(wrong), answer_text(unknown));
    let draft = if wrong == unknown {
        Draft::new("login-errors", Severity::Good, "A wrong password and an unknown user get the same answer.")
            .detail(format!("{wrong}."))
    } else {
        Draft::new("login-errors", Severity::Medium, "A wrong password and an unknown user get different answers.")
            .detail(format!("Wrong password: {wrong}. Unknown user: {unknown}. So user names can be found by trying."))
            .remedy(Remedy::LoginErrors)
    };
    Some(draft.reference("CWE-204"))
}

fn read_everything(reading: &Reading) -> Option<Draft> {
    let titles = [
        "A stranger can read everything that is sent here.",
        "A stranger may subscribe to everything.",
        "A stranger may not subscribe to everything.",
    ];
    read("read-everything", reading, titles).map(|draft| draft.remedy(Remedy::Rights).reference(AUTHORIZATION))
}

fn read_every_level(reading: &Reading, hash: Option<&Reading>) -> Option<Draft> {
    let titles = if hash.is_some_and(|hash| hash.reaction.is_refusal()) {
        [
            "A stranger can read everything with +/#, although # is refused.",
            "A stranger may subscribe to +/#, although # is refused.",
            "A stranger may not subscribe to +/#.",
        ]
    } else {
        [
            "A stranger can read everything with +/#.",
            "A stranger may subscribe to +/#.",
            "A stranger may not subscribe to +/#.",
        ]
    };
    read("read-every-level", reading, titles).map(|draft| draft.remedy(Remedy::Rights).reference(AUTHORIZATION))
}

fn read_shared(level: Level, seen: &LevelReport, reading: &Reading) -> Option<Draft> {
    // Many brokers do not know them in MQTT 3.1.1. To these it is a filter like any other, and no topic is like it.
    let unknown = if level == Level::V3_1_1 {
        Some("MQTT 3.1.1 has no shared subscriptions: the broker may not know them.")
    } else if seen.limits.as_ref().is_some_and(|limits| !limits.shared_subscriptions) {
        Some("The broker says that it has no shared subscriptions.")
    } else {
        None
    };
    if let (Some(unknown), Reaction::Accepted { .. }, 0) = (unknown, &reading.reaction, reading.messages) {
        let title = "A stranger may subscribe with $share, and nothing comes.";
        return Some(
            Draft::new("read-shared", Severity::Note, title)
                .detail(format!("{}. {unknown}", reaction_text(&reading.reaction)))
                .remedy(Remedy::Rights)
                .reference("MQTT 5, section 4.8.2"),
        );
    }
    let titles = [
        "A stranger can read everything with a shared subscription.",
        "A stranger may share a subscription to everything.",
        "A stranger may not share a subscription to everything.",
    ];
    read("read-shared", reading, titles).map(|draft| draft.remedy(Remedy::Rights).reference("MQTT 5, section 4.8.2"))
}

/// Titles for: messages came; accepted, and none came; refused.
fn read(id: &'static str, reading: &Reading, [came, none, refused]: [&'static str; 3]) -> Option<Draft> {
    let said = reaction_text(&reading.reaction);
    Some(match &reading.reaction {
        Reaction::Accepted { .. } if reading.messages > 0 => {
            Draft::new(id, Severity::High, came).detail(messages(reading))
        }
        Reaction::Accepted { .. } => Draft::new(id, Severity::Medium, none).detail(format!(
            "{said}. No message came while listening: nothing was sent, or the broker filters what it delivers."
        )),
        Reaction::Refused { .. } | Reaction::Closed => {
            Draft::new(id, Severity::Good, refused).detail(format!("{said}."))
        }
        Reaction::Ignored | Reaction::Unclear { .. } => return None,
    })
}

fn messages(reading: &Reading) -> String {
    let early = if reading.cut_short { " Listening ended early, for more came than is counted." } else { "" };
    format!(
        "{} of {} came while listening, {} of them retained, with {} of payload.{early}",
        count(reading.messages, "message"),
        count(reading.topics, "topic"),
        reading.retained,
        count(reading.bytes, "byte")
    )
}

fn read_sys(report: &Report, reading: &Reading) -> Option<Draft> {
    let draft = match &reading.reaction {
        Reaction::Accepted { .. } if reading.messages > 0 => {
            let versions: Vec<_> = report
                .sys
                .iter()
                .filter_map(|(topic, text)| Some(format!("{} is \"{}\"", short(topic, 80), short(text.as_ref()?, 80))))
                .collect();
            let versions = if versions.is_empty() { String::new() } else { format!(" {}.", versions.join(", ")) };
            Draft::new("read-sys", Severity::Low, "A stranger can read what the broker says about itself, below $SYS.")
                .detail(format!("{}{versions}", messages(reading)))
        }
        Reaction::Accepted { .. } => {
            Draft::new("read-sys", Severity::Note, "A stranger may subscribe to $SYS/#, and nothing comes.")
        }
        Reaction::Refused { .. } | Reaction::Closed => {
            Draft::new("read-sys", Severity::Good, "A stranger may not read $SYS.")
                .detail(format!("{}.", reaction_text(&reading.reaction)))
        }
        Reaction::Ignored | Reaction::Unclear { .. } => return None,
    };
    Some(draft.remedy(Remedy::SysRights).reference(SYS))
}

/// Not every broker delivers retained messages to wildcards, so that none by these says nothing of the others. Those below
/// `$SYS` say nothing either: they are the broker's own.
fn retained(stranger: &Access) -> Option<Draft> {
    let ordinary =
        || stranger.read.iter().filter(|(filter, _)| !filter.starts_with("$SYS")).map(|(_, reading)| reading);
    let known = || ordinary().filter(|reading| !matches!(reading.reaction, Reaction::Unclear { .. }));
    // The filters overlap: the largest number, not the sum.
    let most = known().chain(&stranger.exact).map(|it| it.retained).max()?;
    if most > 0 {
        let early = ordinary().any(|reading| reading.cut_short);
        let at_least = if early { "At least " } else { "" };
        let by_name = if known().all(|reading| reading.retained == 0) {
            " They come to who subscribes to a topic by its name, and not to wildcards."
        } else {
            ""
        };
        return Some(
            Draft::new("retained-visible", Severity::Medium, "A stranger sees messages that the broker keeps.")
                .detail(format!("{at_least}{}.{by_name}", count(most, "retained message")))
                .remedy(Remedy::Rights)
                .reference(AUTHORIZATION),
        );
    }
    let draft = match &stranger.exact {
        Some(exact) => Draft::new("retained-visible", Severity::Good, "A stranger sees no retained messages.")
            .detail(format!("Neither by wildcards, nor of {} by name.", count(exact.topics, "topic"))),
        None => Draft::new("retained-visible", Severity::Note, "No retained message came to a stranger by a wildcard.")
            .detail(
                "Some brokers deliver them to who subscribes to a topic by its name only, and no name was seen to try that.",
            ),
    };
    Some(draft.remedy(Remedy::Rights).reference(AUTHORIZATION))
}

fn write_topic(level: Level, writing: &Writing) -> Option<Draft> {
    let said = reaction_text(&writing.reaction);
    let id = "write-topic";
    let draft = match &writing.reaction {
        _ if writing.delivered => {
            Draft::new(id, Severity::High, "A stranger can write to topics, and others receive it.")
                .detail(format!("{said}, and delivered to a subscriber."))
        }
        Reaction::Accepted { .. } => {
            // MQTT 3.1.1 has no code that says no, so brokers acknowledge what they throw away.
            let severity = if level == Level::V5 { Severity::Medium } else { Severity::Low };
            Draft::new(id, severity, "What a stranger writes is acknowledged, but was not seen to arrive.")
                .detail(format!("{said}. Either it is thrown away, or the stranger may not read it back."))
        }
        Reaction::Refused { .. } | Reaction::Closed => {
            Draft::new(id, Severity::Good, "A stranger may not write to topics.").detail(format!("{said}."))
        }
        Reaction::Ignored | Reaction::Unclear { .. } => return None,
    };
    Some(draft.remedy(Remedy::Rights).reference(AUTHORIZATION))
}

fn write_sys(level: Level, writing: &Writing) -> Option<Draft> {
    let said = reaction_text(&writing.reaction);
    let id = "write-sys";
    let draft = match &writing.reaction {
        _ if writing.delivered => {
            Draft::new(id, Severity::High, "A stranger can write below $SYS, and others receive it.")
                .detail(format!("{said}, and delivered to a subscriber."))
        }
        Reaction::Accepted { .. } => {
            let severity = if level == Level::V5 { Severity::Low } else { Severity::Note };
            Draft::new(id, severity, "What a stranger writes below $SYS is acknowledged, but not forwarded.")
                .detail(format!("{said}."))
        }
        Reaction::Refused { .. } | Reaction::Closed => {
            Draft::new(id, Severity::Good, "A stranger may not write below $SYS.").detail(format!("{said}."))
        }
        Reaction::Ignored | Reaction::Unclear { .. } => return None,
    };
    Some(draft.remedy(Remedy::SysRights).reference(SYS))
}

/// What is told of is the connection of the user: if it ends, the stranger has taken its place.
fn stranger_takeover(reaction: &Reaction) -> Option<Draft> {
    let draft = match reaction {
        Reaction::Refused { .. } | Reaction::Closed => Draft::new(
            "stranger-takeover",
            Severity::High,
            "A stranger can take over the session of a user by its client id.",
        )
        .detail(format!("To the user's connection: {}.", lower(&reaction_text(reaction)))),
        Reaction::Accepted { .. } | Reaction::Ignored => {
            Draft::new("stranger-takeover", Severity::Good, "A stranger cannot take over the session of a user.")
        }
        Reaction::Unclear { .. } => return None,
    };
    Some(draft.remedy(Remedy::Takeover).reference("MQTT 3.1.1 and 5, section 5.4.2"))
}

fn by_like(takeover: &Takeover, open: bool) -> Option<Draft> {
    let reaction = &takeover.by_like;
    let draft = match reaction {
        Reaction::Refused { .. } | Reaction::Closed if open => Draft::new(
            "takeover",
            Severity::Medium,
            "Anyone can end the connection of anyone by its client id.",
        )
        .detail(
            "A second connection with the same client id ends the first, as the standard says; and here anyone can \
                 connect.",
        ),
        Reaction::Refused { .. } | Reaction::Closed => {
            Draft::new("takeover", Severity::Good, "A second connection with a client id ends the first.")
                .detail(format!("To the first: {}.", lower(&reaction_text(reaction))))
        }
        Reaction::Accepted { .. } | Reaction::Ignored => {
            Draft::new("takeover", Severity::Low, "Two connections may have the same client id.")
                .detail("The first stayed when the second came. The standard wants it ended.")
        }
        Reaction::Unclear { .. } => return None,
    };
    let remedy = if reaction.is_refusal() { Remedy::Takeover } else { Remedy::Maker };
    Some(draft.remedy(remedy).reference("[MQTT-3.1.4-2] in MQTT 3.1.1, [MQTT-3.1.4-3] in MQTT 5"))
}

/// An answer in words, without what differs from one connection to the next.
pub(super) fn answer_text(answer: &Answer) -> String {
    match answer {
        Answer::Accepted(_) => "Accepted".to_owned(),
        Answer::Refused(connack) => match &connack.reason {
            Some(reason) => {
                format!("Refused with CONNACK 0x{:02x} and the words \"{}\"", connack.code, short(reason, 80))
            }
            None => format!("Refused with CONNACK 0x{:02x}", connack.code),
        },
        Answer::Closed => "The connection was closed without an answer".to_owned(),
        Answer::Silent => "No answer came".to_owned(),
        Answer::Other { looks_like, .. } => {
            format!("The answer is no CONNACK, but looks like {}", short(looks_like, 80))
        }
        Answer::Failed { reason } => format!("No connection: {reason}"),
    }
}

/// A reaction in words.
pub(super) fn reaction_text(reaction: &Reaction) -> String {
    match reaction {
        Reaction::Accepted { by } => format!("Accepted with {by}"),
        Reaction::Refused { by } => format!("Refused with {by}"),
        Reaction::Closed => "The connection was closed".to_owned(),
        Reaction::Ignored => "Nothing happened".to_owned(),
        Reaction::Unclear { reason } => sentence(reason),
    }
}

/// For the middle of a sentence.
pub(super) fn lower(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_lowercase).collect();
    format!("{first}{}", letters.as_str())
}

//! What became of commands, by what their device reports.

use super::session::Reports;
use crate::terminal::printable;
use e4::{
    ClientId,
    controller::{Report, SealedCommand, WhyRefused},
};
use serde::Serialize;

/// What became of the commands for one device.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    /// The device has carried them out, and stored what they change.
    Confirmed,
    /// It has carried out the last of several commands that belong together. Whether the others reached it before is not known.
    LastOnly,
    /// The device has refused them.
    Refused,
    /// It took a later command, so that it does not take these any more; whether it had taken them is not known.
    Overtaken,
    /// It has taken none since it was made, which by its clock was later than these: it does not take them.
    MadeLater,
    /// It has reported before, and said nothing of these within the time.
    Silent,
    /// It has never reported.
    NeverReported,
}

/// An outcome, and the reason in words, if it is not the one that was hoped for.
pub(super) struct Told {
    pub(super) outcome: Outcome,
    pub(super) reason: Option<String>,
}

/// What a device says of its commands so far; nothing if it has not said it yet.
pub(super) fn said(commands: &[SealedCommand], report: Option<&Report>) -> Option<Result<Outcome, WhyRefused>> {
    let (last, report) = (commands.last()?, report?);
    // What could not be stored waits, and may be carried out yet.
    let is_final = |why| why != WhyRefused::NotStored;
    if let Some(refused) = report.refused.filter(|refused| refused.sent == last.sent() && is_final(refused.why)) {
        return Some(Err(refused.why));
    }
    if report.newest > last.sent() {
        // Without a command there is the time of its making.
        let took_none = report.newest_v == [0; 16];
        return Some(Ok(if took_none { Outcome::MadeLater } else { Outcome::Overtaken }));
    }
    // Who holds back the first of a pair, and the reports before, would else have a soft rotation pass for a hard one.
    let outcome = if commands.len() == 1 { Outcome::Confirmed } else { Outcome::LastOnly };
    (report.newest == last.sent() && report.newest_v == *last.v()).then_some(Ok(outcome))
}

impl Told {
    /// When nobody waits any longer.
    pub(super) fn of(
        device: &ClientId,
        commands: &[SealedCommand],
        reports: &Reports,
        knew: bool,
        within: u64,
    ) -> Self {
        let report = reports.of(device);
        let told = |outcome, reason: String| Self { outcome, reason: Some(reason) };
        match said(commands, report) {
            Some(Ok(Outcome::Confirmed)) => Self { outcome: Outcome::Confirmed, reason: None },
            Some(Ok(Outcome::LastOnly)) => told(
                Outcome::LastOnly,
                "took the last of the commands; whether the first was held back on the way, and the old key opens for one hour \
                 more, is not known: repeat this, now that the device has reported what it knows"
                    .to_owned(),
            ),
            Some(Ok(Outcome::MadeLater)) => told(
                Outcome::MadeLater,
                "has taken no command since it was made, and takes none that is dated before that: by its clock it was made \
                 later than this was sent. Repeat this, now that the device has reported when that was, and check both clocks"
                    .to_owned(),
            ),
            Some(Ok(outcome)) => {
                told(outcome, "took a later command of somebody else; whether it took this one is not known".to_owned())
            }
            Some(Err(why)) => told(Outcome::Refused, format!("refused it: {why}")),
            None => {
                let silent = format!("not confirmed within {within} s");
                match (reports.bad(device), report) {
                    (Some(bad), _) => told(Outcome::Silent, format!("{silent}; {}", printable(&bad.to_string()))),
                    (None, Some(report)) if report.command_waits => told(
                        Outcome::Silent,
                        format!("{silent}: a command waits there that the device could not store yet"),
                    ),
                    (None, None) if reports.only_older(device) => {
                        told(Outcome::Silent, format!("{silent}: only an older report came, which is ignored"))
                    }
                    (None, None) if !knew => told(
                        Outcome::NeverReported,
                        format!(
                            "{silent}, and it has never reported: it may be away or of an older version, which does not \
                             report, or the broker forbids it to"
                        ),
                    ),
                    _ => told(
                        Outcome::Silent,
                        format!("{silent}: it may be away, and the broker keep the command for it"),
                    ),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use e4::{
        Client, ClientKey, Command, Identity, MemoryStore, Timestamp, TopicHash, TopicKey,
        controller::{HardRotation, Lane, Recipient, RefusedCommand},
    };

    #[test]
    fn commands_are_confirmed_by_the_last_of_them_and_nothing_else() {
        let (id, key) = (ClientId::from_bytes([7; 16]), ClientKey::from_bytes(&[9; 32]).unwrap());
        let recipient = Recipient::symmetric(id, &key);
        let mut device = Client::builder(Identity::symmetric(id, key)).create(MemoryStore::new()).unwrap();
        let (topic, mut lane) = (TopicHash::from_bytes([1; 16]), Lane::new());
        let key = |n| TopicKey::from_bytes(&[n; 32]).unwrap();
        let mut pair = || {
            let pair = HardRotation::PushOut.commands(topic, key(3)).unwrap();
            recipient.seal(&pair, &mut lane, Timestamp::now()).unwrap()
        };
        let (first, second) = (pair(), pair());
        let mut report = |command: Option<&SealedCommand>| {
            if let Some(command) = command {
                let _refused_or_not = device.open(device.control_topic(), command.as_bytes());
            }
            recipient.open_report(&device.report()).unwrap()
        };
        let none = report(None);
        assert!(said(&first, None).is_none() && said(&first, Some(&none)).is_none());
        let half = report(first.first());
        assert!(said(&first, Some(&half)).is_none(), "half of it is not enough");
        let whole = report(first.last());
        assert!(said(&first, Some(&whole)) == Some(Ok(Outcome::LastOnly)), "the first may have been held back");
        assert!(said(first.get(1..).unwrap(), Some(&whole)) == Some(Ok(Outcome::Confirmed)));
        assert!(said(&second, Some(&whole)).is_none(), "of an earlier second");
        let later = report(second.first());
        assert!(said(&first, Some(&later)) == Some(Ok(Outcome::Overtaken)));
        assert!(said(&second, Some(&later)).is_none());
        let mut new = later;
        new.newest_v = [0; 16];
        assert!(said(&first, Some(&new)) == Some(Ok(Outcome::MadeLater)), "it took none, and so no later one either");
        // There is no key of that topic that could have a next one.
        let next = Command::SetNextTopicKey { topic: TopicHash::from_bytes([2; 16]), key: key(4) };
        let refused = vec![recipient.seal_dated(&next, Timestamp::now().plus(20)).unwrap()];
        let mut report = report(refused.first());
        assert!(said(&refused, Some(&report)) == Some(Err(WhyRefused::Content)));
        report.refused = report.refused.map(|refused| RefusedCommand { why: WhyRefused::NotStored, ..refused });
        assert!(said(&refused, Some(&report)).is_none(), "it waits, and is stored once there is room");
    }
}

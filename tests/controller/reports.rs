//! What a key server believes of reports, and what it does not.

use crate::{
    TOPIC,
    common::{Device, NOW, Party, TestStore, bytes, seal_raw, set_topic_key, topic_hash, topic_key},
};
use e4::{
    Client, ClientKey, Command, MemoryStore, OpenError, REPORT_LEN, Refusal, SealError, Subtree, SubtreeKey, Timestamp,
    controller::{
        Lane, LastReport, OlderReport, Recipient, Report, ReportError, SealedCommand, StateDigest, StateEntry, question,
    },
};

fn both_modes() -> [Device; 2] {
    [Device::symmetric("pump"), Device::public_key("pump")].map(|device| device.knowing(TOPIC, &topic_key("a")))
}

fn report(device: &Device) -> Report {
    device.recipient.open_report(&device.client.report()).unwrap()
}

#[test]
fn a_report_that_is_sent_on_as_a_command_does_nothing() {
    for mut device in both_modes() {
        let report = device.client.report();
        for len in [REPORT_LEN, REPORT_LEN - 10, 25] {
            let result = device.unchanged_by(|device| device.deliver(&report[..len]));
            assert_eq!(result, Err(OpenError::Refused(Refusal::NotAuthentic)));
        }
        assert!(!device.client.is_authentic_command(&report));
    }
}

#[test]
fn a_command_that_is_sent_on_as_a_report_is_none() {
    for device in both_modes() {
        for command in [Command::ResetTopics, set_topic_key(TOPIC, &topic_key("b"))] {
            let sealed = device.recipient.seal_dated(&command, Timestamp::from_unix(NOW)).unwrap();
            assert_eq!(device.recipient.open_report(sealed.as_bytes()), Err(ReportError::NotAuthentic));
        }
        // Nor would be one of a report's length and with its content: the keys are two.
        let body = {
            let mut body = [0; REPORT_LEN - 24];
            body[0] = 1;
            body
        };
        let sealed = seal_raw(&device.command_key, NOW, &body);
        assert_eq!((sealed.len(), device.recipient.open_report(&sealed)), (REPORT_LEN, Err(ReportError::NotAuthentic)));
    }
}

#[test]
fn a_report_of_another_device_is_none_of_this_one() {
    for device in both_modes() {
        for other in [Device::symmetric("panel"), Device::public_key("panel")] {
            let sealed = other.client.report();
            assert_eq!(device.recipient.open_report(&sealed), Err(ReportError::NotAuthentic));
            assert!(other.recipient.open_report(&sealed).is_ok());
        }
    }
}

/// With the key of everything, which covers that topic too.
#[test]
fn a_client_puts_nothing_in_the_place_of_its_own_report() {
    let everything = Subtree::new("#").unwrap();
    let mut device = Device::symmetric("pump");
    device.command(&Command::set_subtree_key(&everything, &SubtreeKey::from_bytes(&[7; 32]).unwrap())).unwrap();
    let own = device.recipient.report_topic();
    assert_eq!(device.client.seal(own.as_str(), b"4.2 bar"), Err(SealError::ReportTopic));
    for other in [format!("{own}/x"), own.as_str().to_uppercase(), own.as_str().replace("/report", "/reports")] {
        assert!(device.client.seal(&*other, b"4.2 bar").is_ok(), "{other}");
    }
    let others = Party::symmetric("panel").recipient.report_topic();
    assert!(device.client.seal(others.as_str(), b"4.2 bar").is_ok());
}

#[test]
fn an_old_report_that_is_played_back_changes_nothing() {
    for mut device in both_modes() {
        let mut last = LastReport::new();
        let mut recorded = Vec::new();
        for n in 0..4 {
            // One more command, and one more report without one.
            if n % 2 == 0 {
                device.command(&set_topic_key(TOPIC, &topic_key(&format!("{n}")))).unwrap();
            }
            device.clock.advance(1);
            recorded.push(device.client.report());
            last.accept(&report(&device)).unwrap();
        }
        let accepted = last;
        let (newest, older) = recorded.split_last().unwrap();
        for old in older {
            let old = device.recipient.open_report(old).unwrap();
            assert_eq!((last.accept(&old), last), (Err(OlderReport), accepted));
        }
        // The newest one is retained, and comes again and again.
        assert_eq!(last.accept(&device.recipient.open_report(newest).unwrap()), Ok(()));
    }
}

/// What the key server keeps of a device, and what it is to hold.
struct Kept {
    lane: Lane,
    last_report: LastReport,
    last_command: Option<SealedCommand>,
}

impl Kept {
    fn new() -> Self {
        Self { lane: Lane::new(), last_report: LastReport::new(), last_command: None }
    }

    fn send(&mut self, device: &mut Device, commands: &[Command]) {
        let now = Timestamp::from_unix(device.clock.seconds());
        for sealed in device.recipient.seal(commands, &mut self.lane, now).unwrap() {
            device.deliver(sealed.as_bytes()).unwrap();
            self.last_command = Some(sealed);
        }
    }

    fn confirms(&self, report: &Report, wanted: StateDigest) -> bool {
        report.digest == wanted && self.last_command.as_ref().is_some_and(|last| last.is_settled_by(report))
    }
}

fn holds(label: &str) -> StateDigest {
    StateDigest::of([StateEntry::TopicKey(&topic_hash(TOPIC), &topic_key(label))])
}

#[test]
fn a_device_whose_disk_was_put_back_is_asked_and_found_out() {
    let mut device = Device::symmetric("pump");
    let mut kept = Kept::new();
    kept.send(&mut device, &[set_topic_key(TOPIC, &topic_key("old"))]);
    kept.last_report.accept(&report(&device)).unwrap();
    let copy = device.store.saved();
    device.clock.advance(100);
    kept.send(&mut device, &[set_topic_key(TOPIC, &topic_key("new"))]);
    let before = report(&device);
    kept.last_report.accept(&before).unwrap();
    assert!(kept.confirms(&before, holds("new")));

    let mut device = put_back(device, &copy);
    device.clock.advance(100);
    assert_eq!(kept.last_report.accept(&report(&device)), Err(OlderReport));
    kept.send(&mut device, &[question().unwrap()]);
    let answer = report(&device);
    assert_eq!(kept.last_report.accept(&answer), Ok(()));
    assert!(kept.last_command.as_ref().is_some_and(|asked| *asked.v() == answer.newest_v));
    assert!(!kept.confirms(&answer, holds("new")) && kept.confirms(&answer, holds("old")));
}

/// The device goes on from an old copy of its state.
fn put_back(device: Device, copy: &[u8]) -> Device {
    let store = TestStore::over(MemoryStore::from_bytes(copy.to_vec()));
    Device { store: store.clone(), client: Client::load_with(store, device.clock.clone()).unwrap(), ..device }
}

/// Given, taken away, and given again, of which the broker keeps the last back and the first two reports for later.
#[test]
fn a_report_from_before_a_change_does_not_confirm_its_undoing() {
    let mut device = Device::symmetric("pump");
    let mut kept = Kept::new();
    kept.send(&mut device, &[set_topic_key(TOPIC, &topic_key("a"))]);
    let first = report(&device);
    kept.send(&mut device, &[Command::RemoveTopic(topic_hash(TOPIC))]);
    let now = Timestamp::from_unix(device.clock.seconds());
    let again = device.recipient.seal(&[set_topic_key(TOPIC, &topic_key("a"))], &mut kept.lane, now).unwrap().remove(0);
    kept.last_command = Some(again.clone());

    assert_eq!(kept.last_report.accept(&first), Ok(()), "it is the first one that the key server sees");
    assert_eq!(first.digest, holds("a"));
    assert!(!kept.confirms(&first, holds("a")), "the device has no key");
    device.deliver(again.as_bytes()).unwrap();
    assert!(kept.confirms(&report(&device), holds("a")));
}

/// The client key moves on, and the reports with it: it is known by them whether the device has the new one.
#[test]
fn it_shows_in_the_report_which_client_key_a_device_has() {
    let mut device = Device::symmetric("pump").knowing(TOPIC, &topic_key("a"));
    let next = ClientKey::from_bytes(&bytes("the next key")).unwrap();
    let under_next = Recipient::symmetric(*device.recipient.id(), &next);
    let old = device.client.report();
    assert!(under_next.open_report(&old).is_err());
    device.command(&Command::SetClientKey(next)).unwrap();
    let new = device.client.report();
    assert!(device.recipient.open_report(&new).is_err());
    assert_eq!(under_next.open_report(&new).unwrap().digest, holds("a"), "its own key is no entry");
}

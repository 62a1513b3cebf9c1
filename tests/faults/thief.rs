//! Who records everything, and later steals the device.

use crate::common::{Device, NOW, Party, TestClock, TestStore, bytes, topic_key};
use e4::{
    Client, ClientKey, Command, Identity, MaxAge, MemoryStore, Opened, Topic, TopicFilter, controller::Recipient,
};

const DAY: u64 = 24 * 3600;
const DAYS: u64 = 4;
const TOPIC: &str = "plant/7/pump";

/// How a topic gets its key of the day.
#[derive(Clone, Copy)]
enum Rotation {
    Soft,
    /// As the next key first.
    WithoutLoss,
    Hard,
}

/// A rotation a day; the client key moves on after each of them, or stays as it is. How many days the thief reads, whether
/// messages or reports.
fn days_read(rotation: Rotation, client_key_moves_on: bool) -> (usize, usize) {
    let mut device: Device = Device::create(Party::symmetric("pump"), TestStore::memory(), &TestClock::time(NOW));
    let id = *device.client.id();
    let mut stolen = ClientKey::from_bytes(&bytes("pump")).unwrap();
    let (mut commands, mut messages, mut reports) = (Vec::new(), Vec::new(), Vec::new());
    for day in 0..DAYS {
        device.clock.set(NOW + day * DAY);
        let mut send = |device: &mut Device, command: &Command| {
            let sent = device.client.now().unwrap();
            let sealed = device.recipient.seal_dated(command, sent).unwrap();
            device.deliver(sealed.as_bytes()).unwrap();
            commands.push(sealed.as_bytes().to_vec());
        };
        let (topic, key) = (Topic::new(TOPIC).unwrap(), topic_key(&format!("of day {day}")));
        let set = Command::set_topic_key(&topic, key.clone());
        let rotations = match rotation {
            Rotation::WithoutLoss if day > 0 => vec![Command::set_next_topic_key(&topic, key), set],
            Rotation::Soft | Rotation::WithoutLoss => vec![set],
            Rotation::Hard => vec![Command::replace_topic_key(&topic, key)],
        };
        for command in &rotations {
            send(&mut device, command);
        }
        if client_key_moves_on {
            stolen = ClientKey::from_bytes(&bytes(&format!("client key of day {day}"))).unwrap();
            send(&mut device, &Command::SetClientKey(stolen.clone()));
            device.recipient = Recipient::symmetric(id, &stolen);
        }
        messages.push(device.client.seal(TOPIC, b"4.2 bar").unwrap());
        reports.push(device.client.report());
    }
    device.clock.advance(3601);
    device.client.erase_expired_keys().unwrap();

    // The thief plays all recorded commands to a client that has the stolen key, and tries every message after each; and
    // it has the device.
    let any_age = TopicFilter::new("#").unwrap();
    device.client.set_max_age(&any_age, MaxAge::Any).unwrap();
    let reports_read =
        reports.iter().filter(|report| Recipient::symmetric(id, &stolen).open_report(report).is_ok()).count();
    let thief = Client::builder(Identity::symmetric(id, stolen)).first_start().max_age(&any_age, MaxAge::Any).unwrap();
    let mut thief = thief.create(MemoryStore::new()).unwrap();
    let mut read = vec![false; messages.len()];
    for (read, message) in read.iter_mut().zip(&messages) {
        *read |= device.open(TOPIC, message).is_ok();
    }
    for command in commands {
        let _ = thief.open(thief.control_topic(), &command);
        for (read, message) in read.iter_mut().zip(&messages) {
            *read |= matches!(thief.open(TOPIC, message), Ok(Opened::Message(_)));
        }
    }
    (read.into_iter().filter(|read| *read).count(), reports_read)
}

#[test]
fn f17_a_thief_reads_what_was_recorded_unless_the_client_key_moves_on_too() {
    for rotation in [Rotation::Soft, Rotation::WithoutLoss, Rotation::Hard] {
        let all = days_read(rotation, false);
        assert_eq!(all, (4, 4), "a rotation alone limits nothing: the client key opens every recorded command");
        assert_eq!(days_read(rotation, true), (1, 1));
    }
}

//! Who records everything, and later steals the device.

use crate::common::{Device, NOW, Party, TestClock, TestStore, bytes, set_topic_key, topic_key};
use e4::{Client, ClientKey, Command, Identity, MaxAge, MemoryStore, Opened, TopicFilter, controller::Recipient};

const DAY: u64 = 24 * 3600;
const DAYS: u64 = 4;
const TOPIC: &str = "plant/7/pump";

/// A rotation a day; the client key moves on after each of them, or stays as it is. How many days the thief reads.
fn days_read(client_key_moves_on: bool) -> usize {
    let mut device: Device = Device::create(Party::symmetric("pump"), TestStore::memory(), &TestClock::time(NOW));
    let id = *device.client.id();
    let mut stolen = ClientKey::from_bytes(&bytes("pump")).unwrap();
    let (mut commands, mut messages) = (Vec::new(), Vec::new());
    for day in 0..DAYS {
        device.clock.set(NOW + day * DAY);
        let mut send = |device: &mut Device, command: &Command| {
            let sent = device.client.now().unwrap();
            let sealed = device.recipient.seal_dated(command, sent).unwrap();
            device.deliver(sealed.as_bytes()).unwrap();
            commands.push(sealed.as_bytes().to_vec());
        };
        send(&mut device, &set_topic_key(TOPIC, &topic_key(&format!("of day {day}"))));
        if client_key_moves_on {
            stolen = ClientKey::from_bytes(&bytes(&format!("client key of day {day}"))).unwrap();
            send(&mut device, &Command::SetClientKey(stolen.clone()));
            device.recipient = Recipient::symmetric(id, &stolen);
        }
        messages.push(device.client.seal(TOPIC, b"4.2 bar").unwrap());
    }
    device.clock.advance(3601);
    device.client.erase_expired_keys().unwrap();

    // The thief plays all recorded commands to a client that has the stolen key, and tries every message after each; and
    // it has the device.
    let any_age = TopicFilter::new("#").unwrap();
    device.client.set_max_age(&any_age, MaxAge::Any).unwrap();
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
    read.into_iter().filter(|read| *read).count()
}

#[test]
fn f17_a_thief_reads_what_was_recorded_unless_the_client_key_moves_on_too() {
    assert_eq!(days_read(false), 4, "a rotation alone limits nothing: the client key opens every recorded command");
    assert_eq!(days_read(true), 1);
}

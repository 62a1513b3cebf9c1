//! Sealing commands, in their order.

use crate::{
    TOPIC,
    common::{Device, NOW, c2_key, set_topic_key, signing_key, topic_hash, topic_key},
};
use e4::{
    AppliedCommand, ClientKey, Command, CommandError, ControlKey, KeyError, Subtree, SubtreeKey, Timestamp, TopicHash,
    controller::{
        HardRotation, Lane, LaneError, Recipient, SealCommandsError, SealedCommand, question, question_with_rng,
    },
};

const START: Timestamp = Timestamp::from_unix(NOW);

/// Set, taken away and set again at once: the last command has the bytes of the first but for its time.
#[test]
fn what_is_sealed_with_a_lane_is_taken_whatever_the_clock_of_the_key_server_does() {
    for clock in [[0, 0, 0, 0], [0, 1, 2, 3], [9, 8, 1, 0], [0, 9, 0, 9]] {
        let mut device = Device::symmetric("pump");
        let mut lane = Lane::new();
        let commands = [
            set_topic_key(TOPIC, &topic_key("a")),
            Command::RemoveTopic(topic_hash(TOPIC)),
            set_topic_key(TOPIC, &topic_key("a")),
            set_topic_key(TOPIC, &topic_key("b")),
        ];
        for (command, seconds) in commands.into_iter().zip(clock) {
            for sealed in device.recipient.seal(&[command], &mut lane, START.plus(seconds)).unwrap() {
                device.deliver(sealed.as_bytes()).unwrap();
            }
            lane = Lane::resume(lane.last(), lane.used());
        }
        let held: Vec<_> = device.client.key_fingerprints().map(|held| held.key).collect();
        assert_eq!(held, [topic_key("b").fingerprint()], "{clock:?}");
    }
}

#[test]
fn commands_are_sealed_all_or_none() {
    let device = Device::symmetric("pump");
    let good = set_topic_key(TOPIC, &topic_key("a"));
    let shared = set_topic_key(TOPIC, &topic_key("pump"));
    let many: Vec<_> = (0..16).map(|n| Command::RemoveTopic(TopicHash::from_bytes([n; 16]))).collect();
    let cases = [
        (vec![good.clone(), Command::ResetPubKeys], START, SealCommandsError::Command(CommandError::WrongMode)),
        (vec![good.clone(), shared], START, SealCommandsError::Command(CommandError::SharedKey)),
        (vec![good.clone(), Command::ResetTopics, good.clone()], START, SealCommandsError::Equal),
        (many.clone(), START, SealCommandsError::Lane(LaneError::TooMany { commands: 16 })),
        (vec![good.clone()], Timestamp::LIMIT, SealCommandsError::Lane(LaneError::NotATime)),
    ];
    for (commands, now, error) in cases {
        let mut lane = Lane::resume(START, 3);
        assert_eq!(device.recipient.seal(&commands, &mut lane, now), Err(error));
        assert_eq!(lane, Lane::resume(START, 3), "{error}");
    }
    let mut lane = Lane::resume(START, 3);
    let sealed = device.recipient.seal(&many[1..], &mut lane, START).unwrap();
    assert!(sealed.iter().all(|sealed| sealed.sent() == START.plus(1)));
    assert_eq!((sealed.len(), lane), (15, Lane::resume(START.plus(1), 15)));
}

#[test]
fn a_sealed_command_comes_back_from_its_bytes() {
    for device in [Device::symmetric("pump"), Device::public_key("pump")] {
        for command in [Command::ResetTopics, set_topic_key(TOPIC, &topic_key("a"))] {
            let sealed = device.recipient.seal_dated(&command, START).unwrap();
            assert_eq!(sealed.sent(), START);
            assert_eq!(sealed.v()[..], sealed.as_bytes()[8..24]);
            assert_eq!(SealedCommand::from_bytes(sealed.as_bytes()), Ok(sealed));
        }
    }
    for len in 0..200 {
        let is_one = SealedCommand::from_bytes(&vec![7; len]).is_ok();
        assert_eq!(is_one, (25..=SealedCommand::MAX_LEN).contains(&len), "{len}");
    }
}

#[test]
fn a_stored_control_key_makes_the_same_recipient() {
    let (c2, client) = (c2_key("c2"), signing_key("pump").verifying_key());
    let device = Device::public_key("pump");
    let id = *device.recipient.id();
    let agreed = Recipient::public_key(id, &c2, &client).unwrap();
    let stored = *agreed.control_key().unwrap().as_bytes();
    assert_eq!(stored, device.command_key);
    assert_eq!(ControlKey::of_c2(&c2, &client).unwrap(), ControlKey::from_bytes(&stored).unwrap());
    let restored = Recipient::with_control_key(id, &ControlKey::from_bytes(&stored).unwrap());
    let seal = |recipient: &Recipient| recipient.seal_dated(&Command::ResetPubKeys, START).unwrap();
    assert_eq!(seal(&restored), seal(&agreed), "a public-key client still");
    assert_eq!((restored.id(), restored.control_topic()), (agreed.id(), agreed.control_topic()));

    assert_eq!(ControlKey::from_bytes(&[0; 32]), Err(KeyError::AllZero));
    assert!(Recipient::symmetric(id, &ClientKey::from_bytes(&stored).unwrap()).control_key().is_none());
    assert_eq!(format!("{:?}", restored.control_key().unwrap()), "ControlKey(..)");
}

#[test]
fn a_question_is_a_new_one_each_time_and_changes_nothing() {
    let mut device = Device::symmetric("pump").knowing(TOPIC, &topic_key("a"));
    let (first, second) = (question().unwrap(), question().unwrap());
    assert_ne!(first, second);
    let Command::RemoveTopic(topic) = first else { panic!("{first:?}") };
    let mut lane = Lane::resume(START, 1);
    for sealed in device.recipient.seal(&[first, second], &mut lane, START).unwrap() {
        device.deliver(sealed.as_bytes()).unwrap();
    }
    assert_eq!(device.client.newest_command(), Some(lane.last()));
    assert_eq!(device.client.topics().count(), 1);
    assert_ne!(topic, topic_hash(TOPIC));
    assert_eq!(question_with_rng(&mut Broken), Err(KeyError::AllZero));
}

/// A random generator that gives nothing but zeros.
struct Broken;

impl rand_core::TryRng for Broken {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(0)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(0)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        bytes.fill(0);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Broken {}

/// A device with the old key of a topic; `in_subtree`, with the key of a subtree around it as well.
fn member(in_subtree: bool) -> Device {
    let mut device = Device::symmetric("pump");
    if in_subtree {
        let key = SubtreeKey::from_bytes(&[7; 32]).unwrap();
        device.command(&Command::set_subtree_key(&Subtree::new("plant/#").unwrap(), &key)).unwrap();
    }
    device.knowing(TOPIC, &topic_key("old"))
}

#[test]
fn a_hard_rotation_is_hard_for_each_kind_of_client_and_repeated_within_a_second_too() {
    let old = Device::symmetric("member").knowing(TOPIC, &topic_key("old"));
    for (knows_next_keys, in_subtree) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut device = member(in_subtree);
        let how = HardRotation::for_client(knows_next_keys, in_subtree);
        let mut lane = Lane::resume(START, 1);
        for new in ["new", "newer"] {
            let commands = how.commands(topic_hash(TOPIC), topic_key(new)).unwrap();
            assert_eq!(commands.len(), how.command_count());
            let knows = |command: &Command| matches!(command, Command::ReplaceTopicKey { .. });
            assert_eq!(commands.iter().any(knows), knows_next_keys, "others refuse it as unknown");
            let removes = |command: &Command| matches!(command, Command::RemoveTopic(_));
            assert!(!(in_subtree && commands.iter().any(removes)), "it would fall back to the wider key");
            for sealed in device.recipient.seal(&commands, &mut lane, START).unwrap() {
                device.deliver(sealed.as_bytes()).unwrap();
            }
            let peer = Device::symmetric("peer").knowing(TOPIC, &topic_key(new));
            let payload = new.as_bytes();
            assert!(device.open(TOPIC, &peer.client.seal(TOPIC, payload).unwrap()).is_ok());
            assert!(device.open(TOPIC, &old.client.seal(TOPIC, payload).unwrap()).is_err(), "{how:?}");
        }
    }
}

/// Who keeps half of it back gains nothing, since there is no half.
#[test]
fn a_hard_rotation_of_a_client_that_knows_it_cannot_be_halved() {
    let mut device = member(true);
    let [replace] = &HardRotation::for_client(true, true).commands(topic_hash(TOPIC), topic_key("new")).unwrap()[..]
    else {
        panic!("more than one command")
    };
    assert_eq!(device.command_at(NOW + 1, replace), Ok(AppliedCommand::ReplaceTopicKey(topic_hash(TOPIC))));
    let old = Device::symmetric("member").knowing(TOPIC, &topic_key("old"));
    assert!(device.open(TOPIC, &old.client.seal(TOPIC, b"").unwrap()).is_err());
}

//! Messages: their lengths, signatures and payloads, and what a refused one leaves behind.

use crate::{
    TOPIC,
    common::{Device, NOW, Party, TestClock, TestStore, c2_key, set_topic_key, signing_key, topic_key},
    holds_part_of, refused,
};
use e4::{
    AppliedCommand, ClientId, Command, CommandError, MaxAge, Mode, OpenError, Opened, Refusal, SIGNED_OVERHEAD,
    SealError, Timestamp,
};
use std::collections::BTreeSet;

const PAYLOAD: &[u8] = b"4.2 bar at the inlet of pump 7, 61 degrees, all valves are open.";

/// A sender and a receiver that have the topic's key, and in public-key mode each other's public key.
fn pair(mode: Mode) -> (Device, Device) {
    match mode {
        Mode::Symmetric => (with_topic_key(Device::symmetric("sender")), with_topic_key(Device::symmetric("receiver"))),
        Mode::PublicKey => {
            let sender = with_topic_key(Device::public_key("sender"));
            let receiver = with_topic_key(Device::public_key("receiver")).trusting(&sender);
            (sender.trusting(&receiver), receiver)
        }
    }
}

fn with_topic_key(device: Device) -> Device {
    device.knowing(TOPIC, &topic_key("topic"))
}

#[test]
fn g4_a_signed_message_of_any_length_from_a_known_signer_is_refused_without_a_panic() {
    let (sender, mut receiver) = pair(Mode::PublicKey);
    let sealed = sender.client.seal(TOPIC, PAYLOAD).unwrap();
    let mut out = [0; 256];
    for len in 0..sealed.len() {
        let cut = &sealed[..len];
        let reason = if len < SIGNED_OVERHEAD { Refusal::TooShort } else { Refusal::NotAuthentic };
        assert_eq!(receiver.open(TOPIC, cut), refused(reason), "{len}");
        assert_eq!(receiver.client.open_into(TOPIC, cut, &mut out), refused(reason), "{len}");
        assert_eq!(receiver.client.open_in_place(TOPIC, &mut cut.to_vec()), refused(reason), "{len}");
    }
    assert_eq!(receiver.open(TOPIC, &sealed).unwrap().payload, PAYLOAD);
}

#[test]
fn g11_an_empty_payload_comes_back_as_an_empty_message() {
    for mode in [Mode::Symmetric, Mode::PublicKey] {
        let (sender, mut receiver) = pair(mode);
        let sealed = sender.client.seal(TOPIC, b"").unwrap();
        assert_eq!(sealed.len(), mode.overhead());
        match receiver.client.open(TOPIC, &sealed).unwrap() {
            Opened::Message(message) => assert_eq!(message.payload, b""),
            Opened::Command(command) => panic!("{mode:?}: taken for {command:?}"),
        }
    }
}

/// A broker sends a client its own messages as well, if it subscribes to what it publishes to.
#[test]
fn g11_a_client_opens_its_own_empty_message() {
    let mut symmetric = with_topic_key(Device::symmetric("pump"));
    let sealed = symmetric.client.seal(TOPIC, b"").unwrap();
    assert_eq!(symmetric.open(TOPIC, &sealed).unwrap().payload, b"");

    let mut signing = with_topic_key(Device::public_key("pump"));
    let (client, key) = (*signing.client.id(), signing.client.verifying_key().unwrap());
    signing.command(&Command::SetPubKey { client, key }).unwrap();
    let sealed = signing.client.seal(TOPIC, b"").unwrap();
    let message = signing.open(TOPIC, &sealed).unwrap();
    assert_eq!((message.payload.as_slice(), message.signer), (&b""[..], Some(client)));
}

/// And the other way round: a command is never reported as a message, an empty command is none.
#[test]
fn g11_a_command_is_a_result_of_its_own() {
    let mut device = Device::symmetric("pump");
    let empty = device.unchanged_by(|device| device.raw_command(b""));
    assert_eq!(empty, refused(Refusal::Command(CommandError::WrongLength)));
    let sealed = device.recipient.seal_dated(&Command::ResetTopics, Timestamp::from_unix(NOW)).unwrap();
    let control = device.client.control_topic();
    let opened = device.client.open(control.as_str(), sealed.as_bytes()).unwrap();
    assert_eq!(opened, Opened::Command(AppliedCommand::ResetTopics));
}

#[test]
fn l1_l2_a_signature_covers_everything_before_it() {
    let (sender, mut receiver) = pair(Mode::PublicKey);
    let public = ed25519_dalek::VerifyingKey::from_bytes(sender.client.verifying_key().unwrap().as_bytes()).unwrap();
    for len in [0, 1, 15, 16, 17, 1000] {
        let payload = vec![0x5a; len];
        let sealed = sender.client.seal(TOPIC, &payload).unwrap();
        let (signed, signature) = sealed.split_last_chunk::<64>().unwrap();
        public.verify_strict(signed, &ed25519_dalek::Signature::from_bytes(signature)).unwrap();
        assert_eq!(receiver.open(TOPIC, &sealed).unwrap().payload, payload);
    }
}

/// Two signatures with one nonce give the private key away; so does a nonce that others can compute. RFC 8032 makes it
/// from the secret and the whole message.
#[test]
fn l1_l2_every_message_is_signed_with_a_nonce_of_its_own() {
    let mut nonces = BTreeSet::new();
    let mut count = 0;
    for name in ["one", "two"] {
        let signer = ed25519_dalek::SigningKey::from_bytes(signing_key(name).as_seed());
        let device = with_topic_key(Device::public_key(name));
        for second in 0..3 {
            device.clock.set(NOW + second);
            for payload in [&b""[..], b"a", b"b"] {
                let sealed = device.client.seal(TOPIC, payload).unwrap();
                let (signed, signature) = sealed.split_last_chunk::<64>().unwrap();
                assert_eq!(ed25519_dalek::Signer::sign(&signer, signed).to_bytes(), *signature);
                nonces.insert(signature[..32].to_vec());
                count += 1;
            }
        }
    }
    assert_eq!(nonces.len(), count);
}

#[test]
fn l12_a_failed_open_leaves_no_plaintext_in_the_callers_buffer() {
    for mode in [Mode::Symmetric, Mode::PublicKey] {
        for Failing { what, message, mut receiver, reason } in failures(mode) {
            let mut out = vec![0xaa; message.len() + 32];
            let result = receiver.client.open_into(TOPIC, &message, &mut out).map(|_| ());
            assert_eq!(result, Err(reason), "open_into, {mode:?}, {what}");
            assert!(!holds_part_of(&out, PAYLOAD), "open_into, {mode:?}, {what}");

            let mut in_place = message.clone();
            let result = receiver.client.open_in_place(TOPIC, &mut in_place).map(|_| ());
            assert_eq!(result, Err(reason), "open_in_place, {mode:?}, {what}");
            assert!(!holds_part_of(&in_place, PAYLOAD), "open_in_place, {mode:?}, {what}");
        }
        // The same check finds the plaintext where it belongs.
        let (sender, mut receiver) = pair(mode);
        let mut message = sender.client.seal(TOPIC, PAYLOAD).unwrap();
        receiver.client.open_in_place(TOPIC, &mut message).unwrap();
        assert!(holds_part_of(&message, PAYLOAD));
    }
}

/// A message that its receiver refuses, each time that it arrives.
struct Failing {
    what: &'static str,
    message: Vec<u8>,
    receiver: Device,
    reason: OpenError,
}

fn failures(mode: Mode) -> Vec<Failing> {
    let mut all = Vec::new();
    let mut add = |what, reason: Refusal, prepare: &dyn Fn(&mut Vec<u8>, &mut Device)| {
        let (sender, mut receiver) = pair(mode);
        let mut message = sender.client.seal(TOPIC, PAYLOAD).unwrap();
        prepare(&mut message, &mut receiver);
        all.push(Failing { what, message, receiver, reason: OpenError::Refused(reason) });
    };
    let tag = mode.header_len() - 16;
    add("another time", Refusal::NotAuthentic, &|message, _| message[0] ^= 1);
    add("another V", Refusal::NotAuthentic, &|message, _| message[tag] ^= 1);
    add("another text", Refusal::NotAuthentic, &|message, _| message[tag + 16] ^= 1);
    add("no key", Refusal::NoTopicKey, &|_, receiver| {
        receiver.command(&Command::ResetTopics).unwrap();
    });
    add("another key", Refusal::NotAuthentic, &|_, receiver| {
        receiver.command(&Command::ResetTopics).unwrap();
        receiver.command(&set_topic_key(TOPIC, &topic_key("another"))).unwrap();
    });
    add("an expired key", Refusal::NotAuthentic, &|_, receiver| {
        receiver.command(&set_topic_key(TOPIC, &topic_key("next"))).unwrap();
        let mut options = *receiver.client.options();
        options.max_age = MaxAge::Any;
        receiver.client.set_options(options).unwrap();
        receiver.clock.advance(3601);
    });
    add("too old", Refusal::TooOld { age: 601, max_age: 600 }, &|_, receiver| receiver.clock.advance(601));
    add("from the future", Refusal::FromTheFuture { ahead: 61 }, &|_, receiver| receiver.clock.set(NOW - 61));
    add("repeated", Refusal::Repeated, &|message, receiver| {
        receiver.open(TOPIC, message).unwrap();
    });
    add("too late to tell", Refusal::BeyondReplayMemory, &|_, receiver| {
        receiver.client.refuse_sent_until(Timestamp::from_unix(NOW));
    });
    if mode == Mode::PublicKey {
        let sender = ClientId::from_name("sender").unwrap();
        add("an unknown signer", Refusal::UnknownSigner(sender), &|_, receiver| {
            receiver.command(&Command::ResetPubKeys).unwrap();
        });
        add("a changed signature", Refusal::BadSignature(sender), &|message, _| {
            *message.last_mut().unwrap() ^= 1;
        });
        add("another signer", Refusal::BadSignature(sender), &|message, _| {
            let party = Party::with_keys("sender", signing_key("forger"), &c2_key("c2"));
            let forger = with_topic_key(Device::create(party, TestStore::memory(), &TestClock::time(NOW)));
            *message = forger.client.seal(TOPIC, PAYLOAD).unwrap();
        });
    }
    all
}

#[test]
fn l12_a_payload_that_is_not_sealed_is_not_left_in_the_buffer() {
    let device = Device::symmetric("pump");
    let mut out = [0x11; 100];
    assert_eq!(device.client.seal_into("no/key", b"top secret", &mut out), Err(SealError::NoTopicKey));
    assert!(!out.windows(10).any(|part| part == b"top secret"));
}

//! Commands that e4go does not know: encoded, sealed, opened and applied.

use crate::{
    At, Level, Received, TestClient, builder, client_id,
    format::{NewCommandCase, report},
    topic_key,
};
use e4::{
    AppliedCommand, ClientBuilder, ClientKey, Clock, ClockReading, Command, GrowableKeyRing, Identity, MemoryStore,
    Spare, Timestamp, TopicHash, controller::Recipient,
};

const NAME: &str = "client";

impl NewCommandCase {
    fn topic(&self) -> TopicHash {
        TopicHash::from_bytes(self.topic_hash.unwrap().0)
    }

    fn to_command(&self) -> Command {
        let key = || topic_key(&self.topic_key.unwrap());
        match &*self.name {
            "SetNextTopicKey" => Command::SetNextTopicKey { topic: self.topic(), key: key() },
            "ReplaceTopicKey" => Command::ReplaceTopicKey { topic: self.topic(), key: key() },
            "SetTime" => Command::SetTime(Timestamp::from_unix(self.time.unwrap())),
            other => panic!("the vectors have a new command: {other}"),
        }
    }

    /// A symmetric client under whose key the command was sealed, which has a key and a previous key for its topic.
    fn builder(&self) -> ClientBuilder<GrowableKeyRing> {
        let key = ClientKey::from_bytes(&self.sealing_key.0).unwrap();
        let builder = builder(&Identity::symmetric(client_id(NAME), key));
        if self.topic_hash.is_none() {
            return builder;
        }
        let [current, previous] = [[1; 32], [2; 32]].map(|bytes| e4::TopicKey::from_bytes(&bytes).unwrap());
        builder.topic_key_with_previous(&self.topic(), current, previous, Timestamp::from_unix(self.timestamp)).unwrap()
    }
}

fn each(check: impl Fn(&NewCommandCase, &str)) {
    let cases = report().command;
    assert!(!cases.is_empty());
    for (at, case) in cases.iter().enumerate() {
        check(case, &format!("command[{at}], {}", case.name));
    }
}

#[test]
fn new_commands_encode_as_in_the_vectors_and_decode_again() {
    each(|case, name| {
        assert_eq!(case.to_command().encode().as_bytes(), case.encoding.0, "{name}");
        assert_eq!(Command::decode(&case.encoding.0), Ok(case.to_command()), "{name}");
    });
}

#[test]
fn new_commands_are_sealed_to_the_bytes_of_the_vectors() {
    each(|case, name| {
        let key = ClientKey::from_bytes(&case.sealing_key.0).unwrap();
        let recipient = Recipient::symmetric(client_id(NAME), &key);
        let sealed = recipient.seal_dated(&case.to_command(), Timestamp::from_unix(case.timestamp)).unwrap();
        assert_eq!(sealed.as_bytes(), case.sealed.0, "{name}");
    });
}

#[test]
fn new_commands_of_the_vectors_are_applied() {
    each(|case, name| {
        for level in Level::ALL {
            let mut client: TestClient = case.builder().create_with(MemoryStore::new(), At(case.timestamp)).unwrap();
            let control = client_id(NAME).control_topic();
            let opened = level.open(&mut client, control.as_str(), &case.sealed.0);
            assert_eq!(opened, Ok(Received::Command(AppliedCommand::from(&case.to_command()))), "{name}");
            let keys = client.key_fingerprints().next();
            let brought = case.topic_key.map(|key| topic_key(&key).fingerprint());
            let spare = client.topics().next().and_then(|(_, spare)| spare);
            match &*case.name {
                "SetNextTopicKey" => assert_eq!((keys.unwrap().next, spare), (brought, Some(Spare::Next)), "{name}"),
                "ReplaceTopicKey" => assert_eq!((Some(keys.unwrap().key), spare), (brought, None), "{name}"),
                _ => assert_eq!(client.now(), Some(Timestamp::from_unix(case.timestamp)), "{name}"),
            }
        }
    });
}

struct NoClock;

impl Clock for NoClock {
    fn read(&self) -> ClockReading {
        ClockReading::Uptime(9)
    }
}

#[test]
fn a_client_without_a_clock_takes_the_time_of_the_vectors() {
    each(|case, name| {
        let Some(time) = case.time else { return };
        let mut client = case.builder().create_with(MemoryStore::new(), NoClock).unwrap();
        client.open(client_id(NAME).control_topic().as_str(), &case.sealed.0).unwrap();
        assert_eq!(client.now(), Some(Timestamp::from_unix(time)), "{name}");
    });
}

//! Commands: encoded, sealed, opened and applied as e4go does it, in the modes that have them.

use crate::{
    Level, Received, TestClient, builder, client_id, create,
    format::{CommandCase, Key, e4go},
    seal_under_control_key,
    stored::without_refusal,
    topic_hash, topic_key, verifying_key,
};
use e4::{
    AppliedCommand, C2PublicKey, C2SecretKey, ClientId, ClientKey, Command, CommandError, Identity, Mode, OpenError,
    Refusal, SigningKey, Spare, Timestamp, TopicHash, TopicKey, VerifyingKey,
    controller::{Recipient, SealedCommand},
};
use sha3::{Digest, Sha3_256};
use std::collections::BTreeMap;

#[test]
fn commands_encode_as_in_e4go_and_decode_again() {
    let cases = e4go().command;
    assert!(!cases.is_empty());
    for case in &cases {
        assert_eq!(case.to_command().encode().as_bytes(), case.encoded.0, "{}", case.command);
        assert_eq!(Command::decode(&case.encoded.0), Ok(case.to_command()), "{}", case.command);
    }
}

#[test]
fn control_keys_are_those_of_e4go() {
    let cases = e4go().command;
    assert!(!cases.is_empty());
    for case in &cases {
        let (name, keys) = (&case.command, &case.public_key);
        let ed25519 = ed25519_dalek::SigningKey::from_bytes(&keys.client_ed25519_seed.0);
        let of_client = x25519_dalek::x25519(ed25519.to_scalar_bytes(), keys.c2_public.0);
        let of_c2 = x25519_dalek::x25519(keys.c2_secret.0, ed25519.verifying_key().to_montgomery().to_bytes());
        assert_eq!(Key(Sha3_256::digest(of_client).into()), keys.control_key, "{name}");
        assert_eq!(Key(Sha3_256::digest(of_c2).into()), keys.control_key, "{name}");

        seal_under_control_key(&case.recipient(Mode::PublicKey), &keys.control_key.0, name);
    }
}

#[test]
fn commands_are_sealed_to_the_bytes_of_e4go() {
    for_each(|case, mode, name| {
        let sealed = case.recipient(mode).seal_dated(&case.to_command(), Timestamp::from_unix(case.timestamp));
        let sealed = sealed.as_ref().map(SealedCommand::as_bytes);
        let expected = if case.exists_in(mode) { Ok(case.protected(mode)) } else { Err(&CommandError::WrongMode) };
        assert_eq!(sealed, expected, "{name}");
    });
}

#[test]
fn commands_of_e4go_are_applied() {
    for_each(|case, mode, name| {
        for level in Level::ALL.into_iter().filter(|_| case.exists_in(mode)) {
            let mut client = case.client(mode);
            let mut expected = View::of(&client);
            case.apply(&mut expected);

            let opened = level.open(&mut client, &control_topic(), case.protected(mode));
            assert_eq!(opened, Ok(Received::Command(case.to_applied())), "{name}");
            assert_eq!(View::of(&client), expected, "{name}");
            case.check_new_secret(mode, &mut client, name);
        }
    });
}

#[test]
fn commands_of_the_other_mode_are_refused_and_change_nothing() {
    for_each(|case, mode, name| {
        for level in Level::ALL.into_iter().filter(|_| !case.exists_in(mode)) {
            // What is in memory and what is in the store are looked at one after the other.
            for bytes_of in [in_memory, in_store] {
                let mut client = case.client(mode);
                let opened = level.open(&mut client, &control_topic(), case.protected(mode));
                assert_eq!(opened, Err(OpenError::Refused(Refusal::Command(CommandError::WrongMode))), "{name}");
                assert_eq!(client.newest_command(), None, "{name}");
                assert!(bytes_of(client) == bytes_of(case.client(mode)), "{name}");
            }
        }
    });
}

fn for_each(mut check: impl FnMut(&CommandCase, Mode, &str)) {
    let cases = e4go().command;
    assert!(!cases.is_empty());
    for case in &cases {
        for mode in [Mode::Symmetric, Mode::PublicKey] {
            check(case, mode, &format!("{}, {mode:?}", case.command));
        }
    }
}

impl CommandCase {
    fn to_command(&self) -> Command {
        match &*self.command {
            "remove_topic" => Command::RemoveTopic(self.topic()),
            "reset_topics" => Command::ResetTopics,
            "set_id_key_symmetric" => Command::SetClientKey(ClientKey::from_bytes(&self.args.key.unwrap().0).unwrap()),
            "set_id_key_ed25519" => Command::SetSigningKey(self.signing_key()),
            "set_topic_key" => Command::SetTopicKey { topic: self.topic(), key: self.topic_key() },
            "remove_pub_key" => Command::RemovePubKey(self.peer()),
            "reset_pub_keys" => Command::ResetPubKeys,
            "set_pub_key" => Command::SetPubKey { client: self.peer(), key: self.peer_key() },
            "set_c2_key" => Command::SetC2Key(self.c2_key()),
            other => panic!("the vectors have a new command: {other}"),
        }
    }

    fn to_applied(&self) -> AppliedCommand {
        match &*self.command {
            "remove_topic" => AppliedCommand::RemoveTopic(self.topic()),
            "reset_topics" => AppliedCommand::ResetTopics,
            "set_id_key_symmetric" | "set_id_key_ed25519" => AppliedCommand::SetIdKey,
            "set_topic_key" => AppliedCommand::SetTopicKey(self.topic()),
            "remove_pub_key" => AppliedCommand::RemovePubKey(self.peer()),
            "reset_pub_keys" => AppliedCommand::ResetPubKeys,
            "set_pub_key" => AppliedCommand::SetPubKey(self.peer()),
            "set_c2_key" => AppliedCommand::SetC2Key,
            other => panic!("the vectors have a new command: {other}"),
        }
    }

    /// What the command does to a client.
    fn apply(&self, view: &mut View) {
        view.newest_command = Some(self.timestamp);
        match &*self.command {
            "remove_topic" => drop(view.topics.remove(&self.topic())),
            "reset_topics" => view.topics.clear(),
            "set_id_key_ed25519" => view.verifying_key = Some(self.signing_key().verifying_key()),
            "set_topic_key" => drop(view.topics.insert(self.topic(), Some(self.timestamp))),
            "remove_pub_key" => drop(view.peers.remove(&self.peer())),
            "reset_pub_keys" => view.peers.clear(),
            "set_pub_key" => drop(view.peers.insert(self.peer(), self.peer_key())),
            "set_c2_key" => view.c2_key = Some(self.c2_key()),
            _ => {}
        }
    }

    fn exists_in(&self, mode: Mode) -> bool {
        match &*self.command {
            "remove_topic" | "reset_topics" | "set_topic_key" => true,
            "set_id_key_symmetric" => mode == Mode::Symmetric,
            _ => mode == Mode::PublicKey,
        }
    }

    /// A secret that a command brought shows only in what the client does with it.
    fn check_new_secret(&self, mode: Mode, client: &mut TestClient, name: &str) {
        let (id, c2) = (*client.id(), self.c2_secret());
        let new = match self.to_command() {
            Command::SetTopicKey { key, .. } => {
                let told = builder(&self.identity(mode)).topic_key(&self.topic(), key).unwrap();
                let expected = create::<e4::GrowableKeyRing>(told, self.timestamp).seal(self.topic_name(), b"payload");
                assert_eq!(client.seal(self.topic_name(), b"payload"), expected, "{name}");
                return;
            }
            Command::SetClientKey(key) => Some(Recipient::symmetric(id, &key)),
            Command::SetSigningKey(key) => Some(Recipient::public_key(id, &c2, &key.verifying_key()).unwrap()),
            // The vectors do not have the secret of the new key.
            Command::SetC2Key(_) => None,
            _ => return,
        };
        let mut open = |recipient: Recipient| {
            let sealed = recipient.seal_dated(&Command::ResetTopics, Timestamp::from_unix(self.timestamp)).unwrap();
            Level::Vec.open(client, &control_topic(), sealed.as_bytes())
        };
        assert_eq!(open(self.recipient(mode)), Err(OpenError::Refused(Refusal::NotAuthentic)), "{name}, old key");
        if let Some(new) = new {
            assert_eq!(open(new), Ok(Received::Command(AppliedCommand::ResetTopics)), "{name}, new key");
        }
    }

    fn protected(&self, mode: Mode) -> &[u8] {
        match mode {
            Mode::Symmetric => &self.symmetric.protected.0,
            Mode::PublicKey => &self.public_key.protected.0,
        }
    }

    fn recipient(&self, mode: Mode) -> Recipient {
        match mode {
            Mode::Symmetric => Recipient::symmetric(client_id("client"), &self.client_key()),
            Mode::PublicKey => {
                let client = verifying_key(&self.public_key.client_ed25519_public);
                Recipient::public_key(client_id("client"), &self.c2_secret(), &client).unwrap()
            }
        }
    }

    /// The client, with two topics and two peers: those that the command is about, and others, which only a reset concerns.
    fn client(&self, mode: Mode) -> TestClient {
        let mut builder = builder(&self.identity(mode));
        let (topic, peer) = (self.topic_name(), self.peer_name());
        let others = (format!("{topic}, another"), format!("{peer}, another"));
        for (n, (topic, peer)) in (1..).zip([(topic, peer), (&others.0, &others.1)]) {
            builder = builder.topic_key(&topic_hash(topic), TopicKey::from_bytes(&[n; 32]).unwrap()).unwrap();
            if mode == Mode::PublicKey {
                let key = SigningKey::from_seed(&[n; 32]).unwrap().verifying_key();
                builder = builder.peer(client_id(peer), key).unwrap();
            }
        }
        create(builder, self.timestamp)
    }

    fn identity(&self, mode: Mode) -> Identity {
        let keys = &self.public_key;
        match mode {
            Mode::Symmetric => Identity::symmetric(client_id("client"), self.client_key()),
            Mode::PublicKey => {
                let (seed, public) = (&keys.client_ed25519_seed.0, &keys.client_ed25519_public.0);
                let signing = SigningKey::from_seed_and_public(seed, public).unwrap();
                let c2 = C2PublicKey::from_bytes(&keys.c2_public.0).unwrap();
                Identity::public_key(client_id("client"), signing, c2).unwrap()
            }
        }
    }

    fn client_key(&self) -> ClientKey {
        ClientKey::from_bytes(&self.symmetric.client_key.0).unwrap()
    }

    fn c2_secret(&self) -> C2SecretKey {
        let secret = C2SecretKey::from_bytes(&self.public_key.c2_secret.0).unwrap();
        assert_eq!(Key(*secret.public_key().as_bytes()), self.public_key.c2_public, "{}", self.command);
        secret
    }

    fn topic(&self) -> TopicHash {
        topic_hash(self.topic_name())
    }

    /// Any topic for a command that is about none.
    fn topic_name(&self) -> &str {
        self.args.topic.as_deref().unwrap_or("topic")
    }

    /// Any peer for a command that is about none.
    fn peer_name(&self) -> &str {
        self.args.name.as_deref().unwrap_or("peer")
    }

    fn topic_key(&self) -> TopicKey {
        topic_key(&self.args.topic_key.unwrap())
    }

    fn signing_key(&self) -> SigningKey {
        let (seed, public) = (self.args.ed25519_seed.unwrap(), self.args.ed25519_public.unwrap());
        SigningKey::from_seed_and_public(&seed.0, &public.0).unwrap()
    }

    fn peer(&self) -> ClientId {
        client_id(self.peer_name())
    }

    fn peer_key(&self) -> VerifyingKey {
        verifying_key(&self.args.ed25519_public.unwrap())
    }

    fn c2_key(&self) -> C2PublicKey {
        C2PublicKey::from_bytes(&self.args.x25519_public.unwrap().0).unwrap()
    }
}

fn control_topic() -> String {
    client_id("client").control_topic().to_string()
}

/// What can be seen of a client's state from outside.
#[derive(Debug, PartialEq)]
struct View {
    /// With the time at which a previous key was replaced.
    topics: BTreeMap<TopicHash, Option<u64>>,
    peers: BTreeMap<ClientId, VerifyingKey>,
    verifying_key: Option<VerifyingKey>,
    c2_key: Option<C2PublicKey>,
    newest_command: Option<u64>,
}

impl View {
    fn of(client: &TestClient) -> Self {
        Self {
            topics: client.topics().map(|(hash, spare)| (*hash, spare.and_then(replaced))).collect(),
            peers: client.peers().map(|(id, key)| (*id, *key)).collect(),
            verifying_key: client.verifying_key(),
            c2_key: client.c2_key().copied(),
            newest_command: client.newest_command().map(Timestamp::as_unix),
        }
    }
}

/// When the key was replaced that a client holds besides the current one.
fn replaced(spare: Spare) -> Option<u64> {
    match spare {
        Spare::Previous { replaced } => Some(replaced.as_unix()),
        Spare::Next => None,
    }
}

/// All of the state that a client has in memory, but for what it reports as refused: setting options stores everything.
fn in_memory(mut client: TestClient) -> Vec<u8> {
    client.set_options(*client.options()).unwrap();
    in_store(client)
}

fn in_store(client: TestClient) -> Vec<u8> {
    without_refusal(client.into_store().as_bytes().unwrap())
}

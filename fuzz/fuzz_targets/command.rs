//! Commands: what decodes encodes to the same bytes, what encodes decodes to the same command, and clients and key
//! servers take the same ones.
#![no_main]

use e4::{
    C2PublicKey, C2SecretKey, ClientId, ClientKey, Command, CommandError, Mode, SigningKey, Timestamp, TopicHash,
    VerifyingKey, controller::Recipient,
};
use e4_fuzz::{
    Input,
    world::{self, CLIENT_KEY},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    check_decoding(input);
    let code = input.first().unwrap_or(&0) % 12;
    if let Some(command) = build(code, &mut Input::new(input.get(1..).unwrap_or_default())) {
        let encoded = command.encode();
        assert_eq!(Command::decode(encoded.as_bytes()), Ok(command.clone()));
        check_sealing(&command);
    }
});

fn check_decoding(bytes: &[u8]) {
    let decoded = Command::decode(bytes);
    match (bytes.first(), &decoded) {
        (None, decoded) => assert_eq!(*decoded, Err(CommandError::WrongLength)),
        (Some(code @ 11..), decoded) => assert_eq!(*decoded, Err(CommandError::UnknownCode(*code))),
        (Some(code), decoded) if !lengths(*code).contains(&bytes.len()) => {
            assert_eq!(*decoded, Err(CommandError::WrongLength));
        }
        (Some(_), Ok(command)) => assert_eq!(command.encode().as_bytes(), bytes),
        // Everything else about a command is right: it is one of its keys.
        (Some(0x02 | 0x03 | 0x06..=0x09), Err(CommandError::Key(_))) => {}
        (Some(0x0a), Err(CommandError::NotATime)) => {}
        (Some(_), Err(error)) => panic!("{error}"),
    }
}

/// Bytes in all, by code (protocol page, section 4).
fn lengths(code: u8) -> &'static [usize] {
    match code {
        0x00 | 0x04 => &[17],
        0x01 | 0x05 => &[1],
        0x02 => &[33, 65],
        0x03 | 0x06 | 0x08 | 0x09 => &[49],
        0x07 => &[33],
        0x0a => &[9],
        _ => &[],
    }
}

/// Any of the twelve kinds of command, unless the input holds no key for it.
fn build(kind: u8, input: &mut Input<'_>) -> Option<Command> {
    Some(match kind {
        0 => Command::RemoveTopic(TopicHash::from_bytes(input.array())),
        1 => Command::ResetTopics,
        2 => Command::SetClientKey(ClientKey::from_bytes(&input.array()).ok()?),
        3 | 8 | 9 => {
            let key = world::topic_key(&world::usable(input.array()));
            let topic = TopicHash::from_bytes(input.array());
            match kind {
                3 => Command::SetTopicKey { topic, key },
                8 => Command::SetNextTopicKey { topic, key },
                _ => Command::ReplaceTopicKey { topic, key },
            }
        }
        10 => Command::SetTime(Timestamp::from_unix(input.u64() % (1 << 33))),
        4 => Command::RemovePubKey(ClientId::from_bytes(input.array())),
        5 => Command::ResetPubKeys,
        6 => {
            let key = VerifyingKey::from_bytes(&input.array()).ok()?;
            Command::SetPubKey { client: ClientId::from_bytes(input.array()), key }
        }
        7 => Command::SetC2Key(C2PublicKey::from_bytes(&input.array()).ok()?),
        _ => Command::SetSigningKey(SigningKey::from_seed(&input.array()).ok()?),
    })
}

/// A key server seals the commands of its client's mode, and no others.
fn check_sealing(command: &Command) {
    let topic_key = match command {
        Command::SetTopicKey { topic, key }
        | Command::SetNextTopicKey { topic, key }
        | Command::ReplaceTopicKey { topic, key } => Some((topic, key)),
        _ => None,
    };
    let in_symmetric = topic_key.is_some()
        || matches!(
            command,
            Command::RemoveTopic(_) | Command::ResetTopics | Command::SetClientKey(_) | Command::SetTime(_)
        );
    let in_public_key = !matches!(command, Command::SetClientKey(_));
    for (mode, takes) in [(Mode::Symmetric, in_symmetric), (Mode::PublicKey, in_public_key)] {
        let sealed = recipient(mode).seal_dated(command, Timestamp::from_unix(1));
        match topic_key {
            Some((topic, _)) if *topic == world::client_id().control_topic().hash() => {
                assert_eq!(sealed, Err(CommandError::ControlTopic));
            }
            Some((_, key)) if mode == Mode::Symmetric && *key.as_bytes() == CLIENT_KEY => {
                assert_eq!(sealed, Err(CommandError::SharedKey));
            }
            _ if takes => assert_eq!(sealed.unwrap().as_bytes().len(), 24 + command.encode().as_bytes().len()),
            _ => assert_eq!(sealed, Err(CommandError::WrongMode)),
        }
    }
}

fn recipient(mode: Mode) -> Recipient {
    thread_local! {
        static PUBLIC_KEY: Recipient = {
            let c2 = C2SecretKey::from_bytes(&world::C2_SECRET).unwrap();
            let client = SigningKey::from_seed(&world::SEED).unwrap().verifying_key();
            Recipient::public_key(world::client_id(), &c2, &client).unwrap()
        };
    }
    match mode {
        Mode::Symmetric => Recipient::symmetric(world::client_id(), &ClientKey::from_bytes(&CLIENT_KEY).unwrap()),
        Mode::PublicKey => PUBLIC_KEY.with(Clone::clone),
    }
}

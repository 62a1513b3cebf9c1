//! Keys, names, and single messages: the subcommands that need neither a device nor a network.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod common;

use common::Folder;
use e4::{
    C2SecretKey, Client, ClientId, ClientKey, Clock, ClockReading, Identity, MemoryStore, RootKey, SigningKey, Subtree,
    Timestamp, Topic, TopicKey,
};
use std::process::{Command, Stdio};

const PASSWORD: &str = "correct horse battery staple";
/// Computed with argon2-cffi 25.1, the reference C implementation, for the client pump-7.
const KEY_OF_PASSWORD: &str = "572ef79353bd77c908badbc5b1d57ce6620ffec4c58047942bb8c31633f29e04";

fn key_in(folder: &Folder, name: &str) -> [u8; 32] {
    let text = folder.read(name);
    let line = text.strip_suffix('\n').expect("a key file is one line");
    assert_eq!(line, line.to_lowercase());
    folder.key(name)
}

#[test]
fn secret_keys_are_written_for_their_owner_alone_and_not_shown() {
    let folder = Folder::new();
    for kind in ["symmetric", "root"] {
        let run = folder.run(&format!("keygen {kind} --out {kind}.key --json")).ok();
        let key = key_in(&folder, &format!("{kind}.key"));
        run.hides(&key);
        let json = run.json();
        assert_eq!(json["fingerprint"], TopicKey::from_bytes(&key).unwrap().fingerprint().to_string());
        assert_eq!(json["secret_file"], format!("{kind}.key"));
        #[cfg(unix)]
        assert_eq!(folder.mode(&format!("{kind}.key")), 0o600);
    }
    assert_ne!(folder.read("symmetric.key"), folder.read("root.key"));
    assert_eq!(folder.names(), ["root.key", "symmetric.key"]);
}

#[test]
fn key_pairs_are_a_secret_file_and_a_public_one() {
    let folder = Folder::new();
    for kind in ["ed25519", "x25519"] {
        let public_of = |secret| match kind {
            "ed25519" => *SigningKey::from_seed(secret).unwrap().verifying_key().as_bytes(),
            _ => *C2SecretKey::from_bytes(secret).unwrap().public_key().as_bytes(),
        };
        let run = folder.run(&format!("keygen {kind} --out {kind}.key")).ok();
        let secret = key_in(&folder, &format!("{kind}.key"));
        let public = key_in(&folder, &format!("{kind}.key.pub"));
        assert_eq!(public, public_of(&secret));
        run.hides(&secret);
        assert!(run.stdout().contains(&hex::encode(public)), "{}", run.stdout());
        #[cfg(unix)]
        assert_eq!([folder.mode(&format!("{kind}.key")), folder.mode(&format!("{kind}.key.pub"))], [0o600, 0o644]);
    }
}

#[test]
fn a_key_file_is_replaced_only_by_force() {
    let folder = Folder::new();
    for (args, file) in [
        ("keygen symmetric --out a", "a"),
        ("keygen ed25519 --out b", "b"),
        ("keygen ed25519 --out c", "c.pub"),
        ("key topic t --root-file root --epoch 1 --out d", "d"),
    ] {
        folder.write_key_of("root", "root", &[1; 32]);
        folder.write(file, "precious");
        folder.run(args).fails(1, "--force");
        assert_eq!(folder.read(file), "precious");
        let before = folder.names();
        folder.run(&format!("{args} --force")).ok();
        assert_ne!(folder.read(file), "precious", "{args}");
        // The first failure wrote not even the other half of a pair.
        assert!(before.len() == folder.names().len() || args.contains("ed25519"), "{args}: {before:?}");
    }
    assert!(!folder.names().iter().any(|name| name.starts_with('.')), "{:?}", folder.names());
}

#[test]
fn half_of_a_pair_is_not_written_where_the_other_half_is_in_the_way() {
    let folder = Folder::new();
    folder.write("a.pub", "precious");
    folder.run("keygen x25519 --out a").fails(1, "a.pub exists");
    assert_eq!(folder.names(), ["a.pub"]);
}

#[test]
fn a_file_that_cannot_be_written_is_named_and_no_temporary_one() {
    let folder = Folder::new();
    folder.write("file", "");
    for (path, reason) in [("absent/a.key", "No such file"), ("file/a.key", "Not a directory")] {
        let run = folder.run(&format!("keygen symmetric --out {path}"));
        let run = run.fails(1, &format!("could not write {path}: {reason}"));
        assert!(!run.stderr().contains(".e4-") && !run.stderr().contains("at path"), "{}", run.stderr());
    }
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_not_replaced_even_by_force() {
    let folder = Folder::new();
    std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
    folder.run("keygen symmetric --out socket --force").fails(1, "not a file");
    folder.run("keygen symmetric --out absent/key").fails(1, "could not write absent/key");
}

#[test]
fn a_secret_key_goes_to_standard_output_only_when_asked_to() {
    let folder = Folder::new();
    folder.run("keygen symmetric").fails(2, "--out");
    let run = folder.run("keygen symmetric --out -").ok();
    assert_eq!(hex::decode(run.stdout().trim_end()).unwrap().len(), 32);
    assert!(run.stderr().contains("fingerprint"));
    folder.run("keygen ed25519 --out -").fails(1, "two files");
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn a_password_and_a_client_give_the_same_key_wherever_the_password_comes_from() {
    let folder = Folder::new();
    let args = "keygen symmetric --password --force --out key --name pump-7";
    folder.run_with(args, PASSWORD).ok().hides(&hex::decode(KEY_OF_PASSWORD).unwrap().try_into().unwrap());
    assert_eq!(folder.read("key").trim_end(), KEY_OF_PASSWORD);

    folder.write("password", format!("{PASSWORD}\r\n"));
    folder.set_mode("password", 0o600);
    let run = folder.run(&format!("{args} --password-file password")).ok();
    assert_eq!((folder.read("key").trim_end(), run.stderr()), (KEY_OF_PASSWORD, ""));

    let id = ClientId::from_name("pump-7").unwrap();
    folder
        .e4(&format!("keygen ed25519 --password --out pair --id {id} --password-file env:PASSWORD"))
        .env("PASSWORD", PASSWORD)
        .assert()
        .success();
    assert_eq!(folder.digits("pair"), KEY_OF_PASSWORD);

    folder.run_with("keygen symmetric --password --out other --name pump-8", PASSWORD).ok();
    assert_ne!(folder.read("other").trim_end(), KEY_OF_PASSWORD);
}

#[test]
fn weak_and_doubtful_passwords_are_refused_and_not_shown() {
    let folder = Folder::new();
    let args = "keygen symmetric --password --name pump-7 --out key";
    for (password, reason) in [
        // 15 characters, of more than 16 bytes.
        ("fünfzehn Zeiche", "15 characters"),
        ("", "is empty"),
        ("correct horse\nbattery staple", "more than one line"),
    ] {
        let run = folder.run_with(args, password).fails(1, reason);
        assert!(password.get(..5).is_none_or(|start| !run.stderr().contains(start)), "{}", run.stderr());
    }
    folder.run_with(args, [0xff; 20]).fails(1, "UTF-8");
    folder.run_with(args, vec![b'a'; 5000]).fails(1, "longer");
    folder.run("keygen symmetric --password --out key").fails(2, "--name");
    folder.run("keygen symmetric --name pump-7 --out key").fails(1, "leave out");
    folder.run("keygen root --password --name pump-7 --out key").fails(2, "--password");
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn an_existing_file_is_found_before_a_password_is_asked_for() {
    let folder = Folder::new();
    folder.write("key", "precious");
    folder.run_with("keygen symmetric --password --name a --out key", "short").fails(1, "--force");
}

#[test]
fn the_id_and_the_control_topic_of_a_client_follow_from_its_name() {
    let folder = Folder::new();
    let run = folder.run("id alice --json").ok();
    assert_eq!(run.json()["id"], "a7dcef9aef26202fce82a7c7d6672afb");
    assert_eq!(run.json()["control_topic"], "e4/a7dcef9aef26202fce82a7c7d6672afb");
    let text = folder.run("id alice").ok();
    assert!(text.stdout().contains("e4/a7dcef9aef26202fce82a7c7d6672afb"));
    folder.run("id").fails(2, "<NAME>");
    folder.e4("id").arg("").assert().code(1);
}

#[test]
fn keys_are_derived_from_a_root_key_and_from_a_subtree_key() {
    let folder = Folder::new();
    let root = RootKey::from_bytes(&[9; 32]).unwrap();
    let topic = Topic::new("plant/7/pump").unwrap();
    let expected = root.topic_key(3, &topic);
    folder.write_key_of("root", "root", root.as_bytes());

    let run = folder.run("key topic plant/7/pump --root-file root --epoch 3 --out topic.key --json").ok();
    assert_eq!(key_in(&folder, "topic.key"), *expected.as_bytes());
    assert_eq!(run.json()["fingerprint"], expected.fingerprint().to_string());
    assert_eq!(run.json()["hash"], topic.hash().to_string());
    run.hides(expected.as_bytes());
    run.hides(root.as_bytes());
    #[cfg(unix)]
    assert_eq!(folder.mode("topic.key"), 0o600);

    folder.run("key subtree plant/# --root-file root --epoch 3 --out wide").ok();
    let wide = root.subtree_key(3, &Subtree::new("plant/#").unwrap());
    assert_eq!(key_in(&folder, "wide"), *wide.as_bytes());
    folder.run("key subtree plant/7/# --subtree-file wide --subtree plant/# --out narrow").ok();
    let run = folder.run("key topic plant/7/pump --subtree-file narrow --subtree plant/7/# --out -").ok();
    assert_eq!(run.stdout(), format!("{}\n", hex::encode(expected.as_bytes())));

    // Without --out there is no secret.
    let run = folder.run("key topic plant/7/pump --root-file root --epoch 3").ok();
    run.hides(expected.as_bytes());
    assert!(run.stdout().contains(&expected.fingerprint().to_string()));
}

#[test]
fn keys_are_not_derived_for_what_has_none() {
    let folder = Folder::new();
    folder.write_key_of("root", "root", &[9; 32]);
    folder.run("key topic plant/# --root-file root --epoch 1").fails(2, "wildcard");
    folder.run("key subtree plant/+/# --root-file root --epoch 1").fails(2, "no key");
    folder.write_key("wide", &[9; 32]);
    folder.run("key topic a/b --subtree-file wide --subtree c/#").fails(1, "does not lie in the subtree");
    folder.run("key topic a/b --root-file root").fails(2, "--epoch");
    folder.run("key topic a/b").fails(2, "--root-file");
    folder.run("key topic a/b --subtree-file root").fails(2, "--subtree");
    folder.run("key topic a/b --root-file root --epoch 1 --subtree a/#").fails(2, "cannot be used");
    folder.run("key topic a/b --subtree-file root --subtree a/# --epoch 1").fails(2, "cannot be used");
    folder.run("key topic a/b --root-file root --epoch 1 --subtree-file root --subtree a/#").fails(2, "cannot be used");
}

#[test]
fn a_key_is_read_from_a_file_from_standard_input_and_from_the_environment() {
    let folder = Folder::new();
    let line = format!("root {}", hex::encode([9; 32]));
    folder.write("root", format!("\r\n  root \t {}\t\n", hex::encode_upper([9; 32])));
    folder.set_mode("root", 0o600);
    let from_file = folder.run("key topic a --root-file root --epoch 1").ok();
    let from_stdin = folder.run_with("key topic a --root-file - --epoch 1", line.as_str()).ok();
    let from_env = folder.e4("key topic a --root-file env:ROOT --epoch 1").env("ROOT", &line).output().unwrap();
    assert_eq!([from_stdin.stdout().as_bytes(), &from_env.stdout], [from_file.stdout().as_bytes(); 2]);
    assert_eq!(from_file.stderr(), "");
}

#[test]
fn bad_key_files_are_named_without_showing_what_is_in_them() {
    let folder = Folder::new();
    let digits = hex::encode([0xa7; 32]);
    for (content, reason) in [
        ("", "root is empty"),
        ("root", "root: a key is 64 hexadecimal digits, and here are 4 characters"),
        (&format!("roots {digits}"), "root: before the digits of a key is a word that names no kind of key"),
        (&format!("{digits} root"), "a word that names no kind of key"),
        (&format!("root {digits} {digits}"), "root: a key is one line"),
        (&digits, "root: this is a symmetric key"),
        ("a7a7a7a7", "root: a key is 64 hexadecimal digits, and here are 8 characters"),
        (&format!("{digits}a7"), "66 characters"),
        (&digits.replacen("a7", "x7", 1), "other characters"),
        (&format!("root {}", "0".repeat(64)), "root: the key is all zero"),
        (&"a7".repeat(4000), "longer than"),
    ] {
        folder.write("root", content);
        folder.set_mode("root", 0o600);
        let run = folder.run("key topic a --root-file root --epoch 1").fails(1, reason);
        run.hides(&[0xa7; 32]);
        assert!(!run.stderr().contains("a7a7") && !run.stderr().contains("x7"), "{}", run.stderr());
    }
    folder.run("key topic a --root-file absent --epoch 1").fails(1, "could not read absent");
    folder.run("key topic a --root-file env:E4_TEST_ABSENT --epoch 1").fails(1, "E4_TEST_ABSENT is not set");
    folder.run("key topic a --root-file - --epoch 1").fails(1, "standard input is empty");
}

#[cfg(unix)]
#[test]
fn a_secret_that_others_can_read_is_used_with_a_warning() {
    let folder = Folder::new();
    folder.write_key_of("root", "root", &[9; 32]);
    for (mode, warned) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true), (0o644, true)] {
        folder.set_mode("root", mode);
        let run = folder.run("key topic a --root-file root --epoch 1").ok();
        assert_eq!(run.stderr().contains("Warning: others can read the secret in root"), warned, "{mode:o}");
    }
}

#[test]
fn what_is_sealed_with_a_topic_key_opens_with_it_byte_by_byte() {
    let folder = Folder::new();
    folder.write_key("key", &[5; 32]);
    let binary: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    for payload in [&b""[..], b"\n", b"4.2 bar\r\n", &binary] {
        for text in ["", "--hex", "--base64"] {
            let sealed = folder.run_with(&format!("seal --topic-key-file key {text}"), payload).ok();
            if text.is_empty() {
                assert_eq!(sealed.0.stdout.len(), payload.len() + 24);
            }
            let opened = folder.run_with(&format!("open --topic-key-file key {text}"), sealed.0.stdout).ok();
            assert!(opened.0.stdout == payload, "{} bytes {text}", payload.len());
            assert_eq!(opened.stderr(), "");
        }
    }
}

#[test]
fn a_message_of_e4go_opens_with_its_topic_key_whatever_its_age() {
    let folder = Folder::new();
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/vectors/e4go.json")).expect("the vectors are JSON");
    let now = Timestamp::now().as_unix();
    let cases = vectors["symmetric_message"].as_array().unwrap();
    // Those from the future of this machine are refused, so only those from its past count here.
    let past: Vec<_> = cases.iter().filter(|case| case["timestamp"].as_u64().unwrap() <= now).collect();
    assert!(past.len() >= 3, "{}", past.len());
    for case in past.iter().take(5) {
        folder.write("key", case["topic_key"].as_str().unwrap());
        folder.set_mode("key", 0o600);
        let run = folder.run_with("open --topic-key-file key --hex", case["protected"].as_str().unwrap()).ok();
        assert_eq!(hex::encode(&run.0.stdout), case["payload"].as_str().unwrap());
        let aged = folder.run_with("open --topic-key-file key --hex --max-age 0", case["protected"].as_str().unwrap());
        aged.fails(3, "sent ");
    }
}

#[test]
fn refused_messages_end_with_exit_code_3_and_the_reason() {
    let folder = Folder::new();
    folder.write_key("key", &[5; 32]);
    folder.write_key("other", &[6; 32]);
    let sealed = folder.run_with("seal --topic-key-file key", "secret").ok().0.stdout;
    folder.run_with("open --topic-key-file other", sealed.clone()).fails(3, "Refused: not authentic").hides(&[6; 32]);
    let mut changed = sealed.clone();
    *changed.last_mut().unwrap() ^= 1;
    folder.run_with("open --topic-key-file key", changed).fails(3, "not authentic");
    folder.run_with("open --topic-key-file key", &sealed[..23]).fails(3, "too short");
    folder.run_with("open --topic-key-file key", []).fails(3, "too short");
    let sealed = seal_at(Timestamp::from_unix(Timestamp::now().as_unix() + 3600));
    folder.run_with("open --topic-key-file key", sealed).fails(3, "in the future");
    let sealed = seal_at(Timestamp::from_unix(Timestamp::now().as_unix() - 100));
    folder.run_with("open --topic-key-file key --max-age 50", sealed.clone()).fails(3, "more than the 50 s");
    folder.run_with("open --topic-key-file key --max-age 5000", sealed).ok();
}

#[test]
fn the_time_of_an_opened_message_is_told_on_demand() {
    let folder = Folder::new();
    folder.write_key("key", &[5; 32]);
    let sealed = seal_at(Timestamp::from_unix(1_700_000_000));
    let run = folder.run_with("open --topic-key-file key --verbose", sealed.clone()).ok();
    assert_eq!((run.stdout(), run.stderr()), ("payload", "sealed at 2023-11-14T22:13:20Z\n"));
    let json = folder.run_with("open --topic-key-file key --json", sealed).ok().json();
    assert_eq!((json["payload"].as_str(), json["sent"].as_u64()), (Some("payload"), Some(1_700_000_000)));
    assert_eq!((&json["signer"], json["previous_key"].as_bool()), (&serde_json::Value::Null, Some(false)));
}

#[test]
fn bad_arguments_for_one_message_are_errors() {
    let folder = Folder::new();
    folder.write_key("key", &[5; 32]);
    for command in ["seal", "open"] {
        folder.run(command).fails(2, "--topic-key-file");
        folder.run(&format!("{command} --topic-key-file key --state s --topic t")).fails(2, "cannot be used with");
        let unlock = format!("{command} --topic-key-file key --name a --storage-key-file key");
        folder.run(&unlock).fails(2, "cannot be used with");
        folder.run(&format!("{command} --topic-key-file key --hex --base64")).fails(2, "cannot be used with");
        folder.run(&format!("{command} --state s")).fails(2, "--topic");
        folder.run(&format!("{command} --topic-key-file -")).fails(1, "standard input is the message");
    }
    folder.run_with("open --topic-key-file key --hex", "0g").fails(1, "not text in hexadecimal");
    folder.run_with("open --topic-key-file key --base64", "=").fails(1, "not text in base64");
    folder.run("open --state s --topic t --max-age 5").fails(2, "--max-age");
}

#[test]
fn a_message_shows_its_time_and_its_signer_without_a_key() {
    let folder = Folder::new();
    let sealed = seal_at(Timestamp::from_unix(1_700_000_000));
    folder.write("sealed", &sealed);
    let run = folder.run("inspect sealed").ok();
    assert!(run.stdout().contains("2023-11-14T22:13:20Z"), "{}", run.stdout());
    let json = folder.run_with("inspect --hex --json", hex::encode(&sealed)).ok().json();
    assert_eq!(json["length"], 31);
    assert_eq!(json["sent"], 1_700_000_000);
    assert_eq!(json["plausible_time"], true);
    assert_eq!(json["modes"], serde_json::json!([{ "mode": "symmetric", "payload_length": 7 }]));
    let age = json["age"].as_u64().unwrap();
    assert!(age.abs_diff(Timestamp::now().as_unix() - 1_700_000_000) < 600, "{age}");

    let signer = ClientId::from_name("pump-7").unwrap();
    let mut signed = sealed[..8].to_vec();
    signed.extend_from_slice(signer.as_bytes());
    signed.resize(104 + 9, 1);
    let modes = folder.run_with("inspect - --json", signed).ok().json()["modes"].clone();
    assert_eq!(modes[0], serde_json::json!({ "mode": "symmetric", "payload_length": 89 }));
    let expected = serde_json::json!({ "mode": "public-key", "payload_length": 9, "signer": signer.to_string() });
    assert_eq!((&modes[1], modes.as_array().unwrap().len()), (&expected, 2));
}

#[test]
fn what_is_no_sealed_message_is_said_to_be_none() {
    let folder = Folder::new();
    for (input, reason) in [
        (&b""[..], "at least 24 bytes"),
        (&[b'a'; 23], "at least 24 bytes"),
        (b"{\"temperature\": 23.5, \"unit\": \"C\"}", "the time is years away"),
        (&[0xff; 24], "in no year of the calendar"),
        (hex::encode([7; 30]).as_bytes(), "try --hex"),
    ] {
        let run = folder.run_with("inspect", input).ok();
        assert!(run.stdout().contains(reason), "{}", run.stdout());
    }
    let json = folder.run_with("inspect --json", [0xff; 24]).ok().json();
    assert_eq!(json["plausible_time"], false);
    assert_eq!(folder.run("inspect --json").ok().json()["sent"], serde_json::Value::Null);
    folder.run("inspect absent").fails(1, "could not read absent");
}

#[test]
fn completions_name_every_subcommand() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let run = folder.run(&format!("completions {shell}")).ok();
        for name in ["keygen", "id", "key", "device", "seal", "open", "inspect", "import-e4go"] {
            assert!(run.stdout().contains(name), "{shell}: {name}");
        }
    }
    folder.run("completions vi").fails(2, "invalid value");
}

#[test]
fn every_subcommand_explains_itself() {
    let folder = Folder::new();
    for (command, example) in [
        ("keygen", "e4 keygen ed25519 --out"),
        ("id", "e4 id pump-7"),
        ("key", "e4 key topic --root-file"),
        ("device init", "e4 device init --state"),
        ("device show", "e4 device show --state"),
        ("device import-e4go", "e4 device import-e4go --from"),
        ("seal", "e4 seal --topic-key-file"),
        ("open", "e4 open --topic-key-file"),
        ("inspect", "e4 inspect"),
        ("completions", "e4 completions bash"),
    ] {
        let run = folder.run(&format!("{command} --help")).ok();
        assert!(run.stdout().contains(example), "{}", run.stdout());
    }
    folder.run("").0.status.code().map(|code| assert_eq!(code, 2)).unwrap();
}

#[cfg(unix)]
#[test]
fn a_reader_that_has_read_enough_is_no_error() {
    let folder = Folder::new();
    folder.write_key("key", &[5; 32]);
    let binary = assert_cmd::cargo::cargo_bin!("e4");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status =
        Command::new(binary).args(["completions", "bash"]).stdout(writer).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(0));
}

/// `payload`, sealed under a key of fives at that time.
fn seal_at(sent: Timestamp) -> Vec<u8> {
    struct At(Timestamp);
    impl Clock for At {
        fn read(&self) -> ClockReading {
            ClockReading::Time(self.0)
        }
    }
    let topic = Topic::new("any").unwrap();
    let identity = Identity::symmetric(ClientId::from_bytes([1; 16]), ClientKey::from_bytes(&[1; 32]).unwrap());
    let builder = Client::builder(identity).topic_key(topic.hash(), TopicKey::from_bytes(&[5; 32]).unwrap()).unwrap();
    builder.create_with_clock(MemoryStore::new(), At(sent)).unwrap().seal(&topic, b"payload").unwrap()
}

#[test]
fn f22_no_name_of_a_topic_has_a_control_character() {
    let folder = Folder::new();
    folder.write_key("key", &[5; 32]);
    folder.write_key_of("root", "root", &[9; 32]);
    folder.run("device init --state s --name d --key-file key").ok();
    folder.write("fleet.toml", "[devices.d]\nmode = \"symmetric\"\nkey_file = \"key\"\n");
    folder.run("keygen symmetric --out topic").ok();
    for character in ["\t", "\u{1}", "\n", "\u{7f}", "\u{85}"] {
        for (args, code) in [
            ("device init --state x --name d --key-file key --topic-key NAME=topic", 2),
            ("device init --state x --name d --key-file key --max-age NAME=any", 2),
            ("device show --state s --topic NAME", 2),
            ("key topic NAME --root-file root --epoch 1", 2),
            ("key subtree NAME/# --root-file root --epoch 1", 2),
            ("key topic a --subtree-file topic --subtree NAME/#", 2),
            ("control set-topic-key NAME --topic-key-file topic --all --print-hex", 2),
            ("control set-topic-key NAME/# --topic-key-file topic --all --print-hex", 2),
            ("control remove-topic NAME --all --print-hex", 2),
            ("control rotate NAME --out out --all --print-hex", 2),
            ("pub --state s -t NAME -m x", 2),
            ("pub --state s -t a -m x --plaintext-topic NAME/#", 2),
            ("sub --state s -t NAME/#", 2),
            ("sub --state s -t a -U NAME", 2),
            ("sub --state s -t a --max-age NAME=any", 2),
            ("seal --state s --topic NAME", 1),
        ] {
            let name = format!("a{character}b");
            let mut command = folder.e4("");
            command.args(args.split(' ').map(|arg| arg.replace("NAME", &name)));
            common::Run(command.output().unwrap()).fails(code, "control character");
        }
        if character != "\n" {
            folder.write("names", format!("a\na{character}b\n"));
            folder
                .run("device show --state s --topics-file names")
                .fails(1, "names, line 2: it has a control character");
        }
    }
    // What others sealed for such a topic can be opened.
    let topic = Topic::new("a\tb").unwrap();
    let control = ClientId::from_name("d").unwrap().control_topic();
    let recipient = e4::controller::Recipient::symmetric(
        ClientId::from_name("d").unwrap(),
        &ClientKey::from_bytes(&[5; 32]).unwrap(),
    );
    let key = TopicKey::from_bytes(&folder.key("topic")).unwrap();
    let given = recipient.seal_dated(&e4::Command::set_topic_key(&topic, key), Timestamp::now()).unwrap();
    folder.run_with(&format!("open --state s --topic {control}"), given.as_bytes()).ok();
    let sealed = folder.run_with("seal --topic-key-file topic", "x").ok().0.stdout;
    let mut open = folder.e4("open --state s --topic");
    let opened = open.arg("a\tb").write_stdin(sealed).output().unwrap();
    assert_eq!(common::Run(opened).ok().stdout(), "x");
}

#[test]
fn payloads_in_json_are_text_or_else_base64_as_those_of_subscribers_are() {
    let folder = Folder::new();
    folder.write_key("key", &[5; 32]);
    for (payload, text, encoding) in
        [(&b"4,2 b\xc3\xa4r"[..], "4,2 bär", "utf-8"), (b"\xff", "/w==", "base64"), (b"", "", "utf-8")]
    {
        let sealed = folder.run_with("seal --topic-key-file key", payload).ok().0.stdout;
        let json = folder.run_with("open --topic-key-file key --json", sealed).ok().json();
        assert_eq!((&json["payload"], &json["payload_encoding"]), (&text.into(), &encoding.into()));
    }
}

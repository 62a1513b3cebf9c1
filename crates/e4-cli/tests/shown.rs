//! What the command shows and what not: keys and passwords in the wrong place, and characters that steer a terminal.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod broker_kit;
mod common;

use base64::{Engine, prelude::BASE64_STANDARD};
use broker_kit::Broker;
use common::{Folder, Run};
use std::{io::Read, net::TcpListener, process::Command, thread};

const KEY: [u8; 32] = *b"\x8f\x02\xd1\x3c\xa6\x77\x19\xe4\x5b\xc0\x2e\x91\xf3\x48\x6d\xb7\
    \x0a\x95\x3e\xc8\x61\xdf\x24\x7a\xb9\x16\x83\xec\x50\x2d\xfa\x47";

#[test]
fn f39_a_password_file_alone_is_enough() {
    let folder = Folder::new();
    folder.write("password", "correct horse battery staple\n");
    folder.set_mode("password", 0o600);
    let who = "--name pump-7 --force --out";
    folder.run(&format!("keygen symmetric --password --password-file password {who} both")).ok();
    folder.run(&format!("keygen symmetric --password-file password {who} one")).ok();
    folder.run(&format!("keygen ed25519 --password-file password {who} pair")).ok();
    assert_eq!(folder.read("one"), folder.read("both"));
    assert_eq!(folder.key("pair"), folder.key("both"));
    folder.run("keygen symmetric --password-file password --out x").fails(2, "--name");
}

/// The last of what `e4` sends to a broker at first, which is the password.
fn password_sent(set_up: impl FnOnce(&mut assert_cmd::Command)) -> Vec<u8> {
    let folder = Folder::new();
    folder.write_key("k", &KEY);
    folder.run("device init --state s --name d --key-file k").ok();
    folder.write("password", "-secret\r\n");
    folder.set_mode("password", 0o600);
    let broker = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = broker.local_addr().unwrap().port();
    let reader = thread::spawn(move || {
        let (mut stream, _) = broker.accept().unwrap();
        let mut start = [0; 2];
        stream.read_exact(&mut start).unwrap();
        assert!(start[0] == 0x10 && start[1] < 128, "{start:?}");
        let mut packet = vec![0; start[1].into()];
        stream.read_exact(&mut packet).unwrap();
        packet
    });
    let mut command = folder.e4(&format!("pub --state s --only-connect -V 311 -p {port} -u -name -i -id"));
    set_up(&mut command);
    // The broker is gone after that.
    let run = Run(command.output().unwrap());
    assert_eq!(run.code(), 1, "{}", run.stderr());
    let packet = reader.join().unwrap();
    let fields = [b"\0\x03-id".as_slice(), b"\0\x05-name"];
    assert!(fields.iter().all(|field| packet.windows(field.len()).any(|part| part == *field)), "{packet:?}");
    packet
}

#[test]
fn f41_a_password_is_one_line_wherever_it_comes_from_and_may_begin_with_a_hyphen() {
    let expected = b"\0\x07-secret";
    let set_ups: [fn(&mut assert_cmd::Command); 6] = [
        |command| _ = command.args(["-P", "-secret"]),
        |command| _ = command.args(["--pw", "-secret\n"]),
        |command| _ = command.args(["--password-file", "password"]),
        |command| _ = command.args(["--password-file", "-"]).write_stdin("-secret\n"),
        |command| _ = command.args(["--password-file", "env:PASSWORD"]).env("PASSWORD", "-secret\r\n"),
        |command| _ = command.env("E4_MQTT_PASSWORD", "-secret\n"),
    ];
    for (way, set_up) in set_ups.into_iter().enumerate() {
        let packet = password_sent(set_up);
        assert!(packet.ends_with(expected), "{way}: {packet:?}");
    }
    let folder = Folder::new();
    folder.write_key("k", &KEY);
    folder.run("device init --state s --name d --key-file k").ok();
    let run = folder.e4("pub --state s --only-connect -p 1 -u name -P").arg("two\nlines").output().unwrap();
    Run(run).fails(1, "more than one line");
}

#[test]
fn f41_names_and_topics_may_begin_with_a_hyphen() {
    let folder = Folder::new();
    folder.write_key("k", &KEY);
    folder.write_key("t", &[7; 32]);
    folder.write("fleet.toml", "[devices.-d]\nmode = \"symmetric\"\nkey_file = \"k\"\ngroups = [\"-g\"]\n");
    folder.run("device init --state s --name -d --key-file k --topic-key -t=t --max-age -f/#=5").ok();
    folder.run("device show --state s --name -d --topic -t").ok();
    for topic in ["-t -t", "--topic -t"] {
        let sealed = folder.run_with(&format!("seal --state s {topic}"), "x").ok().0.stdout;
        folder.run_with(&format!("open --state s {topic}"), sealed).ok();
    }
    folder.run("control reset-topics --to -d --print-hex").ok();
    folder.run("control reset-topics --group -g --print-hex").ok();
    let dead = "-p 1 --plaintext-topic -p/#";
    folder.run(&format!("pub --state s -t -t -m -m {dead}")).fails(1, "could not connect");
    folder.run(&format!("sub --state s -t -t -U -u {dead} --max-age -t=any")).fails(1, "could not connect");
}

#[test]
fn f44_a_key_in_the_wrong_place_is_not_shown() {
    let folder = Folder::new();
    folder.write_key("k", &KEY);
    folder.run("device init --state s --name d --key-file k").ok();
    let device = "[devices.d]\nmode = \"symmetric\"\n";
    for secret in [hex::encode(KEY), BASE64_STANDARD.encode(KEY)] {
        for file in [
            format!("{device}key_file = \"{secret}\"\n"),
            format!("{device}key_file = \"keys/{secret}\"\n"),
            format!("{device}key_file = {secret}\n"),
            format!("{device}key_file = \"{secret}\n"),
            format!("{device}\"{secret}\" = \"k\"\n"),
            format!("{device}key_file = \"k\"\ngroups = \"{secret}\"\n"),
            format!("{device}key_file = \"k\"\nid = \"{secret}\"\n"),
            format!("[devices.d]\nmode = \"{secret}\"\nkey_file = \"k\"\n"),
            format!("devices = \"{secret}\"\n"),
            format!("c2_key_file = 5\nx = \"{secret}\"\n"),
            format!("[devices.d]\nmode = \"public-key\"\npublic_key_file = \"{secret}\"\n"),
            format!("c2_key_file = \"{secret}\"\n[devices.d]\nmode = \"public-key\"\npublic_key_file = \"k.pub\"\n"),
            format!("[devices.\"{secret}\"]\nmode = \"symmetric\"\nkey_file = \"absent\"\n"),
        ] {
            folder.write("fleet.toml", &file);
            let run = folder.run("control reset-topics --all --print-hex --json");
            assert_eq!(run.code(), 1, "{file}: {}", run.stdout());
            if !file.contains("[devices.\"") {
                run.hides(&KEY);
            }
            assert!(!run.stderr().contains(&secret), "{}", run.stderr());
        }
        folder.write("fleet.toml", format!("{device}key_file = \"k\"\n"));
        for args in [
            format!("device init --state x --name d --key-file {secret}"),
            format!("device init --state x --id {secret} --key-file k"),
            format!("device init --state x --name d --key-file k --topic-key {secret}"),
            format!("device init --state x --name d --key-file k --topic-key t={secret}"),
            format!("device show --state s --storage-key-file {secret} --name d"),
            format!("seal --topic-key-file {secret}"),
            format!("key topic t --root-file {secret} --epoch 1"),
            format!("control set-topic-key t --topic-key-file {secret} --all"),
            format!("control set-id-key --key-file {secret} --to d"),
            format!("control set-pub-key x --public-key-file {secret} --all"),
            format!("control reset-topics --to {secret}"),
            format!("control reset-topics --group {secret}"),
            format!("control rotate t --all --topic-key-file {secret}"),
            format!("keygen symmetric {secret}"),
            secret.clone(),
        ] {
            let run = folder.run(&args);
            assert_ne!(run.code(), 0, "{args}");
            run.hides(&KEY);
        }
    }
    // A password for its file.
    for args in [
        "keygen symmetric --name d --out x --password-file correct-horse-battery-staple",
        "pub --state s --only-connect -p 1 -u name --password-file correct-horse-battery-staple",
    ] {
        let run = folder.run(args).fails(1, "there is no file of the name");
        assert!(!run.stderr().contains("horse"), "{}", run.stderr());
    }
}

#[test]
fn f44_no_key_is_taken_for_one_of_another_kind_whatever_its_file_is_called() {
    let folder = Folder::new();
    folder.run("keygen symmetric --out symmetric").ok();
    folder.run("keygen root --out root").ok();
    folder.run("keygen ed25519 --out ed").ok();
    folder.run("keygen x25519 --out c2").ok();
    // What is sent, and where it goes.
    folder.write(
        "fleet.toml",
        "c2_key_file = \"c2\"\n[devices.d]\nmode = \"public-key\"\npublic_key_file = \"ed.pub\"\n\
         [devices.s]\nmode = \"symmetric\"\nkey_file = \"client\"\n",
    );
    folder.run("keygen symmetric --out client").ok();
    folder.run("keygen ed25519 --out other").ok();
    let init = "device init --force --state x --name d";
    let pair = "--signing-key-file other --c2-key-file c2.pub";
    for (args, right) in [
        (format!("{init} --key-file FILE"), "symmetric"),
        (format!("{init} --key-file client --storage-key-file FILE"), "symmetric"),
        (format!("{init} --key-file client --topic-key t=FILE"), "symmetric"),
        (format!("{init} --signing-key-file FILE --c2-key-file c2.pub"), "ed"),
        (format!("{init} --signing-key-file other --c2-key-file FILE"), "c2.pub"),
        (format!("{init} {pair} --peer p=FILE"), "ed.pub"),
        ("control set-topic-key t --topic-key-file FILE --all --print-hex".into(), "symmetric"),
        ("control rotate t --topic-key-file FILE --all --print-hex".into(), "symmetric"),
        ("control rotate t --root-file FILE --epoch 1 --all --print-hex".into(), "root"),
        ("control set-id-key --key-file FILE --to s --print-hex".into(), "symmetric"),
        ("control set-id-key --key-file FILE --to d --print-hex".into(), "ed"),
        ("control set-pub-key p --public-key-file FILE --all --print-hex".into(), "ed.pub"),
        ("control set-c2-key --public-key-file FILE --all --print-hex".into(), "c2.pub"),
        ("key topic t --root-file FILE --epoch 1".into(), "root"),
        ("key topic t --subtree-file FILE --subtree #".into(), "symmetric"),
        ("seal --topic-key-file FILE".into(), "symmetric"),
    ] {
        for kind in ["symmetric", "root", "ed", "ed.pub", "c2", "c2.pub"] {
            // Named as the other kind is.
            let name = if kind.ends_with(".pub") { "given" } else { "given.pub" };
            folder.write(name, folder.read(kind));
            folder.set_mode(name, 0o600);
            let run = folder.run(&args.replace("FILE", name));
            if kind == right {
                run.ok();
            } else {
                run.fails(1, "is needed").hides(&folder.key(kind));
            }
        }
    }
    // The same in the fleet file.
    for (right, entry) in [
        ("c2", "c2_key_file = \"given\"\n[devices.d]\nmode = \"public-key\"\npublic_key_file = \"ed.pub\"\n"),
        ("ed.pub", "c2_key_file = \"c2\"\n[devices.d]\nmode = \"public-key\"\npublic_key_file = \"given\"\n"),
        ("symmetric", "[devices.d]\nmode = \"symmetric\"\nkey_file = \"given\"\n"),
    ] {
        folder.write("fleet.toml", entry);
        for kind in ["symmetric", "root", "ed", "ed.pub", "c2", "c2.pub"] {
            folder.write("given", folder.read(kind));
            let run = folder.run("control reset-topics --all --print-hex");
            assert_eq!(run.code() == 0, kind == right, "{entry}{kind}: {}", run.stderr());
            assert!(kind == right || run.stderr().contains("is needed"), "{}", run.stderr());
            run.hides(&folder.key(kind));
        }
    }
}

#[test]
fn f44_a_key_of_another_program_needs_the_word_before_it_unless_it_is_symmetric() {
    let folder = Folder::new();
    folder.run("keygen ed25519 --out ed").ok();
    folder.run("keygen x25519 --out c2").ok();
    // Half of all seeds are points.
    for n in 0..4 {
        folder.write_key("seed.pub", &[n + 1; 32]);
        let run =
            folder.run("device init --state s --name d --signing-key-file ed --c2-key-file c2.pub --peer x=seed.pub");
        run.fails(1, "if it is the public Ed25519 key of a client, write ed25519-public and a space there");
    }
    let line = format!("ed25519-public {}", folder.digits("ed.pub"));
    let init = "device init --state s --name d --signing-key-file ed --c2-key-file c2.pub --peer x=-";
    folder.run_with(init, line).ok();
}

/// Characters in a name that end a line, steer a terminal in two ways, and turn text around.
const STEERING: &str = "pump\u{1b}[31m\u{9b}31m\u{7f}\u{202e}\u{61c}";

#[track_caller]
fn steers_nothing(shown: &str) {
    let bad = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{202e}' | '\u{61c}');
    assert!(!shown.contains(bad), "{shown:?}");
}

#[test]
fn f45_names_of_devices_do_not_steer_the_terminal() {
    let folder = Folder::new();
    folder.write_key("k", &KEY);
    let name: String = STEERING.chars().map(|c| format!("\\U{:08x}", u32::from(c))).collect();
    for key in ["k", "absent"] {
        folder.write("fleet.toml", format!("[devices.\"{name}\\n\"]\nmode = \"symmetric\"\nkey_file = \"{key}\"\n"));
        for args in ["reset-topics --all --print-hex", "reset-topics --all --print-hex --json", "set-pub-key x --all"] {
            let run = folder.run(&format!("control {args}"));
            steers_nothing(run.stdout());
            steers_nothing(run.stderr());
            if args.contains("json") {
                assert_eq!(run.json()["device"], format!("{STEERING}\n"));
                assert!(run.stdout().contains("\\u009b31m"), "{}", run.stdout());
            }
            assert!(run.stderr().lines().count() <= 2, "{}", run.stderr());
        }
    }
    let named = Run(folder.e4("id --json").arg(STEERING).output().unwrap()).ok();
    steers_nothing(named.stdout());
    assert_eq!(named.json()["name"], STEERING);
    let unknown = Run(folder.e4("control reset-topics --print-hex --to").arg(STEERING).output().unwrap());
    steers_nothing(unknown.fails(1, "there is no device").stderr());
    let wrong = Run(folder.e4("sub --state s -t").arg(format!("{STEERING}#")).output().unwrap());
    steers_nothing(wrong.fails(2, "pump").stderr());
}

/// Runs the command on a terminal of its own, and returns what it showed there.
#[cfg(unix)]
fn on_a_terminal(folder: &Folder, line: &str) -> Option<String> {
    let e4 = assert_cmd::cargo::cargo_bin!("e4").display().to_string();
    let script = Command::new("script")
        .args(["-qec", &line.replace("e4 ", &format!("{e4} ")), "/dev/null"])
        .current_dir(folder.path())
        .output();
    let Ok(output) = script else {
        println!("script is not installed: not tested on a terminal");
        return None;
    };
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n"))
}

#[cfg(unix)]
#[test]
fn f45_a_payload_steers_no_terminal_unless_asked_to() {
    let folder = Folder::new();
    folder.write_key("k", &KEY);
    let payload = [STEERING.as_bytes(), b"\n\t\x9b31m\xff C:\\x"].concat();
    let sealed = folder.run_with("seal --topic-key-file k", payload.clone()).ok().0.stdout;
    folder.write("sealed", &sealed);
    assert!(
        folder.run_with("open --topic-key-file k", sealed).ok().0.stdout == payload,
        "into a pipe it goes as it is"
    );
    let Some(shown) = on_a_terminal(&folder, "e4 open --topic-key-file k < sealed") else { return };
    assert_eq!(shown, "pump\\u{1b}[31m\\u{9b}31m\\u{7f}\\u{202e}\\u{61c}\n\t\\x9b31m\\xff C:\\x");
    let e4 = "e4 open --topic-key-file k --raw < sealed | cat";
    assert!(on_a_terminal(&folder, &e4.replace(" | cat", "")).unwrap_or_default().starts_with("pump\u{1b}[31m"));
}

#[cfg(unix)]
#[test]
fn f45_payloads_that_arrive_steer_no_terminal_unless_asked_to() {
    let broker = Broker::embedded();
    let folder = Folder::new();
    folder.write_key("k", &KEY);
    folder.write_key("t", &[7; 32]);
    let to = format!("-p {}", broker.port);
    for (form, expected) in [
        ("--payload-only", "\\u{1b}[31mx"),
        ("--raw", "\u{1b}[31mx"),
        ("--json", "\"payload\":\"\\u001b[31mx\\u009b\""),
        ("", "a \\u{1b}[31mx\\u{9b}  ("),
    ] {
        folder.run("device init --force --state s --name d --key-file k --topic-key a=t").ok();
        folder.run(&format!("sub --state s -t a -q 1 -E {to}")).ok();
        Run(folder.e4(&format!("pub --state s -t a -q 1 {to} -m")).arg("\u{1b}[31mx\u{9b}").output().unwrap()).ok();
        let line = format!("e4 sub --state s -t a -q 1 -C 1 -W 30 -Q {form} {to}");
        let Some(shown) = on_a_terminal(&folder, &line) else { return };
        assert!(shown.contains(expected), "{form}: {shown:?}");
    }
}

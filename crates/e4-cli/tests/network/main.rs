//! `e4 pub`, `e4 sub` and `e4 control` together, on real brokers and scripted ones: in both versions of MQTT, plain and
//! with TLS.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

#[path = "../broker_kit/mod.rs"]
mod broker_kit;
#[path = "../common/mod.rs"]
mod common;

mod advice;
mod connecting;
mod faults;
mod messages;
mod repeats;
mod reports;
mod rotation;
mod subscribers;

use common::{Folder, Run};
use e4::ClientId;
use serde_json::Value;
use std::fmt::Write;

/// A folder with symmetric devices `NAME.state`, and a fleet file.
pub(crate) fn fleet(names: &[&str]) -> Folder {
    let folder = Folder::new();
    let mut file = String::new();
    for name in names {
        folder.run(&format!("keygen symmetric --out {name}.key")).ok();
        folder.run(&format!("device init --state {name}.state --name {name} --key-file {name}.key")).ok();
        writeln!(file, "[devices.{name}]\nmode = \"symmetric\"\nkey_file = \"{name}.key\"").unwrap();
    }
    folder.write("fleet.toml", file);
    folder
}

/// As [`fleet`], with devices in public-key mode.
pub(crate) fn signing_fleet(names: &[&str]) -> Folder {
    let folder = Folder::new();
    folder.run("keygen x25519 --out c2.key").ok();
    let mut file = "c2_key_file = \"c2.key\"\n".to_owned();
    for name in names {
        folder.run(&format!("keygen ed25519 --out {name}.key")).ok();
        let keys = format!("--signing-key-file {name}.key --c2-key-file c2.key.pub");
        folder.run(&format!("device init --state {name}.state --name {name} {keys}")).ok();
        writeln!(file, "[devices.{name}]\nmode = \"public-key\"\npublic_key_file = \"{name}.key.pub\"").unwrap();
    }
    folder.write("fleet.toml", file);
    folder
}

/// Has the broker know the session of a device's subscriber, so that it keeps what comes.
pub(crate) fn meet(folder: &Folder, name: &str, to: &str) {
    folder.run(&format!("sub --state {name}.state -t plant/# -q 1 -E {to}")).ok();
}

/// A fleet whose devices all have the key of plant/7/pump, in `pump-1.key`, and were connected.
pub(crate) fn ready(to: &str, names: &[&str]) -> Folder {
    let folder = fleet(names);
    folder.run("keygen symmetric --out pump-1.key").ok();
    give_key(&folder, "pump-1.key", names);
    for name in names {
        meet(&folder, name, to);
    }
    folder
}

/// Gives devices a key for plant/7/pump, by another way than the broker.
pub(crate) fn give_key(folder: &Folder, file: &str, names: &[&str]) {
    for name in names {
        let give = format!("control set-topic-key plant/7/pump --topic-key-file {file} --to {name} --print-hex");
        let line = folder.run(&give).ok();
        let (control_topic, sealed) = line.stdout().trim().split_once(' ').unwrap();
        assert_eq!(control_topic, format!("e4/{}", id(name)));
        folder.run_with(&format!("open --state {name}.state --topic {control_topic} --hex"), sealed).ok();
    }
}

pub(crate) fn lines(run: &Run) -> Vec<Value> {
    run.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(crate) fn id(name: &str) -> String {
    ClientId::from_name(name).unwrap().to_string()
}

pub(crate) fn key(folder: &Folder, name: &str) -> [u8; 32] {
    folder.key(name)
}

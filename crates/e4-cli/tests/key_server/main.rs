//! `e4 fleet`: what is asked of a key server, and what is made of its answers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod bundles;
#[path = "../common/mod.rs"]
mod common;
mod http;
mod import;
mod orders;
mod requests;
mod shown;

use common::{Folder, Run};
use http::Http;
use serde_json::{Value, json};

const TOKEN: &str = "e4t-5e315e315e315e315e315e315e315e31";
const ID: &str = "00112233445566778899aabbccddeeff";
const TIME: &str = "2026-11-28T12:00:00Z";

/// Runs `e4 fleet` against a server, with a token.
fn fleet(folder: &Folder, http: &Http, args: &str) -> Run {
    let mut command = folder.e4(&format!("fleet {args} --server http://{}", http.address));
    Run(command.env("E4_TOKEN", TOKEN).output().unwrap())
}

fn page(items: &[Value]) -> Value {
    json!({"items": items, "next": null})
}

fn device(name: &str) -> Value {
    json!({
        "id": ID, "name": name, "mode": "symmetric", "status": "active", "standing": "never confirmed",
        "standing_means": "it does not report", "standing_since": TIME, "labels": {"site": "basel"}, "groups": ["pumps"],
        "notes": "", "public_key": null, "key_since": TIME, "created": TIME, "withdrawn": null, "confirmed": null,
        "reported": null, "report": null, "revision": 3
    })
}

fn topic(name: &str) -> Value {
    json!({
        "id": 7, "name": name, "hash": "aa".repeat(16), "policy": {"on_leave": "soft"}, "notes": "", "members": 2, "current": 4,
        "next": null, "warnings": [], "created": TIME, "revision": 5
    })
}

fn group(name: &str) -> Value {
    json!({
        "name": name, "selector": null, "policy": {"late": 60}, "members": 2, "created": TIME, "revision": 9
    })
}

fn order(state: &str, confirmed: u64) -> Value {
    json!({
        "id": 12, "kind": "rotate topic", "state": state, "rotation": "lossless", "topic": {"id": 7, "name": "plant/7/pump"},
        "device": null, "version": 5, "reason": "asked for", "asked_by": "anna", "created": TIME, "phase_since": TIME,
        "ended": null, "progress": {"devices": 3, "confirmed": confirmed, "waiting": 3 - confirmed, "silent": 0, "unconfirmed": 0},
        "waits_for": [{"id": ID, "name": "pump-7"}]
    })
}

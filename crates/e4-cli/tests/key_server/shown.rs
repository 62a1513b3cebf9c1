//! What is shown of the key server's answers.

use crate::{
    ID, TIME, TOKEN,
    common::Folder,
    device, fleet,
    http::{Http, Reply},
    page,
};
use serde_json::{Value, json};

#[test]
fn a_list_is_read_to_its_end_and_is_one_object_a_line_for_programs() {
    let folder = Folder::new();
    let http = Http::start(|request, _| {
        let (name, next) =
            if request.path.contains("after=a%2Fb") { ("valve", Value::Null) } else { ("pump", json!("a/b")) };
        let mut item = device(name);
        item["something_new"] = json!(1);
        Reply::json(&json!({"items": [item], "next": next}))
    });
    let run = fleet(&folder, &http, "devices list --label site=basel --json").ok();
    let lines: Vec<Value> = run.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["name"], &lines[1]["name"]), (2, &json!("pump"), &json!("valve")));
    assert_eq!(lines[0]["something_new"], 1, "as the server says it");
    let paths =
        ["GET /v1/devices?label=site%3Dbasel&limit=1000", "GET /v1/devices?label=site%3Dbasel&limit=1000&after=a%2Fb"];
    assert_eq!(http.lines(), paths);

    let run = fleet(&folder, &http, "devices list").ok();
    let rows: Vec<_> = run.stdout().lines().collect();
    assert_eq!(rows.len(), 3, "{}", run.stdout());
    assert!(rows[0].trim_start().starts_with("NAME"), "{}", run.stdout());
    assert!(rows[1].contains("pump") && rows[1].contains("never confirmed") && rows[2].contains("valve"));
    let run = fleet(&folder, &http, "devices list --limit 1 --json").ok();
    assert_eq!(run.stdout().lines().count(), 1);
}

#[test]
fn a_list_that_goes_round_in_circles_ends() {
    let folder = Folder::new();
    let http = Http::start(|_, _| Reply::json(&json!({"items": [], "next": "x"})));
    fleet(&folder, &http, "devices list").fails(1, "the same page of the list for ever");
}

#[test]
fn nothing_that_a_server_says_steers_a_terminal() {
    let folder = Folder::new();
    let mut hostile = device("a\u{1b}[2Jb\nzz");
    hostile["notes"] = json!("\u{202e}x");
    let http = Http::start(move |request, _| match &*request.path {
        "/v1/status" => Reply::problem(500, &json!({"detail": "a\u{9b}b\nError: c"})),
        path if path.contains('?') => Reply::json(&page(&[hostile.clone()])),
        _ => Reply::json(&hostile),
    });
    for (args, code) in [
        (format!("devices show {ID}"), 0),
        (format!("devices show {ID} --json"), 0),
        ("devices list".to_owned(), 0),
        ("devices list --json".to_owned(), 0),
        ("status".to_owned(), 1),
    ] {
        let run = fleet(&folder, &http, &args);
        assert_eq!(run.code(), code, "{args}: {}", run.stderr());
        let shown = format!("{}{}", run.stdout(), run.stderr());
        assert!(!shown.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{args}: {shown:?}");
        assert!(!shown.contains("\nzz") && !shown.contains("\nError: c"), "{args}: {shown:?}");
    }
}

#[test]
fn an_answer_of_something_else_is_not_taken_for_one() {
    let folder = Folder::new();
    for body in ["<html>", "{}", "null", "[]", ""] {
        let http = Http::start(move |_, _| Reply::new(200, "", body));
        fleet(&folder, &http, "status").fails(1, "is this the address of a key server");
        fleet(&folder, &http, "devices list --json").fails(1, "is this the address of a key server");
    }
}

#[test]
fn the_status_says_what_needs_a_person_and_with_what_consequence() {
    let folder = Folder::new();
    let http = Http::start(|_, _| {
        Reply::json(&json!({
            "version": "0.1.0", "time": TIME,
            "hold": {"reason": "it was restored", "since": TIME, "would_send_to": 40, "ahead": 1},
            "brokers": [{"address": "mqtt://localhost:1883", "connected": true, "hears_devices": false,
                         "detail": "the broker refuses the subscription", "since": TIME}],
            "devices": {"enrolled": 2, "active": 40, "withdrawn": 1, "by_standing": {"confirmed": 39, "late": 1, "dormant": 0}},
            "topics": 5, "open_orders": 1, "outstanding": 7, "exposed": 3,
            "silent": [{"device": {"id": ID, "name": "pump-7"}, "standing": "late", "since": TIME, "reported": null,
                        "consequence": "still reads plant/7/# under key version 12"}],
            "warnings": ["the vault has one slot"]
        }))
    });
    let run = fleet(&folder, &http, "status").ok();
    for part in [
        "holds since 2026-11-28T12:00:00Z: it was restored",
        "it would send to 40 devices",
        "Warning: the vault has one slot",
        "the broker refuses the subscription",
        "39 confirmed, 1 late\n",
        "3 members still use a key that a withdrawn device has",
        "still reads plant/7/# under key version 12",
    ] {
        assert!(run.stdout().contains(part), "{part}: {}", run.stdout());
    }
    assert!(!run.stdout().contains("dormant"), "{}", run.stdout());
}

#[test]
fn a_new_token_is_shown_once_and_alone_on_standard_output() {
    let folder = Folder::new();
    let http = Http::start(|_, _| {
        let token = json!({"id": 2, "name": "wall", "role": "viewer", "created": TIME, "expires": null, "used": null});
        Reply::json(&json!({"token": token, "secret": "e4t-a-new-one"}))
    });
    let run = fleet(&folder, &http, "tokens add wall --role viewer --expires-in 60").ok();
    assert_eq!(run.stdout(), "e4t-a-new-one\n");
    assert!(!run.stderr().contains("e4t-") && !run.stdout().contains(TOKEN), "{}", run.stderr());
    assert_eq!(http.asked()[0].json(), json!({"name": "wall", "role": "viewer", "expires_in": 60}));
}

#[test]
fn an_audit_is_exported_as_it_is_signed() {
    let folder = Folder::new();
    let lines = "{\"entry\":{\"id\":1}}\n{\"checkpoint\":{\"audit\":1}}\n";
    let http = Http::start(move |_, _| Reply::new(200, "", lines));
    fleet(&folder, &http, "audit export --out audit.jsonl").ok();
    assert_eq!(folder.read("audit.jsonl"), lines);
    assert_eq!(fleet(&folder, &http, "audit export --out -").ok().stdout(), lines);
    fleet(&folder, &http, "audit export --out audit.jsonl").fails(1, "exists");
    // One that breaks off is no export.
    let http = Http::start(|_, _| {
        Reply::raw("HTTP/1.1 200 x\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n{\"entry\":{\"id\":1}}\n")
    });
    fleet(&folder, &http, "audit export --out half.jsonl").fails(1, "is not whole");
}

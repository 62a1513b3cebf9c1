//! Many devices at once, and a fleet file that moves.

use crate::{
    common::Folder,
    device, fleet, group,
    http::{Http, Reply},
    page, topic,
};
use e4::SigningKey;
use serde_json::{Value, json};

#[test]
fn lines_go_to_the_server_as_they_are_and_errors_name_them() {
    let folder = Folder::new();
    let http = Http::start(|request, _| match request.header("content-type") {
        Some("text/csv") => Reply::json(&json!({"added": 2})),
        _ => {
            let errors: Vec<_> =
                (1..=30).map(|line| json!({"line": line, "detail": "the name\u{7}is taken"})).collect();
            Reply::problem(422, &json!({"detail": "30 lines are wrong, and nothing was taken", "errors": errors}))
        }
    });
    let csv = "name,mode,key\npump-7,symmetric,\npump-8,symmetric,\n";
    folder.write("devices.csv", csv);
    folder.set_mode("devices.csv", 0o600);
    let run = fleet(&folder, &http, "devices import devices.csv").ok();
    assert_eq!((run.stdout(), run.stderr()), ("2 devices were added\n", ""));
    assert_eq!((http.lines(), &*http.asked()[0].body), (vec!["POST /v1/devices/import".to_owned()], csv.as_bytes()));
    folder.write("devices.jsonl", "{}\n");
    let run = fleet(&folder, &http, "devices import devices.jsonl");
    assert_eq!(run.code(), 3);
    assert_eq!(http.asked()[1].header("content-type"), Some("application/jsonl"));
    let stderr = run.stderr();
    assert!(stderr.contains("Refused: 30 lines are wrong, and nothing was taken\n  line 1: the name\\u{7}is taken\n"));
    assert!(stderr.contains("\n  line 20: ") && stderr.ends_with("\n  and 10 more\n"), "{stderr}");
    folder.write("devices", csv);
    fleet(&folder, &http, "devices import devices").fails(1, "--format");
    fleet(&folder, &http, "devices import - --format fleet").fails(1, "has to be a file");
}

const FLEET: &str = r#"
[devices.pump]
mode = "symmetric"
key_file = "pump.key"
groups = ["wet"]
writes = ["plant/7/pump"]
[devices.panel]
mode = "public-key"
public_key_file = "panel.pub"
writes = []
[devices.old]
mode = "symmetric"
key_file = "old.key"
[topics."plant/7/pump"]
key_file = "topic.key"
to = ["panel"]
groups = ["wet"]
[topics."all/#"]
key_file = "all.key"
"#;

fn folder() -> (Folder, String) {
    let folder = Folder::new();
    folder.write("fleet.toml", FLEET);
    for (name, byte) in [("pump", 0xc1), ("old", 0x01), ("topic", 0x71), ("all", 0xa1)] {
        folder.write_key(&format!("{name}.key"), &[byte; 32]);
    }
    let public = *SigningKey::from_seed(&[0x5e; 32]).unwrap().verifying_key().as_bytes();
    folder.write_key_of("ed25519-public", "panel.pub", &public);
    (folder, hex::encode(public))
}

/// A key server that knows the device `old`, the group `wet` and the topic `all/#`.
fn server() -> Http {
    Http::start(|request, _| {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let found =
            |name: &str, item: Value| Reply::json(&page(&if query.contains(name) { vec![item] } else { vec![] }));
        match (&*request.method, path) {
            ("GET", "/v1/devices") => {
                let mut old = device("old");
                old["id"] = json!(id("old"));
                found("name=old&", old)
            }
            ("GET", "/v1/groups") => Reply::json(&page(&[group("wet")])),
            ("GET", "/v1/topics") => found("name=all", topic("all/#")),
            ("POST", "/v1/topics") => Reply::json(&topic("plant/7/pump")),
            ("POST", "/v1/devices/import") => Reply::json(&json!({"added": 2})),
            ("POST", "/v1/groups") => Reply::json(&group("all")),
            ("PUT", _) => Reply::json(&json!({"orders": [], "warnings": []})),
            other => panic!("{other:?}"),
        }
    })
}

fn id(name: &str) -> String {
    e4::ClientId::from_name(name).unwrap().to_string()
}

#[test]
fn a_fleet_file_moves_with_its_keys_and_what_is_there_already_stays() {
    let (folder, public) = folder();
    let http = server();
    let run = fleet(&folder, &http, "devices import fleet.toml --json").ok();
    assert_eq!(run.json(), json!({"dry_run": false, "devices": 2, "groups": 1, "topics": 1, "accesses": 3}));
    for key in [0xc1, 0x71, 0xa1, 0x01] {
        run.hides(&[key; 32]);
    }
    for known in ["a device old already", "a group wet already", "the topic all/# already", "e4 control set-c2-key"] {
        assert!(run.stderr().contains(known), "{known}: {}", run.stderr());
    }
    let asked = http.asked();
    let import = asked.iter().find(|request| request.path == "/v1/devices/import").unwrap();
    let lines: Vec<Value> =
        str::from_utf8(&import.body).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected = [
        json!({"name": "panel", "id": id("panel"), "mode": "public-key", "public_key": public,
               "groups": ["all of the fleet file"]}),
        json!({"name": "pump", "id": id("pump"), "mode": "symmetric", "key": "c1".repeat(32),
               "groups": ["wet", "all of the fleet file"]}),
    ];
    assert_eq!(lines, expected);
    let body = |line: &str| asked.iter().find(|request| request.line() == line).unwrap().json();
    assert_eq!(body("POST /v1/groups")["name"], "all of the fleet file");
    assert_eq!(body("POST /v1/topics")["key"], "71".repeat(32));
}

#[test]
fn a_dry_run_counts_the_same_and_changes_nothing() {
    let (folder, _) = folder();
    let http = server();
    let run = fleet(&folder, &http, "devices import fleet.toml --dry-run --json").ok();
    assert_eq!(run.json(), json!({"dry_run": true, "devices": 2, "groups": 1, "topics": 1, "accesses": 3}));
    assert!(http.asked().iter().all(|request| request.method == "GET"), "{:?}", http.lines());
    folder.write("devices.csv", "name,mode\n");
    fleet(&folder, &http, "devices import devices.csv --dry-run").fails(1, "taken whole or not at all");
}

#[test]
fn who_has_a_key_reads_and_who_may_publish_writes() {
    let (folder, _) = folder();
    let granted = |fleet_file: &str| {
        folder.write("fleet.toml", fleet_file);
        let http = server();
        fleet(&folder, &http, "devices import fleet.toml").ok();
        let asked = http.asked();
        let granted = asked.iter().filter(|request| request.method == "PUT");
        granted.map(|request| (request.path.replace("/v1/topics/7/access/", ""), request.json())).collect::<Vec<_>>()
    };
    let (reads, both) = (json!({"read": true, "write": false}), json!({"read": true, "write": true}));
    let for_all = ("groups/all%20of%20the%20fleet%20file".to_owned(), both.clone());
    let panel = (format!("devices/{}", id("panel")), reads.clone());
    let expected = [for_all.clone(), panel.clone(), ("groups/wet".to_owned(), both.clone())];
    assert_eq!(granted(FLEET), expected);
    // Nobody in the group publishes there; and of one the file does not say where it publishes.
    let other = FLEET.replace("[\"plant/7/pump\"]", "[]").replace("to = [\"panel\"]", "to = [\"panel\", \"old\"]");
    let old = (format!("devices/{}", id("old")), both);
    assert_eq!(granted(&other), [for_all, panel, old, ("groups/wet".to_owned(), reads)]);
}

#[test]
fn a_name_that_means_another_device_there_is_not_mixed_up() {
    let (folder, _) = folder();
    let http = Http::start(|request, _| {
        let is_device = request.path.starts_with("/v1/devices?");
        Reply::json(&page(&if is_device {
            vec![device("old")]
        } else {
            vec![group("wet"), group("all of the fleet file")]
        }))
    });
    fleet(&folder, &http, "devices import fleet.toml").fails(1, "with another id");
}

#[test]
fn a_key_that_cannot_be_read_moves_nothing() {
    let (folder, _) = folder();
    std::fs::remove_file(folder.path().join("all.key")).unwrap();
    let http = server();
    fleet(&folder, &http, "devices import fleet.toml").fails(1, "all/#");
    assert_eq!(http.lines(), [""; 0]);
}

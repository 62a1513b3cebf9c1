//! How the key server is asked.

use crate::{
    ID, TOKEN,
    common::{Folder, Run},
    device, fleet, group,
    http::{Http, Reply},
    page, topic,
};
use serde_json::json;
use std::net::TcpListener;

#[test]
fn a_device_is_added_with_the_key_that_it_has_and_the_token_goes_along() {
    let folder = Folder::new();
    folder.write_key("pump.key", &[0xc1; 32]);
    let http = Http::start(|_, _| Reply::json(&device("pump 7")));
    let args = format!("devices add pump-7 --id {ID} --key-file pump.key --label site=basel --label a= --group pumps");
    let run = fleet(&folder, &http, &args).ok();
    run.hides(&[0xc1; 32]);
    assert!(
        run.stdout().contains("never confirmed since 2026-11-28T12:00:00Z: it does not report"),
        "{}",
        run.stdout()
    );
    let [request] = &http.asked()[..] else { panic!("{:?}", http.lines()) };
    assert_eq!(request.line(), "POST /v1/devices");
    assert_eq!(request.header("authorization"), Some(&*format!("Bearer {TOKEN}")));
    let expected = json!({
        "name": "pump-7", "id": ID, "mode": "symmetric", "key": "c1".repeat(32), "labels": {"a": "", "site": "basel"},
        "groups": ["pumps"]
    });
    assert_eq!(request.json(), expected);
}

#[test]
fn what_a_reverse_proxy_or_a_lost_connection_delays_is_done_once() {
    let folder = Folder::new();
    let http = Http::start(|_, before| match before {
        0 => Reply::none(),
        1 => Reply::new(429, "Retry-After: 0\r\n", ""),
        2 => Reply::new(503, "Retry-After: 0\r\n", ""),
        _ => Reply::json(&device("pump")),
    });
    fleet(&folder, &http, "devices add pump").ok();
    let keys: Vec<_> =
        http.asked().iter().map(|request| request.header("idempotency-key").unwrap().to_owned()).collect();
    assert_eq!(keys.len(), 4);
    assert!(keys.iter().all(|key| *key == keys[0] && key.len() == 32), "{keys:?}");
    // Another command is another intention.
    fleet(&folder, &http, "devices add pump").ok();
    assert_ne!(http.asked()[4].header("idempotency-key"), Some(&*keys[0]));
}

#[test]
fn a_server_that_has_too_much_to_do_for_ever_is_not_asked_for_ever() {
    let folder = Folder::new();
    let http = Http::start(|_, _| Reply::new(429, "Retry-After: 0\r\n", r#"{"detail": "later"}"#));
    let run = fleet(&folder, &http, "status");
    assert_eq!(run.code(), 1, "{}", run.stderr());
    assert_eq!(http.asked().len(), 5);
}

#[test]
fn the_token_follows_no_redirect() {
    let folder = Folder::new();
    let elsewhere = Http::start(|_, _| Reply::json(&json!({})));
    let location = format!("Location: http://{}/v1/status\r\n", elsewhere.address);
    let http = Http::start(move |_, _| Reply::new(307, &location, ""));
    fleet(&folder, &http, "status").fails(1, "sends elsewhere");
    assert_eq!(elsewhere.lines(), [""; 0]);
}

#[test]
fn no_token_is_taken_from_the_command_line_or_sent_in_clear() {
    let folder = Folder::new();
    folder.write("token", TOKEN);
    for (args, code, reason) in [
        ("fleet status --token x", 2, "unexpected argument"),
        ("fleet status --server http://192.0.2.1:7443", 1, "without TLS"),
        ("fleet status --server http://x:y@127.0.0.1:1", 1, "--token-file"),
        ("fleet status --token-file missing", 1, "not shown"),
    ] {
        folder.run(args).fails(code, reason);
    }
    let http = Http::start(|_, _| Reply::problem(401, &json!({"detail": "no token came with the request"})));
    let command = format!("fleet status --server http://{}", http.address);
    folder.run(&command).fails(1, "no token came with the request. Give a token with --token-file");
    assert_eq!(http.asked()[0].header("authorization"), None);
    folder.run(&format!("{command} --token-file token")).fails(3, "Refused: no token came");
    assert_eq!(http.asked()[1].header("authorization"), Some(&*format!("Bearer {TOKEN}")));
}

#[test]
fn the_address_and_the_token_come_from_the_environment() {
    let folder = Folder::new();
    let http = Http::start(|_, _| Reply::json(&page(&[])));
    let mut command = folder.e4("fleet groups list");
    command.env("E4_SERVER", format!("http://{}/", http.address)).env("E4_TOKEN", format!("{TOKEN}\n"));
    let run = Run(command.output().unwrap()).ok();
    assert_eq!(run.stdout(), "There are none\n");
    assert_eq!(http.lines(), ["GET /v1/groups?limit=1000"]);
    assert_eq!(http.asked()[0].header("authorization"), Some(&*format!("Bearer {TOKEN}")));
}

#[test]
fn a_server_that_is_not_there_is_no_refusal() {
    let folder = Folder::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    folder.run(&format!("fleet status --server http://{address}")).fails(1, "is the key server running");
}

#[test]
fn names_are_looked_up_and_are_one_part_of_a_path() {
    let folder = Folder::new();
    let http = Http::start(|request, _| match request.path.split('?').next().unwrap() {
        "/v1/devices" => Reply::json(&page(&[device("pump")])),
        "/v1/topics" => Reply::json(&page(&[topic("plant/7/#")])),
        _ => Reply::json(&json!({"orders": [12], "warnings": ["a\u{1b}b"]})),
    });
    let run = fleet(&folder, &http, "access grant plant/7/# --device pump --read").ok();
    assert!(run.stdout().contains("pump may read plant/7/#; order 12 follows from it"), "{}", run.stdout());
    assert!(run.stderr().contains("Note: a\\u{1b}b"), "{}", run.stderr());
    fleet(&folder, &http, "access revoke plant/7/# --group a/b").ok();
    let id_in_capitals = ID.to_uppercase();
    let _id = fleet(&folder, &http, &format!("groups leave a?b {id_in_capitals}"));
    let lines = http.lines();
    let expected = [
        "GET /v1/topics?name=plant%2F7%2F%23&limit=1".to_owned(),
        "GET /v1/devices?name=pump&limit=1".to_owned(),
        format!("PUT /v1/topics/7/access/devices/{ID}"),
        "GET /v1/topics?name=plant%2F7%2F%23&limit=1".to_owned(),
        "DELETE /v1/topics/7/access/groups/a%2Fb".to_owned(),
    ];
    assert_eq!(lines[..5], expected);
    let asked = http.asked();
    assert_eq!(asked[2].json(), json!({"read": true, "write": false}));
    assert_eq!(asked[4].header("if-match"), Some("*"));
    // Whoever leaves makes a rotation, which is made once.
    assert!(asked.iter().all(|it| (it.method == "GET") == it.header("idempotency-key").is_none()), "{asked:?}");
}

#[test]
fn what_is_not_there_is_said_before_anything_is_changed() {
    let folder = Folder::new();
    let http = Http::start(|_, _| Reply::json(&page(&[])));
    fleet(&folder, &http, "devices withdraw pump").fails(1, "there is no device pump");
    fleet(&folder, &http, "rotate plant/7 --hard").fails(1, "the key server has no topic plant/7");
    fleet(&folder, &http, "tokens remove anna").fails(1, "there is no token anna");
    assert!(http.asked().iter().all(|request| request.method == "GET"), "{:?}", http.lines());
}

#[test]
fn a_policy_is_changed_only_if_nobody_else_did_meanwhile() {
    let folder = Folder::new();
    let http = Http::start(|request, _| match (&*request.method, request.path.starts_with("/v1/groups")) {
        ("GET", true) => Reply::json(&group("pumps")),
        ("GET", _) => Reply::json(&page(&[topic("plant/7")])),
        _ => Reply::problem(412, &json!({"detail": "it was changed meanwhile: look at it again"})),
    });
    fleet(&folder, &http, "groups edit pumps --dormant 90").fails(3, "it was changed meanwhile");
    fleet(&folder, &http, "topics edit plant/7 --lossless-wait 30").fails(3, "it was changed meanwhile");
    let asked = http.asked();
    assert_eq!((asked[1].header("if-match"), asked[3].header("if-match")), (Some("\"9\""), Some("\"5\"")));
    assert_eq!(asked[1].json(), json!({"policy": {"late": 60, "dormant": 90}}));
    assert_eq!(asked[3].json(), json!({"policy": {"on_leave": "soft", "lossless_wait": 30}}));
}

#[test]
fn labels_that_are_not_named_stay() {
    let folder = Folder::new();
    let http = Http::start(|_, _| Reply::json(&device("pump")));
    fleet(&folder, &http, &format!("devices label {ID} site=basel --remove kind")).ok();
    let [request] = &http.asked()[..] else { panic!("{:?}", http.lines()) };
    assert_eq!((request.line(), request.header("if-match")), (format!("PATCH /v1/devices/{ID}"), Some("*")));
    assert_eq!(request.json(), json!({"labels": {"site": "basel", "kind": null}}));
    fleet(&folder, &http, &format!("devices label {ID} a=1 --remove a")).fails(1, "to be set and to be taken away");
    fleet(&folder, &http, &format!("devices label {ID} a=1 a=2")).fails(1, "given twice");
    fleet(&folder, &http, &format!("devices label {ID}")).fails(1, "say which labels");
    assert_eq!(http.asked().len(), 1);
}

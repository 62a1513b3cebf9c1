//! Rotations and withdrawals, and how they end.

use crate::{
    ID,
    common::Folder,
    device, fleet,
    http::{Http, Reply},
    order, page, topic,
};
use serde_json::{Value, json};

/// A key server with one order, which stands so at each look.
fn with_order(states: &'static [(&str, u64)]) -> Http {
    let mut looks = 0;
    Http::start(move |request, _| {
        if request.path.starts_with("/v1/topics?") {
            return Reply::json(&page(&[topic("plant/7/pump")]));
        }
        let (state, confirmed) = states[looks.min(states.len() - 1)];
        looks += 1;
        Reply::json(&order(state, confirmed))
    })
}

#[test]
fn a_rotation_is_of_the_kind_that_was_asked_for_and_is_not_waited_for() {
    let folder = Folder::new();
    for kind in ["lossless", "soft", "hard"] {
        let http = with_order(&[("preparing", 1)]);
        let run = fleet(&folder, &http, &format!("rotate plant/7/pump --{kind}")).ok();
        assert_eq!(http.lines()[1..], ["POST /v1/topics/7/rotate"]);
        assert_eq!(http.asked()[1].json(), json!({"kind": kind}));
        assert!(
            run.stdout().contains("preparing since") && run.stdout().contains("1 of 3 confirmed"),
            "{}",
            run.stdout()
        );
    }
    let http = with_order(&[("preparing", 1)]);
    fleet(&folder, &http, "rotate plant/7/pump").fails(2, "--lossless");
    fleet(&folder, &http, "rotate plant/7/pump --soft --hard").fails(2, "cannot be used with");
    assert!(http.lines().is_empty());
}

#[test]
fn an_order_is_watched_until_devices_have_confirmed_it_and_not_only_until_it_was_sent() {
    let folder = Folder::new();
    let http = with_order(&[("preparing", 1), ("switching", 2), ("done", 3)]);
    let run = fleet(&folder, &http, "rotate plant/7/pump --lossless --wait").ok();
    assert!(run.stdout().contains("done since") && run.stdout().contains("3 of 3 confirmed"), "{}", run.stdout());
    assert_eq!(http.lines()[2..], ["GET /v1/orders/12", "GET /v1/orders/12"]);
}

#[test]
fn other_ends_of_an_order_have_other_exit_codes() {
    let folder = Folder::new();
    for (state, code, reason) in [
        ("done", 0, ""),
        ("given up", 27, "Order 12 was given up: 2 of 3 confirmed, 1 waited for"),
        ("cancelled", 3, "it was cancelled"),
        ("overtaken", 3, "a later order does its work"),
    ] {
        let states: &'static [(&str, u64)] = Box::leak(Box::new([(state, 2)]));
        let run = fleet(&folder, &with_order(states), "orders watch 12 --json");
        assert_eq!((run.code(), &run.json()["state"]), (code, &json!(state)), "{}", run.stderr());
        assert!(run.stderr().contains(reason), "{}", run.stderr());
    }
    let run = fleet(&folder, &with_order(&[("switching", 2)]), "orders watch 12 --wait 0");
    assert_eq!(run.code(), 27, "{}", run.stderr());
    assert!(run.stderr().contains("goes on, and is switching until now: 2 of 3 confirmed"), "{}", run.stderr());
}

fn withdrawal(order: &Value) -> Value {
    json!({
        "order": order,
        "could_read": [{"topic": {"id": 7, "name": "plant/7/pump"}, "access": {"read": true, "write": false}, "members": 4,
                        "through": [{"group": null, "subtree": null}, {"group": "pumps", "subtree": "plant/#"}]}],
        "affected": 4, "peers": 2
    })
}

#[test]
fn a_dry_run_lists_what_a_device_could_read_and_does_nothing() {
    let folder = Folder::new();
    let http = Http::start(|request, _| match &*request.method {
        "GET" => Reply::json(&page(&[device("pump-7")])),
        _ => Reply::json(&withdrawal(&Value::Null)),
    });
    let run = fleet(&folder, &http, "devices withdraw pump-7 --dry-run").ok();
    for part in ["plant/7/pump", "itself; group pumps by plant/#", "would get new keys", "Nothing was done"] {
        assert!(run.stdout().contains(part), "{part}: {}", run.stdout());
    }
    let asked = http.asked();
    assert_eq!(asked[1].line(), format!("POST /v1/devices/{ID}/withdraw"));
    assert_eq!(asked[1].json(), json!({"dry_run": true}));
    fleet(&folder, &http, "devices withdraw pump-7 --dry-run --wait").fails(2, "cannot be used with");
}

#[test]
fn a_withdrawal_is_shown_with_its_order() {
    let folder = Folder::new();
    let http = Http::start(|request, _| match &*request.method {
        "GET" if request.path.starts_with("/v1/orders") => Reply::json(&order("done", 3)),
        "GET" => Reply::json(&page(&[device("pump-7")])),
        _ => Reply::json(&withdrawal(&order("switching", 0))),
    });
    let run = fleet(&folder, &http, "devices withdraw pump-7 --wait").ok();
    assert_eq!(http.asked()[1].json(), json!({"dry_run": false}));
    assert!(run.stdout().contains("pump-7 is withdrawn") && run.stdout().contains("done since"), "{}", run.stdout());
}

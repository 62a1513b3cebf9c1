//! What is no request that makes sense is answered as a problem, and never as an error of the server.

use super::world::{World, request};
use axum::body::{Body, Bytes};
use e4_keyserver::model::Role;
use futures_util::stream;
use proptest::prelude::*;
use serde_json::json;
use std::convert::Infallible;

#[tokio::test]
async fn whatever_is_wrong_is_told_as_a_problem() {
    let world = World::new().await;
    let token = Some(world.token(Role::Administrator));
    let large = vec![b' '; (256 << 10) + 1];
    let text = [("content-type", "text/plain")];
    for (line, headers, body, status) in [
        ("GET /v1/nothing", &[][..], &b""[..], 404),
        ("GET /", &[], b"", 404),
        ("GET /v1/devices/", &[], b"", 404),
        ("PUT /v1/devices", &[], b"", 405),
        ("OPTIONS /v1/devices", &[], b"", 405),
        ("BREW /v1/devices", &[], b"", 405),
        ("GET /v1/topics/one", &[], b"", 404),
        ("GET /v1/topics/-1", &[], b"", 404),
        ("GET /v1/topics/18446744073709551615", &[], b"", 404),
        ("GET /v1/groups/%ff", &[], b"", 404),
        ("GET /v1/devices/0123", &[], b"", 404),
        ("POST /v1/topics", &[], b"", 400),
        ("POST /v1/topics", &[], b"{", 400),
        ("POST /v1/topics", &[], b"[]", 422),
        ("POST /v1/topics", &[], b"{\"name\":7}", 422),
        ("POST /v1/topics", &[], b"{\"name\":\"a/+\"}", 422),
        ("POST /v1/topics", &[], b"{\"name\":\"a\",\"note\":\"\"}", 422),
        ("POST /v1/topics", &text, b"{\"name\":\"a\"}", 415),
        ("POST /v1/topics", &[], &large, 413),
        ("GET /v1/devices?limit=1&limit=2", &[], b"", 422),
    ] {
        let reply = world.send(request(line, token, headers, body.to_vec())).await;
        assert_eq!(reply.status, status, "{line} {}", reply.text);
        reply.problem();
        assert_eq!(reply.header("cache-control"), "no-store");
    }
    let refused = world.send(request("PUT /v1/devices", token, &[], Body::empty())).await;
    assert_eq!(refused.header("allow"), "GET, POST");
    let head = world.send(request("HEAD /v1/devices", token, &[], Body::empty())).await;
    assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""));
}

#[tokio::test]
async fn what_is_wrong_is_told_without_the_value_that_is_there() {
    let world = World::new().await;
    let key = "5e".repeat(32);
    for body in [
        json!({ "name": "a", "mode": key }),
        json!({ "name": "a", "mode": "symmetric", "key": format!("{key}z") }),
        json!({ "name": "a", "mode": "symmetric", "labels": key }),
        json!(key),
    ] {
        let reply = world.ask("POST /v1/devices", Some(body), &[]).await;
        assert_eq!(reply.status, 422);
        assert!(!reply.problem().contains(&key), "{}", reply.text);
    }
}

/// Time stands still but for what nobody does anything in, so this waits for nothing.
#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let world = World::new().await;
    let body = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
    let reply = world.send(request("POST /v1/topics", Some(world.token(Role::Operator)), &[], body)).await;
    assert_eq!(reply.status, 408);
    reply.problem();
}

/// Each endpoint that reads a body, with as much of its path as it takes to get to the body.
const WITH_BODY: &[&str] = &[
    "POST /v1/devices",
    "PATCH /v1/devices/0123456789abcdef0123456789abcdef",
    "POST /v1/devices/0123456789abcdef0123456789abcdef/withdraw",
    "POST /v1/devices/0123456789abcdef0123456789abcdef/bundle",
    "POST /v1/invitations",
    "POST /v1/bundles",
    "POST /v1/register",
    "POST /v1/groups",
    "PATCH /v1/groups/a",
    "POST /v1/topics",
    "PATCH /v1/topics/1",
    "PUT /v1/topics/1/access/devices/0123456789abcdef0123456789abcdef",
    "PUT /v1/topics/1/access/groups/a",
    "POST /v1/topics/1/rotate",
    "POST /v1/tokens",
];

/// Something like the bodies that are taken, with values of all kinds.
fn like_a_body() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(vec![
        "name",
        "mode",
        "key",
        "public_key",
        "labels",
        "groups",
        "notes",
        "policy",
        "selector",
        "kind",
        "role",
        "expires_in",
        "token",
        "form",
        "read",
        "write",
        "dry_run",
        "late",
        "id",
    ]);
    let value = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|it| json!(it)),
        any::<i64>().prop_map(|it| json!(it)),
        any::<u64>().prop_map(|it| json!(it)),
        any::<f64>().prop_map(|it| json!(it)),
        any::<String>().prop_map(|it| json!(it)),
        prop::sample::select(vec!["symmetric", "public-key", "viewer", "hard", "state", "a/#", "\0", "ж", "a=b"])
            .prop_map(|it| json!(it)),
        prop::array::uniform32(any::<u8>()).prop_map(|it| json!(hex::encode(it))),
        prop::collection::btree_map(any::<String>(), any::<String>(), 0..3).prop_map(|it| json!(it)),
        prop::collection::vec(any::<String>(), 0..3).prop_map(|it| json!(it)),
    ];
    prop::collection::btree_map(name, value, 0..5).prop_map(|it| json!(it).to_string().into_bytes())
}

#[test]
fn no_body_path_or_query_is_an_error_of_the_server() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let world = runtime.block_on(World::new());
    let body = prop_oneof![prop::collection::vec(any::<u8>(), 0..100), like_a_body(), like_a_body()];
    let case = (prop::sample::select(WITH_BODY), body, "[a-z0-9%./~-]{0,20}", "[a-z0-9=&%,:-]{0,30}");
    proptest!(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() }, |((line, body, part, query) in case)| {
        let token = Some(world.token(Role::Administrator));
        let mut requests = vec![request(line, token, &[("if-match", "*")], body.clone())];
        let headers = [("content-type", "application/jsonl")];
        requests.push(request("POST /v1/devices/import", token, &headers, body.clone()));
        requests.push(request("POST /v1/devices/import", token, &[("content-type", "text/csv")], body));
        for path in [format!("/v1/devices/{part}"), format!("/v1/groups/{part}"), format!("/v1/topics/{part}/keys"),
                     format!("/v1/devices?{query}"), format!("/v1/topics?{query}"), format!("/v1/orders?{query}"), format!("/v1/audit?{query}")] {
            if path.parse::<axum::http::Uri>().is_ok() {
                requests.push(request(&format!("GET {path}"), token, &[], Body::empty()));
            }
        }
        for request in requests {
            let what = format!("{} {}", request.method(), request.uri());
            let reply = runtime.block_on(world.send(request));
            prop_assert!(reply.status.as_u16() < 500, "{} {} {}", what, reply.status, reply.text);
            if reply.status.is_client_error() {
                reply.problem();
            }
        }
    });
}

//! What is said of the server, its fleet and one device; and events.

use super::world::{BEGIN, World, request};
use crate::kit::database::{Database, on_both_databases};
use axum::body::Body;
use e4_keyserver::{api::Peer, fleet::Actor, model::Role};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tower::ServiceExt;

on_both_databases!(
    the_status_counts_what_there_is_and_says_what_is_missing,
    what_a_device_holds_is_what_is_known_and_not_what_it_should,
    a_key_that_a_withdrawn_device_has_is_exposed_while_a_member_may_use_it,
    an_order_is_as_far_as_devices_have_reported,
);

async fn the_status_counts_what_there_is_and_says_what_is_missing(database: Database) {
    let world = World::on(database, 1_000_000).await;
    world.post("/v1/topics", json!({ "name": "plant/7" })).await;
    for name in ["a", "b", "c"] {
        world.post("/v1/devices", json!({ "name": name, "mode": "symmetric" })).await;
    }
    let id = world.get("/v1/devices?name=c").await["items"][0]["id"].as_str().unwrap().to_owned();
    world.post(&format!("/v1/devices/{id}/withdraw"), json!({})).await;
    let status = world.get("/v1/status").await;
    assert_eq!(status["devices"]["enrolled"], 2);
    assert_eq!(status["devices"]["active"], 0);
    assert_eq!(status["devices"]["withdrawn"], 1);
    let by_standing: u64 =
        status["devices"]["by_standing"].as_object().unwrap().values().map(|it| it.as_u64().unwrap()).sum();
    assert_eq!(by_standing, 2, "{status}");
    assert_eq!(status["topics"], 1);
    assert_eq!(status["hold"], json!(null));
    // This fleet was made without slots.
    assert_eq!(status["warnings"].as_array().unwrap().len(), 1, "{status}");
}

#[tokio::test]
async fn a_server_that_holds_says_why_until_it_is_released() {
    let world = World::new().await;
    assert_eq!(world.ask("GET /v1/ready", None, &[]).await.status, 200);
    assert_eq!(world.ask("POST /v1/release", None, &[]).await.status, 409);
    let actor = Actor::new("test", Role::Administrator, "test");
    world.fleet.hold(&actor, "its clock was set back").await.unwrap();
    let ready = world.send(request("GET /v1/ready", None, &[], Body::empty())).await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["ready"], false);
    assert!(!ready.text.contains("clock"), "anybody may ask, so it is not told why");
    assert_eq!(world.get("/v1/status").await["hold"]["reason"], "its clock was set back");
    let released = world.ask("POST /v1/release", None, &[]).await;
    assert_eq!((released.status.as_u16(), &released.json()["hold"]), (200, &json!(null)));
    assert_eq!(world.ask("GET /v1/ready", None, &[]).await.status, 200);
}

async fn what_a_device_holds_is_what_is_known_and_not_what_it_should(database: Database) {
    let world = World::on(database, 1_000_000).await;
    let topic = world.post("/v1/topics", json!({ "name": "plant/7" })).await;
    let device = world.post("/v1/devices", json!({ "name": "a", "mode": "symmetric" })).await;
    let id = device["id"].as_str().unwrap();
    let line = format!("PUT /v1/topics/{}/access/devices/{id}", topic["id"]);
    assert_eq!(world.ask(&line, Some(json!({ "read": true })), &[]).await.status, 200);
    let holds = world.get(&format!("/v1/devices/{id}/holds")).await;
    let of_topic = &holds["topics"][0];
    assert_eq!(of_topic["topic"], "plant/7");
    assert_eq!((&of_topic["current"], &of_topic["wanted"]), (&json!(null), &json!(1)), "{holds}");
    assert_eq!(world.ask("GET /v1/devices/0123456789abcdef0123456789abcdef/holds", None, &[]).await.status, 404);
}

async fn a_key_that_a_withdrawn_device_has_is_exposed_while_a_member_may_use_it(database: Database) {
    let world = World::on(database, 1_000_000).await;
    let topic = world.post("/v1/topics", json!({ "name": "plant/7" })).await;
    let mut ids = Vec::new();
    for name in ["stays", "stolen"] {
        let device = world.post("/v1/devices", json!({ "name": name, "mode": "symmetric" })).await;
        let id = device["id"].as_str().unwrap().to_owned();
        let line = format!("PUT /v1/topics/{}/access/devices/{id}", topic["id"]);
        assert_eq!(world.ask(&line, Some(json!({ "read": true })), &[]).await.status, 200);
        ids.push(id);
    }
    // As a report would bring it: which version the device that stays holds.
    let holds = async |states: Value| {
        let values = [states.to_string().into(), hex::decode(&ids[0]).unwrap().into()];
        let mut tx = world.fleet.store().write().await.unwrap();
        assert_eq!(tx.execute("UPDATE devices SET held = $1 WHERE id = $2", &values).await.unwrap(), 1);
        tx.commit().await.unwrap();
    };
    let hash = topic["hash"].as_str().unwrap();
    let version = |version: u32| json!({ "states": [{ "t": { hash: [version, null] } }] });
    holds(version(1)).await;
    assert_eq!(world.get("/v1/exposure").await["items"], json!([]), "nobody was withdrawn");
    world.post(&format!("/v1/devices/{}/withdraw", ids[1]), json!({})).await;

    let exposure = world.get("/v1/exposure").await["items"][0].clone();
    assert_eq!(exposure["withdrawn"]["name"], "stolen");
    assert_eq!((&exposure["topic"]["name"], &exposure["version"]), (&json!("plant/7"), &json!(1)));
    assert_eq!((&exposure["still"], &exposure["unconfirmed"]), (&json!(1), &json!(1)));
    assert_eq!(exposure["members"][0]["name"], "stays");
    assert_eq!(world.get("/v1/status").await["exposed"], 1);
    // What fits nothing that is known may be anything.
    holds(json!({})).await;
    assert_eq!(world.get("/v1/exposure").await["items"][0]["still"], 1);
    // One of several states that it may be in.
    let either = json!({ "states": [{ "t": { hash: [2, null] } }, { "t": { hash: [1, null] } }] });
    holds(either).await;
    assert_eq!(world.get("/v1/exposure").await["items"][0]["still"], 1);
    // Without any key of the topic it uses none.
    holds(json!({ "states": [{}] })).await;
    assert_eq!(world.get("/v1/exposure").await["items"], json!([]));
    holds(version(1)).await;
    assert_eq!(world.get("/v1/exposure").await["items"][0]["still"], 1);
    holds(version(2)).await;
    assert_eq!(world.get("/v1/exposure").await["items"], json!([]));
    assert_eq!(world.get("/v1/status").await["exposed"], 0);
}

#[tokio::test]
async fn events_come_as_they_happen() {
    let world = World::new().await;
    let peer = Peer { address: ([192, 0, 2, 1], 50_000).into(), certificate: None };
    let mut request = request("GET /v1/events", Some(world.token(Role::Viewer)), &[], Body::empty());
    request.extensions_mut().insert(peer);
    let response = world.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    // An order that ends by a cancel is told by the next look at orders; what is told at all is told in one line of JSON.
    let topic = world.post("/v1/topics", json!({ "name": "plant/7" })).await;
    world.post(&format!("/v1/topics/{}/rotate", topic["id"]), json!({ "kind": "soft" })).await;
    world.fleet.advance().await.unwrap();
    let mut events = response.into_body().into_data_stream();
    let first = events.next().await.unwrap().unwrap();
    let first = String::from_utf8(first.to_vec()).unwrap();
    let data = first.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or_else(|| panic!("{first}"));
    let event: Value = serde_json::from_str(data).unwrap();
    assert_eq!(event["kind"], "order", "{event}");
}

async fn an_order_is_as_far_as_devices_have_reported(database: Database) {
    let world = World::on(database, 1_000_000).await;
    let topic = world.post("/v1/topics", json!({ "name": "plant/7" })).await;
    for name in ["reports", "never-heard", "dormant"] {
        let id = world.post("/v1/devices", json!({ "name": name, "mode": "symmetric" })).await["id"].clone();
        let line = format!("PUT /v1/topics/{}/access/devices/{}", topic["id"], id.as_str().unwrap());
        assert_eq!(world.ask(&line, Some(json!({ "read": true })), &[]).await.status, 200);
    }
    let order = world.post(&format!("/v1/topics/{}/rotate", topic["id"]), json!({ "kind": "soft" })).await;
    // As rounds and reports leave it.
    let is = async |name: &str, standing: &str, version: u32, due: Option<i64>| {
        let held = json!({ "states": [{ "t": { topic["hash"].as_str().unwrap(): [version, null] } }] });
        let values = [standing.into(), held.to_string().into(), BEGIN.into(), due.into(), name.into()];
        let mut tx = world.fleet.store().write().await.unwrap();
        let sql = "UPDATE devices SET standing = $1, held = $2, reported = $3, due = $4 WHERE name = $5";
        assert_eq!(tx.execute(sql, &values).await.unwrap(), 1);
        tx.commit().await.unwrap();
    };
    is("dormant", "dormant", 1, Some(BEGIN)).await;
    is("reports", "waiting", 1, Some(BEGIN)).await;
    let path = format!("/v1/orders/{}", order["id"]);
    let seen = world.get(&path).await;
    assert_eq!(seen["progress"], json!({ "devices": 3, "confirmed": 0, "waiting": 1, "silent": 1, "unconfirmed": 1 }));
    assert_eq!(seen["waits_for"].as_array().unwrap().len(), 1);
    assert_eq!(seen["waits_for"][0]["name"], "reports");
    assert_eq!(world.get("/v1/orders").await["items"][0], seen);
    // It has what the order brings; something else is under way.
    is("reports", "under way", 2, Some(BEGIN)).await;
    let seen = world.get(&path).await;
    assert_eq!(seen["progress"], json!({ "devices": 3, "confirmed": 1, "waiting": 0, "silent": 1, "unconfirmed": 1 }));
    assert_eq!(seen["waits_for"], json!([]));
    is("reports", "confirmed", 2, None).await;
    assert_eq!(world.get(&path).await["progress"], seen["progress"]);
}

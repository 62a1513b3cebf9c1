//! Lists in parts, while there are changes.

use super::world::World;
use crate::kit::database::{Database, on_both_databases};
use serde_json::{Value, json};
use std::collections::BTreeSet;

on_both_databases!(
    what_was_there_from_beginning_to_end_is_listed_once_whatever_changes,
    members_by_group_and_by_device_are_one_list,
    filters_find_what_they_say,
);

/// All parts of a list, with something done after the first one.
async fn walk(world: &World, path: &str, mut after_first: impl AsyncFnMut()) -> Vec<Value> {
    let mut items = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let joint = if path.contains('?') { '&' } else { '?' };
        let after = cursor.as_ref().map(|after| format!("&after={after}")).unwrap_or_default();
        let part = world.get(&format!("{path}{joint}limit=3{after}")).await;
        let part_items = part["items"].as_array().unwrap();
        assert!((1..=3).contains(&part_items.len()), "{part}");
        items.extend(part_items.iter().cloned());
        if cursor.is_none() {
            after_first().await;
        }
        match part["next"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return items,
        }
    }
}

async fn add_devices(world: &World, names: impl Iterator<Item = String>) {
    for name in names {
        world.post("/v1/devices", json!({ "name": name, "mode": "symmetric", "labels": { "site": "basel" } })).await;
    }
}

fn texts(items: &[Value], field: &str) -> Vec<String> {
    items.iter().map(|it| it[field].as_str().map_or_else(|| it[field].to_string(), str::to_owned)).collect()
}

async fn what_was_there_from_beginning_to_end_is_listed_once_whatever_changes(database: Database) {
    let world = World::on(database, 1_000_000).await;
    add_devices(&world, (0..10).map(|n| format!("lamp-{n}"))).await;
    for n in 0..10 {
        world.post("/v1/topics", json!({ "name": format!("plant/{n}") })).await;
        world.post("/v1/groups", json!({ "name": format!("group-{n}") })).await;
    }
    let before: BTreeSet<_> = texts(&walk(&world, "/v1/devices", async || {}).await, "id").into_iter().collect();
    assert_eq!(before.len(), 10);
    let gone = before.iter().nth(7).unwrap();
    let listed = walk(&world, "/v1/devices", async || {
        add_devices(&world, (10..15).map(|n| format!("lamp-{n}"))).await;
        world.post(&format!("/v1/devices/{gone}/withdraw"), json!({})).await;
    })
    .await;
    let listed = texts(&listed, "id");
    let once: BTreeSet<_> = listed.iter().cloned().collect();
    assert_eq!(once.len(), listed.len(), "something is listed twice");
    assert!(before.iter().filter(|id| *id != gone).all(|id| once.contains(id)), "something is missing");
    assert!(!once.contains(gone));

    let topics = walk(&world, "/v1/topics", async || {
        world.ask("DELETE /v1/topics/2", None, &[("if-match", "*")]).await;
        world.post("/v1/topics", json!({ "name": "new" })).await;
    })
    .await;
    assert_eq!(texts(&topics, "id"), (1..=11).map(|n| n.to_string()).collect::<Vec<_>>());
    let groups = walk(&world, "/v1/groups", async || {
        world.ask("DELETE /v1/groups/group-0", None, &[("if-match", "*")]).await;
        world.post("/v1/groups", json!({ "name": "aaa" })).await;
    })
    .await;
    assert_eq!(texts(&groups, "name"), (0..10).map(|n| format!("group-{n}")).collect::<Vec<_>>());
    // Newest first: what comes in between is before the first part.
    let newest = world.get("/v1/audit?limit=1").await["items"][0]["id"].as_u64().unwrap();
    let audit = walk(&world, "/v1/audit", async || {
        world.post("/v1/groups", json!({ "name": "later" })).await;
    })
    .await;
    assert_eq!(texts(&audit, "id"), (1..=newest).rev().map(|n| n.to_string()).collect::<Vec<_>>());
}

async fn members_by_group_and_by_device_are_one_list(database: Database) {
    let world = World::on(database, 1_000_000).await;
    let topic = world.post("/v1/topics", json!({ "name": "plant/7" })).await["id"].clone();
    add_devices(&world, (0..5).map(|n| format!("lamp-{n}"))).await;
    let ids = texts(world.get("/v1/devices").await["items"].as_array().unwrap(), "id");
    for id in &ids {
        let reply =
            world.ask(&format!("PUT /v1/topics/{topic}/access/devices/{id}"), Some(json!({ "read": true })), &[]).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
    }
    for n in 0..4 {
        world.post("/v1/groups", json!({ "name": format!("group-{n}"), "selector": "site=basel" })).await;
        let line = format!("PUT /v1/topics/{topic}/access/groups/group-{n}");
        assert_eq!(world.ask(&line, Some(json!({ "write": true })), &[]).await.status, 200);
    }
    let entries = walk(&world, &format!("/v1/topics/{topic}/access"), async || {}).await;
    let who: Vec<_> =
        entries.iter().map(|it| it["group"].as_str().or(it["device"]["id"].as_str()).unwrap().to_owned()).collect();
    let expected: Vec<_> = (0..4).map(|n| format!("group-{n}")).chain(ids).collect();
    assert_eq!(who, expected);
    assert_eq!(entries[0]["access"], json!({ "read": false, "write": true }));
    assert_eq!(entries[8]["access"], json!({ "read": true, "write": false }));
    assert_eq!(world.get(&format!("/v1/topics/{topic}")).await["members"], 5);
    let empty = world.ask(&format!("PUT /v1/topics/{topic}/access/groups/group-0"), Some(json!({})), &[]).await;
    assert_eq!(empty.status, 422);
}

async fn filters_find_what_they_say(database: Database) {
    let world = World::on(database, 1_000_000).await;
    world.post("/v1/groups", json!({ "name": "doors", "selector": "kind=door" })).await;
    for (name, labels) in [
        ("a", json!({ "site": "basel", "kind": "door" })),
        ("b", json!({ "site": "basel" })),
        ("c", json!({ "site": "baselland" })),
    ] {
        world.post("/v1/devices", json!({ "name": name, "mode": "symmetric", "labels": labels })).await;
    }
    let names = async |query: &str| {
        let mut names = texts(world.get(&format!("/v1/devices?{query}")).await["items"].as_array().unwrap(), "name");
        names.sort();
        names.join("")
    };
    assert_eq!(names("").await, "abc");
    assert_eq!(names("label=site%3Dbasel").await, "ab");
    assert_eq!(names("label=site%3Dbasel,kind%3Ddoor").await, "a");
    assert_eq!(names("label=kind%3Dbasel").await, "");
    assert_eq!(names("group=doors").await, "a");
    assert_eq!(names("name=b").await, "b");
    assert_eq!(names("status=enrolled").await, "abc");
    assert_eq!(names("status=withdrawn").await, "");
    let id = world.get("/v1/devices?name=c").await["items"][0]["id"].as_str().unwrap().to_owned();
    world.post(&format!("/v1/devices/{id}/withdraw"), json!({})).await;
    assert_eq!(names("").await, "ab");
    assert_eq!(names("status=withdrawn").await, "c");
    for wrong in
        ["limit=0", "limit=-1", "limit=x", "after=x", "label=x", "standing=fine", "colour=red", "status=Active"]
    {
        let reply = world.ask(&format!("GET /v1/devices?{wrong}"), None, &[]).await;
        assert_eq!(reply.status, 422, "{wrong} {}", reply.text);
        reply.problem();
    }
    assert_eq!(world.ask("GET /v1/devices?group=none", None, &[]).await.status, 404);
    let orders = world.get("/v1/orders?open=true").await;
    assert_eq!(world.get("/v1/orders").await["items"].as_array().unwrap().len(), 1, "{orders}");
}

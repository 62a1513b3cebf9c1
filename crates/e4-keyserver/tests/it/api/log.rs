//! What is logged.

use super::world::{World, request};
use axum::body::Body;
use e4_keyserver::model::Role;
use serde_json::json;
use std::{
    io,
    sync::{Arc, Mutex},
};
use tracing::level_filters::LevelFilter;

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// On one thread, so that this test hears all that is logged for it and nothing of others.
#[tokio::test]
async fn no_token_key_or_bundle_is_in_the_log() {
    // With only one subscriber in the process, what another test logs first on a thread without one would be off for this one too.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
    let written = Written::default();
    let writer = written.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let world = World::new().await;
    let key = "5e".repeat(32);
    let device = world.post("/v1/devices", json!({ "name": "a", "mode": "symmetric", "key": key })).await;
    world.post("/v1/topics", json!({ "name": "plant/7", "key": "6e".repeat(32) })).await;
    let token = world.post("/v1/tokens", json!({ "name": "guest", "role": "viewer" })).await;
    let path = format!("/v1/devices/{}/bundle", device["id"].as_str().unwrap());
    let invitation = world.post(&path, json!({})).await;
    let bundle = world.post("/v1/bundles", json!({ "token": invitation["token"], "form": "text" })).await;
    world.ask("POST /v1/devices", Some(json!({ "name": "b", "mode": "symmetric", "key": key })), &[]).await;
    world.send(request("GET /v1/devices", Some("e4t_not-a-token-of-ours"), &[], Body::empty())).await;
    world.send(request("GET /v1/nothing/e4t_a-token-in-a-path", None, &[], Body::empty())).await;
    world
        .send(request(
            "GET /v1/devices?name=e4t_a-token-in-a-query",
            Some(world.token(Role::Viewer)),
            &[],
            Body::empty(),
        ))
        .await;

    let log = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("/v1/devices/{id}/bundle") && log.contains("administrator"), "requests are logged: {log}");
    let mut secrets: Vec<String> = world.tokens.values().cloned().collect();
    secrets.extend([key, "6e".repeat(32), "e4t_".to_owned()]);
    secrets
        .extend([&token["secret"], &invitation["token"], &bundle["content"]].map(|it| it.as_str().unwrap().to_owned()));
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret} is in the log");
    }
}

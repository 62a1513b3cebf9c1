//! Every endpoint with every role, and with none.

use super::world::{World, request};
use axum::body::Body;
use e4_keyserver::model::Role;
use std::collections::BTreeSet;

/// Whom each endpoint is to take: nobody in particular, or a role and those that include it. Written down here a second time, so
/// that a slip in the table of the server is noticed.
const EXPECTED: &[(&str, Option<Role>)] = &[
    ("GET /v1/health", None),
    ("GET /v1/ready", None),
    ("POST /v1/bundles", None),
    ("POST /v1/register", None),
    ("GET /metrics", Some(Role::Viewer)),
    ("GET /openapi.json", Some(Role::Viewer)),
    ("GET /v1/devices", Some(Role::Viewer)),
    ("GET /v1/devices/{id}", Some(Role::Viewer)),
    ("GET /v1/devices/{id}/holds", Some(Role::Viewer)),
    ("GET /v1/status", Some(Role::Viewer)),
    ("GET /v1/exposure", Some(Role::Viewer)),
    ("GET /v1/events", Some(Role::Viewer)),
    ("GET /v1/groups", Some(Role::Viewer)),
    ("GET /v1/groups/{name}", Some(Role::Viewer)),
    ("GET /v1/topics", Some(Role::Viewer)),
    ("GET /v1/topics/{id}", Some(Role::Viewer)),
    ("GET /v1/topics/{id}/keys", Some(Role::Viewer)),
    ("GET /v1/topics/{id}/access", Some(Role::Viewer)),
    ("GET /v1/orders", Some(Role::Viewer)),
    ("GET /v1/orders/{id}", Some(Role::Viewer)),
    ("GET /v1/audit", Some(Role::Viewer)),
    ("GET /v1/audit/export", Some(Role::Viewer)),
    ("GET /v1/server-key", Some(Role::Viewer)),
    ("POST /v1/devices", Some(Role::Enroller)),
    ("POST /v1/devices/import", Some(Role::Enroller)),
    ("POST /v1/devices/{id}/bundle", Some(Role::Enroller)),
    ("POST /v1/invitations", Some(Role::Enroller)),
    ("PATCH /v1/devices/{id}", Some(Role::Operator)),
    ("POST /v1/devices/{id}/withdraw", Some(Role::Operator)),
    ("POST /v1/devices/{id}/rotate-key", Some(Role::Operator)),
    ("POST /v1/groups", Some(Role::Operator)),
    ("PATCH /v1/groups/{name}", Some(Role::Operator)),
    ("DELETE /v1/groups/{name}", Some(Role::Operator)),
    ("PUT /v1/groups/{name}/members/{device}", Some(Role::Operator)),
    ("DELETE /v1/groups/{name}/members/{device}", Some(Role::Operator)),
    ("POST /v1/topics", Some(Role::Operator)),
    ("PATCH /v1/topics/{id}", Some(Role::Operator)),
    ("DELETE /v1/topics/{id}", Some(Role::Operator)),
    ("POST /v1/topics/{id}/rotate", Some(Role::Operator)),
    ("PUT /v1/topics/{id}/access/devices/{device}", Some(Role::Operator)),
    ("DELETE /v1/topics/{id}/access/devices/{device}", Some(Role::Operator)),
    ("PUT /v1/topics/{id}/access/groups/{name}", Some(Role::Operator)),
    ("DELETE /v1/topics/{id}/access/groups/{name}", Some(Role::Operator)),
    ("POST /v1/orders/{id}/cancel", Some(Role::Operator)),
    ("GET /v1/tokens", Some(Role::Administrator)),
    ("POST /v1/tokens", Some(Role::Administrator)),
    ("DELETE /v1/tokens/{id}", Some(Role::Administrator)),
    ("POST /v1/server-key/rotate", Some(Role::Administrator)),
    ("POST /v1/release", Some(Role::Administrator)),
];

/// An endpoint of nothing that there is, so that who may changes nothing.
fn of_nothing(endpoint: &str) -> String {
    let id = if endpoint.contains("/v1/devices/") { "0123456789abcdef0123456789abcdef" } else { "424242" };
    endpoint.replace("{id}", id).replace("{name}", "nobody").replace("{device}", "0123456789abcdef0123456789abcdef")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_endpoint_takes_the_roles_that_it_is_for_and_nobody_else() {
    let world = World::new().await;
    for (endpoint, least) in EXPECTED {
        let line = of_nothing(endpoint);
        let nobody = world.send(request(&line, None, &[], Body::empty())).await;
        assert_eq!(nobody.status == 401, least.is_some(), "{endpoint} with no token: {}", nobody.status);
        for role in Role::ALL {
            let reply = world.send(request(&line, Some(world.token(role)), &[], Body::empty())).await;
            let may = least.is_none_or(|least| role.includes(least));
            assert_eq!(reply.status == 403, !may, "{endpoint} as {}: {} {}", role.word(), reply.status, reply.text);
            assert_ne!(reply.status, 401, "{endpoint} as {}", role.word());
            assert!(reply.status.as_u16() < 500, "{endpoint} as {}: {}", role.word(), reply.text);
            if reply.status.is_client_error() {
                reply.problem();
            }
        }
    }
}

#[tokio::test]
async fn what_is_described_is_what_there_is() {
    let world = World::new().await;
    let description = world.get("/openapi.json").await;
    let mut described = BTreeSet::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let line = format!("{} {path}", method.to_ascii_uppercase());
            let expected = EXPECTED.iter().find(|(endpoint, _)| *endpoint == line);
            let (_, least) = expected.unwrap_or_else(|| panic!("{line} is described, and nobody says who may"));
            let is_open = operation["security"].as_array().unwrap().is_empty();
            assert_eq!(is_open, least.is_none(), "{line}");
            assert!(operation["responses"]["default"].is_object(), "{line} does not say how it refuses");
            described.insert(line);
        }
    }
    let roles: Vec<_> = Role::ALL.into_iter().map(Role::word).collect();
    assert_eq!(
        description["components"]["schemas"]["Role"]["enum"],
        serde_json::json!(roles),
        "words are described as they are"
    );
    for (endpoint, _) in EXPECTED {
        assert!(described.contains(*endpoint), "{endpoint} is not described");
    }
}

#[tokio::test]
async fn refused_attempts_are_in_the_audit_without_what_was_shown() {
    let world = World::new().await;
    let refusals = async || {
        let entries = world.get("/v1/audit?limit=1000").await["items"].as_array().unwrap().clone();
        entries.into_iter().filter(|it| it["action"].as_str().unwrap().starts_with("refused: ")).collect::<Vec<_>>()
    };
    assert_eq!(refusals().await.len(), 0);
    world.send(request("GET /v1/tokens", Some("e4t_guessed-by-somebody"), &[], Body::empty())).await;
    world.send(request("POST /v1/topics", Some(world.token(Role::Viewer)), &[], "{}")).await;
    let refusals = refusals().await;
    let told: Vec<_> =
        refusals.iter().map(|it| (it["actor"].as_str().unwrap(), it["action"].as_str().unwrap())).collect();
    assert_eq!(told, [("viewer", "refused: POST /v1/topics"), ("nobody", "refused: GET /v1/tokens")]);
    assert!(refusals.iter().all(|it| it["origin"] == "192.0.2.1"));
    assert!(!format!("{refusals:?}").contains("guessed"));
}

#[tokio::test]
async fn a_token_works_until_it_expires_or_is_removed_and_only_as_it_was_given() {
    let world = World::new().await;
    let made =
        world.post("/v1/tokens", serde_json::json!({ "name": "guest", "role": "viewer", "expires_in": 60 })).await;
    let token = made["secret"].as_str().unwrap().to_owned();
    let status = async |authorization: String| {
        let request = request("GET /v1/devices", None, &[("authorization", &authorization)], Body::empty());
        world.send(request).await.status.as_u16()
    };
    assert_eq!(status(format!("Bearer {token}")).await, 200);
    assert_eq!(status(format!("bearer {token}")).await, 200);
    for wrong in
        [token.clone(), format!("Basic {token}"), format!("Bearer {token}a"), "Bearer".into(), "Bearer ".into()]
    {
        assert_eq!(status(wrong.clone()).await, 401, "{wrong}");
    }
    let mut shorter = token.clone();
    shorter.pop();
    assert_eq!(status(format!("Bearer {shorter}")).await, 401);
    world.pass(60);
    assert_eq!(status(format!("Bearer {token}")).await, 401);

    let made = world.post("/v1/tokens", serde_json::json!({ "name": "other", "role": "viewer" })).await;
    let token = made["secret"].as_str().unwrap();
    assert_eq!(status(format!("Bearer {token}")).await, 200);
    let removed = world.ask(&format!("DELETE /v1/tokens/{}", made["token"]["id"]), None, &[]).await;
    assert_eq!(removed.status, 204);
    assert_eq!(status(format!("Bearer {token}")).await, 401);
}

#[tokio::test]
async fn who_asks_too_often_waits_and_nobody_else_does() {
    let world = World::with(3).await;
    let ask = async |role| world.send(request("GET /v1/devices", Some(world.token(role)), &[], Body::empty())).await;
    for _ in 0..3 {
        assert_eq!(ask(Role::Viewer).await.status, 200);
    }
    let refused = ask(Role::Viewer).await;
    assert_eq!(refused.status, 429);
    refused.problem();
    let seconds: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=20).contains(&seconds), "{seconds}");
    assert_eq!(ask(Role::Operator).await.status, 200);
    // Those who show nothing are counted by their network, and do not use up what holders of tokens may.
    for expected in [401, 401, 401, 429] {
        assert_eq!(world.send(request("GET /v1/devices", None, &[], Body::empty())).await.status, expected);
    }
    assert_eq!(ask(Role::Operator).await.status, 200);
}

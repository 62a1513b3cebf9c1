//! What is sent again is carried out once.

use super::world::{World, request};
use e4_keyserver::model::Role;
use serde_json::json;

#[tokio::test]
async fn a_request_that_is_sent_again_with_its_key_is_carried_out_once() {
    let world = World::new().await;
    let topic = json!({ "name": "plant/7" });
    let key = [("idempotency-key", "5f0e")];
    let [first, again] = [
        world.ask("POST /v1/topics", Some(topic.clone()), &key).await,
        world.ask("POST /v1/topics", Some(topic.clone()), &key).await,
    ];
    assert_eq!([first.status.as_u16(), again.status.as_u16()], [201, 201], "{}", again.text);
    assert_eq!(first.json()["id"], again.json()["id"]);
    assert_eq!(world.get("/v1/topics").await["items"].as_array().unwrap().len(), 1);

    let rotate = format!("POST /v1/topics/{}/rotate", first.json()["id"]);
    let key = [("idempotency-key", "rotate-1")];
    let orders = [
        world.ask(&rotate, Some(json!({ "kind": "hard" })), &key).await,
        world.ask(&rotate, Some(json!({ "kind": "hard" })), &key).await,
    ];
    assert_eq!(orders.each_ref().map(|it| it.status.as_u16()), [202, 202]);
    assert_eq!(orders[0].json()["id"], orders[1].json()["id"]);
    assert_eq!(world.get("/v1/orders").await["items"].as_array().unwrap().len(), 1);
    assert_eq!(orders[0].header("location"), format!("/v1/orders/{}", orders[0].json()["id"]));
}

#[tokio::test]
async fn a_key_of_another_request_is_refused_and_each_has_keys_of_their_own() {
    let world = World::new().await;
    let key = [("idempotency-key", "the-key")];
    assert_eq!(world.ask("POST /v1/topics", Some(json!({ "name": "a" })), &key).await.status, 201);
    let other_body = world.ask("POST /v1/topics", Some(json!({ "name": "b" })), &key).await;
    assert_eq!(other_body.status, 422, "{}", other_body.text);
    assert!(other_body.problem().contains("Idempotency-Key"));
    let other_path = world.ask("POST /v1/groups", Some(json!({ "name": "a" })), &key).await;
    assert_eq!(other_path.status, 422, "{}", other_path.text);
    assert_eq!(world.get("/v1/topics").await["items"].as_array().unwrap().len(), 1);

    let operator =
        request("POST /v1/topics", Some(world.token(Role::Operator)), &key, json!({ "name": "c" }).to_string());
    assert_eq!(world.send(operator).await.status, 201);
    let long = "k".repeat(256);
    for wrong in ["", long.as_str()] {
        let reply = world.ask("POST /v1/topics", Some(json!({ "name": "d" })), &[("idempotency-key", wrong)]).await;
        assert_eq!(reply.status, 422, "{wrong:?}");
    }
}

#[tokio::test]
async fn a_token_is_shown_once_and_not_made_twice() {
    let world = World::new().await;
    let (new, key) = (json!({ "name": "guest", "role": "viewer" }), [("idempotency-key", "guest")]);
    let first = world.ask("POST /v1/tokens", Some(new.clone()), &key).await;
    assert_eq!(first.status, 201);
    let secret = first.json()["secret"].as_str().unwrap().to_owned();
    let again = world.ask("POST /v1/tokens", Some(new), &key).await;
    assert_eq!(again.status, 409);
    again.problem();
    assert!(!again.text.contains(&secret));
    let tokens = world.get("/v1/tokens").await;
    assert_eq!(tokens["items"].as_array().unwrap().iter().filter(|it| it["name"] == "guest").count(), 1);
    assert!(!tokens.to_string().contains(&secret));
}

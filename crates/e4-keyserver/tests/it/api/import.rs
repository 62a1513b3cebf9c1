//! Many devices in one request.

use super::world::{Reply, World, request};
use e4_keyserver::model::Role;

async fn import(world: &World, media_type: &str, text: impl Into<axum::body::Body>) -> Reply {
    let headers = [("content-type", media_type)];
    world.send(request("POST /v1/devices/import", Some(world.token(Role::Enroller)), &headers, text)).await
}

#[tokio::test]
async fn json_lines_and_rows_of_csv_bring_the_same() {
    let world = World::new().await;
    let (key, other) = ("01".repeat(32), "02".repeat(32));
    let lines = format!(
        "{{\"name\":\"a\",\"mode\":\"symmetric\",\"labels\":{{\"site\":\"basel\"}}}}\n\n{{\"name\":\"b\",\"mode\":\"symmetric\",\"key\":\"{key}\"}}\n"
    );
    let reply = import(&world, "application/jsonl", lines).await;
    assert_eq!((reply.status.as_u16(), reply.text.as_str()), (200, r#"{"added":2}"#));
    let rows = format!("name,mode,key,labels\nc,symmetric,,site=basel\nd,symmetric,{other},\n");
    let reply = import(&world, "text/csv; charset=utf-8", rows).await;
    assert_eq!((reply.status.as_u16(), reply.text.as_str()), (200, r#"{"added":2}"#));
    assert_eq!(world.get("/v1/devices?label=site%3Dbasel").await["items"].as_array().unwrap().len(), 2);
    assert_eq!(world.get("/v1/devices").await["items"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn all_lines_are_taken_or_none_and_wrong_ones_are_told_without_their_keys() {
    let world = World::new().await;
    let key = "5e".repeat(32);
    let lines = format!(
        concat!(
            "{{\"name\":\"a\",\"mode\":\"symmetric\"}}\n",
            "{{\"name\":\"b\",\"mode\":\"{key}\"}}\n",
            "{{\"name\":\"c\",\"mode\":\"symmetric\",\"key\":\"{key}5e\"}}\n",
            "{{\"name\":\"d\",\"mode\":\"symmetric\",\"public_key\":\"{key}\"}}\n",
            "{{\"name\":\"e\",\"mode\":\"symmetric\",\"{key}\":1}}\n",
            "nonsense\n",
        ),
        key = key
    );
    let reply = import(&world, "application/jsonl", lines).await;
    assert_eq!(reply.status, 422);
    reply.problem();
    let wrong: Vec<_> =
        reply.json()["errors"].as_array().unwrap().iter().map(|it| it["line"].as_u64().unwrap()).collect();
    assert_eq!(wrong, [2, 3, 4, 5, 6]);
    assert!(!reply.text.contains(&key), "{}", reply.text);

    let rows = format!("name,mode,key\na,symmetric,\nb,{key},\nc,symmetric\nd,symmetric,{key}5e\n");
    let reply = import(&world, "text/csv", rows).await;
    assert_eq!(reply.status, 422);
    let wrong: Vec<_> =
        reply.json()["errors"].as_array().unwrap().iter().map(|it| it["line"].as_u64().unwrap()).collect();
    assert_eq!(wrong, [3, 4, 5], "{}", reply.text);
    assert!(!reply.text.contains(&key), "{}", reply.text);

    // A name that is taken twice, by lines that are right each for itself.
    let lines = "{\"name\":\"a\",\"mode\":\"symmetric\"}\n{\"name\":\"a\",\"mode\":\"symmetric\"}\n";
    let reply = import(&world, "application/jsonl", lines).await;
    assert_eq!(reply.status, 422, "{}", reply.text);
    assert_eq!(reply.json()["errors"][0]["line"], 2);

    for (media_type, text, status) in [
        ("text/csv", "nam,mode\na,symmetric\n", 422),
        ("application/jsonl", "\n\n", 422),
        ("application/json", "{}", 415),
    ] {
        let reply = import(&world, media_type, text).await;
        assert_eq!(reply.status, status, "{text:?} {}", reply.text);
        reply.problem();
    }
    assert_eq!(world.get("/v1/devices").await["items"].as_array().unwrap().len(), 0);
}

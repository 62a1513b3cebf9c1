//! Nobody's change is lost.

use super::world::World;
use serde_json::json;

#[tokio::test]
async fn a_change_is_refused_that_has_not_seen_the_last_one() {
    let world = World::new().await;
    world.post("/v1/groups", json!({ "name": "panels" })).await;
    let device = world.post("/v1/devices", json!({ "name": "panel-1", "mode": "symmetric" })).await;
    let topic = world.post("/v1/topics", json!({ "name": "plant/7" })).await;
    let device = format!("/v1/devices/{}", device["id"].as_str().unwrap());
    let topic = format!("/v1/topics/{}", topic["id"]);
    for (path, change) in [
        (device.as_str(), json!({ "notes": "changed" })),
        (&topic, json!({ "notes": "changed" })),
        ("/v1/groups/panels", json!({ "policy": { "late": 60 } })),
    ] {
        let seen = world.ask(&format!("GET {path}"), None, &[]).await;
        let tag = seen.header("etag").to_owned();
        assert!(tag.starts_with('"'), "{path} {tag:?}");
        let line = format!("PATCH {path}");
        let without = world.ask(&line, Some(change.clone()), &[]).await;
        assert_eq!(without.status, 428, "{path} {}", without.text);
        without.problem();

        let first = world.ask(&line, Some(change.clone()), &[("if-match", &tag)]).await;
        assert_eq!(first.status, 200, "{path} {}", first.text);
        let new_tag = first.header("etag").to_owned();
        assert_ne!(new_tag, tag);
        let second = world.ask(&line, Some(change.clone()), &[("if-match", &tag)]).await;
        assert_eq!(second.status, 412, "{path} {}", second.text);
        second.problem();
        for wrong in ["W/\"1\"", "1", "\"one\"", "\"\""] {
            assert_eq!(world.ask(&line, Some(change.clone()), &[("if-match", wrong)]).await.status, 412, "{wrong}");
        }
        assert_eq!(
            world.ask(&format!("GET {path}"), None, &[]).await.header("etag"),
            new_tag,
            "a refused change changed {path}"
        );
        assert_eq!(world.ask(&line, Some(change), &[("if-match", "*")]).await.status, 200);
    }
    for path in [topic.as_str(), "/v1/groups/panels"] {
        let line = format!("DELETE {path}");
        assert_eq!(world.ask(&line, None, &[]).await.status, 428);
        assert_eq!(world.ask(&line, None, &[("if-match", "\"1\"")]).await.status, 412);
        let tag = world.ask(&format!("GET {path}"), None, &[]).await.header("etag").to_owned();
        assert_eq!(world.ask(&line, None, &[("if-match", &tag)]).await.status, 200);
        assert_eq!(world.ask(&format!("GET {path}"), None, &[]).await.status, 404);
    }
}

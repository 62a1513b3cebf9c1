use super::world::{World, kind_of, new_device};
use crate::kit::database::{Database, on_both_databases};
use e4_keyserver::{
    fleet::RefusalKind,
    model::{Role, RotationKind},
};

async fn a_request_that_is_sent_again_is_carried_out_once(database: Database) {
    let world = World::new(database).await;
    let topic = world.topic("t").await;
    let boss = world.boss.clone().once("k1", [1; 32]);
    let first = world.fleet.rotate(&boss, topic, RotationKind::Hard).await.unwrap();
    let again = world.fleet.rotate(&boss, topic, RotationKind::Hard).await.unwrap();
    assert_eq!((first, world.versions(topic).await.len()), (again, 2));
    let other = world.boss.clone().once("k1", [2; 32]);
    assert_eq!(kind_of(world.fleet.rotate(&other, topic, RotationKind::Hard).await), RefusalKind::Invalid);
    let mut somebody = world.boss.clone().once("k1", [2; 32]);
    somebody.name = "somebody".to_owned();
    world.fleet.rotate(&somebody, topic, RotationKind::Hard).await.unwrap();
    assert_eq!(world.versions(topic).await.len(), 3, "keys are of each caller's own");
}

async fn many_at_the_same_time_are_one(database: Database) {
    let world = World::new(database).await;
    let boss = world.boss.clone().once("k1", [1; 32]);
    let sent: Vec<_> = (0..8)
        .map(|_| {
            let (fleet, boss) = (world.fleet.clone(), boss.clone());
            tokio::spawn(async move { fleet.add_devices(&boss, vec![new_device("a")]).await })
        })
        .collect();
    for one in sent {
        assert_eq!(one.await.unwrap().unwrap().count, 1);
    }
    assert_eq!(world.number("SELECT COUNT(*) FROM devices", &[]).await, 1);
}

async fn what_was_refused_may_be_tried_again_under_the_same_key(database: Database) {
    let world = World::new(database).await;
    let boss = world.boss.clone().once("k1", [1; 32]);
    assert_eq!(kind_of(world.fleet.rotate(&boss, 1, RotationKind::Hard).await), RefusalKind::NotFound);
    let topic = world.topic("t").await;
    assert_eq!(topic, 1);
    world.fleet.rotate(&boss, 1, RotationKind::Hard).await.unwrap();
}

/// The answer is kept in the database, and a secret is not.
async fn a_secret_is_told_once(database: Database) {
    let world = World::new(database).await;
    let boss = world.boss.clone().once("k1", [1; 32]);
    let first = world.fleet.add_token(&boss, "panel", Role::Viewer, None).await.unwrap();
    let again = world.fleet.add_token(&boss, "panel", Role::Viewer, None).await.unwrap();
    assert_eq!((first.id, again.secret.is_none()), (again.id, true));
    let rows = world.rows("SELECT answer FROM idempotency", &[]).await;
    assert!(!rows[0].text(0).unwrap().contains(first.secret.unwrap().trim_start_matches("e4t_")));
}

async fn answers_are_kept_for_two_days(database: Database) {
    let world = World::new(database).await;
    let topic = world.topic("t").await;
    let boss = world.boss.clone().once("k1", [1; 32]);
    world.fleet.rotate(&boss, topic, RotationKind::Hard).await.unwrap();
    world.pass(2 * 86_400);
    world.fleet.sweep().await.unwrap();
    assert_eq!(world.number("SELECT COUNT(*) FROM idempotency", &[]).await, 1);
    world.pass(1);
    world.fleet.sweep().await.unwrap();
    assert_eq!(world.number("SELECT COUNT(*) FROM idempotency", &[]).await, 0);
}

on_both_databases!(
    a_request_that_is_sent_again_is_carried_out_once,
    many_at_the_same_time_are_one,
    what_was_refused_may_be_tried_again_under_the_same_key,
    a_secret_is_told_once,
    answers_are_kept_for_two_days,
);

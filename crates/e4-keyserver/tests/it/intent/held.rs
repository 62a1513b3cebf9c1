use super::world::{World, kind_of};
use crate::kit::database::{Database, on_both_databases};
use e4_keyserver::{fleet::RefusalKind, model::Access, store::Value};

async fn a_clock_that_is_right_holds_nothing(database: Database) {
    let world = World::new(database).await;
    let id = world.device("a").await;
    for seconds in [0, 60, 86_400] {
        world.pass(seconds);
        assert_eq!(world.fleet.check_clock().await, Ok(None));
    }
    // A lane is ahead by what was sealed at once, or as far as its device is.
    let now = world.fleet.now();
    for (last, newest) in [(now + 30, 0), (now + 5_000_000, now + 5_000_000)] {
        let values = [Value::from(last), Value::from(newest), Value::from(id.as_bytes())];
        world.change("UPDATE devices SET lane_last = $1, report_newest = $2 WHERE id = $3", &values).await;
        assert_eq!(world.fleet.check_clock().await, Ok(None));
    }
}

async fn a_clock_that_was_set_back_or_jumped_holds_until_it_is_released(database: Database) {
    let world = World::new(database).await;
    assert_eq!(world.fleet.check_clock().await, Ok(None));
    for seconds in [86_401, -3_600, 40 * 86_400] {
        world.pass(seconds);
        let held = world.fleet.check_clock().await.unwrap().unwrap();
        assert_eq!(held.since, world.fleet.now());
        assert_eq!(world.fleet.held().await, Ok(Some(held.clone())));
        world.pass(60);
        assert_eq!(world.fleet.check_clock().await, Ok(Some(held)), "it does not go on by itself");
        world.fleet.release(&world.boss).await.unwrap();
        assert_eq!(world.fleet.check_clock().await, Ok(None));
    }
    assert_eq!(kind_of(world.fleet.release(&world.boss).await), RefusalKind::Conflict);
}

async fn a_clock_behind_what_was_sent_holds(database: Database) {
    let world = World::new(database).await;
    world.device("a").await;
    world.change("UPDATE devices SET lane_last = $1", &[Value::from(world.fleet.now() + 7_200)]).await;
    let held = world.fleet.check_clock().await.unwrap().unwrap();
    assert!(held.reason.contains("2 h behind"), "{}", held.reason);
}

/// No rule runs: what waits goes on waiting.
async fn a_server_that_holds_begins_no_order(database: Database) {
    let world = World::new(database).await;
    let (a, topic) = (world.device("a").await, world.topic("t").await);
    world.give(topic, &a, Access::READ).await;
    world.give(topic, &a, Access::default()).await;
    world.pass(10);
    world.fleet.hold(&world.boss, "a test").await.unwrap();
    assert_eq!(world.fleet.begin_waiting().await, Ok(0));
    world.fleet.release(&world.boss).await.unwrap();
    assert_eq!(world.fleet.begin_waiting().await, Ok(1));
}

on_both_databases!(
    a_clock_that_is_right_holds_nothing,
    a_clock_that_was_set_back_or_jumped_holds_until_it_is_released,
    a_clock_behind_what_was_sent_holds,
    a_server_that_holds_begins_no_order,
);

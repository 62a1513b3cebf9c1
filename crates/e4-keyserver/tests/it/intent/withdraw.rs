use super::world::{World, kind_of, new_device};
use crate::kit::database::{Database, on_both_databases};
use e4_keyserver::{
    fleet::{NewDevice, RefusalKind, Through},
    model::{Access, RotationKind, TopicName},
    plan::{Held, Holdings, Known},
    store::Value,
};

/// What the tests below withdraw: `thief` reads `t` itself, `u` by a group, and `p/#`, under which `p/a` has a key of its own.
async fn with_thief(database: Database) -> (World, e4::ClientId, [i64; 5]) {
    let world = World::new(database).await;
    let thief = world.device("thief").await;
    world.group("g", Some("kind=thief")).await;
    world.group("h", None).await;
    let mut topics = [0; 5];
    for (at, name) in ["t", "u", "p/#", "p/a", "other"].into_iter().enumerate() {
        topics[at] = world.topic(name).await;
        let member = world.device(&format!("member of {name}")).await;
        world.give(topics[at], &member, Access::BOTH).await;
    }
    let [t, u, p, ..] = topics;
    world.fleet.add_member(&world.boss, "h", &thief).await.unwrap();
    world.give(t, &thief, Access::READ).await;
    world.give_group(u, "h", Access::BOTH).await;
    world.give(p, &thief, Access::READ).await;
    world.all_looked_at().await;
    (world, thief, topics)
}

async fn a_dry_run_says_what_it_could_read_and_how_and_does_nothing(database: Database) {
    let (world, thief, topics) = with_thief(database).await;
    let entries = world.number("SELECT COUNT(*) FROM audit", &[]).await;
    let dry = world.fleet.withdraw(&world.boss, &thief, true).await.unwrap();
    let found: Vec<_> =
        dry.could_read.iter().map(|it| (it.name.as_str(), it.through.clone(), it.members, it.rotates)).collect();
    assert_eq!(
        found,
        [
            ("t", vec![Through::Itself], 1, true),
            ("u", vec![Through::Group("h".to_owned())], 1, true),
            ("p/#", vec![Through::Itself], 1, true),
            ("p/a", vec![Through::Subtree("p/#".to_owned())], 1, false),
        ]
    );
    assert_eq!((dry.order, dry.affected, dry.peers), (None, 3, 0));
    for topic in topics {
        assert_eq!(world.versions(topic).await.len(), 1);
    }
    assert_eq!(world.due().await, [""; 0]);
    assert_eq!(world.number("SELECT COUNT(*) FROM audit", &[]).await, entries);
    let real = world.fleet.withdraw(&world.boss, &thief, false).await.unwrap();
    assert_eq!((real.could_read, real.affected), (dry.could_read, dry.affected));
}

async fn c13_everything_that_a_withdrawn_device_could_read_gets_a_new_key(database: Database) {
    let (world, thief, [t, u, p, below, other]) = with_thief(database).await;
    let done = world.fleet.withdraw(&world.boss, &thief, false).await.unwrap();
    for topic in [t, u, p] {
        assert_eq!(
            world.versions(topic).await,
            [(1, 2, 0, 1), (2, 1, 3, 2)],
            "a new one, and the old one opens nothing"
        );
    }
    for topic in [below, other] {
        assert_eq!(world.versions(topic).await.len(), 1);
    }
    assert_eq!(world.due().await, ["member of p/#", "member of t", "member of u", "thief"]);
    let order = world.rows("SELECT kind, state, detail FROM orders WHERE id = $1", &[Value::from(done.order)]).await;
    assert_eq!((order[0].int(0).unwrap(), order[0].int(1).unwrap()), (1, 2));
    assert_eq!(order[0].text(2).unwrap(), format!(r#"{{"topics":[[{t},2],[{u},2],[{p},2]]}}"#));
    for table in ["device_access", "members"] {
        let sql = format!("SELECT COUNT(*) FROM {table} WHERE device = $1");
        assert_eq!(world.number(&sql, &[Value::from(thief.as_bytes())]).await, 0);
    }
    assert_eq!(world.last_audit().await.0, "withdraw");
}

async fn a_withdrawn_device_is_out_for_ever(database: Database) {
    let (world, thief, [t, ..]) = with_thief(database).await;
    world.fleet.withdraw(&world.boss, &thief, false).await.unwrap();
    assert_eq!(kind_of(world.fleet.withdraw(&world.boss, &thief, false).await), RefusalKind::Conflict);
    let access = world.fleet.set_access(&world.boss, t, &e4_keyserver::fleet::Who::Device(thief), Access::READ).await;
    assert_eq!(kind_of(access), RefusalKind::Conflict);
    assert_eq!(kind_of(world.fleet.add_member(&world.boss, "h", &thief).await), RefusalKind::Conflict);
    assert_eq!(kind_of(world.fleet.invite_bundle(&world.boss, &thief, None).await), RefusalKind::Conflict);
    assert_eq!(kind_of(world.fleet.rotate_client_key(&world.boss, &thief).await), RefusalKind::Conflict);
    // A group by labels does not bring it back either.
    world
        .change("UPDATE devices SET labels = '{\"kind\":\"thief\"}' WHERE id = $1", &[Value::from(thief.as_bytes())])
        .await;
    world.group("thieves", Some("kind=thief")).await;
    assert_eq!(world.number("SELECT COUNT(*) FROM members", &[]).await, 0);
}

/// A key that is in use counts though the access is gone: nobody rotated when it went.
async fn a_key_that_is_left_over_counts(database: Database) {
    let world = World::new(database).await;
    let (thief, t, u) = (world.device("thief").await, world.topic("t").await, world.topic("u").await);
    let member = world.device("member").await;
    world.give(t, &member, Access::READ).await;
    let held = |topic: &str, current| (*TopicName::new(topic).unwrap().hash(), Held { current, next: None });
    let known = Known::new(Holdings { topics: [held("t", 1), held("u", 1)].into(), ..Holdings::default() });
    let values = [Value::from(serde_json::to_string(&known).unwrap()), Value::from(thief.as_bytes())];
    world.change("UPDATE devices SET held = $1 WHERE id = $2", &values).await;
    world.fleet.rotate(&world.boss, u, RotationKind::Soft).await.unwrap();
    let done = world.fleet.withdraw(&world.boss, &thief, false).await.unwrap();
    let found: Vec<_> = done.could_read.iter().map(|it| (it.topic, it.through.clone())).collect();
    assert_eq!(found, [(t, vec![Through::Kept])], "the key of `u` that it has is retired");
    assert_eq!((done.affected, done.could_read[0].members), (1, 1));
    assert_eq!(world.versions(t).await.len(), 2);
}

/// A rotation that was on its way when a device is withdrawn does not give it the last word.
async fn a_withdrawal_ends_the_rotations_of_its_topics(database: Database) {
    let (world, thief, [t, ..]) = with_thief(database).await;
    let lossless = world.fleet.rotate(&world.boss, t, RotationKind::Lossless).await.unwrap();
    let done = world.fleet.withdraw(&world.boss, &thief, false).await.unwrap();
    assert_eq!(world.state(lossless).await, 6);
    assert_eq!(world.versions(t).await, [(1, 2, 0, 1), (2, 2, 1, 1), (3, 1, 3, 3)]);
    assert_eq!(world.state(done.order.unwrap()).await, 2);
}

/// A thousand topics of a hundred members each.
async fn a_withdrawal_of_many_topics_is_one_transaction(database: Database) {
    let world = World::new(database).await;
    let thief = world.device("thief").await;
    world.group("all", None).await;
    let devices = (1..=100).map(|line| NewDevice {
        line,
        groups: vec!["all".to_owned()],
        ..new_device(&format!("device-{line}"))
    });
    world.add(devices.collect()).await.unwrap();
    for number in 0..100 {
        let topic = world.topic(&format!("t/{number}")).await;
        world.give(topic, &thief, Access::READ).await;
        world.give_group(topic, "all", Access::READ).await;
    }
    let done = world.fleet.withdraw(&world.boss, &thief, false).await.unwrap();
    assert_eq!((done.could_read.len(), done.affected), (100, 100));
    assert!(done.could_read.iter().all(|it| it.members == 100));
    let cut = "SELECT COUNT(*) FROM key_versions WHERE role = 1 AND version = 2 AND cut = 2";
    assert_eq!(world.number(cut, &[]).await, 100);
}

on_both_databases!(
    a_dry_run_says_what_it_could_read_and_how_and_does_nothing,
    c13_everything_that_a_withdrawn_device_could_read_gets_a_new_key,
    a_withdrawn_device_is_out_for_ever,
    a_key_that_is_left_over_counts,
    a_withdrawal_ends_the_rotations_of_its_topics,
    a_withdrawal_of_many_topics_is_one_transaction,
);

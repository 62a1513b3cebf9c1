use super::world::{World, kind_of, new_device, public_key};
use crate::kit::database::{Database, on_both_databases};
use e4::ClientId;
use e4_keyserver::{
    fleet::{GroupChange, Leave, NewDevice, NewDeviceKey, NewTopic, RefusalKind, TopicPolicy, Who},
    model::{Access, Selector, TopicName},
};

const WAITING: i64 = 0;
const SWITCHING: i64 = 2;

async fn who_gets_access_is_looked_at_and_nothing_rotates(database: Database) {
    let world = World::new(database).await;
    let (a, topic) = (world.device("a").await, world.topic("t").await);
    world.device("b").await;
    assert_eq!(world.give(topic, &a, Access::READ).await, [0; 0]);
    assert_eq!(world.due().await, ["a"]);
    assert_eq!(world.versions(topic).await.len(), 1);
}

/// Who had a key and has no access any more: the topic rotates, by default so that the key opens nothing.
async fn c13_who_loses_access_makes_the_topic_rotate(database: Database) {
    let world = World::new(database).await;
    let (a, b, topic) = (world.device("a").await, world.device("b").await, world.topic("t").await);
    world.give(topic, &a, Access::BOTH).await;
    world.give(topic, &b, Access::READ).await;
    world.all_looked_at().await;
    let orders = world.give(topic, &a, Access::default()).await;
    assert_eq!((orders.len(), world.state(orders[0]).await), (1, WAITING));
    assert_eq!(world.due().await, ["a"], "it is told to forget the key at once");
    world.pass(10);
    assert_eq!(world.fleet.begin_waiting().await, Ok(1));
    assert_eq!(world.state(orders[0]).await, SWITCHING);
    assert_eq!(
        world.versions(topic).await,
        [(1, 2, 0, 1), (2, 1, 2, 2)],
        "the second one cuts off whoever holds the first"
    );
    assert_eq!(world.due().await, ["a", "b"]);
}

/// To take reading from who still writes does not take the key.
async fn who_keeps_some_access_keeps_the_key(database: Database) {
    let world = World::new(database).await;
    let (a, topic) = (world.device("a").await, world.topic("t").await);
    world.group("g", None).await;
    world.fleet.add_member(&world.boss, "g", &a).await.unwrap();
    world.give_group(topic, "g", Access::READ).await;
    world.give(topic, &a, Access::BOTH).await;
    assert_eq!(world.give(topic, &a, Access::WRITE).await, [0; 0]);
    assert_eq!(world.give(topic, &a, Access::default()).await, [0; 0], "the group still has it");
    let changed = world.fleet.remove_member(&world.boss, "g", &a).await.unwrap();
    assert_eq!(changed.orders.len(), 1);
}

/// A group that loses access, or ends, or selects others: whoever had it by the group alone leaves.
async fn c14_a_group_that_goes_makes_its_topics_rotate(database: Database) {
    let world = World::new(database).await;
    let (a, t, u, v) =
        (world.device("a").await, world.topic("t").await, world.topic("u").await, world.topic("v").await);
    world.group("g", None).await;
    world.group("h", Some("site=basel")).await;
    world.fleet.add_member(&world.boss, "g", &a).await.unwrap();
    let labelled = NewDevice { labels: super::world::labels("site=basel"), ..new_device("b") };
    world.add(vec![labelled]).await.unwrap();
    world.give_group(t, "g", Access::READ).await;
    world.give_group(u, "g", Access::READ).await;
    world.give_group(v, "h", Access::READ).await;
    assert_eq!(world.give_group(t, "g", Access::default()).await.len(), 1);
    let gone = world.fleet.remove_group(&world.boss, "g", None).await.unwrap();
    assert_eq!(gone.orders.len(), 1);
    let others = GroupChange { selector: Some(Selector::parse("site=bern").unwrap()), policy: None };
    let changed = world.fleet.change_group(&world.boss, "h", &others, None).await.unwrap();
    assert_eq!(changed.orders.len(), 1);
    assert_eq!(world.number("SELECT COUNT(*) FROM members", &[]).await, 0);
    assert_eq!(world.number("SELECT COUNT(DISTINCT topic) FROM orders WHERE state = 0", &[]).await, 3);
}

/// Who is in no group by hand whose members follow from labels.
async fn members_are_listed_or_follow_from_labels(database: Database) {
    let world = World::new(database).await;
    let a = world.device("a").await;
    world.group("g", Some("site=basel")).await;
    assert_eq!(kind_of(world.fleet.add_member(&world.boss, "g", &a).await), RefusalKind::Conflict);
    assert_eq!(kind_of(world.fleet.add_member(&world.boss, "nobody", &a).await), RefusalKind::NotFound);
    assert_eq!(
        kind_of(world.add(vec![NewDevice { groups: vec!["g".to_owned()], ..new_device("b") }]).await),
        RefusalKind::Invalid
    );
    let stale = world.fleet.change_group(&world.boss, "g", &GroupChange::default(), Some(9)).await;
    assert_eq!(kind_of(stale), RefusalKind::Stale);
}

/// The members of a removed topic are told to forget its keys, and none of the keys is ever in use again.
async fn c15_a_topic_that_is_removed_is_taken_from_its_members(database: Database) {
    let world = World::new(database).await;
    let (a, topic) = (world.device("a").await, world.topic("t").await);
    world.give(topic, &a, Access::READ).await;
    world.all_looked_at().await;
    world.fleet.remove_topic(&world.boss, topic, None).await.unwrap();
    assert_eq!(world.due().await, ["a"]);
    assert_eq!(world.versions(topic).await, [(1, 2, 0, 1)]);
    assert_eq!(
        kind_of(world.fleet.set_access(&world.boss, topic, &Who::Device(a), Access::READ).await),
        RefusalKind::NotFound
    );
    // The same topic again begins with a key that nobody had.
    let again = world.topic("t").await;
    assert_eq!(again, topic);
    assert_eq!(world.versions(topic).await, [(1, 2, 0, 1), (2, 1, 0, 2)]);
    assert_eq!(world.number("SELECT COUNT(*) FROM device_access", &[]).await, 0);
    // Also with a key that is given.
    world.fleet.remove_topic(&world.boss, topic, None).await.unwrap();
    let given = NewTopic {
        name: TopicName::new("t").unwrap(),
        key: Some(super::world::key(5)),
        policy: TopicPolicy::default(),
        notes: String::new(),
    };
    world.fleet.add_topic(&world.boss, &given).await.unwrap();
    assert_eq!(world.versions(topic).await, [(1, 2, 0, 1), (2, 2, 0, 2), (3, 1, 6, 3)]);
}

async fn a_topic_and_a_subtree_that_shadow_each_other_are_told(database: Database) {
    let world = World::new(database).await;
    world.topic("plant/7/#").await;
    let add = |name: &str| NewTopic {
        name: TopicName::new(name).unwrap(),
        key: None,
        policy: TopicPolicy::default(),
        notes: String::new(),
    };
    let inside = world.fleet.add_topic(&world.boss, &add("plant/7/pump")).await.unwrap();
    assert!(inside.warnings[0].contains("plant/7/#"), "{:?}", inside.warnings);
    assert!(world.last_audit().await.2.contains("plant/7/#"));
    let around = world.fleet.add_topic(&world.boss, &add("plant/#")).await.unwrap();
    assert_eq!(around.warnings.len(), 2);
    let beside = world.fleet.add_topic(&world.boss, &add("plants")).await.unwrap();
    assert!(beside.warnings.is_empty());
    assert_eq!(kind_of(world.fleet.add_topic(&world.boss, &add("plant/#")).await), RefusalKind::Conflict);
}

/// Readers have to know who writes: also where one of them has the key of a subtree.
async fn readers_are_looked_at_when_a_signer_comes_or_goes(database: Database) {
    let world = World::new(database).await;
    let signer = |name: &str, byte| NewDevice { key: NewDeviceKey::PublicKey(public_key(byte)), ..new_device(name) };
    world
        .add(vec![
            signer("reader", 1),
            NewDevice { line: 2, ..signer("writer", 2) },
            NewDevice { line: 3, ..signer("stranger", 3) },
        ])
        .await
        .unwrap();
    let id = |name: &str| ClientId::from_name(name).unwrap();
    let (inner, outer) = (world.topic("p/a").await, world.topic("p/#").await);
    world.give(outer, &id("reader"), Access::READ).await;
    world.all_looked_at().await;
    world.give(inner, &id("writer"), Access::WRITE).await;
    assert_eq!(world.due().await, ["reader", "writer"]);
    world.all_looked_at().await;
    world.fleet.withdraw(&world.boss, &id("writer"), false).await.unwrap();
    assert_eq!(world.due().await, ["reader", "writer"]);
}

async fn the_policy_of_a_topic_says_what_a_leave_and_a_join_do(database: Database) {
    let world = World::new(database).await;
    let (a, b) = (world.device("a").await, world.device("b").await);
    let nothing = world.topic_with("n", TopicPolicy { on_leave: Some(Leave::Nothing), ..TopicPolicy::default() }).await;
    world.give(nothing, &a, Access::READ).await;
    assert_eq!(world.give(nothing, &a, Access::default()).await, [0; 0]);

    let join = world.topic_with("j", TopicPolicy { rotate_on_join: true, ..TopicPolicy::default() }).await;
    let orders = world.give(join, &a, Access::READ).await;
    assert_eq!(world.state(orders[0]).await, SWITCHING);
    assert_eq!(world.versions(join).await, [(1, 2, 0, 1), (2, 1, 4, 1)], "it never gets what was sealed before");
    assert_eq!(world.give(join, &a, Access::BOTH).await, [0; 0], "it was in already");
    assert_eq!(world.give(join, &b, Access::READ).await.len(), 1);
}

on_both_databases!(
    who_gets_access_is_looked_at_and_nothing_rotates,
    c13_who_loses_access_makes_the_topic_rotate,
    who_keeps_some_access_keeps_the_key,
    c14_a_group_that_goes_makes_its_topics_rotate,
    members_are_listed_or_follow_from_labels,
    c15_a_topic_that_is_removed_is_taken_from_its_members,
    a_topic_and_a_subtree_that_shadow_each_other_are_told,
    readers_are_looked_at_when_a_signer_comes_or_goes,
    the_policy_of_a_topic_says_what_a_leave_and_a_join_do,
);

use super::world::{BEGIN, World, kind_of, new_device, public_key};
use crate::kit::database::{Database, on_both_databases};
use e4::{C2SecretKey, ClientId, VerifyingKey, controller::Recipient};
use e4_keyserver::{
    fleet::{NewDevice, NewDeviceKey, RefusalKind},
    model::{Access, RotationKind},
    store::Value,
    vault::Place,
};

const WAITING: i64 = 0;
const PREPARING: i64 = 1;
const SWITCHING: i64 = 2;
const CANCELLED: i64 = 5;
const OVERTAKEN: i64 = 6;

async fn each_kind_makes_the_key_version_that_it_is_for(database: Database) {
    let world = World::new(database).await;
    let (a, topic) = (world.device("a").await, world.topic("t").await);
    world.give(topic, &a, Access::READ).await;
    world.all_looked_at().await;
    world.fleet.rotate(&world.boss, topic, RotationKind::Soft).await.unwrap();
    assert_eq!(world.versions(topic).await, [(1, 2, 0, 1), (2, 1, 1, 1)]);
    assert_eq!(world.due().await, ["a"]);
    world.fleet.rotate(&world.boss, topic, RotationKind::Hard).await.unwrap();
    assert_eq!(world.versions(topic).await, [(1, 2, 0, 1), (2, 2, 1, 1), (3, 1, 1, 3)]);
    let order = world.fleet.rotate(&world.boss, topic, RotationKind::Lossless).await.unwrap();
    assert_eq!(world.versions(topic).await, [(1, 2, 0, 1), (2, 2, 1, 1), (3, 1, 1, 3), (4, 0, 1, 3)]);
    let rows = world.rows("SELECT state, version FROM orders WHERE id = $1", &[Value::from(order)]).await;
    assert_eq!((rows[0].int(0).unwrap(), rows[0].int(1).unwrap()), (PREPARING, 4));
    assert_eq!(kind_of(world.fleet.rotate(&world.boss, 99, RotationKind::Soft).await), RefusalKind::NotFound);
}

/// The key is in the database before anything of it can be planned.
async fn c02_a_key_is_stored_with_the_order_that_brings_it(database: Database) {
    let world = World::new(database).await;
    let topic = world.topic("t").await;
    world.fleet.rotate(&world.boss, topic, RotationKind::Hard).await.unwrap();
    let rows = world.rows("SELECT secret FROM key_versions WHERE topic = $1 AND role = 1", &[Value::from(topic)]).await;
    let key = world.fleet.vault().open_key(Place::topic_key(topic, 2), rows[0].bytes(0).unwrap()).unwrap();
    assert_ne!(*key, [0; 32]);
    world.fleet.rotate_server_key(&world.boss).await.unwrap();
    let rows = world.rows("SELECT secret, public FROM server_keys WHERE version = 2", &[]).await;
    let secret = world.fleet.vault().open_key(Place::server_key(2), rows[0].bytes(0).unwrap()).unwrap();
    let public = C2SecretKey::from_bytes(&secret).unwrap().public_key();
    assert_eq!(public.as_bytes(), rows[0].bytes(1).unwrap());
}

/// However many ask at the same time: at most one rotation of a topic prepares, one waits, and each key version is one key.
async fn c10_orders_on_one_topic_go_one_after_the_other(database: Database) {
    let world = World::new(database).await;
    let topic = world.topic("t").await;
    let kinds = [RotationKind::Lossless, RotationKind::Soft, RotationKind::Lossless, RotationKind::Soft];
    let asked: Vec<_> = kinds
        .map(|kind| {
            let (fleet, boss) = (world.fleet.clone(), world.boss.clone());
            tokio::spawn(async move { fleet.rotate(&boss, topic, kind).await })
        })
        .into();
    for order in asked {
        order.await.unwrap().unwrap();
    }
    let count = |state: i64| {
        let world = &world;
        async move { world.number("SELECT COUNT(*) FROM orders WHERE state = $1", &[Value::from(state)]).await }
    };
    assert_eq!(count(PREPARING).await, 1);
    assert!(count(WAITING).await <= 2);
    let current = "SELECT COUNT(*) FROM key_versions WHERE role = 1";
    let next = "SELECT COUNT(*) FROM key_versions WHERE role = 0";
    assert_eq!((world.number(current, &[]).await, world.number(next, &[]).await), (1, 1));
}

async fn a_second_lossless_rotation_waits_and_a_third_is_the_second(database: Database) {
    let world = World::new(database).await;
    let topic = world.topic("t").await;
    let rotate = || world.fleet.rotate(&world.boss, topic, RotationKind::Lossless);
    let (first, second, third) = (rotate().await.unwrap(), rotate().await.unwrap(), rotate().await.unwrap());
    assert_eq!((world.state(first).await, world.state(second).await), (PREPARING, WAITING));
    assert_eq!(second, third);
    assert_eq!(world.fleet.begin_waiting().await, Ok(0));
    world.fleet.cancel(&world.boss, first).await.unwrap();
    assert_eq!(world.fleet.begin_waiting().await, Ok(1));
    assert_eq!(world.state(second).await, PREPARING);
}

async fn a_hard_rotation_ends_what_has_not_come_through(database: Database) {
    let world = World::new(database).await;
    let topic = world.topic("t").await;
    let rotate = |kind| world.fleet.rotate(&world.boss, topic, kind);
    let first = rotate(RotationKind::Lossless).await.unwrap();
    let second = rotate(RotationKind::Lossless).await.unwrap();
    let hard = rotate(RotationKind::Hard).await.unwrap();
    assert_eq!((world.state(first).await, world.state(second).await), (OVERTAKEN, OVERTAKEN));
    assert_eq!(world.state(hard).await, SWITCHING);
    assert_eq!(
        world.versions(topic).await,
        [(1, 2, 0, 1), (2, 2, 1, 1), (3, 1, 1, 3)],
        "the next key is none any more"
    );
    let detail = world.rows("SELECT detail FROM orders WHERE id = $1", &[Value::from(first)]).await;
    assert!(detail[0].text(0).unwrap().contains(&format!("\"overtaken_by\":{hard}")));
}

async fn a_rotation_that_prepares_can_be_taken_back_and_others_cannot(database: Database) {
    let world = World::new(database).await;
    let (a, topic) = (world.device("a").await, world.topic("t").await);
    world.give(topic, &a, Access::READ).await;
    let order = world.fleet.rotate(&world.boss, topic, RotationKind::Lossless).await.unwrap();
    world.all_looked_at().await;
    world.fleet.cancel(&world.boss, order).await.unwrap();
    assert_eq!(world.state(order).await, CANCELLED);
    assert_eq!(world.versions(topic).await, [(1, 1, 0, 1), (2, 2, 1, 1)]);
    assert_eq!(world.due().await, ["a"]);
    assert_eq!(kind_of(world.fleet.cancel(&world.boss, order).await), RefusalKind::Conflict);
    let hard = world.fleet.rotate(&world.boss, topic, RotationKind::Hard).await.unwrap();
    assert_eq!(kind_of(world.fleet.cancel(&world.boss, hard).await), RefusalKind::Conflict);
    assert_eq!(kind_of(world.fleet.cancel(&world.boss, 99).await), RefusalKind::NotFound);
    let withdrawal = world.fleet.withdraw(&world.boss, &a, false).await.unwrap().order.unwrap();
    assert_eq!(kind_of(world.fleet.cancel(&world.boss, withdrawal).await), RefusalKind::Conflict);
}

async fn those_who_leave_within_a_window_make_one_rotation(database: Database) {
    let world = World::new(database).await;
    let topic = world.topic("t").await;
    let mut orders = Vec::new();
    for name in ["a", "b", "c"] {
        let id = world.device(name).await;
        world.give(topic, &id, Access::READ).await;
        world.pass(2);
        orders.extend(world.give(topic, &id, Access::default()).await);
    }
    assert_eq!(orders, [orders[0]; 3]);
    assert_eq!(world.fleet.begin_waiting().await, Ok(0), "the window is open");
    world.pass(7);
    assert_eq!(world.fleet.begin_waiting().await, Ok(1));
    assert_eq!(world.versions(topic).await.len(), 2);
}

async fn a_device_that_comes_and_goes_makes_no_storm(database: Database) {
    let world = World::new(database).await;
    let (a, topic) = (world.device("a").await, world.topic("t").await);
    for _ in 0..60 {
        world.give(topic, &a, Access::READ).await;
        world.give(topic, &a, Access::default()).await;
        world.pass(10);
        world.fleet.begin_waiting().await.unwrap();
    }
    let times = world.rows("SELECT created FROM key_versions WHERE reason = 2 ORDER BY version", &[]).await;
    let times: Vec<_> = times.iter().map(|it| it.int(0).unwrap() - BEGIN).collect();
    assert_eq!(times, [10, 70, 130, 190, 250, 310, 370, 430, 490, 550], "one a minute");
}

/// What is waited for before a member is cut off is not another rotation that takes its time.
async fn who_left_is_cut_off_though_a_lossless_rotation_prepares(database: Database) {
    let world = World::new(database).await;
    let (a, topic) = (world.device("a").await, world.topic("t").await);
    world.give(topic, &a, Access::READ).await;
    let lossless = world.fleet.rotate(&world.boss, topic, RotationKind::Lossless).await.unwrap();
    let left = world.give(topic, &a, Access::default()).await[0];
    world.pass(10);
    assert_eq!(world.fleet.begin_waiting().await, Ok(1));
    assert_eq!((world.state(lossless).await, world.state(left).await), (OVERTAKEN, SWITCHING));
}

/// A soft rotation that is asked for while somebody is about to be cut off does not do away with that.
async fn a_soft_rotation_does_not_end_one_that_cuts_somebody_off(database: Database) {
    let world = World::new(database).await;
    let (a, topic) = (world.device("a").await, world.topic("t").await);
    world.give(topic, &a, Access::READ).await;
    let left = world.give(topic, &a, Access::default()).await[0];
    world.fleet.rotate(&world.boss, topic, RotationKind::Soft).await.unwrap();
    assert_eq!(world.state(left).await, WAITING);
    world.pass(10);
    world.fleet.begin_waiting().await.unwrap();
    assert_eq!(world.versions(topic).await, [(1, 2, 0, 1), (2, 2, 1, 1), (3, 1, 2, 3)]);
}

/// All devices in public-key mode are looked at, however many there are, and each keeps its agreed key until it says otherwise.
async fn c01_c03_a_new_server_key_concerns_every_device(database: Database) {
    let world = World::new(database).await;
    let signers = (1..=150).map(|line: u8| NewDevice {
        line: line.into(),
        key: NewDeviceKey::PublicKey(public_key(line)),
        ..new_device(&format!("s{line:03}"))
    });
    world.add(signers.collect()).await.unwrap();
    world.device("symmetric").await;
    let id = ClientId::from_name("s001").unwrap();
    let sealed = "SELECT secret, server_key FROM devices WHERE id = $1";
    let before = world.rows(sealed, &[Value::from(id.as_bytes())]).await;
    let order = world.fleet.rotate_server_key(&world.boss).await.unwrap();
    assert_eq!(world.due().await.len(), 150);
    assert_eq!(world.state(order).await, SWITCHING);
    assert_eq!(world.rows(sealed, &[Value::from(id.as_bytes())]).await, before);
    assert_eq!(kind_of(world.fleet.rotate_server_key(&world.boss).await), RefusalKind::Conflict);

    // The agreed key is the one that the device comes to with the server's public key.
    let rows = world.rows("SELECT secret FROM server_keys WHERE version = 1", &[]).await;
    let secret = world.fleet.vault().open_key(Place::server_key(1), rows[0].bytes(0).unwrap()).unwrap();
    let signer = VerifyingKey::from_bytes(&public_key(1)).unwrap();
    let agreed = Recipient::public_key(id, &C2SecretKey::from_bytes(&secret).unwrap(), &signer).unwrap();
    let stored =
        world.fleet.vault().open_key(Place::device_key(id.as_bytes(), 1), before[0].bytes(0).unwrap()).unwrap();
    assert_eq!(agreed.control_key().unwrap().as_bytes(), &*stored);
}

/// A device's own key: the old one stays until the device says that it has the new one, and only one is on its way.
async fn c06_a_device_keeps_its_key_until_it_reports_under_the_new_one(database: Database) {
    let world = World::new(database).await;
    let id = world.device("a").await;
    let refused = world.fleet.rotate_client_key(&world.boss, &id).await;
    assert_eq!(kind_of(refused), RefusalKind::Conflict, "it was never heard");
    world.change("UPDATE devices SET status = 1", &[]).await;
    let before = world.rows("SELECT secret FROM devices", &[]).await;
    world.fleet.rotate_client_key(&world.boss, &id).await.unwrap();
    assert_eq!(kind_of(world.fleet.rotate_client_key(&world.boss, &id).await), RefusalKind::Conflict);
    let after = world.rows("SELECT secret, next_secret FROM devices", &[]).await;
    assert_eq!(before[0].bytes(0).unwrap(), after[0].bytes(0).unwrap());
    let vault = world.fleet.vault();
    let old = vault.open_key(Place::device_key(id.as_bytes(), 1), after[0].bytes(0).unwrap()).unwrap();
    let new = vault.open_key(Place::next_device_key(id.as_bytes(), 2), after[0].bytes(1).unwrap()).unwrap();
    assert_ne!(*old, *new);
    assert_eq!(world.due().await, ["a"]);
}

on_both_databases!(
    each_kind_makes_the_key_version_that_it_is_for,
    c02_a_key_is_stored_with_the_order_that_brings_it,
    c10_orders_on_one_topic_go_one_after_the_other,
    a_second_lossless_rotation_waits_and_a_third_is_the_second,
    a_hard_rotation_ends_what_has_not_come_through,
    a_rotation_that_prepares_can_be_taken_back_and_others_cannot,
    those_who_leave_within_a_window_make_one_rotation,
    a_device_that_comes_and_goes_makes_no_storm,
    who_left_is_cut_off_though_a_lossless_rotation_prepares,
    a_soft_rotation_does_not_end_one_that_cuts_somebody_off,
    c01_c03_a_new_server_key_concerns_every_device,
    c06_a_device_keeps_its_key_until_it_reports_under_the_new_one,
);

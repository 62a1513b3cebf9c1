use super::world::{World, key, kind_of, labels, new_device, public_key};
use crate::kit::database::{Database, on_both_databases};
use e4::ClientId;
use e4_keyserver::{
    fleet::{DeviceChange, Fleet, NewDevice, NewDeviceKey, NewTopic, RefusalKind, TopicPolicy},
    model::{Access, TopicName},
    store::Value,
    vault::Place,
};
use std::collections::BTreeMap;

fn numbered(count: u64) -> Vec<NewDevice> {
    (1..=count).map(|line| NewDevice { line, ..new_device(&format!("device-{line}")) }).collect()
}

async fn secret_of(fleet: &Fleet, id: &ClientId) -> Vec<u8> {
    let mut tx = fleet.store().read().await.unwrap();
    let sql = "SELECT secret FROM devices WHERE id = $1";
    tx.query_opt(sql, &[Value::from(id.as_bytes())]).await.unwrap().unwrap().bytes(0).unwrap().to_vec()
}

async fn an_id_follows_from_the_name_unless_it_is_given(database: Database) {
    let world = World::new(database).await;
    let id = ClientId::from_bytes([7; 16]);
    world.add(vec![new_device("a"), NewDevice { line: 2, id: Some(id), ..new_device("b") }]).await.unwrap();
    let rows = world.rows("SELECT id FROM devices ORDER BY name", &[]).await;
    assert_eq!(rows[0].bytes(0).unwrap(), ClientId::from_name("a").unwrap().as_bytes());
    assert_eq!(rows[1].bytes(0).unwrap(), id.as_bytes());
    let nameless = NewDevice { name: None, ..new_device("c") };
    assert_eq!(kind_of(world.add(vec![nameless]).await), RefusalKind::Invalid);
}

async fn keys_are_sealed_to_their_device_and_no_two_are_equal(database: Database) {
    let world = World::new(database).await;
    let (a, b) = (world.device("a").await, world.device("b").await);
    let vault = world.fleet.vault();
    let (sealed_a, sealed_b) = (secret_of(&world.fleet, &a).await, secret_of(&world.fleet, &b).await);
    let key_a = vault.open_key(Place::device_key(a.as_bytes(), 1), &sealed_a).unwrap();
    let key_b = vault.open_key(Place::device_key(b.as_bytes(), 1), &sealed_b).unwrap();
    assert_ne!(*key_a, *key_b);
    assert!(vault.open_key(Place::device_key(b.as_bytes(), 1), &sealed_a).is_err());
    assert!(vault.open_key(Place::device_key(a.as_bytes(), 2), &sealed_a).is_err());
}

/// A key of one row does not open in another: the row decides.
async fn c12_keys_that_are_swapped_between_rows_do_not_open(database: Database) {
    let world = World::new(database).await;
    let (a, b) = (world.device("a").await, world.device("b").await);
    let (sealed_a, sealed_b) = (secret_of(&world.fleet, &a).await, secret_of(&world.fleet, &b).await);
    for (id, sealed) in [(&a, &sealed_b), (&b, &sealed_a)] {
        let values = [Value::from(sealed.as_slice()), Value::from(id.as_bytes())];
        world.change("UPDATE devices SET secret = $1 WHERE id = $2", &values).await;
    }
    let token = world.fleet.invite_bundle(&world.boss, &a, None).await.unwrap().secret.unwrap();
    assert_eq!(kind_of(world.fleet.fetch_bundle(&token, "test").await), RefusalKind::Damaged);

    let topic = world.topic("t").await;
    world.fleet.rotate(&world.boss, topic, e4_keyserver::model::RotationKind::Soft).await.unwrap();
    let sql = "SELECT version, secret FROM key_versions WHERE topic = $1 ORDER BY version";
    let rows = world.rows(sql, &[Value::from(topic)]).await;
    let open = |version, row: usize| {
        world.fleet.vault().open_key(Place::topic_key(topic, version), rows[row].bytes(1).unwrap())
    };
    assert!(open(1, 0).is_ok() && open(2, 1).is_ok());
    assert!(open(1, 1).is_err() && open(2, 0).is_err());
}

async fn keys_that_protect_nothing_are_refused(database: Database) {
    let world = World::new(database).await;
    let mut low_order = [0; 32];
    low_order[0] = 1;
    for bad in
        [NewDeviceKey::PublicKey(low_order), NewDeviceKey::PublicKey([0xff; 32]), NewDeviceKey::Symmetric(key(0))]
    {
        let refusal = world.add(vec![NewDevice { key: bad, ..new_device("a") }]).await.unwrap_err();
        assert_eq!((refusal.kind, refusal.faults.len()), (RefusalKind::Invalid, 1), "{refusal}");
    }
    assert_eq!(world.number("SELECT COUNT(*) FROM devices", &[]).await, 0);
}

async fn no_key_is_used_twice_whatever_it_is_for(database: Database) {
    let world = World::new(database).await;
    let with = |name: &str, line, key| NewDevice { line, key, ..new_device(name) };
    world.add(vec![with("a", 1, NewDeviceKey::Symmetric(key(1)))]).await.unwrap();
    world.add(vec![with("b", 1, NewDeviceKey::PublicKey(public_key(2)))]).await.unwrap();
    let topic = |name: &str, byte| NewTopic {
        name: TopicName::new(name).unwrap(),
        key: Some(key(byte)),
        policy: TopicPolicy::default(),
        notes: String::new(),
    };
    world.fleet.add_topic(&world.boss, &topic("t", 3)).await.unwrap();

    let refused = [
        with("c", 1, NewDeviceKey::Symmetric(key(1))),
        with("c", 1, NewDeviceKey::PublicKey(public_key(2))),
        with("c", 1, NewDeviceKey::Symmetric(key(3))),
    ];
    for device in refused {
        let refusal = world.add(vec![device]).await.unwrap_err();
        assert_eq!((refusal.kind, refusal.faults[0].line), (RefusalKind::Invalid, 1), "{refusal}");
    }
    let twice = vec![with("c", 1, NewDeviceKey::Symmetric(key(4))), with("d", 2, NewDeviceKey::Symmetric(key(4)))];
    assert_eq!(world.add(twice).await.unwrap_err().faults[0].line, 2);
    assert_eq!(kind_of(world.fleet.add_topic(&world.boss, &topic("u", 1)).await), RefusalKind::Conflict);
    assert_eq!(kind_of(world.fleet.add_topic(&world.boss, &topic("u", 3)).await), RefusalKind::Conflict);
    // What was refused left nothing behind.
    world.add(vec![with("c", 1, NewDeviceKey::Symmetric(key(4)))]).await.unwrap();
    world.fleet.add_topic(&world.boss, &topic("u", 5)).await.unwrap();
}

async fn an_import_is_all_or_nothing_with_the_lines_that_are_wrong(database: Database) {
    let world = World::new(database).await;
    world.device("device-3").await;
    let mut devices = numbered(20);
    devices[6].name = Some("device-6".to_owned());
    devices[9].groups = vec!["nobody".to_owned()];
    let refusal = world.add(devices).await.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Invalid);
    assert_eq!(refusal.faults.iter().map(|it| it.line).collect::<Vec<_>>(), [7]);

    let mut devices = numbered(20);
    devices[9].groups = vec!["nobody".to_owned()];
    let refusal = world.add(devices).await.unwrap_err();
    assert_eq!(refusal.faults.iter().map(|it| it.line).collect::<Vec<_>>(), [3]);
    assert_eq!(world.number("SELECT COUNT(*) FROM devices", &[]).await, 1);
    assert_eq!(world.number("SELECT COUNT(*) FROM fingerprints", &[]).await, 2, "of the device and of the server");

    let mut devices = numbered(20);
    devices.remove(2);
    assert_eq!(world.add(devices).await, Ok(19));
    let entries = "SELECT COUNT(*) FROM audit WHERE action = 'add devices'";
    assert_eq!(world.number(entries, &[]).await, 2, "one entry for each list");
}

async fn ids_and_names_of_withdrawn_devices_are_never_used_again(database: Database) {
    let world = World::new(database).await;
    let id = world.device("a").await;
    world.fleet.withdraw(&world.boss, &id, false).await.unwrap();
    let refusal = world.add(vec![new_device("a")]).await.unwrap_err();
    assert!(refusal.faults[0].detail.contains("never used again"), "{refusal}");
    let other_id = NewDevice { id: Some(ClientId::from_bytes([1; 16])), ..new_device("a") };
    assert_eq!(kind_of(world.add(vec![other_id]).await), RefusalKind::Invalid);
    let change = DeviceChange { notes: Some("x".to_owned()), ..DeviceChange::default() };
    assert_eq!(kind_of(world.fleet.change_device(&world.boss, &id, &change, None).await), RefusalKind::Conflict);
}

async fn labels_bring_a_device_into_groups_and_out_of_them(database: Database) {
    let world = World::new(database).await;
    world.group("basel", Some("site=basel")).await;
    let topic = world.topic("t").await;
    world.give_group(topic, "basel", Access::READ).await;
    world
        .add(vec![
            NewDevice { labels: labels("site=basel,kind=pump"), ..new_device("a") },
            NewDevice { line: 2, ..new_device("b") },
        ])
        .await
        .unwrap();
    let members = "SELECT COUNT(*) FROM members";
    assert_eq!((world.number(members, &[]).await, world.due().await), (1, vec!["a".to_owned()]));

    world.all_looked_at().await;
    let (a, b) = (ClientId::from_name("a").unwrap(), ClientId::from_name("b").unwrap());
    let site = |value: Option<&str>| DeviceChange {
        labels: BTreeMap::from([("site".to_owned(), value.map(str::to_owned))]),
        ..DeviceChange::default()
    };
    let changed = world.fleet.change_device(&world.boss, &b, &site(Some("basel")), None).await.unwrap();
    assert_eq!((changed.orders.len(), world.number(members, &[]).await), (0, 2), "who joins makes no rotation");
    let changed = world.fleet.change_device(&world.boss, &a, &site(None), None).await.unwrap();
    assert_eq!((changed.orders.len(), world.number(members, &[]).await), (1, 1), "who leaves does");
    assert_eq!(world.due().await, ["a", "b"]);
}

async fn a_change_that_does_not_know_of_another_is_refused(database: Database) {
    let world = World::new(database).await;
    let id = world.device("a").await;
    let change = DeviceChange { notes: Some("here".to_owned()), ..DeviceChange::default() };
    world.fleet.change_device(&world.boss, &id, &change, Some(1)).await.unwrap();
    assert_eq!(kind_of(world.fleet.change_device(&world.boss, &id, &change, Some(1)).await), RefusalKind::Stale);
    world.fleet.change_device(&world.boss, &id, &change, Some(2)).await.unwrap();
}

async fn a_name_is_of_one_device(database: Database) {
    let world = World::new(database).await;
    let (a, _) = (world.device("a").await, world.device("b").await);
    let name = |name: &str| DeviceChange { name: Some(name.to_owned()), ..DeviceChange::default() };
    assert_eq!(kind_of(world.fleet.change_device(&world.boss, &a, &name("b"), None).await), RefusalKind::Conflict);
    assert_eq!(kind_of(world.fleet.change_device(&world.boss, &a, &name("b\n"), None).await), RefusalKind::Invalid);
    world.fleet.change_device(&world.boss, &a, &name("c"), None).await.unwrap();
    assert_eq!(world.rows("SELECT id FROM devices WHERE name = 'c'", &[]).await[0].bytes(0).unwrap(), a.as_bytes());
}

on_both_databases!(
    an_id_follows_from_the_name_unless_it_is_given,
    keys_are_sealed_to_their_device_and_no_two_are_equal,
    c12_keys_that_are_swapped_between_rows_do_not_open,
    keys_that_protect_nothing_are_refused,
    no_key_is_used_twice_whatever_it_is_for,
    an_import_is_all_or_nothing_with_the_lines_that_are_wrong,
    ids_and_names_of_withdrawn_devices_are_never_used_again,
    labels_bring_a_device_into_groups_and_out_of_them,
    a_change_that_does_not_know_of_another_is_refused,
    a_name_is_of_one_device,
);

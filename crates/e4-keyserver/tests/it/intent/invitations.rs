use super::world::{World, kind_of, public_key};
use crate::kit::database::{Database, on_both_databases};
use e4::{
    C2PublicKey, Client, ClientId, ClientKey, Command, MemoryStore, Timestamp, Topic, TopicKey,
    controller::{Lane, Recipient},
};
use e4_keyserver::{
    fleet::{RefusalKind, ToRegister},
    store::Value,
    vault::Place,
};
use std::collections::BTreeMap;

async fn a_bundle_is_a_state_that_a_client_begins_with(database: Database) {
    let world = World::new(database).await;
    let id = world.device("pump").await;
    let token = world.fleet.invite_bundle(&world.boss, &id, None).await.unwrap().secret.unwrap();
    let bundle = world.fleet.fetch_bundle(&token, "test").await.unwrap();
    let mut client = Client::load(MemoryStore::from_bytes(bundle.state.to_vec())).unwrap();
    assert_eq!(*client.id(), id);

    // It takes what the server seals, from the first command on, whatever the time.
    let rows = world.rows("SELECT secret FROM devices", &[]).await;
    let key = world.fleet.vault().open_key(Place::device_key(id.as_bytes(), 1), rows[0].bytes(0).unwrap()).unwrap();
    let key = ClientKey::from_bytes(&key).unwrap();
    let recipient = Recipient::symmetric(id, &key);
    let command = Command::set_topic_key(&Topic::new("t").unwrap(), TopicKey::generate().unwrap());
    for sealed in recipient.seal(&[command], &mut Lane::new(), Timestamp::from_unix(1_000_000_000)).unwrap() {
        client.open(client.control_topic(), sealed.as_bytes()).unwrap();
    }
    assert!(client.has_key_for(&Topic::new("t").unwrap()));
    let text = format!("id={id}\nname=pump\nmode=symmetric\nkey={}\n", hex::encode(key.as_bytes()));
    assert_eq!(*bundle.text, text);
}

async fn a_bundle_is_fetched_once_and_in_time(database: Database) {
    let world = World::new(database).await;
    let (a, b) = (world.device("a").await, world.device("b").await);
    let token = world.fleet.invite_bundle(&world.boss, &a, None).await.unwrap().secret.unwrap();
    world.fleet.fetch_bundle(&token, "test").await.unwrap();
    assert_eq!(kind_of(world.fleet.fetch_bundle(&token, "test").await), RefusalKind::NotFound);
    assert_eq!(world.last_audit().await.0, "refused: fetch bundle");
    let again = world.fleet.invite_bundle(&world.boss, &a, None).await;
    assert_eq!(kind_of(again), RefusalKind::Conflict, "two clients with one key would take old commands for new ones");

    let token = world.fleet.invite_bundle(&world.boss, &b, Some(60)).await.unwrap().secret.unwrap();
    let other = world.fleet.invite_bundle(&world.boss, &b, Some(60)).await.unwrap().secret.unwrap();
    assert_eq!(kind_of(world.fleet.fetch_bundle(&token, "test").await), RefusalKind::NotFound, "the later one counts");
    world.pass(60);
    assert_eq!(kind_of(world.fleet.fetch_bundle(&other, "test").await), RefusalKind::NotFound);
    let heard = "UPDATE devices SET status = 1 WHERE id = $1";
    world.change(heard, &[Value::from(b.as_bytes())]).await;
    assert_eq!(kind_of(world.fleet.invite_bundle(&world.boss, &b, None).await), RefusalKind::Conflict);
    assert_eq!(kind_of(world.fleet.invite_bundle(&world.boss, &b, Some(0)).await), RefusalKind::Conflict);
}

async fn a_withdrawn_device_gets_no_bundle(database: Database) {
    let world = World::new(database).await;
    let id = world.device("a").await;
    let token = world.fleet.invite_bundle(&world.boss, &id, None).await.unwrap().secret.unwrap();
    world.fleet.withdraw(&world.boss, &id, false).await.unwrap();
    assert_eq!(kind_of(world.fleet.fetch_bundle(&token, "test").await), RefusalKind::NotFound);
}

async fn a_device_registers_its_own_key_once(database: Database) {
    let world = World::new(database).await;
    world.group("panels", None).await;
    let invited = ToRegister {
        name: Some("panel".to_owned()),
        labels: BTreeMap::from([("site".to_owned(), "basel".to_owned())]),
        groups: vec!["panels".to_owned()],
    };
    let token = world.fleet.invite_device(&world.boss, &invited, None).await.unwrap().secret.unwrap();
    let mut low_order = [0; 32];
    low_order[0] = 1;
    assert_eq!(kind_of(world.fleet.register(&token, low_order, None, "test").await), RefusalKind::Invalid);
    assert_eq!(
        kind_of(world.fleet.register(&token, public_key(1), Some("other"), "test").await),
        RefusalKind::Conflict
    );
    let registered = world.fleet.register(&token, public_key(1), None, "test").await.unwrap();
    assert_eq!(registered.id, ClientId::from_name("panel").unwrap());
    let server = world.rows("SELECT public FROM server_keys", &[]).await[0].array(0).unwrap();
    assert_eq!(registered.server_key, C2PublicKey::from_bytes(&server).unwrap());
    assert_eq!(kind_of(world.fleet.register(&token, public_key(2), None, "test").await), RefusalKind::NotFound);
    assert_eq!(world.number("SELECT COUNT(*) FROM members", &[]).await, 1);
    let rows = world.rows("SELECT public_key, labels FROM devices", &[]).await;
    assert_eq!((rows[0].bytes(0).unwrap(), rows[0].text(1).unwrap()), (&public_key(1)[..], r#"{"site":"basel"}"#));
}

async fn a_token_is_for_what_it_was_made_for(database: Database) {
    let world = World::new(database).await;
    let id = world.device("a").await;
    let bundle = world.fleet.invite_bundle(&world.boss, &id, None).await.unwrap().secret.unwrap();
    let register = world.fleet.invite_device(&world.boss, &ToRegister::default(), None).await.unwrap().secret.unwrap();
    assert_eq!(kind_of(world.fleet.register(&bundle, public_key(1), Some("b"), "test").await), RefusalKind::NotFound);
    assert_eq!(kind_of(world.fleet.fetch_bundle(&register, "test").await), RefusalKind::NotFound);
    assert_eq!(kind_of(world.fleet.register(&register, public_key(1), None, "test").await), RefusalKind::Invalid);
    world.fleet.register(&register, public_key(1), Some("b"), "test").await.unwrap();
    let groups = ToRegister { groups: vec!["nobody".to_owned()], ..ToRegister::default() };
    assert_eq!(kind_of(world.fleet.invite_device(&world.boss, &groups, None).await), RefusalKind::NotFound);
}

on_both_databases!(
    a_bundle_is_a_state_that_a_client_begins_with,
    a_bundle_is_fetched_once_and_in_time,
    a_withdrawn_device_gets_no_bundle,
    a_device_registers_its_own_key_once,
    a_token_is_for_what_it_was_made_for,
);

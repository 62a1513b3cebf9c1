use super::world::{World, kind_of};
use crate::kit::database::{Database, on_both_databases};
use e4_keyserver::{
    fleet::{Actor, RefusalKind},
    model::Role,
    store::Value,
};

async fn a_token_says_who_one_is_until_it_expires_or_is_removed(database: Database) {
    let world = World::new(database).await;
    let made = world.fleet.add_token(&world.boss, "panel", Role::Viewer, Some(world.fleet.now() + 100)).await.unwrap();
    let secret = made.secret.unwrap();
    let actor = world.fleet.authenticate(&secret, "10.0.0.1").await.unwrap();
    assert_eq!(actor, Some(Actor::new("panel", Role::Viewer, "10.0.0.1")));
    let used = "SELECT used FROM tokens WHERE name = 'panel'";
    assert_eq!(world.number(used, &[]).await, world.fleet.now());
    let mut short = secret.to_string();
    short.pop();
    for wrong in ["", "e4t_", &short, &format!("{}A", *secret)] {
        assert_eq!(world.fleet.authenticate(wrong, "10.0.0.1").await, Ok(None), "{wrong}");
    }
    world.pass(100);
    assert_eq!(world.fleet.authenticate(&secret, "10.0.0.1").await, Ok(None));

    let made = world.fleet.add_token(&world.boss, "other", Role::Viewer, None).await.unwrap();
    world.fleet.remove_token(&world.boss, made.id).await.unwrap();
    assert_eq!(world.fleet.authenticate(&made.secret.unwrap(), "10.0.0.1").await, Ok(None));
}

async fn a_token_is_stored_as_a_hash(database: Database) {
    let world = World::new(database).await;
    let secret = world.fleet.add_token(&world.boss, "panel", Role::Viewer, None).await.unwrap().secret.unwrap();
    let rows = world.rows("SELECT hash FROM tokens", &[]).await;
    assert!(rows.iter().all(|row| row.bytes(0).unwrap().len() == 32));
    let audit = world.rows("SELECT subject, detail FROM audit", &[]).await;
    assert!(audit.iter().all(|row| !format!("{row:?}").contains(secret.trim_start_matches("e4t_"))));
}

async fn the_last_administrator_stays(database: Database) {
    let world = World::new(database).await;
    let root = world.number("SELECT id FROM tokens WHERE name = 'root'", &[]).await;
    assert_eq!(kind_of(world.fleet.remove_token(&world.boss, root).await), RefusalKind::Conflict);
    let soon = Some(world.fleet.now() + 100);
    world.fleet.add_token(&world.boss, "for a while", Role::Administrator, soon).await.unwrap();
    assert_eq!(kind_of(world.fleet.remove_token(&world.boss, root).await), RefusalKind::Conflict);
    world.fleet.add_token(&world.boss, "second", Role::Administrator, None).await.unwrap();
    world.fleet.remove_token(&world.boss, root).await.unwrap();
    assert_eq!(kind_of(world.fleet.remove_token(&world.boss, root).await), RefusalKind::NotFound);
}

async fn a_name_is_of_one_token_and_not_that_of_a_rule(database: Database) {
    let world = World::new(database).await;
    let add = |name: &'static str| world.fleet.add_token(&world.boss, name, Role::Viewer, None);
    add("panel").await.unwrap();
    assert_eq!(kind_of(add("panel").await), RefusalKind::Conflict);
    for name in ["rule: clock", "", "a/b", " a"] {
        assert_eq!(kind_of(add(name).await), RefusalKind::Invalid, "{name}");
    }
}

async fn each_role_may_do_its_own_and_what_is_refused_is_in_the_audit(database: Database) {
    let world = World::new(database).await;
    let id = world.device("a").await;
    for (role, may) in [
        (Role::Viewer, [false, false, false]),
        (Role::Enroller, [true, false, false]),
        (Role::Operator, [true, true, false]),
        (Role::Administrator, [true, true, true]),
        (Role::PayloadReader, [false, false, false]),
    ] {
        let actor = Actor::new(role.word(), role, "test");
        let done = [
            world.fleet.add_devices(&actor, vec![super::world::new_device(role.word())]).await.map(drop),
            world.fleet.withdraw(&actor, &id, true).await.map(drop),
            world.fleet.add_token(&actor, role.word(), Role::Viewer, None).await.map(drop),
        ];
        for (done, may) in done.into_iter().zip(may) {
            assert_eq!(done.is_ok(), may, "{role:?}");
            assert!(may || done.unwrap_err().kind == RefusalKind::NotAllowed);
        }
    }
    let refused = "SELECT COUNT(*) FROM audit WHERE actor = $1 AND action LIKE 'refused: %'";
    assert_eq!(world.number(refused, &[Value::from("viewer")]).await, 3);
    assert_eq!(world.number(refused, &[Value::from("operator")]).await, 1);
    world.fleet.verify_audit().await.unwrap();
}

async fn a_fleet_begins_once(database: Database) {
    let world = World::new(database).await;
    assert_eq!(kind_of(world.fleet.begin_fleet("again").await), RefusalKind::Conflict);
    assert_eq!(world.number("SELECT COUNT(*) FROM server_keys", &[]).await, 1);
}

on_both_databases!(
    a_token_says_who_one_is_until_it_expires_or_is_removed,
    a_token_is_stored_as_a_hash,
    the_last_administrator_stays,
    a_name_is_of_one_token_and_not_that_of_a_rule,
    each_role_may_do_its_own_and_what_is_refused_is_in_the_audit,
    a_fleet_begins_once,
);

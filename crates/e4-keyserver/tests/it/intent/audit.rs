use super::world::{World, kind_of};
use crate::kit::database::{Database, on_both_databases};
use e4_keyserver::{
    fleet::{ExportCursor, Policy, RefusalKind, Verified, verify_export},
    store::Value,
};

async fn fill(world: &World, count: usize) {
    for number in 0..count {
        world.fleet.refused(&world.boss, "look", &number.to_string(), "may not").await.unwrap();
    }
}

async fn export(world: &World) -> String {
    let (mut cursor, mut text) = (ExportCursor::default(), String::new());
    loop {
        let more = world.fleet.export_audit(&mut cursor).await.unwrap();
        if more.is_empty() {
            return text;
        }
        text.push_str(&more);
    }
}

async fn every_change_and_every_refusal_is_an_entry_of_a_chain(database: Database) {
    let world = World::new(database).await;
    let id = world.device("a").await;
    world.fleet.withdraw(&world.boss, &id, false).await.unwrap();
    assert_eq!(kind_of(world.fleet.withdraw(&world.boss, &id, false).await), RefusalKind::Conflict);
    let entries = world.fleet.audit_entries(0, 100).await.unwrap();
    let actions: Vec<_> = entries.iter().map(|it| it.action.as_str()).collect();
    assert_eq!(actions, ["begin fleet", "add token", "add devices", "withdraw", "refused: withdraw"]);
    assert_eq!((entries[4].actor.as_str(), entries[4].origin.as_str()), ("boss", "127.0.0.1"));
    assert_eq!(world.fleet.verify_audit().await.unwrap(), Verified { entries: 5, signed: 0, checkpoints: 0 });
}

async fn an_entry_that_is_changed_added_or_removed_is_found(database: Database) {
    let world = World::new(database).await;
    fill(&world, 10).await;
    let changes: [(&str, &str); 4] = [
        ("UPDATE audit SET actor = 'nobody' WHERE id = 5", "entry 5"),
        ("UPDATE audit SET at = at + 1 WHERE id = 7", "entry 7"),
        ("DELETE FROM audit WHERE id = 6", "entry 6"),
        ("DELETE FROM audit WHERE id >= 11", "entry 11"),
    ];
    let saved = world.rows("SELECT id, at, actor, origin, action, subject, detail, mac FROM audit", &[]).await;
    for (sql, found) in changes {
        world.change(sql, &[]).await;
        let refusal = world.fleet.verify_audit().await.unwrap_err();
        assert!(refusal.kind == RefusalKind::Damaged && refusal.detail.contains(found), "{sql}: {refusal}");
        world.change("DELETE FROM audit", &[]).await;
        let sql = "INSERT INTO audit (id, at, actor, origin, action, subject, detail, mac) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        for row in &saved {
            world.change(sql, row.values()).await;
        }
        world.fleet.verify_audit().await.unwrap();
    }
    let mut row = saved[3].values().to_vec();
    row[0] = Value::from(13_i64);
    let sql = "INSERT INTO audit (id, at, actor, origin, action, subject, detail, mac) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    world.change(sql, &row).await;
    assert_eq!(kind_of(world.fleet.verify_audit().await), RefusalKind::Damaged);
}

async fn a_checkpoint_is_signed_each_hour_or_thousand_entries(database: Database) {
    let world = World::new(database).await;
    let count = || world.number("SELECT COUNT(*) FROM checkpoints", &[]);
    world.fleet.sweep().await.unwrap();
    assert_eq!(count().await, 0);
    world.pass(3_600);
    world.fleet.sweep().await.unwrap();
    world.fleet.sweep().await.unwrap();
    assert_eq!(count().await, 1);
    world.pass(3_600);
    world.fleet.sweep().await.unwrap();
    assert_eq!(count().await, 1, "nothing happened since");
    fill(&world, 1_000).await;
    world.fleet.sweep().await.unwrap();
    assert_eq!(count().await, 2);
    let verified = world.fleet.verify_audit().await.unwrap();
    assert_eq!(verified, Verified { entries: 1_002, signed: 1_002, checkpoints: 2 });
}

async fn a_checkpoint_that_is_not_of_these_entries_is_found(database: Database) {
    let world = World::new(database).await;
    world.pass(3_600);
    world.fleet.sweep().await.unwrap();
    for sql in [
        "UPDATE checkpoints SET at = at + 1",
        "UPDATE checkpoints SET audit = audit + 1",
        "UPDATE checkpoints SET signature = digest",
    ] {
        world.change(sql, &[]).await;
        assert_eq!(kind_of(world.fleet.verify_audit().await), RefusalKind::Damaged, "{sql}");
    }
}

async fn an_export_is_verified_with_the_public_key_alone(database: Database) {
    let world = World::new(database).await;
    fill(&world, 20).await;
    world.pass(3_600);
    world.fleet.sweep().await.unwrap();
    fill(&world, 5).await;
    let (text, key) = (export(&world).await, world.fleet.vault().checkpoint_key());
    assert_eq!(verify_export(text.lines(), &key).unwrap(), Verified { entries: 27, signed: 22, checkpoints: 1 });
    assert_eq!(kind_of(verify_export(text.lines(), &[7; 32])), RefusalKind::Damaged);
    let changed = text.replacen("may not", "may", 1);
    assert_eq!(kind_of(verify_export(changed.lines(), &key)), RefusalKind::Damaged);
    let without = text.lines().enumerate().filter(|(at, _)| *at != 4).map(|(_, line)| line);
    assert_eq!(kind_of(verify_export(without, &key)), RefusalKind::Damaged);
    assert_eq!(kind_of(verify_export(["{}"], &key)), RefusalKind::Invalid);
}

async fn what_was_kept_long_enough_goes_behind_a_checkpoint(database: Database) {
    let world = World::with(database, Policy { audit_kept: 86_400, ..Policy::default() }).await;
    fill(&world, 30).await;
    world.pass(3_600);
    world.fleet.sweep().await.unwrap();
    fill(&world, 10).await;
    world.pass(86_401);
    world.fleet.sweep().await.unwrap();
    let first = world.number("SELECT MIN(id) FROM audit", &[]).await;
    assert_eq!(first, 33, "the second checkpoint is not a day old, nor are those before it");
    assert!(world.last_audit().await.0 == "trim audit");
    world.fleet.verify_audit().await.unwrap();
    let key = world.fleet.vault().checkpoint_key();
    verify_export(export(&world).await.lines(), &key).unwrap();

    // Nobody else removes from the front, not even up to a checkpoint.
    fill(&world, 10).await;
    world.pass(3_600);
    world.fleet.sweep().await.unwrap();
    fill(&world, 1).await;
    world.fleet.verify_audit().await.unwrap();
    let last = "SELECT a.id, a.mac FROM checkpoints c JOIN audit a ON a.id = c.audit ORDER BY a.id DESC LIMIT 1";
    let row = world.rows(last, &[]).await.remove(0);
    let (id, mac) = (row.int(0).unwrap(), row.bytes(1).unwrap());
    let begins = [&id.to_be_bytes()[..], mac].concat();
    world.change("UPDATE meta SET value = $1 WHERE name = 'audit_begins'", &[Value::from(begins)]).await;
    world.change("DELETE FROM audit WHERE id <= $1", &[Value::from(id)]).await;
    world.change("DELETE FROM checkpoints WHERE audit < $1", &[Value::from(id)]).await;
    let refusal = world.fleet.verify_audit().await.unwrap_err();
    assert!(refusal.detail.contains("no entry says that they were removed"), "{refusal}");
}

on_both_databases!(
    every_change_and_every_refusal_is_an_entry_of_a_chain,
    an_entry_that_is_changed_added_or_removed_is_found,
    a_checkpoint_is_signed_each_hour_or_thousand_entries,
    a_checkpoint_that_is_not_of_these_entries_is_found,
    an_export_is_verified_with_the_public_key_alone,
    what_was_kept_long_enough_goes_behind_a_checkpoint,
);

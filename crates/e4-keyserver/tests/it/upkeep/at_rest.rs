//! What is in a database is found by nobody, and what somebody did to it is found.

use super::{administrator, key_file, live, new_fleet, new_slot, number, opened, secrets, set};
use crate::kit::database::{Database, on_both_databases};
use base64::{Engine, prelude::BASE64_STANDARD};
use e4_keyserver::{
    store::Value,
    upkeep::{add_slot, check, remove_slot},
};
use std::path::Path;

on_both_databases!(
    a_good_database_is_found_good,
    each_change_to_a_sealed_value_is_found,
    each_change_to_the_audit_is_found,
    slots_come_and_go_but_the_last_one,
);

async fn a_good_database_is_found_good(database: Database) {
    let (fleet, _) = new_fleet(&database).await;
    live(&fleet, 3).await;
    let findings = check(fleet.store(), fleet.vault()).await.unwrap();
    assert!(findings.is_good(), "{findings}");
    assert_eq!(findings.checkpoints, 1);
    assert_eq!(i64::try_from(findings.entries).unwrap(), number(fleet.store(), "SELECT COUNT(*) FROM audit").await);
    // And the secret of the vault itself.
    assert_eq!(usize::try_from(findings.opened).unwrap(), secrets(&fleet).await.len() + 1);
}

async fn each_change_to_a_sealed_value_is_found(database: Database) {
    let (fleet, _) = new_fleet(&database).await;
    live(&fleet, 4).await;
    let store = fleet.store();
    let sealed =
        |sql| async move { store.read().await.unwrap().query(sql, &[]).await.unwrap()[0].bytes(0).unwrap().to_vec() };
    // Another device's; an older version's; the next one in place of its own; another topic's; and a bit of it.
    let of_3 = "SELECT secret FROM devices WHERE name = 'device-3'";
    let third = sealed(of_3).await;
    let fourth = sealed("SELECT secret FROM devices WHERE name = 'device-4'").await;
    let next = sealed("SELECT next_secret FROM devices WHERE name = 'device-1'").await;
    let mut flipped = third.clone();
    flipped[10] ^= 1;
    let set_3 = "UPDATE devices SET secret = $1 WHERE name = 'device-3'";
    for (wrong, sql) in [
        (fourth.clone(), set_3),
        (flipped, set_3),
        (next, "UPDATE devices SET secret = $1 WHERE name = 'device-1'"),
        (
            sealed("SELECT secret FROM key_versions WHERE topic = 1 AND version = 1").await,
            "UPDATE key_versions SET secret = $1 WHERE topic = 1 AND version = 2",
        ),
        (
            sealed("SELECT secret FROM key_versions WHERE topic = 1 AND version = 2").await,
            "UPDATE key_versions SET secret = $1 WHERE topic = 2 AND version = 2",
        ),
    ] {
        let read = sql.replace("UPDATE", "SELECT secret FROM").replace(" SET secret = $1", "");
        let right = sealed_by(store, &read).await;
        set(store, sql, &[Value::from(wrong)]).await;
        let findings = check(store, fleet.vault()).await.unwrap();
        assert_eq!(findings.wrong, 1, "{sql}: {findings}");
        assert!(findings.faults[0].contains("was changed, moved or put back"), "{findings}");
        set(store, sql, &[Value::from(right)]).await;
    }
    // The version that a row says it has counts as well.
    set(store, "UPDATE devices SET key_version = 7 WHERE name = 'device-3'", &[]).await;
    assert_eq!(check(store, fleet.vault()).await.unwrap().wrong, 1);
}

async fn sealed_by(store: &e4_keyserver::store::Store, sql: &str) -> Vec<u8> {
    store.read().await.unwrap().query(sql, &[]).await.unwrap()[0].bytes(0).unwrap().to_vec()
}

async fn each_change_to_the_audit_is_found(database: Database) {
    let (fleet, _) = new_fleet(&database).await;
    live(&fleet, 3).await;
    let store = fleet.store();
    let last = number(store, "SELECT MAX(id) FROM audit").await;
    for (change, restore) in [
        ("UPDATE audit SET at = at + 1 WHERE id = 2", "UPDATE audit SET at = at - 1 WHERE id = 2"),
        ("UPDATE audit SET actor = actor || 'x' WHERE id = 3", "UPDATE audit SET actor = 'ada' WHERE id = 3"),
        ("UPDATE checkpoints SET at = at + 1", "UPDATE checkpoints SET at = at - 1"),
        ("UPDATE checkpoints SET audit = audit + 1", "UPDATE checkpoints SET audit = audit - 1"),
        ("UPDATE audit SET id = id + 1000 WHERE id = 4", "UPDATE audit SET id = id - 1000 WHERE id = 1004"),
        ("UPDATE audit SET id = 0 WHERE id = 1", "UPDATE audit SET id = 1 WHERE id = 0"),
    ] {
        set(store, change, &[]).await;
        let findings = check(store, fleet.vault()).await.unwrap();
        assert!(!findings.is_good(), "{change}");
        set(store, restore, &[]).await;
        let findings = check(store, fleet.vault()).await.unwrap();
        assert!(findings.is_good(), "{restore}: {findings}");
    }
    set(store, "DELETE FROM audit WHERE id = $1", &[Value::from(last)]).await;
    assert!(!check(store, fleet.vault()).await.unwrap().is_good());
}

async fn slots_come_and_go_but_the_last_one(database: Database) {
    let (fleet, _) = new_fleet(&database).await;
    let (store, ada) = (fleet.store(), administrator());
    assert!(opened(store, &key_file(2)).await.is_err());
    add_slot(&fleet, &ada, &new_slot(fleet.vault(), "second", &key_file(2))).await.unwrap();
    assert!(add_slot(&fleet, &ada, &new_slot(fleet.vault(), "second", &key_file(3))).await.is_err());
    assert!(opened(store, &key_file(2)).await.is_ok());
    assert!(opened(store, &key_file(3)).await.is_err());

    remove_slot(&fleet, &ada, "first").await.unwrap();
    assert!(opened(store, &key_file(1)).await.is_err());
    assert!(remove_slot(&fleet, &ada, "first").await.is_err());
    let refused = remove_slot(&fleet, &ada, "second").await.unwrap_err();
    assert!(refused.to_string().contains("the last slot"), "{refused}");
    assert!(opened(store, &key_file(2)).await.is_ok());

    let actions: Vec<_> =
        fleet.audit_entries(0, 100).await.unwrap().into_iter().map(|it| (it.action, it.subject)).collect();
    let expected = [("add slot", "second"), ("remove slot", "first")]
        .map(|(action, subject)| (action.to_owned(), subject.to_owned()));
    assert!(actions.ends_with(&expected), "{actions:?}");
    assert!(check(store, fleet.vault()).await.unwrap().is_good());
}

/// Each form in which somebody might have written a key.
fn forms(key: &[u8]) -> [Vec<u8>; 4] {
    let base64 = BASE64_STANDARD.encode(key);
    // Its ends depend on what stands around it.
    let base64 = base64.as_bytes()[..40].to_vec();
    [key.to_vec(), hex::encode(key).into_bytes(), hex::encode_upper(key).into_bytes(), base64]
}

/// Fails if one of these secrets is somewhere in the files of a folder, or in these bytes.
pub(super) fn must_not_be_in(secrets: &[(String, Vec<u8>)], files: &[(String, Vec<u8>)]) {
    for (name, bytes) in files {
        for (secret, key) in secrets {
            for form in forms(key) {
                assert!(!bytes.windows(form.len()).any(|part| part == form), "{secret} is in {name}");
            }
        }
    }
}

pub(super) fn files_in(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.is_file()).map(|path| (path.display().to_string(), std::fs::read(path).unwrap())).collect()
}

/// Of PostgreSQL the same is in the backup, which has all rows.
#[tokio::test]
async fn no_key_is_in_the_files_of_a_database() {
    let database = Database::sqlite();
    let (fleet, token) = new_fleet(&database).await;
    live(&fleet, 3).await;
    let mut secrets: Vec<_> = secrets(&fleet).await.into_iter().collect();
    assert!(secrets.len() > 10);
    secrets.push(("what opens the vault".to_owned(), vec![1; 32]));
    secrets.push(("the token".to_owned(), token.as_bytes().to_vec()));
    let folder = Path::new(database.url().strip_prefix("sqlite:").unwrap()).parent().unwrap();
    let files = files_in(folder);
    // What is there is found: the test can fail.
    assert!(files.iter().any(|(_, bytes)| bytes.windows(8).any(|part| part == b"device-3")));
    must_not_be_in(&secrets, &files);
}

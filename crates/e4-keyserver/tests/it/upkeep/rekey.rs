//! A new root key, and what happens when it comes half way.

use super::{administrator, fleet_of, key_file, live, new_fleet, new_slot, number, opened, secrets, set};
use crate::kit::database::{Database, on_both_databases};
use e4_keyserver::{
    fleet::Fleet,
    store::Value,
    upkeep::{begin_rekey, check, continue_rekey},
};

on_both_databases!(
    a_new_root_key_opens_all_and_the_old_one_nothing,
    a_crash_in_the_middle_leaves_everything_open_and_the_rest_is_done_later,
    a_value_that_does_not_open_is_kept_as_it_is,
    no_new_root_key_while_a_server_runs,
);

/// Begins with the slot of a key file of twos.
async fn begun(fleet: &Fleet) -> Fleet {
    let vault = opened(fleet.store(), &key_file(1)).await.unwrap().with_new_root().unwrap();
    let slot = new_slot(&vault, "new", &key_file(2));
    let fleet = fleet_of(fleet.store().clone(), vault);
    begin_rekey(&fleet, &administrator(), &[slot]).await.unwrap();
    fleet
}

async fn a_new_root_key_opens_all_and_the_old_one_nothing(database: Database) {
    let (old, token) = new_fleet(&database).await;
    live(&old, 3).await;
    let before = secrets(&old).await;
    let new = begun(&old).await;
    let progress = continue_rekey(&new, &administrator(), |_| ()).await.unwrap();
    let two_keys = "SELECT COUNT(*) FROM devices WHERE secret IS NOT NULL AND next_secret IS NOT NULL";
    let rows = i64::try_from(before.len()).unwrap() - number(new.store(), two_keys).await;
    assert_eq!(i64::try_from(progress.resealed).unwrap(), rows);

    assert!(opened(new.store(), &key_file(1)).await.is_err());
    let vault = opened(new.store(), &key_file(2)).await.unwrap();
    assert!(!vault.has_previous());
    let again = fleet_of(new.store().clone(), vault);
    assert_eq!(secrets(&again).await, before);
    let findings = check(again.store(), again.vault()).await.unwrap();
    assert!(findings.is_good(), "{findings}");
    // With the old root key nothing opens.
    assert!(check(old.store(), old.vault()).await.unwrap().wrong >= progress.resealed);
    // What is not sealed goes on: tokens, fingerprints, the key of checkpoints.
    assert!(again.authenticate(&token, "here").await.unwrap().is_some());
    assert_eq!(again.vault().fingerprint(&[1; 32]), old.vault().fingerprint(&[1; 32]));
    assert_eq!(again.vault().checkpoint_key(), old.vault().checkpoint_key());
}

async fn a_crash_in_the_middle_leaves_everything_open_and_the_rest_is_done_later(database: Database) {
    let (old, _) = new_fleet(&database).await;
    live(&old, 2_500).await;
    let before = secrets(&old).await;
    let crashing = begun(&old).await;
    let crash = tokio::spawn(async move {
        let crash = |progress: e4_keyserver::upkeep::Progress| assert!(progress.resealed < 1_000, "crash");
        continue_rekey(&crashing, &administrator(), crash).await
    });
    assert!(crash.await.unwrap_err().is_panic());

    let vault = opened(old.store(), &key_file(2)).await.unwrap();
    assert!(vault.has_previous());
    let half = fleet_of(old.store().clone(), vault);
    let findings = check(half.store(), half.vault()).await.unwrap();
    assert!(findings.is_good(), "{findings}");
    assert_eq!(secrets(&half).await, before);

    let rest = continue_rekey(&half, &administrator(), |_| ()).await.unwrap();
    assert!((1..=1_520).contains(&rest.resealed), "{rest:?}");
    let done = fleet_of(old.store().clone(), opened(old.store(), &key_file(2)).await.unwrap());
    assert!(!done.vault().has_previous());
    assert_eq!(secrets(&done).await, before);
    assert!(check(done.store(), done.vault()).await.unwrap().is_good());
}

async fn a_value_that_does_not_open_is_kept_as_it_is(database: Database) {
    let (old, _) = new_fleet(&database).await;
    live(&old, 3).await;
    let new = begun(&old).await;
    let sql = "SELECT secret FROM key_versions WHERE topic = 1 AND version = 1";
    let sealed = new.store().read().await.unwrap().query(sql, &[]).await.unwrap()[0].bytes(0).unwrap().to_vec();
    let mut broken = sealed.clone();
    broken[20] ^= 1;
    let update = "UPDATE key_versions SET secret = $1 WHERE topic = 1 AND version = 1";
    set(new.store(), update, &[Value::from(broken.clone())]).await;
    let refused = continue_rekey(&new, &administrator(), |_| ()).await.unwrap_err();
    assert!(refused.to_string().contains("key_versions.secret of 1, version 1"), "{refused}");

    let kept = new.store().read().await.unwrap().query(sql, &[]).await.unwrap()[0].bytes(0).unwrap().to_vec();
    assert_eq!(kept, broken);
    let vault = opened(new.store(), &key_file(2)).await.unwrap();
    assert!(vault.has_previous(), "the old root key may be needed for it");
    set(new.store(), update, &[Value::from(sealed)]).await;
    let again = fleet_of(new.store().clone(), vault);
    continue_rekey(&again, &administrator(), |_| ()).await.unwrap();
    assert!(!opened(new.store(), &key_file(2)).await.unwrap().has_previous());
}

async fn no_new_root_key_while_a_server_runs(database: Database) {
    let (old, _) = new_fleet(&database).await;
    let lease = "INSERT INTO leases (slice, holder, fence, expires) VALUES (1, 'other', 1, $1)";
    set(old.store(), lease, &[Value::from(super::NOW + 5)]).await;
    let vault = opened(old.store(), &key_file(1)).await.unwrap().with_new_root().unwrap();
    let slot = new_slot(&vault, "new", &key_file(2));
    let fleet = fleet_of(old.store().clone(), vault);
    let refused = begin_rekey(&fleet, &administrator(), std::slice::from_ref(&slot)).await.unwrap_err();
    assert!(refused.to_string().contains("`other` runs on this database"), "{refused}");
    assert!(opened(old.store(), &key_file(1)).await.is_ok());
    assert_eq!(number(old.store(), "SELECT COUNT(*) FROM slots WHERE name = 'new'").await, 0);

    set(old.store(), "UPDATE leases SET expires = $1", &[Value::from(super::NOW)]).await;
    begin_rekey(&fleet, &administrator(), &[slot]).await.unwrap();
    assert!(opened(old.store(), &key_file(1)).await.is_err());
}

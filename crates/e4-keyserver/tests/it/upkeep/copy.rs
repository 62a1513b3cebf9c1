//! From one database to another.

use super::{NOW, fleet_of, key_file, live, new_fleet, number, opened, secrets, set};
use crate::kit::database::{Database, on_both_databases};
use e4_keyserver::{
    store::Value,
    upkeep::{check, copy},
};

on_both_databases!(
    everything_is_in_the_other_database_and_the_first_one_holds,
    nothing_is_copied_over_a_server_or_from_one_that_runs
);

/// A database of the other kind; of the same if there is no PostgreSQL.
fn other(database: &Database) -> Database {
    let other = if database.is_sqlite() { Database::postgres() } else { None };
    other.unwrap_or_else(Database::sqlite)
}

async fn everything_is_in_the_other_database_and_the_first_one_holds(database: Database) {
    let (fleet, token) = new_fleet(&database).await;
    live(&fleet, 2_500).await;
    let before = check(fleet.store(), fleet.vault()).await.unwrap();
    let target = other(&database);
    let store = target.open().await;
    assert_eq!(copy(fleet.store(), &store, NOW).await.unwrap(), before.rows);

    let there = fleet_of(store.clone(), opened(&store, &key_file(1)).await.unwrap());
    assert_eq!(check(&store, there.vault()).await.unwrap(), before);
    assert_eq!(secrets(&there).await, secrets(&fleet).await);
    assert!(there.authenticate(&token, "here").await.unwrap().is_some());
    assert!(there.held().await.unwrap().is_none());
    assert!(fleet.held().await.unwrap().unwrap().reason.contains("copied to another database"));
}

async fn nothing_is_copied_over_a_server_or_from_one_that_runs(database: Database) {
    let (fleet, _) = new_fleet(&database).await;
    let target = other(&database);
    let (taken, _) = new_fleet(&target).await;
    let refused = copy(fleet.store(), taken.store(), NOW).await.unwrap_err();
    assert!(refused.to_string().contains("belongs to a key server already"), "{refused}");
    assert!(fleet.held().await.unwrap().is_none());

    let lease = "INSERT INTO leases (slice, holder, fence, expires) VALUES (1, 'other', 1, $1)";
    set(fleet.store(), lease, &[Value::from(NOW + 5)]).await;
    let empty = Database::sqlite();
    let store = empty.open().await;
    let refused = copy(fleet.store(), &store, NOW).await.unwrap_err();
    assert!(refused.to_string().contains("runs on this database"), "{refused}");
    assert_eq!(number(&store, "SELECT COUNT(*) FROM slots").await, 0);
}

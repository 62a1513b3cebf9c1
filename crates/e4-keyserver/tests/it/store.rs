//! Both databases do the same.

mod failures;
mod sharing;

use crate::kit::database::{Database, on_both_databases};
use e4_keyserver::store::{Row, StoreErrorKind, Value};
use std::time::Instant;

async fn what_is_dropped_is_rolled_back(database: Database) {
    let store = database.open().await;
    let mut transaction = store.write().await.unwrap();
    let insert = "INSERT INTO meta (name, value) VALUES ($1, $2)";
    transaction.execute(insert, &["a".into(), b"1".into()]).await.unwrap();
    drop(transaction);
    let mut transaction = store.write().await.unwrap();
    transaction.execute(insert, &["b".into(), b"2".into()]).await.unwrap();
    transaction.commit().await.unwrap();
    let mut transaction = store.read().await.unwrap();
    let rows =
        transaction.query("SELECT name FROM meta WHERE name = ANY($1)", &[Value::list(["a", "b"])]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.text(0).unwrap()).collect::<Vec<_>>(), ["b"]);
}

async fn values_come_back_as_they_were(database: Database) {
    let store = database.open().await;
    let mut transaction = store.write().await.unwrap();
    let row = vec![Value::from(7), "löschen".into(), vec![0; 3].into(), Value::Null, Value::Null];
    transaction
        .execute(
            "CREATE TABLE t (a BIGINT, b TEXT, c BYTEA, d BIGINT, e BYTEA)"
                .replace("BYTEA", if database.is_sqlite() { "BLOB" } else { "BYTEA" })
                .as_str(),
            &[],
        )
        .await
        .unwrap();
    transaction.execute("INSERT INTO t VALUES ($1, $2, $3, $4, $5)", &row).await.unwrap();
    let answer = transaction.query_opt("SELECT a, b, c, d, e FROM t", &[]).await.unwrap().unwrap();
    assert_eq!(answer.values(), row);
    assert_eq!(answer.array::<3>(2), Ok([0; 3]));
    assert_eq!(answer.array::<4>(2).unwrap_err().kind(), StoreErrorKind::Wrong);
    assert_eq!(answer.opt_int(3), Ok(None));
    assert_eq!(answer.int(3).unwrap_err().kind(), StoreErrorKind::Wrong);
    assert_eq!(answer.text(0).unwrap_err().kind(), StoreErrorKind::Wrong);
}

/// Measured by `cargo test --release -p e4-keyserver --test it -- --ignored --nocapture hundred_thousand`.
async fn hundred_thousand_devices(database: Database) {
    const COUNT: u32 = 100_000;
    let store = database.open().await;
    let rows = (0..COUNT).map(|n| {
        let id = [&n.to_be_bytes()[..], &[7; 12]].concat();
        let (name, labels, secret) = (format!("panel-{n}"), "{\"site\":\"basel\"}", vec![9; 48]);
        vec![id.into(), i64::from(n % 64).into(), name.into(), labels.into(), secret.into(), 1_000.into()]
    });
    let mut transaction = store.intend().await.unwrap();
    let insert =
        "INSERT INTO devices (id, slice, name, mode, status, labels, notes, created, revision, key_version, secret,
                                  client_key_since, lane_last, lane_used, report_newest, report_sent, standing,
                                  standing_since, attempts)
             VALUES ($1, $2, $3, 0, 0, $4, '', $6, 1, 1, $5, $6, 0, 0, 0, 0, 'new', $6, 0)";
    let rows = rows.collect();
    let since = Instant::now();
    assert_eq!(transaction.execute_each(insert, rows).await, Ok(COUNT.into()));
    transaction.commit().await.unwrap();
    println!("{}: {COUNT} devices inserted in {:?}", store.kind(), since.elapsed());
    let since = Instant::now();
    let mut transaction = store.intend().await.unwrap();
    let due = "UPDATE devices SET due = $1 WHERE status <> 2";
    assert_eq!(transaction.execute(due, &[5.into()]).await, Ok(COUNT.into()));
    transaction.commit().await.unwrap();
    println!("{}: {COUNT} devices made due in {:?}", store.kind(), since.elapsed());
}

fn names(rows: &[Row]) -> Vec<&str> {
    rows.iter().map(|row| row.text(0).unwrap()).collect()
}

async fn a_list_may_be_of_any_type(database: Database) {
    let store = database.open().await;
    let mut transaction = store.write().await.unwrap();
    let rows = ["a", "b", "c"]
        .iter()
        .enumerate()
        .map(|(at, name)| vec![Value::from(*name), Value::from(i64::try_from(at).unwrap())]);
    let touched = transaction.execute_each("INSERT INTO counters (name, value) VALUES ($1, $2)", rows.collect()).await;
    assert_eq!(touched, Ok(3));
    let by = |column: &str| format!("SELECT name FROM counters WHERE {column} = ANY($1) ORDER BY name");
    let rows = transaction.query(&by("value"), &[Value::list([0, 2, 9])]).await.unwrap();
    assert_eq!(names(&rows), ["a", "c"]);
    let rows = transaction.query(&by("name"), &[Value::list(["b", "x"])]).await.unwrap();
    assert_eq!(names(&rows), ["b"]);
    let rows = transaction.query(&by("name"), &[Value::list(Vec::<&str>::new())]).await.unwrap();
    assert!(rows.is_empty());
    transaction.execute("INSERT INTO meta (name, value) VALUES ('d', $1)", &[b"d".into()]).await.unwrap();
    let found = "SELECT name FROM meta WHERE value = ANY($1)";
    let rows = transaction.query(found, &[Value::list([b"d", b"e"])]).await.unwrap();
    assert_eq!(names(&rows), ["d"]);
}

async fn after_a_failure_nothing_is_committed(database: Database) {
    let store = database.open().await;
    let insert = "INSERT INTO counters (name, value) VALUES ($1, $2)";
    let mut transaction = store.write().await.unwrap();
    transaction.execute(insert, &["a".into(), 1.into()]).await.unwrap();
    let failed = transaction.execute(insert, &["a".into(), 2.into()]).await.unwrap_err();
    assert_eq!(failed.kind(), StoreErrorKind::Taken);
    assert!(transaction.execute(insert, &["b".into(), 2.into()]).await.is_err());
    assert!(transaction.commit().await.is_err());
    let mut transaction = store.read().await.unwrap();
    assert_eq!(transaction.query("SELECT name FROM counters", &[]).await, Ok(vec![]));
}

on_both_databases!(
    what_is_dropped_is_rolled_back,
    values_come_back_as_they_were,
    a_list_may_be_of_any_type,
    after_a_failure_nothing_is_committed,
);

#[tokio::test]
#[ignore = "a measurement"]
async fn hundred_thousand_devices_on_sqlite() {
    hundred_thousand_devices(Database::sqlite()).await;
}

#[tokio::test]
#[ignore = "a measurement"]
async fn hundred_thousand_devices_on_postgres() {
    let Some(database) = Database::postgres() else { return };
    hundred_thousand_devices(database).await;
}

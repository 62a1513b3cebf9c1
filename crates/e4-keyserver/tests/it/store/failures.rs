//! What goes wrong with a database is said, and over when it is over.

use crate::kit::{
    database::{Database, on_both_databases},
    postgres::Cluster,
};
use e4_keyserver::store::{Store, StoreErrorKind, Value};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

const INSERT: &str = "INSERT INTO meta (name, value) VALUES ($1, $2)";

async fn tables_of_a_newer_program_are_left_alone(database: Database) {
    let store = database.open().await;
    let mut transaction = store.write().await.unwrap();
    let newer = "UPDATE meta SET value = $1 WHERE name = 'schema_version'";
    assert_eq!(transaction.execute(newer, &[b"1000".into()]).await, Ok(1));
    transaction.commit().await.unwrap();
    drop(store);
    let error = Store::open(database.url()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Newer);
    assert!(error.to_string().contains("1000"), "{error}");
}

async fn a_database_of_something_else_is_left_alone(database: Database) {
    let store = database.open().await;
    let mut transaction = store.write().await.unwrap();
    transaction.execute("DELETE FROM meta WHERE name = 'schema_version'", &[]).await.unwrap();
    transaction.commit().await.unwrap();
    drop(store);
    let error = Store::open(database.url()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Wrong);
}

async fn what_is_there_is_found_again(database: Database) {
    for round in 0..3 {
        let store = database.open().await;
        let mut transaction = store.write().await.unwrap();
        let rows =
            transaction.query("SELECT name FROM meta WHERE name = ANY($1)", &[Value::list(["0", "1", "2"])]).await;
        assert_eq!(rows.unwrap().len(), round);
        transaction.execute(INSERT, &[round.to_string().into(), b"".into()]).await.unwrap();
        transaction.commit().await.unwrap();
    }
}

async fn values_of_another_type_are_refused(database: Database) {
    let store = database.open().await;
    for values in [["a".into(), "b".into()], ["a".into(), Value::from(1)], ["a".into(), Value::Null]] {
        let mut transaction = store.write().await.unwrap();
        let refused = transaction.execute(INSERT, &values).await.unwrap_err();
        assert_eq!(refused.kind(), StoreErrorKind::Wrong, "{values:?}: {refused}");
    }
}

on_both_databases!(
    tables_of_a_newer_program_are_left_alone,
    a_database_of_something_else_is_left_alone,
    what_is_there_is_found_again,
    values_of_another_type_are_refused,
);

#[tokio::test]
async fn a_killed_postgres_is_unavailable_until_it_is_back() {
    let Some(cluster) = Cluster::start() else { return };
    let store = Store::open(&cluster.url(&cluster.create_database())).await.unwrap();
    let mut committed = store.write().await.unwrap();
    committed.execute(INSERT, &["a".into(), b"".into()]).await.unwrap();
    committed.commit().await.unwrap();
    // Several connections, all of which break.
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(store.write().await.unwrap());
    }
    let mut cut_off = open.pop().unwrap();
    cut_off.execute(INSERT, &["b".into(), b"".into()]).await.unwrap();
    drop(open);
    cluster.kill();
    assert_eq!(cut_off.commit().await.unwrap_err().kind(), StoreErrorKind::Unavailable);
    assert_eq!(store.read().await.unwrap_err().kind(), StoreErrorKind::Unavailable);
    assert_eq!(store.write().await.unwrap_err().kind(), StoreErrorKind::Unavailable);
    cluster.start_again();
    let mut read = store.read().await.unwrap();
    let rows = read.query("SELECT name FROM meta WHERE name = ANY($1)", &[Value::list(["a", "b"])]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.text(0).unwrap()).collect::<Vec<_>>(), ["a"]);
}

#[tokio::test]
async fn a_file_serves_one_process_and_says_which() {
    let database = Database::sqlite();
    let store = database.open().await;
    let error = Store::open(database.url()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    // Also while a transaction outlives the handle.
    let transaction = store.write().await.unwrap();
    drop(store);
    assert!(Store::open(database.url()).await.is_err());
    drop(transaction);
    database.open().await;
}

#[tokio::test]
async fn a_file_that_is_something_else_is_left_alone() {
    let database = Database::sqlite();
    let path = database.url().strip_prefix("sqlite:").unwrap();
    std::fs::write(path, "not a database, and long enough to be taken for one by who looks at its length alone")
        .unwrap();
    assert_eq!(Store::open(database.url()).await.unwrap_err().kind(), StoreErrorKind::Wrong);
    assert!(std::fs::read_to_string(path).unwrap().starts_with("not a database"));
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let database = Database::sqlite();
    let store = database.open().await;
    let mut transaction = store.write().await.unwrap();
    transaction.execute(INSERT, &["a".into(), b"".into()]).await.unwrap();
    transaction.commit().await.unwrap();
    let path = database.url().strip_prefix("sqlite:").unwrap();
    for suffix in ["", "-wal", "-shm", ".lock"] {
        let rights = std::fs::metadata(format!("{path}{suffix}")).unwrap().permissions().mode();
        assert_eq!(rights & 0o777, 0o600, "{path}{suffix}");
    }
}

#[tokio::test]
async fn a_full_disk_is_said_and_over_when_there_is_room() {
    let store = Database::sqlite();
    let (_folder, store) = (&store, store.open().await);
    let mut limit = store.write().await.unwrap();
    limit.query("PRAGMA max_page_count = 1", &[]).await.unwrap();
    drop(limit);
    let big = Value::from(vec![7; 1 << 20]);
    let mut transaction = store.write().await.unwrap();
    let full = transaction.execute(INSERT, &["a".into(), big.clone()]).await.unwrap_err();
    assert_eq!(full.kind(), StoreErrorKind::Full);
    assert!(transaction.commit().await.is_err());
    let mut limit = store.write().await.unwrap();
    limit.query("PRAGMA max_page_count = 100000", &[]).await.unwrap();
    drop(limit);
    let mut transaction = store.write().await.unwrap();
    transaction.execute(INSERT, &["a".into(), big]).await.unwrap();
    transaction.commit().await.unwrap();
}

/// The name is of another machine, whatever its address is.
#[tokio::test]
async fn another_machine_is_spoken_to_by_tls_and_must_be_who_it_says() {
    let Some(cluster) = Cluster::start() else { return };
    let name = cluster.create_database();
    cluster.kill();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["db.example".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let port = cluster.start_again_with_tls(&certificate.pem(), &key.serialize_pem());
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let url = |host: &str, rest: &str| format!("postgresql://e4@{host}:{port}/{name}?hostaddr=127.0.0.1{rest}");
    let trusted = format!("&sslrootcert={}", ca.display());

    let store = Store::open(&url("db.example", &trusted)).await.unwrap();
    let mut read = store.read().await.unwrap();
    let tls = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert_eq!(read.query_opt(tls, &[]).await.unwrap().unwrap().int(0), Ok(1));
    // Another name, and an authority that nobody here knows.
    let error = Store::open(&url("other.example", &trusted)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
    let error = Store::open(&url("db.example", "")).await.unwrap_err();
    assert!(matches!(error.kind(), StoreErrorKind::Unavailable | StoreErrorKind::Wrong), "{error}");
}

#[tokio::test]
async fn other_machines_are_reached_by_tls_alone() {
    let url = "postgresql://e4@192.0.2.1/fleet?sslmode=disable";
    let error = Store::open(url).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Wrong);
    assert!(error.to_string().contains("TLS"), "{error}");
}

#[tokio::test]
async fn addresses_are_explained() {
    for url in ["fleet.db", "mysql://localhost/fleet", "postgresql://e4@localhost/fleet?colour=blue"] {
        assert_eq!(Store::open(url).await.unwrap_err().kind(), StoreErrorKind::Wrong, "{url}");
    }
}

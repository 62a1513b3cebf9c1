//! Several transactions, several handles, several servers.

use crate::kit::database::{Database, on_both_databases};
use e4_keyserver::{
    model::{Leases, Slice},
    store::{
        Store, StoreError, StoreErrorKind, Transaction, Value,
        leases::{self, Holder, TTL},
    },
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Barrier, time::timeout};

const INSERT: &str = "INSERT INTO counters (name, value) VALUES ($1, $2)";

/// Who waits longer than this waits for somebody.
const A_MOMENT: Duration = Duration::from_millis(200);

async fn count(transaction: &mut Transaction) -> i64 {
    transaction.query_opt("SELECT count(*) FROM counters", &[]).await.unwrap().unwrap().int(0).unwrap()
}

async fn who_reads_sees_one_moment(database: Database) {
    let store = database.open().await;
    let mut before = store.read().await.unwrap();
    assert_eq!(count(&mut before).await, 0);
    let mut write = store.write().await.unwrap();
    write.execute(INSERT, &["a".into(), 1.into()]).await.unwrap();
    let mut during = store.read().await.unwrap();
    assert_eq!(count(&mut during).await, 0);
    write.commit().await.unwrap();
    assert_eq!((count(&mut before).await, count(&mut during).await), (0, 0));
    assert_eq!(count(&mut store.read().await.unwrap()).await, 1);
}

async fn who_reads_changes_nothing(database: Database) {
    let store = database.open().await;
    let mut read = store.read().await.unwrap();
    assert!(read.execute(INSERT, &["a".into(), 1.into()]).await.is_err());
    drop(read);
    // Neither does whoever reads next.
    for _ in 0..16 {
        assert_eq!(count(&mut store.read().await.unwrap()).await, 0);
    }
}

async fn intentions_are_one_after_the_other(database: Database) {
    let store = database.open().await;
    let mut first = store.intend().await.unwrap();
    first.execute(INSERT, &["a".into(), 1.into()]).await.unwrap();
    let second = tokio::spawn({
        let store = store.clone();
        async move {
            let mut second = store.intend().await.unwrap();
            count(&mut second).await
        }
    });
    tokio::time::sleep(A_MOMENT).await;
    assert!(!second.is_finished());
    first.commit().await.unwrap();
    // It sees what the first one did.
    assert_eq!(second.await.unwrap(), 1);
}

async fn who_no_longer_waits_leaves_nothing_open(database: Database) {
    let store = database.open().await;
    for _ in 0..3 {
        let first = store.intend().await.unwrap();
        assert!(timeout(A_MOMENT, store.intend()).await.is_err());
        drop(first);
    }
    // Dropped in the middle of a statement, at whatever moment.
    for at in 0..24 {
        let mut transaction = store.write().await.unwrap();
        let rows = (0..200).map(|n| vec![Value::from(format!("{at}-{n}")), n.into()]).collect();
        let _ = timeout(Duration::from_micros(at * 200), transaction.execute_each(INSERT, rows)).await;
        drop(transaction);
    }
    let mut last = store.intend().await.unwrap();
    assert_eq!(count(&mut last).await, 0);
    last.execute(INSERT, &["a".into(), 1.into()]).await.unwrap();
    last.commit().await.unwrap();
}

async fn many_write_at_once_and_nothing_is_lost(database: Database) {
    let store = database.open().await;
    let add = |store: Store| async move {
        for _ in 0..10 {
            let attempt = || async {
                let mut transaction = store.write().await?;
                let sql = "INSERT INTO counters (name, value) VALUES ('n', 1)
                     ON CONFLICT (name) DO UPDATE SET value = counters.value + 1 RETURNING value";
                transaction.query_opt(sql, &[]).await?;
                transaction.commit().await
            };
            store.retry::<_, StoreError, _>(attempt).await.unwrap();
        }
    };
    let writers: Vec<_> = (0..20).map(|_| tokio::spawn(add(store.clone()))).collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let mut read = store.read().await.unwrap();
    let row = read.query_opt("SELECT value FROM counters WHERE name = 'n'", &[]).await.unwrap().unwrap();
    assert_eq!(row.int(0), Ok(200));
}

on_both_databases!(
    who_reads_sees_one_moment,
    who_reads_changes_nothing,
    intentions_are_one_after_the_other,
    who_no_longer_waits_leaves_nothing_open,
    many_write_at_once_and_nothing_is_lost,
    a_share_is_kept_and_taken_over_when_its_holder_is_gone,
    who_comes_back_late_finds_others_in_its_place,
);

/// Two transactions each wait for what the other has: one fails, and goes through when it is begun anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_is_begun_anew() {
    let Some(database) = Database::postgres() else { return };
    let store = database.open().await;
    let mut setup = store.write().await.unwrap();
    setup.execute_each(INSERT, vec![vec!["a".into(), 0.into()], vec!["b".into(), 0.into()]]).await.unwrap();
    setup.commit().await.unwrap();
    let both_hold_one = Arc::new(Barrier::new(2));
    let attempts = Arc::new(AtomicU32::new(0));
    let run = |names: [&'static str; 2]| {
        let (store, both_hold_one, attempts) = (store.clone(), both_hold_one.clone(), attempts.clone());
        async move {
            let first = AtomicU32::new(0);
            let attempt = || async {
                attempts.fetch_add(1, Ordering::Relaxed);
                let add = "UPDATE counters SET value = value + 1 WHERE name = $1";
                let mut transaction = store.write().await?;
                transaction.execute(add, &[names[0].into()]).await?;
                if first.fetch_add(1, Ordering::Relaxed) == 0 {
                    both_hold_one.wait().await;
                }
                transaction.execute(add, &[names[1].into()]).await?;
                transaction.commit().await
            };
            store.retry::<_, StoreError, _>(attempt).await
        }
    };
    let (one, other) = tokio::join!(tokio::spawn(run(["a", "b"])), tokio::spawn(run(["b", "a"])));
    assert_eq!((one.unwrap(), other.unwrap()), (Ok(()), Ok(())));
    assert_eq!(attempts.load(Ordering::Relaxed), 3);
    let mut read = store.read().await.unwrap();
    let rows = read.query("SELECT value FROM counters", &[]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.int(0).unwrap()).collect::<Vec<_>>(), [2, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_handles_on_one_postgres_see_the_same() {
    let Some(database) = Database::postgres() else { return };
    // Both bring the tables up to date at once.
    let (one, other) = tokio::join!(database.open(), database.open());
    let mut first = one.intend().await.unwrap();
    assert!(timeout(A_MOMENT, other.intend()).await.is_err());
    first.execute(INSERT, &["a".into(), 1.into()]).await.unwrap();
    first.commit().await.unwrap();
    let mut second = other.intend().await.unwrap();
    assert_eq!(count(&mut second).await, 1);
    let taken = second.execute(INSERT, &["a".into(), 1.into()]).await.unwrap_err();
    assert_eq!(taken.kind(), StoreErrorKind::Taken);
}

fn holder(number: i64) -> Holder {
    Holder { name: format!("server {number}"), presence: -number }
}

async fn keep(store: &Store, holder: &Holder, now: i64) -> Leases {
    let mut transaction = store.write().await.unwrap();
    let held = leases::keep(&mut transaction, holder, now).await.unwrap();
    transaction.commit().await.unwrap();
    held
}

fn slices(leases: &Leases) -> Vec<Slice> {
    leases.0.keys().copied().collect()
}

async fn a_share_is_kept_and_taken_over_when_its_holder_is_gone(database: Database) {
    let store = database.open().await;
    let (one, other) = (holder(1), holder(2));
    let all: Vec<_> = Slice::all().collect();
    assert_eq!(slices(&keep(&store, &one, 100).await), all);
    // A second server comes: the first one gives it half, and from then on each keeps its own.
    assert!(keep(&store, &other, 101).await.is_empty());
    let (mine, theirs) = (keep(&store, &one, 102).await, keep(&store, &other, 102).await);
    let mut together = [slices(&mine), slices(&theirs)].concat();
    assert_eq!((mine.0.len(), theirs.0.len()), (32, 32));
    together.sort_unstable();
    assert_eq!(together, all);
    assert_eq!((keep(&store, &one, 104).await, keep(&store, &other, 104).await), (mine.clone(), theirs));
    // The second one is heard of no more.
    assert_eq!(keep(&store, &one, 104 + TTL - 1).await, mine);
    let everything = keep(&store, &one, 104 + TTL).await;
    assert_eq!(slices(&everything), all);
    for (slice, fence) in &mine.0 {
        assert_eq!(everything.0.get(slice), Some(fence));
    }
}

async fn who_comes_back_late_finds_others_in_its_place(database: Database) {
    let store = database.open().await;
    let (one, other) = (holder(1), holder(2));
    let before = keep(&store, &one, 100).await;
    let taken = keep(&store, &other, 100 + TTL).await;
    assert_eq!(slices(&taken), slices(&before));
    for (slice, fence) in &taken.0 {
        assert!(*fence > before.0[slice]);
    }
    let mut transaction = store.write().await.unwrap();
    assert_eq!(leases::still_held(&mut transaction, &before).await, Ok(Leases::default()));
    assert_eq!(leases::still_held(&mut transaction, &taken).await.as_ref(), Ok(&taken));
    leases::release(&mut transaction, &other).await.unwrap();
    transaction.commit().await.unwrap();
    // What was given up is free at once, and under a higher number again.
    let again = keep(&store, &one, 101 + TTL).await;
    assert_eq!(slices(&again), slices(&before));
    assert!(again.0.iter().all(|(slice, fence)| *fence > taken.0[slice]));
}

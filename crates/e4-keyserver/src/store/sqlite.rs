//! SQLite: one connection that writes, a few that read, each with a thread of its own.

mod dialect;
mod worker;

use super::{Row, StoreError, StoreErrorKind, Value};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use worker::Worker;

const READERS: usize = 3;

/// For both kinds of connections. Every commit is on the disk before it is said to be done, and what is deleted is overwritten.
const SETTINGS: &str = "PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY;
    PRAGMA cache_size = -16384; PRAGMA journal_size_limit = 67108864;";

pub(super) struct Sqlite {
    writer: Worker,
    /// Who writes next.
    turn: Arc<tokio::sync::Mutex<()>>,
    readers: Mutex<Vec<Worker>>,
    /// Who reads: as many as there are readers.
    seats: Arc<Semaphore>,
    // Last, so that the connections are closed before another process may write.
    _lock: Option<File>,
}

impl Sqlite {
    /// Opens a file that no other process has open; or, `beside` one that has, a file that is there.
    pub(super) async fn open(path: &Path, beside: bool) -> Result<Self, StoreError> {
        let path = path.to_owned();
        let opened = tokio::task::spawn_blocking(move || Self::open_here(&path, beside)).await;
        opened.unwrap_or_else(|_| Err(StoreErrorKind::Unavailable.because("opening the database was broken off")))
    }

    fn open_here(path: &Path, beside: bool) -> Result<Self, StoreError> {
        let lock = if beside { None } else { Some(lock(path)?) };
        if !beside {
            make(path)?;
        }
        let opened = |error| failed_to_open(path, &error);
        let writer = connect(path).map_err(opened)?;
        let mode: String = writer
            .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
            .map_err(|error| failed_to_open(path, &error))?;
        if mode != "wal" {
            return Err(StoreErrorKind::Wrong.because(format!(
                "{}: SQLite cannot write ahead here (it stays with `{mode}`): put the database on a local disk",
                path.display()
            )));
        }
        let mut readers = Vec::new();
        for _ in 0..READERS {
            let reader =
                connect(path).and_then(|reader| reader.execute_batch("PRAGMA query_only = ON").map(|()| reader));
            readers.push(Worker::start(reader.map_err(|error| failed_to_open(path, &error))?)?);
        }
        Ok(Self {
            writer: Worker::start(writer)?,
            turn: Arc::default(),
            readers: Mutex::new(readers),
            seats: Arc::new(Semaphore::new(READERS)),
            _lock: lock,
        })
    }

    pub(super) async fn write(self: &Arc<Self>) -> Result<Open, StoreError> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        // Made before it begins: whoever stops waiting here leaves nothing open behind.
        let open = Open { on: On::Writer(turn), database: Arc::clone(self) };
        open.batch("BEGIN IMMEDIATE").await?;
        Ok(open)
    }

    pub(super) async fn read(self: &Arc<Self>) -> Result<Open, StoreError> {
        let seat = Arc::clone(&self.seats).acquire_owned().await.map_err(|_| closed())?;
        let worker = self.readers().pop();
        let open = Open { on: On::Reader(worker, seat), database: Arc::clone(self) };
        // SQLite takes its view of the database at the first look.
        open.batch("BEGIN; SELECT count(*) FROM sqlite_master").await?;
        Ok(open)
    }

    fn readers(&self) -> MutexGuard<'_, Vec<Worker>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A transaction that is under way.
pub(super) struct Open {
    on: On,
    // It keeps the file locked for as long as somebody writes.
    database: Arc<Sqlite>,
}

enum On {
    /// The one that writes.
    Writer(#[allow(dead_code, reason = "held, not looked at")] OwnedMutexGuard<()>),
    /// One of those that read, until it is put back.
    Reader(Option<Worker>, #[allow(dead_code, reason = "held, not looked at")] OwnedSemaphorePermit),
}

impl Open {
    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let worker = match &self.on {
            On::Writer(_) => &self.database.writer,
            On::Reader(worker, _) => worker.as_ref().ok_or_else(closed)?,
        };
        worker.ask(work).await?.map_err(|error| failed(&error))
    }

    pub(super) async fn execute(&self, sql: &str, values: &[Value]) -> Result<u64, StoreError> {
        self.execute_each(sql, vec![values.to_vec()]).await
    }

    pub(super) async fn execute_each(&self, sql: &str, rows: Vec<Vec<Value>>) -> Result<u64, StoreError> {
        let sql = dialect::for_sqlite(sql);
        self.ask(move |connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let mut touched = 0;
            for row in &rows {
                dialect::bind(&mut statement, row)?;
                // Not `raw_execute`, which refuses statements that answer.
                let mut answers = statement.raw_query();
                while answers.next()?.is_some() {}
                touched += connection.changes();
            }
            Ok(touched)
        })
        .await
    }

    pub(super) async fn query(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        let (sql, values) = (dialect::for_sqlite(sql), values.to_vec());
        self.ask(move |connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            dialect::bind(&mut statement, &values)?;
            let columns = statement.column_count();
            let mut answers = statement.raw_query();
            let mut rows = Vec::new();
            while let Some(row) = answers.next()? {
                rows.push(dialect::read(row, columns)?);
            }
            Ok(rows)
        })
        .await
    }

    pub(super) async fn batch(&self, sql: &str) -> Result<(), StoreError> {
        let sql = sql.to_owned();
        self.ask(move |connection| connection.execute_batch(&sql)).await
    }

    pub(super) async fn commit(self) -> Result<(), StoreError> {
        self.batch("COMMIT").await
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // Nothing of it is left if it was committed. Work goes in its order, so that the next one finds this done.
        let roll_back = |connection: &Connection| {
            if connection.is_autocommit() { Ok(()) } else { connection.execute_batch("ROLLBACK") }
        };
        match &mut self.on {
            On::Writer(_) => self.database.writer.tell(roll_back),
            On::Reader(worker, _) => {
                if let Some(worker) = worker.take() {
                    worker.tell(roll_back);
                    self.database.readers().push(worker);
                }
            }
        }
    }
}

fn closed() -> StoreError {
    StoreErrorKind::Unavailable.because("the database is closed")
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(256);
    connection.execute_batch(SETTINGS)?;
    rusqlite::vtab::array::load_module(&connection)?;
    Ok(connection)
}

/// The database is for its owner alone; its write-ahead log takes its rights.
fn make(path: &Path) -> Result<(), StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    private(&mut options);
    options.open(path).map(drop).map_err(|error| {
        StoreErrorKind::Unavailable.because(format!("could not open the database {}: {error}", path.display()))
    })
}

/// One process writes: a second one is told which.
fn lock(path: &Path) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let failed = |error: std::io::Error| {
        StoreErrorKind::Unavailable.because(format!("could not lock the database with {}: {error}", name.display()))
    };
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    private(&mut options);
    let mut file = options.open(&name).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.take(32).read_to_string(&mut holder);
            return Err(StoreErrorKind::Unavailable.because(format!(
                "process {} has the database {} open: a file serves one process, and PostgreSQL serves several",
                if holder.is_empty() { "unknown" } else { holder.trim() },
                path.display()
            )));
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
    Ok(file)
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(0o600);
}

#[cfg(not(unix))]
fn private(_: &mut OpenOptions) {}

fn failed_to_open(path: &Path, error: &rusqlite::Error) -> StoreError {
    let error = failed(error);
    error.kind().because(format!("{}: {error}", path.display()))
}

fn failed(error: &rusqlite::Error) -> StoreError {
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            return StoreErrorKind::Full
                .because("there is no room on the disk of the database: make some; nothing was changed");
        }
        Some(ErrorCode::NotADatabase) => {
            return StoreErrorKind::Wrong.because("the file is no database of SQLite");
        }
        Some(ErrorCode::ConstraintViolation)
            if matches!(
                error.sqlite_error().map(|error| error.extended_code),
                Some(rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY)
            ) =>
        {
            StoreErrorKind::Taken
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreErrorKind::Busy,
        Some(
            ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::OutOfMemory,
        ) => StoreErrorKind::Unavailable,
        _ => StoreErrorKind::Wrong,
    };
    kind.because(format!("the database says: {error}"))
}

//! Storage: one schema and its statements, on SQLite and on PostgreSQL.
//!
//! Every statement is written once, as PostgreSQL reads it, with `$1` for what is bound, `= ANY($1)` for lists, `ON CONFLICT`,
//! `RETURNING` and `FOR UPDATE SKIP LOCKED`; the types are `TEXT`, `BIGINT` and `BYTEA`. For SQLite, which has one writer at a time
//! and locks no rows, the few words that it does not know are replaced.
//!
//! A [`Transaction`] that is dropped is rolled back, and one in which a statement failed is never committed.

pub mod leases;
pub mod schema;

mod error;
mod postgres;
mod sqlite;
mod transaction;
mod value;

pub use error::{StoreError, StoreErrorKind};
pub use transaction::Transaction;
pub use value::{Row, Value};

use std::{fmt, future::Future, path::Path, sync::Arc};

/// How often an attempt is made that another transaction stood in the way of.
const ATTEMPTS: u32 = 8;

/// A database. Clones are the same one.
#[derive(Clone)]
pub struct Store {
    database: Database,
}

#[derive(Clone)]
enum Database {
    Sqlite(Arc<sqlite::Sqlite>),
    Postgres(Arc<postgres::Postgres>),
}

impl Store {
    /// Opens a database, `sqlite:PATH` or `postgresql://USER@HOST/NAME`, and brings its tables up to this program; a file that is
    /// not there is made.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: among others, another process writes to the file, or a newer program made the tables.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let store = Self::connect(url, false).await?;
        schema::migrate(&store).await?;
        Ok(store)
    }

    /// Opens a database that is there, for something short beside the server that runs on it.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: among others, the tables are not those of this program.
    pub async fn open_beside(url: &str) -> Result<Self, StoreError> {
        let store = Self::connect(url, true).await?;
        schema::must_be_current(&store).await?;
        Ok(store)
    }

    async fn connect(url: &str, beside: bool) -> Result<Self, StoreError> {
        let database = match url.strip_prefix("sqlite:") {
            Some(path) => Database::Sqlite(Arc::new(sqlite::Sqlite::open(Path::new(path), beside).await?)),
            None if url.starts_with("postgres:") || url.starts_with("postgresql:") => {
                Database::Postgres(Arc::new(postgres::Postgres::open(url)?))
            }
            None => {
                return Err(
                    StoreErrorKind::Wrong.because("the address of a database begins with sqlite: or postgresql:")
                );
            }
        };
        Ok(Self { database })
    }

    /// A transaction that sees the database as it is now, and changes nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn read(&self) -> Result<Transaction, StoreError> {
        match &self.database {
            Database::Sqlite(database) => Ok(database.read().await?.into()),
            Database::Postgres(database) => Ok(database.read().await?.into()),
        }
    }

    /// A transaction that changes something.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn write(&self) -> Result<Transaction, StoreError> {
        match &self.database {
            Database::Sqlite(database) => Ok(database.write().await?.into()),
            Database::Postgres(database) => Ok(database.write().await?.into()),
        }
    }

    /// A transaction that changes what is intended: at most one at a time, so that orders and the audit have one order.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn intend(&self) -> Result<Transaction, StoreError> {
        let mut transaction = self.write().await?;
        transaction.query("SELECT value FROM meta WHERE name = 'head' FOR UPDATE", &[]).await?;
        Ok(transaction)
    }

    /// Does work again, from its beginning, that another transaction stood in the way of.
    ///
    /// # Errors
    ///
    /// What the work fails with, at last.
    pub async fn retry<T, E, F>(&self, mut work: impl FnMut() -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
        E: Transient,
    {
        let mut left = ATTEMPTS;
        loop {
            left -= 1;
            match work().await {
                Err(error) if error.is_transient() && left > 0 => {}
                done => return done,
            }
        }
    }

    /// `SQLite` or `PostgreSQL`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self.database {
            Database::Sqlite(_) => "SQLite",
            Database::Postgres(_) => "PostgreSQL",
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("kind", &self.kind()).finish_non_exhaustive()
    }
}

/// Errors that know whether the same may work at once, if it is begun anew.
pub trait Transient {
    /// Whether it may.
    fn is_transient(&self) -> bool;
}

impl Transient for StoreError {
    fn is_transient(&self) -> bool {
        Self::is_transient(self)
    }
}

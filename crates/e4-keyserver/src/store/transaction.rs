//! One transaction, on either database.

use super::{Row, StoreError, StoreErrorKind, Value, postgres, sqlite};
use std::fmt;

/// All or nothing: what was done in it is there after [`Transaction::commit`], and nothing of it if it is dropped.
pub struct Transaction {
    open: Open,
    /// A statement failed: PostgreSQL takes no more of them, and SQLite is to be no different.
    failed: bool,
}

enum Open {
    Sqlite(sqlite::Open),
    Postgres(postgres::Open),
}

impl Transaction {
    /// A statement; how many rows it touched.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; after it, the transaction can only be dropped.
    pub async fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64, StoreError> {
        self.check()?;
        let done = match &self.open {
            Open::Sqlite(open) => open.execute(sql, values).await,
            Open::Postgres(open) => open.execute(sql, values).await,
        };
        self.noted(done)
    }

    /// A statement that answers with rows.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; after it, the transaction can only be dropped.
    pub async fn query(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        self.check()?;
        let done = match &self.open {
            Open::Sqlite(open) => open.query(sql, values).await,
            Open::Postgres(open) => open.query(sql, values).await,
        };
        self.noted(done)
    }

    /// A statement that answers with one row or none.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; after it, the transaction can only be dropped.
    pub async fn query_opt(&mut self, sql: &str, values: &[Value]) -> Result<Option<Row>, StoreError> {
        Ok(self.query(sql, values).await?.into_iter().next())
    }

    /// One statement for each of these rows, in their order; how many rows it touched in all.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; after it, the transaction can only be dropped.
    pub async fn execute_each(&mut self, sql: &str, rows: Vec<Vec<Value>>) -> Result<u64, StoreError> {
        self.check()?;
        let done = match &self.open {
            _ if rows.is_empty() => Ok(0),
            Open::Sqlite(open) => open.execute_each(sql, rows).await,
            Open::Postgres(open) => open.execute_each(sql, rows).await,
        };
        self.noted(done)
    }

    /// Makes it so.
    ///
    /// # Errors
    ///
    /// [`StoreError`]. [`StoreErrorKind::Unavailable`] means here that it is not known whether it was done.
    pub async fn commit(self) -> Result<(), StoreError> {
        self.check()?;
        match self.open {
            Open::Sqlite(open) => open.commit().await,
            Open::Postgres(open) => open.commit().await,
        }
    }

    /// Statements that are no single one, such as the schema.
    pub(super) async fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        self.check()?;
        let done = match &self.open {
            Open::Sqlite(open) => open.batch(sql).await,
            Open::Postgres(open) => open.batch(sql).await,
        };
        self.noted(done)
    }

    pub(super) const fn is_sqlite(&self) -> bool {
        matches!(self.open, Open::Sqlite(_))
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.failed {
            return Err(
                StoreErrorKind::Wrong.because("a statement of this transaction failed before: it can only be dropped")
            );
        }
        Ok(())
    }

    fn noted<T>(&mut self, done: Result<T, StoreError>) -> Result<T, StoreError> {
        self.failed = done.is_err();
        done
    }
}

impl From<sqlite::Open> for Transaction {
    fn from(open: sqlite::Open) -> Self {
        Self { open: Open::Sqlite(open), failed: false }
    }
}

impl From<postgres::Open> for Transaction {
    fn from(open: postgres::Open) -> Self {
        Self { open: Open::Postgres(open), failed: false }
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("failed", &self.failed).finish_non_exhaustive()
    }
}

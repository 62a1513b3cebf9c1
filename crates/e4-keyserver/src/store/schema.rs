//! The tables, and how they came to be: each number of the schema is one step from the one before.

use super::{Store, StoreError, StoreErrorKind, Transaction, Value};

/// The steps, oldest first; a step that was released is never changed.
const STEPS: &[&str] = &[include_str!("schema.sql")];

/// In which order processes that start together bring the tables up to date: a lock of PostgreSQL with a number of our own.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7310582)";

/// The number of the tables that this program knows.
#[must_use]
pub const fn schema_version() -> usize {
    STEPS.len()
}

/// One table of the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its columns, in their order.
    pub columns: Vec<&'static str>,
}

/// All tables in the order in which they are made: what a backup holds.
#[must_use]
pub fn tables() -> Vec<Table> {
    STEPS.iter().flat_map(|step| step.split("CREATE TABLE ").skip(1)).filter_map(table).collect()
}

fn table(statement: &'static str) -> Option<Table> {
    let (name, rest) = statement.split_once(" (")?;
    let (body, _) = rest.split_once(");")?;
    let columns = body
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"))
        .flat_map(|line| line.split(", "))
        .filter_map(|column| column.trim().split_once(' '))
        .filter(|(_, kind)| ["TEXT", "BIGINT", "BYTEA"].iter().any(|word| kind.starts_with(word)))
        .map(|(column, _)| column)
        .collect();
    Some(Table { name, columns })
}

/// Brings the tables to what this program knows.
pub(super) async fn migrate(store: &Store) -> Result<(), StoreError> {
    let mut transaction = store.write().await?;
    if !transaction.is_sqlite() {
        transaction.batch(LOCK).await?;
    }
    let there = version(&mut transaction).await?;
    let steps = STEPS.get(there..).ok_or_else(|| {
        StoreErrorKind::Newer.because(format!(
            "a newer program made this database (its tables are number {there}, and this program knows up to {}): run that one or a newer one",
            STEPS.len()
        ))
    })?;
    if steps.is_empty() {
        return Ok(());
    }
    for step in steps {
        let step = if transaction.is_sqlite() { for_sqlite(step) } else { (*step).to_owned() };
        transaction.batch(&step).await?;
    }
    let version = Value::from(STEPS.len().to_string().into_bytes());
    transaction
        .execute(
            "INSERT INTO meta (name, value) VALUES ('schema_version', $1)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            &[version],
        )
        .await?;
    transaction
        .execute(
            "INSERT INTO meta (name, value) VALUES ('head', $1) ON CONFLICT (name) DO NOTHING",
            &[Value::from(&[])],
        )
        .await?;
    transaction.commit().await
}

/// Refuses tables that are not what this program knows, without changing them.
pub(super) async fn must_be_current(store: &Store) -> Result<(), StoreError> {
    let there = version(&mut store.read().await?).await?;
    if there == schema_version() {
        return Ok(());
    }
    Err(StoreErrorKind::Newer.because(format!(
        "the tables of this database are number {there}, and this program works with number {}: use the program of the server that runs on it",
        schema_version()
    )))
}

/// Up to which step the tables were made.
async fn version(transaction: &mut Transaction) -> Result<usize, StoreError> {
    let there = if transaction.is_sqlite() {
        "SELECT count(*) FROM sqlite_master WHERE name = 'meta'"
    } else {
        "SELECT count(*) FROM pg_class WHERE oid = to_regclass('meta')"
    };
    let count = transaction.query_opt(there, &[]).await?.map_or(Ok(0), |row| row.int(0))?;
    if count == 0 {
        return Ok(0);
    }
    let row = transaction.query_opt("SELECT value FROM meta WHERE name = 'schema_version'", &[]).await?;
    let bytes = row.as_ref().map(|row| row.bytes(0)).transpose()?.unwrap_or_default();
    std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).ok_or_else(|| {
        StoreErrorKind::Wrong
            .because("this database has a table `meta` without a number of its tables: it is not a key server's")
    })
}

/// The same for SQLite: its names of types, checked as strictly as PostgreSQL does. Rows whose key is no number
/// lie in the order of it: many devices at once then touch few pages, here and in their outboxes.
fn for_sqlite(step: &str) -> String {
    let lines: Vec<_> = step.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    let mut text = String::new();
    for statement in lines.join("\n").replace("BYTEA", "BLOB").replace("BIGINT", "INTEGER").split(';') {
        text.push_str(statement);
        if statement.trim_start().starts_with("CREATE TABLE") {
            let has_key = statement.contains("PRIMARY KEY (") || statement.contains("BLOB PRIMARY KEY");
            text.push_str(if has_key { " STRICT, WITHOUT ROWID" } else { " STRICT" });
        }
        text.push(';');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read_from_the_schema() {
        let tables = tables();
        let columns = |name: &str| {
            tables.iter().find(|table| table.name == name).map(|table| table.columns.clone()).unwrap_or_default()
        };
        assert_eq!(columns("meta"), ["name", "value"]);
        assert_eq!(columns("outbox"), ["device", "position", "sent", "v", "bytes", "step", "handed", "answer"]);
        assert_eq!(columns("leases"), ["slice", "holder", "fence", "expires"]);
        assert_eq!(tables.len(), STEPS.concat().matches("CREATE TABLE").count());
    }

    #[test]
    fn sqlite_gets_its_own_types() {
        let text = for_sqlite(
            "-- One; two.\nCREATE TABLE t (a BIGINT, b BYTEA, PRIMARY KEY (a, b));\nCREATE INDEX i ON t (b);\n",
        );
        assert_eq!(
            text,
            "CREATE TABLE t (a INTEGER, b BLOB, PRIMARY KEY (a, b)) STRICT, WITHOUT ROWID;\nCREATE INDEX i ON t (b);;"
        );
    }
}

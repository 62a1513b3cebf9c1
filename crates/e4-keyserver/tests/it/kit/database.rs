//! A database for each test, of either kind.

use super::postgres::Cluster;
use e4_keyserver::store::Store;
use tempfile::TempDir;

/// A database of a test's own, which ends with it.
pub(crate) struct Database {
    url: String,
    place: Place,
}

enum Place {
    Folder(TempDir),
    Cluster(&'static Cluster, String),
}

impl Database {
    /// A new file.
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { url: format!("sqlite:{}", folder.path().join("fleet.db").display()), place: Place::Folder(folder) }
    }

    /// A new database in this process's PostgreSQL; none if that is not installed, unless the environment says that it must be.
    pub(crate) fn postgres() -> Option<Self> {
        let cluster = Cluster::shared()?;
        let name = cluster.create_database();
        Some(Self { url: cluster.url(&name), place: Place::Cluster(cluster, name) })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) async fn open(&self) -> Store {
        Store::open(&self.url).await.unwrap()
    }

    pub(crate) const fn is_sqlite(&self) -> bool {
        matches!(self.place, Place::Folder(_))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Place::Cluster(cluster, name) = &self.place {
            cluster.drop_database(name);
        }
    }
}

/// Makes two tests of each function `async fn name(database: Database)`: on SQLite and on PostgreSQL.
macro_rules! on_both_databases {
    ($($name:ident),+ $(,)?) => {
        mod on_sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name($crate::kit::database::Database::sqlite()).await;
                }
            )+
        }

        mod on_postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let Some(database) = $crate::kit::database::Database::postgres() else { return };
                    super::$name(database).await;
                }
            )+
        }
    };
}

pub(crate) use on_both_databases;

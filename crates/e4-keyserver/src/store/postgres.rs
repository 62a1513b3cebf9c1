//! PostgreSQL: a pool of connections.

mod tls;
mod types;

use super::{Row, StoreError, StoreErrorKind, Value};
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::{error::Error, net::IpAddr, time::Duration};
use tokio_postgres::{
    Config, NoTls,
    config::{Host, SslMode},
    error::SqlState,
    types::ToSql,
};

const CONNECTIONS: usize = 10;
const WAIT: Duration = Duration::from_secs(10);

/// How many statements of one kind are on their way before the first answer.
const PIPELINED: usize = 256;

/// A server that was stopped in the middle of a transaction must not hold up the others for longer than its leases would.
const SESSION: &str = "-c idle_in_transaction_session_timeout=10s -c lock_timeout=20s -c client_min_messages=warning";

pub(super) struct Postgres {
    pool: Pool,
}

impl Postgres {
    pub(super) fn open(url: &str) -> Result<Self, StoreError> {
        let (url, authorities) = tls::authorities_of(url);
        let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
            StoreErrorKind::Wrong.because(format!("the address of the database cannot be read: {}", told(&error)))
        })?;
        let needs_tls = !is_on_this_machine(&config);
        if needs_tls {
            if config.get_ssl_mode() == SslMode::Disable {
                return Err(StoreErrorKind::Wrong.because(
                    "the database is on another machine, and is spoken to by TLS alone: leave out sslmode=disable",
                ));
            }
            config.ssl_mode(SslMode::Require);
        }
        let options = config.get_options().map_or_else(|| SESSION.to_owned(), |theirs| format!("{SESSION} {theirs}"));
        config.options(options).connect_timeout(Duration::from_secs(5)).tcp_user_timeout(WAIT);
        config.keepalives_idle(WAIT).keepalives_interval(Duration::from_secs(3)).keepalives_retries(3);
        if config.get_application_name().is_none() {
            config.application_name("e4-keyserver");
        }
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = if needs_tls || config.get_ssl_mode() == SslMode::Require {
            Manager::from_config(config, tls::connector(authorities)?, manager)
        } else {
            Manager::from_config(config, NoTls, manager)
        };
        let pool = Pool::builder(manager)
            .max_size(CONNECTIONS)
            .wait_timeout(Some(WAIT))
            .create_timeout(Some(WAIT))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| StoreErrorKind::Wrong.because(format!("no pool of connections: {error}")))?;
        Ok(Self { pool })
    }

    pub(super) async fn write(&self) -> Result<Open, StoreError> {
        self.begin("BEGIN").await
    }

    pub(super) async fn read(&self) -> Result<Open, StoreError> {
        self.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
    }

    /// On a connection that was idle since its server went away, one learns so only now: then on another one.
    async fn begin(&self, sql: &str) -> Result<Open, StoreError> {
        let mut left = CONNECTIONS;
        loop {
            let client = self.pool.get().await.map_err(|error| no_connection(&error))?;
            let open = Open { client: Some(client) };
            match open.batch(sql).await {
                Err(error) if error.kind() == StoreErrorKind::Unavailable && left > 0 => left -= 1,
                done => return done.map(|()| open),
            }
        }
    }
}

fn is_on_this_machine(config: &Config) -> bool {
    let is_here = |host: &Host| match host {
        Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()),
        Host::Unix(_) => true,
    };
    config.get_hosts().iter().all(is_here) && config.get_hostaddrs().iter().all(IpAddr::is_loopback)
}

/// A transaction that is under way.
pub(super) struct Open {
    client: Option<Object>,
}

impl Open {
    fn client(&self) -> Result<&Object, StoreError> {
        self.client.as_ref().ok_or_else(|| StoreErrorKind::Unavailable.because("the database is closed"))
    }

    pub(super) async fn execute(&self, sql: &str, values: &[Value]) -> Result<u64, StoreError> {
        let client = self.client()?;
        let statement = client.prepare_cached(sql).await.map_err(|error| failed(&error))?;
        client.execute_raw(&statement, values).await.map_err(|error| failed(&error))
    }

    pub(super) async fn execute_each(&self, sql: &str, rows: Vec<Vec<Value>>) -> Result<u64, StoreError> {
        let client = self.client()?;
        let statement = client.prepare_cached(sql).await.map_err(|error| failed(&error))?;
        let each = rows.into_iter().map(|row| {
            let statement = &statement;
            async move { client.execute_raw(statement, &row).await }
        });
        let done = stream::iter(each).buffered(PIPELINED);
        done.try_fold(0, async |sum, touched| Ok(sum + touched)).await.map_err(|error| failed(&error))
    }

    pub(super) async fn query(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        let client = self.client()?;
        let statement = client.prepare_cached(sql).await.map_err(|error| failed(&error))?;
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        let rows = client.query(&statement, &values).await.map_err(|error| failed(&error))?;
        rows.iter().map(types::read).collect::<Result<_, _>>().map_err(|error| failed(&error))
    }

    pub(super) async fn batch(&self, sql: &str) -> Result<(), StoreError> {
        self.client()?.batch_execute(sql).await.map_err(|error| failed(&error))
    }

    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        self.batch("COMMIT").await.map_err(|error| match error.kind() {
            StoreErrorKind::Unavailable => StoreErrorKind::Unavailable.because(format!(
                "the database went away while it committed, so that it is not known whether it did: {error}"
            )),
            _ => error,
        })?;
        // Nothing to roll back.
        drop(self.client.take());
        Ok(())
    }
}

impl Drop for Open {
    /// Rolls back, and gives the connection to others only after that.
    fn drop(&mut self) {
        let Some(client) = self.client.take() else { return };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if !client.is_closed() => {
                runtime.spawn(async move {
                    if client.batch_execute("ROLLBACK").await.is_err() {
                        drop(Object::take(client));
                    }
                });
            }
            _ => drop(Object::take(client)),
        }
    }
}

fn no_connection(error: &PoolError) -> StoreError {
    match error {
        PoolError::Backend(error) => {
            let error = failed(error);
            error.kind().because(format!("the database cannot be reached: {error}"))
        }
        PoolError::Timeout(_) => StoreErrorKind::Unavailable.because("the database did not answer in time"),
        other => StoreErrorKind::Unavailable.because(format!("the database cannot be reached: {other}")),
    }
}

fn failed(error: &tokio_postgres::Error) -> StoreError {
    let Some(code) = error.code() else {
        let is_ours = error.source().is_some_and(<dyn Error + 'static>::is::<types::Unfit>);
        return if is_ours { StoreErrorKind::Wrong } else { StoreErrorKind::Unavailable }.because(told(error));
    };
    let kind = match code {
        &SqlState::UNIQUE_VIOLATION => StoreErrorKind::Taken,
        &SqlState::T_R_DEADLOCK_DETECTED | &SqlState::T_R_SERIALIZATION_FAILURE => StoreErrorKind::Busy,
        &SqlState::DISK_FULL => StoreErrorKind::Full,
        code if ["08", "53", "55", "57", "58"].iter().any(|class| code.code().starts_with(class)) => {
            StoreErrorKind::Unavailable
        }
        &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => StoreErrorKind::Unavailable,
        code if code.code().starts_with("28") || code.code().starts_with("3D") => StoreErrorKind::Unavailable,
        _ => StoreErrorKind::Wrong,
    };
    if kind == StoreErrorKind::Full {
        return kind.because("there is no room on the disk of the database: make some; nothing was changed");
    }
    kind.because(format!("the database says: {}", told(error)))
}

/// An error with what is behind it, which `Display` leaves out.
fn told(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(error), _) => error.message().to_owned(),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}

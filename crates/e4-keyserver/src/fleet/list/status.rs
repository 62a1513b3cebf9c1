//! How the fleet is.

use super::{exposure::exposed, hex_id, moment, number};
use crate::{
    fleet::{Fleet, Held, Refusal, behind::known_of},
    model::{KeyRole, OrderState, Status},
    plan::{Known, Standing},
    store::{Row, Transaction, Value},
};
use e4::TopicHash;
use e4_keyserver_api as said;
use std::collections::HashMap;

/// Devices that are listed.
const LISTED: i64 = 100;
/// Topics that are named of one of them.
const NAMED: usize = 5;

impl Fleet {
    /// How the server and its fleet are, apart from connections to brokers.
    ///
    /// # Errors
    ///
    /// The database.
    pub async fn server_status(&self) -> Result<said::ServerStatus, Refusal> {
        let mut tx = self.store().read().await?;
        let hold = match Held::read(&mut tx).await? {
            None => None,
            Some(held) => Some(said::Hold {
                reason: held.reason,
                since: moment(held.since),
                would_send_to: count(&mut tx, "SELECT COUNT(*) FROM devices WHERE due <= $1", &[self.now().into()])
                    .await?,
                ahead: count(
                    &mut tx,
                    "SELECT COUNT(*) FROM devices WHERE standing = $1",
                    &[Standing::Ahead.word().into()],
                )
                .await?,
            }),
        };
        let open = OrderState::ALL.into_iter().filter(|state| !state.is_over()).map(OrderState::code);
        let open = Value::list(open);
        let mut warnings = Vec::new();
        if count(&mut tx, "SELECT COUNT(*) FROM slots", &[]).await? < 2 {
            warnings.push(
                "the vault has fewer than two slots: if that one is lost, all keys are; `e4-keyserver slots add` makes another"
                    .to_owned(),
            );
        }
        Ok(said::ServerStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            time: moment(self.now()),
            hold,
            brokers: Vec::new(),
            devices: devices(&mut tx).await?,
            topics: count(&mut tx, "SELECT COUNT(*) FROM topics WHERE removed IS NULL", &[]).await?,
            open_orders: count(&mut tx, "SELECT COUNT(*) FROM orders WHERE state = ANY($1)", &[open]).await?,
            outstanding: count(&mut tx, "SELECT COUNT(*) FROM outbox", &[]).await?,
            exposed: exposed(&mut tx).await?,
            silent: silent(&mut tx).await?,
            warnings,
        })
    }
}

async fn count(tx: &mut Transaction, sql: &str, values: &[Value]) -> Result<u64, Refusal> {
    let row = tx.query_opt(sql, values).await?.ok_or_else(|| super::damaged("no number"))?;
    number(row.int(0)?)
}

async fn devices(tx: &mut Transaction) -> Result<said::DeviceCounts, Refusal> {
    let mut counts = said::DeviceCounts::default();
    let sql = "SELECT status, standing, COUNT(*) FROM devices GROUP BY status, standing";
    for row in tx.query(sql, &[]).await? {
        let count = number(row.int(2)?)?;
        match Status::from_code(row.int(0)?) {
            Some(Status::Enrolled) => counts.enrolled += count,
            Some(Status::Active) => counts.active += count,
            Some(Status::Withdrawn) => {
                counts.withdrawn += count;
                continue;
            }
            None => return Err(super::damaged("no Status")),
        }
        *counts.by_standing.entry(row.text(1)?.to_owned()).or_default() += count;
    }
    Ok(counts)
}

/// Devices that need a person, or that have been silent for too long: those that have been for longest.
async fn silent(tx: &mut Transaction) -> Result<Vec<said::Silent>, Refusal> {
    let words =
        Standing::ALL.into_iter().filter(|it| it.needs_a_person() || *it == Standing::Dormant).map(Standing::word);
    let sql = "SELECT id, name, standing, standing_since, reported, held FROM devices
               WHERE standing = ANY($1) AND withdrawn IS NULL ORDER BY standing_since, id LIMIT $2";
    let rows = tx.query(sql, &[Value::list(words), Value::from(LISTED)]).await?;
    let known = rows.iter().map(|row| known_of(row.opt_text(5)?)).collect::<Result<Vec<_>, Refusal>>()?;
    let hashes = known.iter().flat_map(|it| it.states.iter()).flat_map(|state| state.topics.keys());
    let hashes: std::collections::BTreeSet<_> = hashes.copied().collect();
    let mut topics = HashMap::new();
    let sql = "SELECT t.hash, t.name, k.version FROM topics t JOIN key_versions k ON k.topic = t.id
               WHERE t.hash = ANY($1) AND k.role = $2";
    let values = [Value::list(hashes.iter().map(TopicHash::as_bytes)), Value::from(KeyRole::Current.code())];
    for row in tx.query(sql, &values).await? {
        topics.insert(TopicHash::from_bytes(row.array(0)?), (row.text(1)?.to_owned(), row.version(2)?));
    }
    rows.iter().zip(&known).map(|(row, known)| silent_one(row, known, &topics)).collect()
}

fn silent_one(row: &Row, known: &Known, topics: &HashMap<TopicHash, (String, u32)>) -> Result<said::Silent, Refusal> {
    let standing = Standing::from_word(row.text(2)?).ok_or_else(|| super::damaged("no standing of a device"))?;
    let mut old: Vec<_> = known
        .states
        .iter()
        .flat_map(|state| &state.topics)
        .filter_map(|(hash, held)| {
            let (name, current) = topics.get(hash)?;
            (held.current < *current).then(|| format!("{name} under key version {}", held.current))
        })
        .collect();
    old.sort();
    old.dedup();
    let more = old.len().saturating_sub(NAMED);
    old.truncate(NAMED);
    let consequence = match (old.is_empty(), more) {
        (true, _) => standing.sentence().to_owned(),
        (false, 0) => format!("still reads {}", old.join(", ")),
        (false, more) => format!("still reads {} and {more} more", old.join(", ")),
    };
    Ok(said::Silent {
        device: said::DeviceRef { id: hex_id(row.bytes(0)?), name: row.opt_text(1)?.map(str::to_owned) },
        standing: said::Standing::from_word(standing.word())
            .ok_or_else(|| super::damaged("no standing of a device"))?,
        since: moment(row.int(3)?),
        reported: row.opt_int(4)?.map(moment),
        consequence,
    })
}

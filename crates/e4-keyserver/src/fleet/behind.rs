//! Who does not hold what it should, as far as is known.
//!
//! A device is as it should be if its standing is `confirmed` and nothing is due for it: each change of intention makes those due
//! whom it concerns, in its own transaction.

use super::{Refusal, Said, find::id_of, members::MEMBERS};
use crate::{
    plan::{Known, Standing},
    store::{Transaction, Value},
};
use e4::{ClientId, TopicHash};

/// So many are looked at; if there are more, it is clear enough that an order has to wait.
const MOST: i64 = 2_000;

/// A device that reports, is waited for, and is not simply as it should be.
pub(super) struct Behind {
    pub(super) id: ClientId,
    pub(super) name: Option<String>,
    pub(super) reported: i64,
    pub(super) known: Known,
    said: Option<Said>,
}

impl Behind {
    pub(super) fn knows_next_keys(&self) -> bool {
        self.said.as_ref().is_some_and(|said| said.knows_next_keys)
    }

    /// By its name, or by its id.
    pub(super) fn shown(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.id.to_string())
    }
}

/// Those of the members of these topics; `None` if there are very many.
pub(super) async fn behind(tx: &mut Transaction, topics: &[i64]) -> Result<Option<Vec<Behind>>, Refusal> {
    let sql = format!(
        "SELECT id, name, reported, held, report FROM devices WHERE status <> 2 AND reported IS NOT NULL
         AND (due IS NOT NULL OR standing <> $1) AND standing <> $3 AND standing <> $4 AND id IN ({MEMBERS}) LIMIT $5"
    );
    let [confirmed, dormant, lapsed] =
        [Standing::Confirmed, Standing::Dormant, Standing::Lapsed].map(|standing| Value::from(standing.word()));
    let topics = Value::list(topics.iter().copied());
    let rows = tx.query(&sql, &[confirmed, topics, dormant, lapsed, Value::from(MOST)]).await?;
    if i64::try_from(rows.len()).is_ok_and(|count| count >= MOST) {
        return Ok(None);
    }
    let found: Result<Vec<_>, Refusal> = rows
        .iter()
        .map(|row| {
            Ok(Behind {
                id: id_of(row.bytes(0)?)?,
                name: row.opt_text(1)?.map(str::to_owned),
                reported: row.int(2)?,
                known: known_of(row.opt_text(3)?)?,
                said: row
                    .opt_text(4)?
                    .map(serde_json::from_str)
                    .transpose()
                    .map_err(|_| Refusal::damaged("the report of a device cannot be read"))?,
            })
        })
        .collect();
    Ok(Some(found?))
}

/// Reads the column `held` of a device.
pub(super) fn known_of(text: Option<&str>) -> Result<Known, Refusal> {
    let read = |text| serde_json::from_str(text).map_err(|_| Refusal::damaged("what a device holds cannot be read"));
    text.map_or_else(|| Ok(Known::default()), read)
}

/// How many members of these topics are not waited for, and not known to be as they should be.
pub(super) async fn count_not_waited_for(tx: &mut Transaction, topics: &[i64]) -> Result<i64, Refusal> {
    let sql = format!(
        "SELECT COUNT(*) FROM devices WHERE status <> 2 AND (reported IS NULL OR standing = $1 OR standing = $3)
         AND id IN ({MEMBERS})"
    );
    let [dormant, lapsed] = [Standing::Dormant, Standing::Lapsed].map(|standing| Value::from(standing.word()));
    let topics = Value::list(topics.iter().copied());
    Ok(tx.query_opt(&sql, &[dormant, topics, lapsed]).await?.map_or(Ok(0), |row| row.int(0))?)
}

/// A version of a topic's key that members are to hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub(super) topic: TopicHash,
    pub(super) version: u32,
}

impl Target {
    /// By the hashes of topics.
    pub(super) async fn all(tx: &mut Transaction, versions: &[(i64, u32)]) -> Result<Vec<Self>, Refusal> {
        let topics = Value::list(versions.iter().map(|(topic, _)| *topic));
        let rows = tx.query("SELECT id, hash FROM topics WHERE id = ANY($1)", &[topics]).await?;
        let mut targets = Vec::with_capacity(rows.len());
        for row in &rows {
            let topic = TopicHash::from_bytes(row.array(1)?);
            let id = row.int(0)?;
            let versions = versions.iter().filter(|(other, _)| *other == id);
            targets.extend(versions.map(|(_, version)| Self { topic, version: *version }));
        }
        Ok(targets)
    }

    /// Whether a device that this is known of certainly seals under it, or under a later one.
    pub(super) fn is_held(&self, known: &Known) -> bool {
        let held = known.holds().and_then(|holds| holds.topics.get(&self.topic));
        held.is_some_and(|held| held.current >= self.version)
    }

    /// Whether it certainly opens what comes under it.
    pub(super) fn is_prepared(&self, known: &Known) -> bool {
        let held = known.holds().and_then(|holds| holds.topics.get(&self.topic));
        held.is_some_and(|held| held.current >= self.version || held.next.is_some_and(|next| next >= self.version))
    }

    /// Whether a device that this is known of may hold an earlier one.
    pub(super) fn is_older_held(&self, known: &Known) -> bool {
        known.states.is_empty()
            || known
                .states
                .iter()
                .any(|state| state.topics.get(&self.topic).is_some_and(|held| held.current < self.version))
    }
}

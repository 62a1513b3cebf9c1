//! Keys that withdrawn devices have and that others still use.

use super::{after_number, hex_id, limit, moment, no_cursor, number, part};
use crate::{
    fleet::{
        Fleet, OrderDetail, Refusal,
        behind::{Target, known_of},
    },
    model::OrderKind,
    plan::Known,
    store::{Row, Transaction, Value},
};
use e4::TopicHash;
use e4_keyserver_api as said;
use std::collections::{BTreeSet, HashMap};

/// Withdrawals that are looked at: the newest.
const WITHDRAWALS: i64 = 1_000;
/// Members that are named.
const NAMED: usize = 20;

/// What a withdrawal left, topic by topic; nothing of a topic whose members all hold later keys.
pub(super) struct Left {
    order: i64,
    exposure: said::Exposure,
}

impl Fleet {
    /// Keys that withdrawn devices have and that others still use, the last withdrawal first. What is not listed is over.
    ///
    /// # Errors
    ///
    /// A query that makes no sense; the database.
    pub async fn list_exposure(&self, query: &said::PageQuery) -> Result<said::Page<said::Exposure>, Refusal> {
        let limit = limit(query.limit)?;
        let after = query.after.as_deref().map(|text| text.split_once('-').ok_or_else(no_cursor)).transpose()?;
        let after = match after {
            Some((order, topic)) => Some((
                after_number(Some(order))?.ok_or_else(no_cursor)?,
                topic.parse::<u64>().map_err(|_| no_cursor())?,
            )),
            None => None,
        };
        let mut tx = self.store().read().await?;
        let mut left = left(&mut tx).await?;
        if let Some((order, topic)) = after {
            left.retain(|it| it.order < order || (it.order == order && it.exposure.topic.id > topic));
        }
        let page = part(left, limit, |it| format!("{}-{}", it.order, it.exposure.topic.id));
        Ok(said::Page { items: page.items.into_iter().map(|it| it.exposure).collect(), next: page.next })
    }
}

/// How many members still use a key that a withdrawn device has, each once.
pub(super) async fn exposed(tx: &mut Transaction) -> Result<u64, Refusal> {
    Ok(left(tx).await?.iter().map(|it| it.exposure.still).sum())
}

async fn left(tx: &mut Transaction) -> Result<Vec<Left>, Refusal> {
    let sql = "SELECT o.id, o.device, d.name, o.created, o.detail FROM orders o JOIN devices d ON d.id = o.device
               WHERE o.kind = $1 ORDER BY o.id DESC LIMIT $2";
    let orders = tx.query(sql, &[Value::from(OrderKind::Withdraw.code()), Value::from(WITHDRAWALS)]).await?;
    let mut cuts = Vec::new();
    for order in &orders {
        let detail: OrderDetail =
            serde_json::from_str(order.text(4)?).map_err(|_| super::damaged("an order that cannot be read"))?;
        let mut topics = detail.topics;
        topics.sort_unstable();
        cuts.extend(topics.into_iter().map(|(topic, version)| (order, topic, version)));
    }
    let topics: BTreeSet<_> = cuts.iter().map(|(_, topic, _)| *topic).collect();
    if topics.is_empty() {
        return Ok(Vec::new());
    }
    let members = Members::read(tx, topics).await?;
    let mut left = Vec::new();
    for (order, topic, version) in cuts {
        if let Some(exposure) = members.exposure(order, topic, version)? {
            left.push(Left { order: order.int(0)?, exposure });
        }
    }
    Ok(left)
}

struct Member {
    device: said::DeviceRef,
    known: Known,
    reports: bool,
}

/// Who has access to some topics, and what they hold.
struct Members {
    topics: HashMap<i64, (TopicHash, String)>,
    of_topic: HashMap<i64, Vec<usize>>,
    all: Vec<Member>,
}

impl Members {
    async fn read(tx: &mut Transaction, topics: BTreeSet<i64>) -> Result<Self, Refusal> {
        let list = [Value::list(topics)];
        let mut members = Self { topics: HashMap::new(), of_topic: HashMap::new(), all: Vec::new() };
        for row in tx.query("SELECT id, hash, name FROM topics WHERE id = ANY($1) AND removed IS NULL", &list).await? {
            members.topics.insert(row.int(0)?, (TopicHash::from_bytes(row.array(1)?), row.text(2)?.to_owned()));
        }
        let sql = "SELECT a.topic, a.device, d.name, d.held, d.reported FROM (
                     SELECT topic, device FROM device_access WHERE topic = ANY($1)
                     UNION SELECT a.topic, m.device FROM group_access a JOIN members m ON m.grp = a.grp WHERE a.topic = ANY($1)
                   ) AS a JOIN devices d ON d.id = a.device WHERE d.withdrawn IS NULL ORDER BY a.topic, a.device";
        let mut place: HashMap<Vec<u8>, usize> = HashMap::new();
        for row in tx.query(sql, &list).await? {
            let id = row.bytes(1)?;
            let at = match place.get(id) {
                Some(at) => *at,
                None => {
                    place.insert(id.to_vec(), members.all.len());
                    members.all.push(Member {
                        device: said::DeviceRef { id: hex_id(id), name: row.opt_text(2)?.map(str::to_owned) },
                        known: known_of(row.opt_text(3)?)?,
                        reports: row.opt_int(4)?.is_some(),
                    });
                    members.all.len() - 1
                }
            };
            members.of_topic.entry(row.int(0)?).or_default().push(at);
        }
        Ok(members)
    }

    fn exposure(&self, order: &Row, topic: i64, version: u32) -> Result<Option<said::Exposure>, Refusal> {
        let Some((hash, name)) = self.topics.get(&topic) else { return Ok(None) };
        let target = Target { topic: *hash, version };
        let members = self.of_topic.get(&topic).into_iter().flatten().filter_map(|at| self.all.get(*at));
        let still: Vec<_> = members.filter(|member| target.is_older_held(&member.known)).collect();
        if still.is_empty() {
            return Ok(None);
        }
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Ok(Some(said::Exposure {
            withdrawn: said::DeviceRef { id: hex_id(order.bytes(1)?), name: order.opt_text(2)?.map(str::to_owned) },
            topic: said::TopicRef { id: number(topic)?, name: name.clone() },
            version: u64::from(version.saturating_sub(1)),
            since: moment(order.int(3)?),
            still: count(still.len()),
            unconfirmed: count(still.iter().filter(|member| !member.reports).count()),
            members: still.into_iter().take(NAMED).map(|member| member.device.clone()).collect(),
        }))
    }
}

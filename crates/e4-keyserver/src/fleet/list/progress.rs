//! How far orders are, in devices, by what devices reported.

use super::number;
use crate::{
    fleet::{
        OrderDetail, Refusal,
        behind::{Behind, Target, behind},
        members::MEMBERS,
    },
    model::{OrderKind, OrderState},
    plan::Standing,
    store::{Transaction, Value},
};
use e4_keyserver_api as said;

/// Devices that are named.
const NAMED: usize = 20;

/// What of an order says whom it concerns and what it brings.
pub(super) struct Brings {
    pub(super) kind: OrderKind,
    pub(super) state: OrderState,
    pub(super) topic: Option<i64>,
    pub(super) device: Option<Vec<u8>>,
    pub(super) version: Option<i64>,
    pub(super) detail: OrderDetail,
}

/// How far an order is, and some of those that it waits for.
pub(super) async fn progress(
    tx: &mut Transaction,
    order: &Brings,
) -> Result<(said::Progress, Vec<said::DeviceRef>), Refusal> {
    let progress = match order.kind {
        OrderKind::RotateTopic | OrderKind::Withdraw => return of_members(tx, order).await,
        OrderKind::RotateClientKeys => {
            let sql =
                "SELECT CAST(CASE WHEN next_since IS NULL THEN 0 WHEN reported IS NULL THEN 3 WHEN standing = ANY($1) THEN 2
                       ELSE 1 END AS BIGINT), COUNT(*) FROM devices WHERE id = $2 GROUP BY 1";
            count(tx, sql, &[silent(), Value::from(order.device.clone())]).await?
        }
        OrderKind::RotateServerKey => {
            let sql =
                "SELECT CAST(CASE WHEN server_key >= $2 THEN 0 WHEN reported IS NULL THEN 3 WHEN standing = ANY($1) THEN 2
                       ELSE 1 END AS BIGINT), COUNT(*) FROM devices WHERE mode = 1 AND status <> 2 GROUP BY 1";
            count(tx, sql, &[silent(), Value::from(order.version)]).await?
        }
    };
    Ok((progress, Vec::new()))
}

fn silent() -> Value {
    Value::list([Standing::Dormant, Standing::Lapsed].map(Standing::word))
}

/// Devices by how they stand: 0 confirmed, 1 waited for, 2 silent for too long, 3 never heard.
async fn count(tx: &mut Transaction, sql: &str, values: &[Value]) -> Result<said::Progress, Refusal> {
    let mut progress = said::Progress::default();
    for row in tx.query(sql, values).await? {
        let count = number(row.int(1)?)?;
        progress.devices += count;
        match row.int(0)? {
            0 => progress.confirmed += count,
            1 => progress.waiting += count,
            2 => progress.silent += count,
            _ => progress.unconfirmed += count,
        }
    }
    Ok(progress)
}

async fn of_members(tx: &mut Transaction, order: &Brings) -> Result<(said::Progress, Vec<said::DeviceRef>), Refusal> {
    let versions = match (order.topic, order.version.map(u32::try_from)) {
        (Some(topic), Some(Ok(version))) => vec![(topic, version)],
        _ => order.detail.topics.clone(),
    };
    let topics: Vec<_> = order.topic.into_iter().chain(versions.iter().map(|(topic, _)| *topic)).collect();
    let list = Value::list(topics.iter().copied());
    let sql = format!(
        "SELECT CAST(CASE WHEN reported IS NULL THEN 3 WHEN standing = ANY($1) THEN 2
         WHEN due IS NULL AND standing = $3 THEN 0 ELSE 1 END AS BIGINT), COUNT(*)
         FROM devices WHERE status <> 2 AND id IN ({MEMBERS}) GROUP BY 1"
    );
    let mut progress = count(tx, &sql, &[silent(), list, Value::from(Standing::Confirmed.word())]).await?;
    if order.state == OrderState::Waiting {
        // It has brought nothing yet.
        return Ok((said::Progress { devices: progress.devices, ..said::Progress::default() }, Vec::new()));
    }
    // Of those that are not simply as they should be, some have what this order brings, and something else is under way.
    let Some(found) = behind(tx, &topics).await? else { return Ok((progress, Vec::new())) };
    let targets = Target::all(tx, &versions).await?;
    let lacks = |it: &&Behind| {
        targets.iter().any(|target| match (order.kind, order.state) {
            (OrderKind::Withdraw, _) => target.is_older_held(&it.known),
            (_, OrderState::Preparing) => it.knows_next_keys() && !target.is_prepared(&it.known),
            _ => !target.is_held(&it.known),
        })
    };
    let missing: Vec<_> = found.iter().filter(lacks).collect();
    let waiting = u64::try_from(missing.len()).unwrap_or(u64::MAX).min(progress.waiting);
    progress.confirmed += progress.waiting - waiting;
    progress.waiting = waiting;
    let named = missing.into_iter().take(NAMED);
    let named = named.map(|it| said::DeviceRef { id: it.id.to_string(), name: it.name.clone() });
    Ok((progress, named.collect()))
}

//! Rotation of topics.
//!
//! A topic has at most one rotation that has not yet given everybody the key to seal under: `waiting` or `preparing`. One that is
//! `switching` only waits for the rest to say that they have it, and a later one goes on from there.

use super::{
    Actor, Fleet, Held, Leave, Policy, Refusal, RefusalKind, TopicPolicy,
    intent::{Attempted, Intent},
    keys::{NewVersions, in_use, new_versions},
    members::members_are_due,
};
use crate::{
    model::{KeyRole, OrderKind, OrderState, Reason, Role, RotationKind},
    store::{Row, Transaction, Value},
};
use e4::ClientId;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What an order has to say besides its columns.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct OrderDetail {
    /// It does not begin before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<i64>,
    /// Who lost access, as far as it fits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
    /// Of a withdrawal: topics with the versions that they got.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<(i64, u32)>,
    /// The order that ended this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overtaken_by: Option<i64>,
    /// What there is to say at its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Devices that an order names at most.
const NAMED: usize = 20;

/// A rotation that has not given everybody its key yet.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) id: i64,
    pub(super) topic: i64,
    pub(super) state: OrderState,
    pub(super) kind: RotationKind,
    pub(super) reason: Reason,
    pub(super) detail: OrderDetail,
}

const PENDING: &str = "SELECT id, topic, state, rotation, reason, detail FROM orders
     WHERE state IN (0, 1) AND kind = 0 AND topic = ANY($1) ORDER BY id";

impl Pending {
    fn of(row: &Row) -> Result<Self, Refusal> {
        let unknown = || Refusal::damaged("an order has a code that this program does not know");
        Ok(Self {
            id: row.int(0)?,
            topic: row.int(1)?,
            state: OrderState::from_code(row.int(2)?).ok_or_else(unknown)?,
            kind: RotationKind::from_code(row.int(3)?).ok_or_else(unknown)?,
            reason: Reason::from_code(row.int(4)?).ok_or_else(unknown)?,
            detail: detail_of(row.text(5)?)?,
        })
    }

    async fn of_topics(tx: &mut Transaction, topics: &[i64]) -> Result<Vec<Self>, Refusal> {
        let list = Value::list(topics.iter().copied());
        tx.query(PENDING, &[list]).await?.iter().map(Self::of).collect()
    }
}

/// Reads the column `detail` of an order.
pub(super) fn detail_of(text: &str) -> Result<OrderDetail, Refusal> {
    serde_json::from_str(text).map_err(|_| Refusal::damaged("the detail of an order cannot be read"))
}

pub(super) fn detail_text(detail: &OrderDetail) -> Result<String, Refusal> {
    serde_json::to_string(detail).map_err(|_| Refusal::damaged("the detail of an order cannot be written"))
}

/// An order that is being made.
pub(super) struct NewOrder {
    pub(super) kind: OrderKind,
    pub(super) state: OrderState,
    pub(super) topic: Option<i64>,
    pub(super) device: Option<ClientId>,
    pub(super) rotation: Option<RotationKind>,
    pub(super) version: Option<u32>,
    pub(super) reason: Reason,
    pub(super) detail: OrderDetail,
}

pub(super) async fn insert_order(intent: &mut Intent, order: &NewOrder) -> Result<i64, Refusal> {
    let id = intent.next("orders").await?;
    let values = [
        Value::from(id),
        Value::from(order.kind.code()),
        Value::from(order.state.code()),
        Value::from(order.topic),
        Value::from(order.device.map(|id| id.as_bytes().to_vec())),
        Value::from(order.rotation.map(RotationKind::code)),
        Value::from(order.version.map(i64::from)),
        Value::from(order.reason.code()),
        Value::from(intent.actor.name.as_str()),
        Value::from(intent.now),
        Value::from(detail_text(&order.detail)?),
    ];
    intent
        .tx
        .execute(
            "INSERT INTO orders (id, kind, state, topic, device, rotation, version, reason, asked_by, created, phase_since, detail)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $11)",
            &values,
        )
        .await?;
    Ok(id)
}

impl Fleet {
    /// Gives a topic a new key, and says by which order.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::NotFound`]
    pub async fn rotate(&self, actor: &Actor, topic: i64, kind: RotationKind) -> Result<i64, Refusal> {
        let subject = format!("topic {topic}");
        self.intention(actor, Role::Operator, ("rotate", &subject), |intent| rotate(intent, topic, kind)).await
    }
}

async fn rotate(mut intent: Intent, topic: i64, kind: RotationKind) -> Attempted<i64> {
    super::find::topic(&mut intent, topic).await?;
    let order = ask_rotation(&mut intent, topic, kind, Reason::Asked, OrderDetail::default()).await?;
    intent.audit("rotate", &format!("topic {topic}"), &json!({ "kind": kind.word(), "order": order })).await?;
    Ok((intent, order))
}

/// An order to rotate a topic, which begins at once unless it has to wait.
pub(super) async fn ask_rotation(
    intent: &mut Intent,
    topic: i64,
    kind: RotationKind,
    reason: Reason,
    detail: OrderDetail,
) -> Result<i64, Refusal> {
    let pending = Pending::of_topics(&mut intent.tx, &[topic]).await?;
    let waits = detail.not_before.is_some_and(|time| time > intent.now)
        || (kind != RotationKind::Hard && pending.iter().any(|it| it.detail.not_before.is_none()));
    let same = |it: &&Pending| it.state == OrderState::Waiting && it.kind == kind && it.detail.not_before.is_none();
    if let Some(same) = pending.iter().find(same).filter(|_| waits && detail.not_before.is_none()) {
        // It has not begun, so it does the work of both.
        return Ok(same.id);
    }
    let order = NewOrder {
        kind: OrderKind::RotateTopic,
        state: OrderState::Waiting,
        topic: Some(topic),
        device: None,
        rotation: Some(kind),
        version: None,
        reason,
        detail: detail.clone(),
    };
    let id = insert_order(intent, &order).await?;
    if !waits {
        begin(intent, &Pending { id, topic, state: OrderState::Waiting, kind, reason, detail }).await?;
    }
    Ok(id)
}

/// Begins a rotation: the key is stored, and members are due.
async fn begin(intent: &mut Intent, order: &Pending) -> Result<(), Refusal> {
    let (role, state) = match order.kind {
        RotationKind::Lossless => (KeyRole::Next, OrderState::Preparing),
        RotationKind::Soft | RotationKind::Hard => (KeyRole::Current, OrderState::Switching),
    };
    let cuts = order.kind == RotationKind::Hard;
    if state == OrderState::Switching {
        let ended = if cuts { Ended::All } else { Ended::Switching };
        overtake(intent, &[order.topic], order.id, ended).await?;
    }
    let new = NewVersions { topics: &[order.topic], role, cuts, reason: order.reason };
    let versions = new_versions(intent, &new).await?;
    let version = versions.get(&order.topic).copied().map(i64::from);
    let values = [Value::from(state.code()), Value::from(version), Value::from(intent.now), Value::from(order.id)];
    let sql = "UPDATE orders SET state = $1, version = $2, phase_since = $3 WHERE id = $4";
    intent.tx.execute(sql, &values).await?;
    members_are_due(intent, &[order.topic]).await?;
    Ok(())
}

/// Which rotations a later one ends, since it does their work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// All that are not over: nobody gets what they would bring.
    All,
    /// Those that only wait for the rest of the members.
    Switching,
}

/// Ends rotations of these topics: the order `by` does their work.
pub(super) async fn overtake(intent: &mut Intent, topics: &[i64], by: i64, which: Ended) -> Result<(), Refusal> {
    let states = match which {
        Ended::All => "0, 1, 2",
        Ended::Switching => "2",
    };
    let list = Value::list(topics.iter().copied());
    let sql = format!(
        "SELECT id, detail FROM orders WHERE kind = 0 AND state IN ({states}) AND topic = ANY($1) AND id <> $2"
    );
    let rows = intent.tx.query(&sql, &[list, Value::from(by)]).await?;
    let mut ended = Vec::with_capacity(rows.len());
    for row in &rows {
        let detail = OrderDetail { overtaken_by: Some(by), ..detail_of(row.text(1)?)? };
        ended.push(vec![
            Value::from(OrderState::Overtaken.code()),
            Value::from(intent.now),
            Value::from(detail_text(&detail)?),
            Value::from(row.int(0)?),
        ]);
    }
    if !ended.is_empty() {
        let sql = "UPDATE orders SET state = $1, phase_since = $2, ended = $2, detail = $3 WHERE id = $4";
        intent.tx.execute_each(sql, ended).await?;
    }
    Ok(())
}

impl Fleet {
    /// Begins the rotations whose time has come and that no other goes before; how many. To be called every second or so.
    ///
    /// # Errors
    ///
    /// The database.
    pub async fn begin_waiting(&self) -> Result<u64, Refusal> {
        let mut tx = self.store().read().await?;
        if Held::read(&mut tx).await?.is_some() {
            return Ok(0);
        }
        let sql = "SELECT DISTINCT topic FROM orders WHERE kind = 0 AND state = 0";
        let topics: Result<Vec<_>, _> = tx.query(sql, &[]).await?.iter().map(|row| row.int(0)).collect();
        let topics = topics?;
        drop(tx);
        if topics.is_empty() {
            return Ok(0);
        }
        self.intention(&Actor::rule("orders"), Role::Operator, ("begin orders", ""), |intent| {
            begin_those(intent, topics.clone())
        })
        .await
    }
}

async fn begin_those(mut intent: Intent, topics: Vec<i64>) -> Attempted<u64> {
    let mut begun = 0;
    let now = intent.now;
    let is_due = |it: &Pending| it.detail.not_before.is_none_or(|time| time <= now);
    for topic in topics {
        let pending = Pending::of_topics(&mut intent.tx, &[topic]).await?;
        let waiting = || pending.iter().filter(|it| it.state == OrderState::Waiting && is_due(it));
        let is_free = pending.iter().all(|it| it.state == OrderState::Waiting);
        // One that cuts somebody off waits for no other, and does the work of all.
        let first = waiting().find(|it| it.kind == RotationKind::Hard).or_else(|| waiting().next().filter(|_| is_free));
        if let Some(order) = first {
            begin(&mut intent, order).await?;
            let detail = json!({ "order": order.id, "kind": order.kind.word(), "reason": order.reason.word() });
            intent.audit("begin rotation", &format!("topic {topic}"), &detail).await?;
            begun += 1;
        }
    }
    Ok((intent, begun))
}

/// Somebody lost a topic: it rotates, as its policy says, together with others who leave at about the same time.
pub(super) async fn leave(intent: &mut Intent, topic: i64, who: &[ClientId]) -> Result<Option<i64>, Refusal> {
    let policy = topic_policy(intent, topic).await?;
    let fleet = intent.fleet.policy().clone();
    let kind = match policy.on_leave.unwrap_or(fleet.on_leave) {
        Leave::Hard => RotationKind::Hard,
        Leave::Soft => RotationKind::Soft,
        Leave::Lossless => RotationKind::Lossless,
        Leave::Nothing => return Ok(None),
    };
    let names = who.iter().map(ToString::to_string);
    let pending = Pending::of_topics(&mut intent.tx, &[topic]).await?;
    if let Some(mut order) = pending.into_iter().find(|it| it.state == OrderState::Waiting && it.reason == Reason::Left)
    {
        order.detail.left.extend(names);
        order.detail.left.truncate(NAMED);
        let values = [Value::from(detail_text(&order.detail)?), Value::from(order.id)];
        intent.tx.execute("UPDATE orders SET detail = $1 WHERE id = $2", &values).await?;
        return Ok(Some(order.id));
    }
    let begins = not_before(intent, topic, &fleet).await?;
    let detail = OrderDetail {
        not_before: (begins > intent.now).then_some(begins),
        left: names.take(NAMED).collect(),
        ..OrderDetail::default()
    };
    ask_rotation(intent, topic, kind, Reason::Left, detail).await.map(Some)
}

/// When a rotation by an event may begin: after the window, and not too soon after the last one.
async fn not_before(intent: &mut Intent, topic: i64, policy: &Policy) -> Result<i64, Refusal> {
    let sql = "SELECT MAX(created) FROM key_versions WHERE topic = $1 AND reason IN ($2, $3, $4)";
    let reasons = [Reason::Left, Reason::Joined, Reason::Rule].map(|reason| Value::from(reason.code()));
    let values = [vec![Value::from(topic)], reasons.to_vec()].concat();
    let last = match intent.tx.query_opt(sql, &values).await? {
        Some(row) => row.opt_int(0)?,
        None => None,
    };
    let window = intent.now.saturating_add(policy.leave_window);
    Ok(last.map_or(window, |last| window.max(last.saturating_add(policy.between_rotations))))
}

/// Somebody was given a topic: by default it does not rotate.
pub(super) async fn join(intent: &mut Intent, topic: i64) -> Result<Option<i64>, Refusal> {
    if !topic_policy(intent, topic).await?.rotate_on_join {
        return Ok(None);
    }
    // At once: until then a member that joined would get the key that it is not to have.
    ask_rotation(intent, topic, RotationKind::Soft, Reason::Joined, OrderDetail::default()).await.map(Some)
}

async fn topic_policy(intent: &mut Intent, topic: i64) -> Result<TopicPolicy, Refusal> {
    let row = intent.tx.query_opt("SELECT policy FROM topics WHERE id = $1", &[Value::from(topic)]).await?;
    let row = row.ok_or_else(|| RefusalKind::NotFound.because(format!("there is no topic {topic}")))?;
    serde_json::from_str(row.text(0)?)
        .map_err(|_| Refusal::damaged(format!("the policy of topic {topic} cannot be read")))
}

/// Gives a lossless rotation its second phase: the next key becomes current.
pub(super) async fn switch(intent: &mut Intent, order: i64, topic: i64) -> Result<(), Refusal> {
    let keys = in_use(intent, &[topic]).await?;
    if keys.get(&topic).is_none_or(|keys| keys.next.is_none()) {
        return Err(Refusal::damaged(format!("topic {topic} has no next key to switch to")));
    }
    overtake(intent, &[topic], order, Ended::Switching).await?;
    let sql = "UPDATE key_versions SET role = role + 1, role_since = $2 WHERE topic = $1 AND role IN (0, 1)";
    intent.tx.execute(sql, &[Value::from(topic), Value::from(intent.now)]).await?;
    let values = [Value::from(OrderState::Switching.code()), Value::from(intent.now), Value::from(order)];
    intent.tx.execute("UPDATE orders SET state = $1, phase_since = $2 WHERE id = $3", &values).await?;
    members_are_due(intent, &[topic]).await?;
    Ok(())
}

/// Ends what is under way for a topic that goes.
pub(super) async fn end_orders_of(intent: &mut Intent, topic: i64, note: &str) -> Result<(), Refusal> {
    let sql = "SELECT id, detail FROM orders WHERE kind = 0 AND state IN (0, 1, 2) AND topic = $1";
    let rows = intent.tx.query(sql, &[Value::from(topic)]).await?;
    for row in &rows {
        let detail = OrderDetail { note: Some(note.to_owned()), ..detail_of(row.text(1)?)? };
        end_order(intent, row.int(0)?, OrderState::Cancelled, &detail).await?;
    }
    Ok(())
}

pub(super) async fn end_order(
    intent: &mut Intent,
    id: i64,
    state: OrderState,
    detail: &OrderDetail,
) -> Result<(), Refusal> {
    let values =
        [Value::from(state.code()), Value::from(intent.now), Value::from(detail_text(detail)?), Value::from(id)];
    let sql = "UPDATE orders SET state = $1, phase_since = $2, ended = $2, detail = $3 WHERE id = $4";
    intent.tx.execute(sql, &values).await?;
    Ok(())
}

//! How orders go on: by what the devices that they wait for have reported, and by time.

mod client_keys;
mod erase;

use super::{
    Actor, Advanced, Fleet, OrderDetail, Refusal, TopicPolicy,
    behind::{Behind, Target, behind, count_not_waited_for},
    intent::{Attempted, Intent},
    rotate::{detail_of, detail_text, end_order, switch},
};
use crate::{
    model::{OrderKind, OrderState, Role},
    plan::Standing,
    store::{Transaction, Value},
};
use e4::ClientId;
use serde_json::json;
use std::{collections::HashMap, sync::Mutex};

/// Members that are there answer within this time, and are waited for from then on.
const ANSWER: i64 = 60;
/// Who is missing is named up to this number.
const NAMED: usize = 20;
const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;

/// When something is looked at again: an order that has waited for long is not looked at every second.
#[derive(Debug, Default)]
pub(super) struct Pulse(Mutex<HashMap<What, i64>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum What {
    Order(i64, OrderState),
    ClientKeys,
    Erasing,
}

impl Pulse {
    /// Whether it is time, and not again before so many seconds.
    fn is_time(&self, what: What, now: i64, again: i64) -> bool {
        let Ok(mut next) = self.0.lock() else { return true };
        // A clock that was set back does not stop it.
        if next.get(&what).is_some_and(|at| (now..now.saturating_add(HOUR)).contains(&(at - 1))) {
            return false;
        }
        next.insert(what, now.saturating_add(again));
        true
    }

    fn keep(&self, orders: &[Order]) {
        if let Ok(mut next) = self.0.lock() {
            next.retain(|what, _| match what {
                What::Order(id, state) => orders.iter().any(|order| order.id == *id && order.state == *state),
                _ => true,
            });
        }
    }
}

/// An order that is under way.
#[derive(Debug, Clone)]
struct Order {
    id: i64,
    kind: OrderKind,
    state: OrderState,
    topic: Option<i64>,
    device: Option<ClientId>,
    version: Option<u32>,
    phase_since: i64,
    detail: OrderDetail,
}

/// What becomes of an order now.
#[derive(Debug, Clone)]
enum Turn {
    Switches(Option<String>),
    Ends(OrderState, Option<String>),
}

impl Fleet {
    /// Has orders go on as far as they can now. To be called every second or so, and after reports.
    ///
    /// # Errors
    ///
    /// The database.
    pub async fn advance(&self) -> Result<Advanced, Refusal> {
        if self.held().await?.is_some() {
            return Ok(Advanced::default());
        }
        let now = self.now();
        let mut due = self.begin_waiting().await? > 0;
        let mut tx = self.store().read().await?;
        let orders = open_orders(&mut tx).await?;
        self.pulse.keep(&orders);
        let mut turns = Vec::new();
        for order in &orders {
            let age = now.saturating_sub(order.phase_since);
            if self.pulse.is_time(What::Order(order.id, order.state), now, (age / 10).clamp(1, MINUTE))
                && let Some(turn) = self.turn(&mut tx, order, now).await?
            {
                turns.push((order.clone(), turn));
            }
        }
        drop(tx);
        for (order, turn) in turns {
            due |= self.take(&order, &turn).await?;
        }
        if self.pulse.is_time(What::ClientKeys, now, MINUTE) {
            due |= self.move_client_keys().await?;
        }
        if self.pulse.is_time(What::Erasing, now, HOUR) {
            self.erase_retired().await?;
        }
        Ok(Advanced { waits: !orders.is_empty(), due })
    }

    async fn take(&self, order: &Order, turn: &Turn) -> Result<bool, Refusal> {
        let subject = format!("order {}", order.id);
        let actor = Actor::rule("orders");
        let done = self
            .intention(&actor, Role::Operator, ("advance", &subject), |intent| {
                take(intent, order.clone(), turn.clone())
            })
            .await?;
        if done {
            let text = match turn {
                Turn::Switches(_) => "members get the key to seal under".to_owned(),
                Turn::Ends(state, Some(note)) => format!("{}: {note}", state.word()),
                Turn::Ends(state, None) => state.word().to_owned(),
            };
            self.tell("order", order.id, text);
        }
        Ok(done && matches!(turn, Turn::Switches(_)))
    }

    /// What becomes of an order, if anything does.
    async fn turn(&self, tx: &mut Transaction, order: &Order, now: i64) -> Result<Option<Turn>, Refusal> {
        let age = now.saturating_sub(order.phase_since);
        let turn = match (order.kind, order.state) {
            (OrderKind::RotateTopic, OrderState::Preparing) => return self.prepared(tx, order, now).await,
            (OrderKind::RotateTopic | OrderKind::Withdraw, _) => self.members(tx, order).await?,
            (OrderKind::RotateClientKeys, _) => client_key_moved(tx, order).await?,
            (OrderKind::RotateServerKey, _) => server_key_moved(tx, order).await?,
        };
        Ok(turn.or_else(|| {
            let is_over = age >= self.policy().give_up;
            is_over.then(|| Turn::Ends(OrderState::GivenUp, Some("some devices have not confirmed it".to_owned())))
        }))
    }

    /// First phase of a lossless rotation: it ends when those that were seen lately have the next key, or by time.
    async fn prepared(&self, tx: &mut Transaction, order: &Order, now: i64) -> Result<Option<Turn>, Refusal> {
        let (Some(topic), Some(version)) = (order.topic, order.version) else { return Ok(None) };
        let age = now.saturating_sub(order.phase_since);
        let Some(found) = behind(tx, &[topic]).await? else {
            // Far more than are looked at.
            let is_over = age >= self.lossless_wait(tx, topic).await?;
            return Ok(is_over.then(|| Turn::Switches(Some("many devices did not report the next key".to_owned()))));
        };
        let targets = Target::all(tx, &[(topic, version)]).await?;
        let lack = |it: &&Behind| it.knows_next_keys() && targets.iter().any(|target| !target.is_prepared(&it.known));
        let missing: Vec<_> = found.iter().filter(lack).collect();
        let seen_lately = |it: &&&Behind| now.saturating_sub(it.reported) < self.policy().seen_lately;
        let goes_on = missing.is_empty()
            || (age >= ANSWER && !missing.iter().any(|it| seen_lately(&it)))
            || age >= self.lossless_wait(tx, topic).await?;
        Ok(goes_on
            .then(|| Turn::Switches((!missing.is_empty()).then(|| named("did not report the next key", &missing)))))
    }

    async fn lossless_wait(&self, tx: &mut Transaction, topic: i64) -> Result<i64, Refusal> {
        let row = tx.query_opt("SELECT policy FROM topics WHERE id = $1", &[Value::from(topic)]).await?;
        let policy: TopicPolicy = match row {
            Some(row) => serde_json::from_str(row.text(0)?)
                .map_err(|_| Refusal::damaged(format!("the policy of topic {topic} cannot be read")))?,
            None => TopicPolicy::default(),
        };
        Ok(policy.lossless_wait.unwrap_or(self.policy().lossless_wait))
    }

    /// Whether all members that are waited for hold what the order brings.
    async fn members(&self, tx: &mut Transaction, order: &Order) -> Result<Option<Turn>, Refusal> {
        let versions = order.versions();
        let topics: Vec<_> = versions.iter().map(|(topic, _)| *topic).collect();
        let Some(found) = behind(tx, &topics).await? else { return Ok(None) };
        let targets = Target::all(tx, &versions).await?;
        let lacks = |it: &&Behind| match order.kind {
            OrderKind::Withdraw => targets.iter().any(|target| target.is_older_held(&it.known)),
            _ => targets.iter().any(|target| !target.is_held(&it.known)),
        };
        let missing: Vec<_> = found.iter().filter(lacks).collect();
        let is_over = self.now().saturating_sub(order.phase_since) >= self.policy().give_up;
        if !missing.is_empty() {
            return Ok(is_over.then(|| Turn::Ends(OrderState::GivenUp, Some(named("have not confirmed it", &missing)))));
        }
        let others = count_not_waited_for(tx, &topics).await?;
        let note = (others > 0).then(|| format!("{others} devices do not report, or have been silent for long"));
        Ok(Some(Turn::Ends(OrderState::Done, note)))
    }
}

impl Order {
    /// The versions that it brings.
    fn versions(&self) -> Vec<(i64, u32)> {
        match (self.topic, self.version) {
            (Some(topic), Some(version)) => vec![(topic, version)],
            _ => self.detail.topics.clone(),
        }
    }
}

fn named(what: &str, devices: &[&Behind]) -> String {
    let names: Vec<_> = devices.iter().take(NAMED).map(|it| it.shown()).collect();
    let more = if devices.len() > NAMED { ", …" } else { "" };
    format!("{} of those that report {what}: {}{more}", devices.len(), names.join(", "))
}

async fn open_orders(tx: &mut Transaction) -> Result<Vec<Order>, Refusal> {
    let sql = "SELECT id, kind, state, topic, device, version, phase_since, detail FROM orders WHERE state IN (1, 2) ORDER BY id";
    let unknown = || Refusal::damaged("an order has a code that this program does not know");
    let rows = tx.query(sql, &[]).await?;
    rows.iter()
        .map(|row| {
            Ok(Order {
                id: row.int(0)?,
                kind: OrderKind::from_code(row.int(1)?).ok_or_else(unknown)?,
                state: OrderState::from_code(row.int(2)?).ok_or_else(unknown)?,
                topic: row.opt_int(3)?,
                device: row.opt_bytes(4)?.map(super::find::id_of).transpose()?,
                version: row.opt_int(5)?.map(super::keys::version_of).transpose()?,
                phase_since: row.int(6)?,
                detail: detail_of(row.text(7)?)?,
            })
        })
        .collect()
}

/// Carries it out, unless the order came to something else meanwhile.
async fn take(mut intent: Intent, order: Order, turn: Turn) -> Attempted<bool> {
    let sql = "SELECT state, detail FROM orders WHERE id = $1";
    let row = intent.tx.query_opt(sql, &[Value::from(order.id)]).await?;
    let row = row.filter(|row| row.int(0).is_ok_and(|state| state == order.state.code()));
    let Some(row) = row else { return Ok((intent, false)) };
    let before = detail_of(row.text(1)?)?;
    let (after, note) = match &turn {
        Turn::Switches(note) => {
            let Some(topic) = order.topic else { return Ok((intent, false)) };
            switch(&mut intent, order.id, topic).await?;
            let detail = OrderDetail { note: note.clone().or(before.note.clone()), ..before };
            let values = [Value::from(detail_text(&detail)?), Value::from(order.id)];
            intent.tx.execute("UPDATE orders SET detail = $1 WHERE id = $2", &values).await?;
            (OrderState::Switching, note)
        }
        Turn::Ends(state, note) => {
            let detail = OrderDetail { note: note.clone().or(before.note.clone()), ..before };
            end_order(&mut intent, order.id, *state, &detail).await?;
            (*state, note)
        }
    };
    let detail = json!({ "before": order.state.word(), "after": after.word(), "note": note });
    intent.audit("advance", &format!("order {}", order.id), &detail).await?;
    Ok((intent, true))
}

/// A device has its new key as soon as it reported under it.
async fn client_key_moved(tx: &mut Transaction, order: &Order) -> Result<Option<Turn>, Refusal> {
    let Some(device) = order.device else { return Ok(None) };
    let sql = "SELECT next_since, status FROM devices WHERE id = $1";
    let Some(row) = tx.query_opt(sql, &[Value::from(device.as_bytes())]).await? else { return Ok(None) };
    if row.int(1)? == crate::model::Status::Withdrawn.code() {
        return Ok(Some(Turn::Ends(OrderState::Overtaken, Some("the device was withdrawn".to_owned()))));
    }
    Ok(row.opt_int(0)?.is_none().then_some(Turn::Ends(OrderState::Done, None)))
}

/// All devices that are waited for are under the new server key.
async fn server_key_moved(tx: &mut Transaction, order: &Order) -> Result<Option<Turn>, Refusal> {
    let sql = "SELECT id FROM devices WHERE mode = 1 AND status <> 2 AND secret IS NOT NULL AND server_key < $1
               AND reported IS NOT NULL AND standing <> $2 AND standing <> $3 LIMIT 1";
    let [dormant, lapsed] = [Standing::Dormant, Standing::Lapsed].map(|standing| Value::from(standing.word()));
    let waits = tx.query_opt(sql, &[Value::from(order.version), dormant, lapsed]).await?.is_some();
    Ok((!waits).then_some(Turn::Ends(OrderState::Done, None)))
}

//! Ends an order before it has done what cannot be taken back.

use super::{
    Actor, Fleet, OrderDetail, Refusal, RefusalKind,
    intent::{Attempted, Intent},
    members::members_are_due,
    rotate::{detail_of, end_order},
};
use crate::{
    model::{OrderKind, OrderState, Role},
    store::Value,
};
use serde_json::json;

impl Fleet {
    /// Cancels an order that waits, or prepares a lossless rotation: the next key is taken back.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::NotFound`]; [`RefusalKind::Conflict`] if it has done what cannot be taken back.
    pub async fn cancel(&self, actor: &Actor, order: i64) -> Result<(), Refusal> {
        let subject = format!("order {order}");
        self.intention(actor, Role::Operator, ("cancel", &subject), |intent| cancel(intent, order)).await
    }
}

async fn cancel(mut intent: Intent, id: i64) -> Attempted<()> {
    let sql = "SELECT kind, state, topic, version, detail FROM orders WHERE id = $1";
    let row = intent.tx.query_opt(sql, &[Value::from(id)]).await?;
    let row = row.ok_or_else(|| RefusalKind::NotFound.because(format!("there is no order {id}")))?;
    let state = OrderState::from_code(row.int(1)?).ok_or_else(|| Refusal::damaged("an order has no state"))?;
    if OrderKind::from_code(row.int(0)?) != Some(OrderKind::RotateTopic)
        || !matches!(state, OrderState::Waiting | OrderState::Preparing)
    {
        return Err(RefusalKind::Conflict.because(format!(
            "order {id} is {}: only a rotation that is waiting or preparing can be taken back",
            state.word()
        )));
    }
    if let (OrderState::Preparing, Some(topic)) = (state, row.opt_int(2)?) {
        let sql = "UPDATE key_versions SET role = 2, role_since = $1 WHERE topic = $2 AND role = 0";
        intent.tx.execute(sql, &[Value::from(intent.now), Value::from(topic)]).await?;
        members_are_due(&mut intent, &[topic]).await?;
    }
    let detail = OrderDetail { note: Some(format!("by {}", intent.actor.name)), ..detail_of(row.text(4)?)? };
    end_order(&mut intent, id, OrderState::Cancelled, &detail).await?;
    intent.audit("cancel", &format!("order {id}"), &json!({ "before": state.word(), "left": detail.left })).await?;
    Ok((intent, ()))
}

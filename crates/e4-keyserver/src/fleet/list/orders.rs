//! Orders.

use super::{
    after_number, damaged, device_id, hex_id, limit, moment, number, one_more, part,
    progress::{Brings, progress},
    word_of,
};
use crate::{
    fleet::{Fleet, Refusal, RefusalKind},
    model::{OrderKind, OrderState},
    store::{Row, Transaction, Value},
};
use e4_keyserver_api as said;

const COLUMNS: &str = "SELECT o.id, o.kind, o.state, o.rotation, o.topic, t.name, o.device, d.name, o.version, o.reason, \
                       o.asked_by, o.created, o.phase_since, o.ended, o.detail \
                       FROM orders o LEFT JOIN topics t ON t.id = o.topic LEFT JOIN devices d ON d.id = o.device";

impl Fleet {
    /// Orders, the newest first.
    ///
    /// # Errors
    ///
    /// A query that makes no sense; the database.
    pub async fn list_orders(&self, query: &said::OrdersQuery) -> Result<said::Page<said::Order>, Refusal> {
        let limit = limit(query.limit)?;
        let mut values = vec![Value::from(after_number(query.after.as_deref())?.unwrap_or(i64::MAX))];
        let mut conditions = String::new();
        if let Some(open) = query.open {
            let states = OrderState::ALL.into_iter().filter(|state| state.is_over() != open).map(OrderState::code);
            values.push(Value::list(states.collect::<Vec<_>>()));
            conditions.push_str(&format!(" AND o.state = ANY(${})", values.len()));
        }
        if let Some(topic) = query.topic {
            values.push(Value::from(i64::try_from(topic).unwrap_or(i64::MAX)));
            conditions.push_str(&format!(" AND o.topic = ${}", values.len()));
        }
        if let Some(device) = &query.device {
            values.push(Value::from(device_id(device)?.as_bytes().as_slice()));
            conditions.push_str(&format!(" AND o.device = ${}", values.len()));
        }
        let sql = format!("{COLUMNS} WHERE o.id < $1{conditions} ORDER BY o.id DESC LIMIT {}", one_more(limit));
        let mut tx = self.store().read().await?;
        let rows = tx.query(&sql, &values).await?;
        let mut orders = Vec::with_capacity(rows.len());
        for row in &rows {
            orders.push(order_of(&mut tx, row).await?);
        }
        Ok(part(orders, limit, |order| order.id.to_string()))
    }

    /// What is said of one order.
    ///
    /// # Errors
    ///
    /// [`RefusalKind::NotFound`]; the database.
    pub async fn order(&self, id: i64) -> Result<said::Order, Refusal> {
        let mut tx = self.store().read().await?;
        let row = tx.query_opt(&format!("{COLUMNS} WHERE o.id = $1"), &[Value::from(id)]).await?;
        let row = row.ok_or_else(|| RefusalKind::NotFound.because("there is no order of this number"))?;
        order_of(&mut tx, &row).await
    }
}

async fn order_of(tx: &mut Transaction, row: &Row) -> Result<said::Order, Refusal> {
    let topic = row.opt_int(4)?.map(|id| {
        Ok::<_, Refusal>(said::TopicRef { id: number(id)?, name: row.opt_text(5)?.unwrap_or_default().to_owned() })
    });
    let device = row
        .opt_bytes(6)?
        .map(|id| Ok::<_, Refusal>(said::DeviceRef { id: hex_id(id), name: row.opt_text(7)?.map(str::to_owned) }));
    let unknown = || damaged("an order that cannot be read");
    let brings = Brings {
        kind: OrderKind::from_code(row.int(1)?).ok_or_else(unknown)?,
        state: OrderState::from_code(row.int(2)?).ok_or_else(unknown)?,
        topic: row.opt_int(4)?,
        device: row.opt_bytes(6)?.map(<[u8]>::to_vec),
        version: row.opt_int(8)?,
        detail: serde_json::from_str(row.text(14)?).map_err(|_| unknown())?,
    };
    let (progress, waits_for) = progress(tx, &brings).await?;
    Ok(said::Order {
        id: number(row.int(0)?)?,
        kind: word_of!(OrderKind, row.int(1)?)?,
        state: word_of!(OrderState, row.int(2)?)?,
        rotation: row.opt_int(3)?.map(|code| word_of!(RotationKind, code)).transpose()?,
        topic: topic.transpose()?,
        device: device.transpose()?,
        version: row.opt_int(8)?.map(number).transpose()?,
        reason: word_of!(Reason, row.int(9)?)?,
        asked_by: row.text(10)?.to_owned(),
        created: moment(row.int(11)?),
        phase_since: moment(row.int(12)?),
        ended: row.opt_int(13)?.map(moment),
        progress,
        waits_for,
    })
}

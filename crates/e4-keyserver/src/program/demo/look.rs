//! What the server says of the fleet.

use anyhow::{Context, anyhow};
use e4_keyserver::{fleet::Fleet, model::OrderState};
use e4_keyserver_api::PageQuery;
use std::collections::BTreeMap;

/// Where an order stands.
pub(super) async fn order(fleet: &Fleet, id: i64) -> anyhow::Result<OrderState> {
    let mut tx = fleet.store().read().await?;
    let row = tx.query_opt("SELECT state FROM orders WHERE id = $1", &[id.into()]).await?;
    let code = row.context("there is no such order")?.int(0)?;
    OrderState::from_code(code).ok_or_else(|| anyhow!("an order is in no state: {code}"))
}

/// How many devices stand where, by word.
pub(super) async fn standings(fleet: &Fleet) -> anyhow::Result<BTreeMap<String, i64>> {
    let mut tx = fleet.store().read().await?;
    let sql = "SELECT standing, COUNT(*) FROM devices WHERE withdrawn IS NULL GROUP BY standing";
    let rows = tx.query(sql, &[]).await?;
    rows.iter().map(|row| Ok((row.text(0)?.to_owned(), row.int(1)?))).collect()
}

/// The server's public key.
pub(super) async fn server_key(fleet: &Fleet) -> anyhow::Result<[u8; 32]> {
    let mut tx = fleet.store().read().await?;
    let row = tx.query_opt("SELECT public FROM server_keys WHERE role = 1", &[]).await?;
    Ok(row.context("the server has no key")?.array(0)?)
}

/// How many members still accept or use a key that a withdrawn device has, over all topics.
pub(super) async fn exposed(fleet: &Fleet) -> anyhow::Result<u64> {
    let page = fleet.list_exposure(&PageQuery::default()).await?;
    Ok(page.items.iter().map(|it| it.still).sum())
}

//! Keeps this server's share of the fleet.

use super::standing::{Bells, Board};
use crate::{
    fleet::Fleet,
    model::Leases,
    store::{StoreError, leases},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, interval},
};

/// How often a server says that it is there.
const RENEW: Duration = Duration::from_secs(2);

/// For ever. What others heard of slices that this server gains is to be read again.
pub(super) async fn run(
    fleet: Fleet,
    holder: leases::Holder,
    held: watch::Sender<Leases>,
    board: Board,
    bells: Arc<Bells>,
) {
    let until = Duration::from_secs(u64::try_from(leases::TTL).unwrap_or(0));
    let mut tick = interval(RENEW);
    let mut renewed = Instant::now();
    loop {
        tick.tick().await;
        let begun = Instant::now();
        let now = match keep(&fleet, &holder).await {
            Ok(leases) => {
                board.database(None);
                renewed = begun;
                leases
            }
            Err(error) => {
                board.database(Some(error.to_string()));
                // Others have them by now.
                if renewed.elapsed() < until { continue } else { Leases::default() }
            }
        };
        let gained = now.0.iter().any(|(slice, fence)| held.borrow().0.get(slice) != Some(fence));
        board.slices(now.0.len());
        held.send_if_modified(|held| {
            let is_other = *held != now;
            *held = now;
            is_other
        });
        if gained {
            bells.missed.notify_one();
            bells.due.notify_one();
        }
    }
}

async fn keep(fleet: &Fleet, holder: &leases::Holder) -> Result<Leases, StoreError> {
    let attempt = || async {
        let mut tx = fleet.store().write().await?;
        let leases = leases::keep(&mut tx, holder, fleet.now()).await?;
        tx.commit().await?;
        Ok(leases)
    };
    fleet.store().retry(attempt).await
}

/// Others take what this server held at once.
pub(super) async fn release(fleet: &Fleet, holder: &leases::Holder) -> Result<(), StoreError> {
    let attempt = || async {
        let mut tx = fleet.store().write().await?;
        leases::release(&mut tx, holder).await?;
        tx.commit().await
    };
    fleet.store().retry(attempt).await
}

//! Orders go on: by time, and when reports were judged. And once a minute the audit is signed, and what was kept long enough
//! removed.

use super::standing::{Bells, Board};
use crate::{
    fleet::{Fleet, RefusalKind},
    model::{Leases, Slice},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

/// How often time alone is a reason to look.
const TICK: Duration = Duration::from_secs(1);
/// How often the audit is looked after.
const A_MINUTE: Duration = Duration::from_secs(60);
/// Between two looks, so that a storm of reports does not make one for each of its batches.
const BETWEEN: Duration = Duration::from_millis(100);

/// For ever, on the one server that has the first slice.
pub(super) async fn run(
    fleet: Fleet,
    leases: watch::Receiver<Leases>,
    board: Board,
    bells: Arc<Bells>,
    waits: watch::Sender<bool>,
) {
    let mut swept: Option<Instant> = None;
    loop {
        let _or_time = timeout(TICK, bells.judged.notified()).await;
        let is_ours = Slice::all().next().is_some_and(|first| leases.borrow().0.contains_key(&first));
        if !is_ours {
            continue;
        }
        match fleet.advance().await {
            Ok(advanced) => {
                board.database(None);
                waits.send_if_modified(|waits| std::mem::replace(waits, advanced.waits) != advanced.waits);
                if advanced.due {
                    bells.due.notify_one();
                }
            }
            Err(refusal) => match refusal.kind {
                RefusalKind::Unavailable => board.database(Some(refusal.detail)),
                RefusalKind::Held => (),
                _ => tracing::error!(%refusal, "orders could not go on"),
            },
        }
        if swept.is_none_or(|swept| swept.elapsed() >= A_MINUTE) {
            swept = Some(Instant::now());
            if let Err(refusal) = fleet.sweep().await {
                tracing::warn!(%refusal, "the audit was not signed, or old things were not removed; trying again");
            }
        }
        sleep(BETWEEN).await;
    }
}

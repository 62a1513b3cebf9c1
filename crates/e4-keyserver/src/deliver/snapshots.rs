//! When the broker is asked for all that it keeps: at the start and whenever something may have been missed, often while an order
//! waits for somebody or devices cannot be heard, and now and then.

use super::{
    broker::Broker,
    link::Heard,
    snapshot,
    standing::{Bells, Board, BrokerState, Hearing, Standing},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};

/// While an order waits for somebody, or devices cannot be heard.
const OFTEN: Duration = Duration::from_secs(60);
/// Else.
const NOW_AND_THEN: Duration = Duration::from_secs(15 * 60);
/// Between two of them at least, so that the first of many reasons does not make one each.
const BETWEEN: Duration = Duration::from_secs(2);

/// For ever.
pub(super) async fn run(
    broker: Broker,
    heard: mpsc::Sender<Heard>,
    board: Board,
    bells: Arc<Bells>,
    mut waits: watch::Receiver<bool>,
) {
    let mut standing = board.watch();
    let mut last = Instant::now();
    loop {
        let is_urgent = *waits.borrow_and_update() || matches!(standing.borrow().hearing, Hearing::Cannot(_));
        let next = last + if is_urgent { OFTEN } else { NOW_AND_THEN };
        tokio::select! {
            () = bells.missed.notified() => (),
            () = sleep_until(next) => (),
            changed = waits.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        }
        until_taken(&broker, &heard, &board, &mut standing, &bells).await;
        last = Instant::now();
        sleep(BETWEEN).await;
    }
}

async fn until_taken(
    broker: &Broker,
    heard: &mpsc::Sender<Heard>,
    board: &Board,
    standing: &mut watch::Receiver<Standing>,
    bells: &Bells,
) {
    loop {
        // Without a slice nothing of it would be ours to judge.
        let is_ready = |standing: &Standing| standing.broker == BrokerState::Connected && standing.slices > 0;
        let ready = standing.wait_for(is_ready).await.is_ok();
        if !ready || heard.is_closed() {
            return;
        }
        match snapshot::take(broker, heard).await {
            Ok(taken) => {
                metrics::counter!("e4_reports_in_snapshots_total").increment(taken.reports);
                board.snapshot();
                if taken.is_short {
                    tracing::warn!(
                        reports = taken.reports,
                        "a snapshot of what devices report was cut short; taking another one"
                    );
                    bells.missed.notify_one();
                }
                return;
            }
            Err(reason) => {
                tracing::warn!(reason, "could not read what the broker keeps of reports; trying again");
                sleep(BETWEEN).await;
            }
        }
    }
}

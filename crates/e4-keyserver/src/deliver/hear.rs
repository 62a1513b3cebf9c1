//! What was heard goes to the fleet in batches, each in one transaction.

use super::{
    link::Heard,
    seen::Seen,
    standing::{Bells, Board},
};
use crate::{
    fleet::{Arrived, Fleet, Refusal, RefusalKind},
    model::Leases,
};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

/// Reports that are judged in one transaction at most.
const BATCH: usize = 2000;
/// How soon a database that cannot be used is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Until nothing more can be heard.
pub(super) async fn run(
    fleet: Fleet,
    mut heard: mpsc::Receiver<Heard>,
    mut slices: watch::Receiver<Leases>,
    board: Board,
    bells: Arc<Bells>,
) {
    let mut seen = Seen::default();
    let mut arrived = Vec::new();
    while heard.recv_many(&mut arrived, BATCH).await > 0 {
        let ours = {
            if slices.has_changed().unwrap_or(false) {
                let slices = slices.borrow_and_update();
                seen.keep(|device| slices.cover(device));
            }
            let slices = slices.borrow();
            let is_new = |report: &Heard| !(report.retained && seen.has(&report.device, &report.payload));
            arrived.drain(..).filter(|report| slices.cover(&report.device) && is_new(report)).collect::<Vec<_>>()
        };
        if ours.is_empty() {
            continue;
        }
        judge(&fleet, ours, &board, &mut seen).await;
        bells.judged.notify_one();
        bells.due.notify_one();
    }
}

/// Judges all of them, however long the database is away. What cannot be judged for another reason is found by halves, and left
/// out: one damaged row must not keep the others from being heard.
async fn judge(fleet: &Fleet, reports: Vec<Heard>, board: &Board, seen: &mut Seen) {
    let mut batches = VecDeque::from([reports]);
    while let Some(mut batch) = batches.pop_front() {
        let reports = batch.iter().map(|heard| Arrived {
            device: heard.device,
            bytes: heard.payload.clone(),
            retained: heard.retained,
        });
        match fleet.hear(reports.collect()).await {
            Ok(_) => {
                board.database(None);
                metrics::counter!("e4_reports_judged_total").increment(u64::try_from(batch.len()).unwrap_or(u64::MAX));
                batch.iter().for_each(|heard| seen.judged(heard.device, &heard.payload));
            }
            Err(Refusal { kind: RefusalKind::Unavailable, detail, .. }) => {
                board.database(Some(detail));
                batches.push_front(batch);
                sleep(RETRY).await;
            }
            Err(refusal) if batch.len() > 1 => {
                tracing::warn!(reports = batch.len(), %refusal, "reports could not be judged together; trying again by halves");
                let second = batch.split_off(batch.len() / 2);
                batches.push_front(second);
                batches.push_front(batch);
            }
            Err(refusal) => {
                metrics::counter!("e4_reports_not_judged_total").increment(1);
                let device = batch.first().map(|heard| heard.device.to_string());
                tracing::error!(device, %refusal, "a report could not be judged");
            }
        }
    }
}

//! What goes out: the fleet says what, in rounds; it is stored when it says so, and published here.

use super::standing::{Bells, Board};
use crate::{
    fleet::{Answer, Fleet, Handed, Publication, RefusalKind},
    model::Leases,
};
use e4::controller::SealedCommand;
use e4_mqtt::{Connection, Delivery, PublishError, Taken};
use futures_util::{StreamExt, stream::FuturesUnordered};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, interval, sleep, timeout},
};

/// Devices of one round at most.
const DEVICES: usize = 1000;
/// How often it is looked whether something is due, unless something says that it is.
const TICK: Duration = Duration::from_secs(1);
/// How often the clock is looked at.
const A_MINUTE: Duration = Duration::from_secs(60);
/// How soon a database that cannot be used is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// A command that was handed to the broker, and its answer to come.
pub(super) struct OnItsWay {
    command: Handed,
    answer: Delivery,
}

/// For ever, while there is a connection: what is due is planned and sent.
pub(super) async fn run(
    fleet: Fleet,
    mut up: watch::Receiver<Option<Connection>>,
    leases: watch::Receiver<Leases>,
    board: Board,
    bells: Arc<Bells>,
    on_their_way: mpsc::Sender<OnItsWay>,
) {
    let mut checked: Option<Instant> = None;
    loop {
        // Without a connection nothing is planned: what is due stays due.
        let connection = match up.wait_for(Option::is_some).await {
            Ok(connection) => connection.clone(),
            Err(_) => return,
        };
        let Some(connection) = connection else { continue };
        // A clock that is wrong makes the server hold: that comes before anything is sealed.
        if checked.is_none_or(|checked| checked.elapsed() >= A_MINUTE) {
            if let Err(refusal) = fleet.check_clock().await {
                tracing::warn!(%refusal, "could not compare the clock with what was sent; trying again");
                sleep(RETRY).await;
                continue;
            }
            checked = Some(Instant::now());
        }
        let ours = leases.borrow().clone();
        if ours.is_empty() {
            let _woken = timeout(TICK, bells.due.notified()).await;
            continue;
        }
        match fleet.round(&ours, DEVICES).await {
            Ok(round) => {
                board.database(None);
                let is_all = round.devices < DEVICES;
                for publication in round.publications {
                    publish(&connection, publication, &on_their_way).await;
                }
                if is_all {
                    let _woken = timeout(TICK, bells.due.notified()).await;
                }
            }
            Err(refusal) => {
                if refusal.kind == RefusalKind::Unavailable {
                    board.database(Some(refusal.detail));
                } else if refusal.kind != RefusalKind::Held {
                    tracing::error!(%refusal, "a round failed");
                }
                sleep(RETRY).await;
            }
        }
    }
}

async fn publish(connection: &Connection, publication: Publication, on_their_way: &mpsc::Sender<OnItsWay>) {
    let Publication { device, position, bytes } = publication;
    let Ok(command) = SealedCommand::from_bytes(&bytes) else {
        tracing::error!(%device, position, "what is stored of a command is damaged, and is not sent");
        return;
    };
    // What fails here is sent again as all that is not confirmed.
    let answer = match connection.send_command(&device.control_topic(), &command).await {
        Ok(answer) => answer,
        Err(PublishError::Closed) => return,
        Err(error) => {
            tracing::error!(%device, %error, "a command could not be published");
            return;
        }
    };
    let command = Handed { device, position, answer: Answer::Taken };
    let _or_ended = on_their_way.send(OnItsWay { command, answer }).await;
}

/// Writes back what the broker answered, in batches, until nothing more goes out and all of it is answered.
pub(super) async fn write_back(fleet: Fleet, mut on_their_way: mpsc::Receiver<OnItsWay>) {
    /// Answers that wait to be written, at most.
    const BATCH: usize = 2000;
    let mut under_way = FuturesUnordered::new();
    let mut answered: Vec<Handed> = Vec::new();
    let mut tick = interval(TICK / 2);
    let mut is_over = false;
    while !(is_over && under_way.is_empty() && answered.is_empty()) {
        let is_due = tokio::select! {
            sent = on_their_way.recv(), if !is_over => {
                match sent {
                    Some(OnItsWay { command, answer }) => under_way.push(async move { (command, answer.await) }),
                    None => is_over = true,
                }
                false
            }
            Some((mut command, answer)) = under_way.next(), if !under_way.is_empty() => {
                command.answer = match answer {
                    Ok(Taken::NoSubscriber) => Answer::NoSubscriber,
                    Ok(_) => Answer::Taken,
                    // It is sent again.
                    Err(error) => Answer::NotTaken(error.to_string()),
                };
                metrics::counter!("e4_commands_answered_total", "answer" => command.answer.word()).increment(1);
                answered.push(command);
                answered.len() >= BATCH
            }
            _ = tick.tick() => !answered.is_empty(),
        };
        if is_due && let Err(refusal) = fleet.handed(std::mem::take(&mut answered)).await {
            // It is told of what goes out next.
            tracing::warn!(%refusal, "what the broker answered was not written down");
        }
    }
}

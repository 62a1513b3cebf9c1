//! The broker: what goes out, what is heard, and who of several servers does it for which devices.
//!
//! What is decided is decided by [`fleet`](crate::fleet); here it is sent and heard. A lost message costs time and nothing else:
//! commands lie in the database until a report confirms them, and the retained report is the truth, which is read again.
//!
//! | part | |
//! |---|---|
//! | [`Broker`] | where the broker is, and who we are to it |
//! | `link` | the connection: connects again, subscribes to reports until the broker lets it |
//! | `snapshot`, `snapshots` | reads what the broker keeps of reports, and when |
//! | `leases` | keeps this server's share of the fleet |
//! | `rounds` | publishes what is due, and writes back what the broker said of it |
//! | `hear`, `seen` | hands on what was heard, in batches, and nothing twice |
//! | `advance` | has orders go on |
//! | [`Standing`] | how all this stands, for people and metrics |

mod advance;
mod broker;
mod hear;
mod leases;
mod link;
mod nobody;
mod rounds;
mod seen;
mod snapshot;
mod snapshots;
mod standing;
#[cfg(test)]
mod tests;

pub use broker::{Broker, BrokerOptions, MqttVersion, Unusable};
pub use standing::{BrokerState, Hearing, Standing};

use crate::{fleet::Fleet, store::leases::Holder};
use std::{fmt, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};

/// Reports that wait to be judged. Beyond it the broker keeps what has QoS 1.
const HEARD: usize = 1 << 17;
/// Commands that were handed to the broker, and whose answers are waited for.
const ON_THEIR_WAY: usize = 1 << 14;
/// How soon the broker is asked again for what it did not grant.
const RETRY: Duration = Duration::from_secs(30);
/// How long a broker has to take what goes out last.
const PATIENCE: Duration = Duration::from_secs(5);

/// A server that delivers. When it is dropped all of it ends at once, as in a crash: nothing is lost by that.
pub struct Delivery {
    fleet: Fleet,
    holder: Holder,
    board: standing::Board,
    bells: Arc<standing::Bells>,
    up: watch::Receiver<Option<e4_mqtt::Connection>>,
    /// All but what follows.
    tasks: JoinSet<()>,
    /// Ends when nothing more goes out.
    write_back: JoinSet<()>,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").field("holder", &self.holder).finish_non_exhaustive()
    }
}

impl Delivery {
    /// Begins to deliver, whether or not the broker is there. Needs to be called from within a Tokio runtime.
    ///
    /// # Errors
    ///
    /// The operating system has no random numbers.
    pub fn start(fleet: Fleet, broker: Broker) -> Result<Self, getrandom::Error> {
        let holder = new_holder()?;
        let board = standing::Board::new(broker.to_string());
        let bells = Arc::<standing::Bells>::default();
        let (heard, arrived) = mpsc::channel(HEARD);
        let (on_their_way, to_write) = mpsc::channel(ON_THEIR_WAY);
        let (held, leases) = watch::channel(crate::model::Leases::default());
        let (waits, order_waits) = watch::channel(false);
        let (up, connection) = watch::channel(None);
        let outputs = link::Outputs { board: board.clone(), heard: heard.clone(), up, bells: Arc::clone(&bells) };
        let mut tasks = JoinSet::new();
        tasks.spawn(leases::run(fleet.clone(), holder.clone(), held, board.clone(), Arc::clone(&bells)));
        tasks.spawn(snapshots::run(broker.clone(), heard, board.clone(), Arc::clone(&bells), order_waits));
        tasks.spawn(async move { link::keep(&broker, RETRY, &outputs).await });
        tasks.spawn(hear::run(fleet.clone(), arrived, leases.clone(), board.clone(), Arc::clone(&bells)));
        tasks.spawn(advance::run(fleet.clone(), leases.clone(), board.clone(), Arc::clone(&bells), waits));
        tasks.spawn(rounds::run(
            fleet.clone(),
            connection.clone(),
            leases,
            board.clone(),
            Arc::clone(&bells),
            on_their_way,
        ));
        let mut write_back = JoinSet::new();
        write_back.spawn(rounds::write_back(fleet.clone(), to_write));
        Ok(Self { fleet, holder, board, bells, up: connection, tasks, write_back })
    }

    /// How it stands, now and from now on.
    #[must_use]
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.board.watch()
    }

    /// Something was just made due: it need not wait for the next look.
    pub fn wake(&self) {
        self.bells.due.notify_one();
    }

    /// Ends in good order: what was published gets the time to reach the broker, and other servers take over at once.
    pub async fn stop(mut self) {
        let connection = self.up.borrow().clone();
        // What was heard and not judged is in the next snapshot; what is committed and not published is sent again.
        self.tasks.shutdown().await;
        if let Some(connection) = connection {
            let _or_not = timeout(PATIENCE * 2, connection.shutdown(PATIENCE)).await;
        }
        let _or_not = timeout(PATIENCE, self.write_back.join_all()).await;
        if let Err(error) = leases::release(&self.fleet, &self.holder).await {
            tracing::warn!(%error, "others take over once what this server holds has expired");
        }
    }
}

/// A name for this server that no other has: they are told apart by chance alone.
fn new_holder() -> Result<Holder, getrandom::Error> {
    let mut random = [0; 8];
    getrandom::fill(&mut random)?;
    let presence = -i64::from_be_bytes(random).saturating_abs().max(1);
    Ok(Holder { name: format!("{}-{}", std::process::id(), hex::encode(random)), presence })
}

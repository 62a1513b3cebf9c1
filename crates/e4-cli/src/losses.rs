//! Connections that ended while something was to be sent.

use e4_mqtt::Loss;
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::sleep;

/// How often the same messages are sent. A broker that closes the connection each time does not take them.
const TRIES: usize = 3;

/// The reasons of connections that ended.
#[derive(Default)]
pub(crate) struct Losses(Mutex<Vec<Loss>>);

impl Losses {
    fn lock(&self) -> MutexGuard<'_, Vec<Loss>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, loss: Loss) {
        self.lock().push(loss);
    }

    /// Waits until so many connections in a row ended soon after they were made that it is no use to go on, or until one
    /// ended for good, and returns the last one.
    pub(crate) async fn too_many(&self) -> Loss {
        self.until(Self::hopeless).await
    }

    /// Waits until any connection ended, and returns the first one.
    pub(crate) async fn any(&self) -> Loss {
        self.until(|this| this.lock().first().cloned()).await
    }

    async fn until(&self, look: impl Fn(&Self) -> Option<Loss>) -> Loss {
        loop {
            if let Some(loss) = look(self) {
                return loss;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn hopeless(&self) -> Option<Loss> {
        let losses = self.lock();
        let last = losses.last()?;
        let in_a_row = usize::try_from(last.in_a_row).unwrap_or(usize::MAX);
        let ended = last.cause == e4_mqtt::Cause::TakenOver;
        (ended || in_a_row >= TRIES).then(|| last.clone())
    }
}

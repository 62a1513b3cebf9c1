//! Sensors that publish all the time, and whether everybody reads all of it.

use super::device::{Device, Seen};
use e4_mqtt::{Connection, QoS};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{task::JoinHandle, time::sleep};

/// Between two messages of one sensor.
const EVERY: Duration = Duration::from_millis(250);

/// Messages that go out until it is stopped.
pub(super) struct Traffic {
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Traffic {
    pub(super) fn start(sensors: &[Device], topic: &'static str) -> anyhow::Result<Self> {
        let (sent, stop) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicBool>::default());
        let mut tasks = Vec::new();
        for sensor in sensors {
            let (connection, name) = (sensor.connection()?.clone(), sensor.name.clone());
            tasks.push(tokio::spawn(publish(connection, name, topic, Arc::clone(&sent), Arc::clone(&stop))));
        }
        Ok(Self { sent, stop, tasks })
    }

    pub(super) fn count(&self) -> usize {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Ends it, and returns what was sent.
    pub(super) async fn stop(self) -> Vec<Vec<u8>> {
        self.stop.store(true, Ordering::Release);
        for task in self.tasks {
            let _ended = task.await;
        }
        std::mem::take(&mut self.sent.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn publish(
    connection: Connection,
    name: String,
    topic: &'static str,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
    stop: Arc<AtomicBool>,
) {
    let mut number = 0_u64;
    while !stop.load(Ordering::Acquire) {
        number += 1;
        let payload = format!("{name} {number}").into_bytes();
        if let Ok(delivery) = connection.publish(topic, &payload, QoS::AtLeastOnce).await
            && delivery.await.is_ok()
        {
            sent.lock().unwrap_or_else(PoisonError::into_inner).push(payload);
        }
        sleep(EVERY).await;
    }
}

/// How many of these messages somebody has not read.
pub(super) fn missing(sent: &[Vec<u8>], readers: &[Arc<Seen>]) -> usize {
    readers.iter().map(|seen| sent.iter().filter(|payload| !seen.has_read(payload)).count()).sum()
}

//! A connection and the thread that it lives on.

use super::{StoreError, StoreErrorKind};
use rusqlite::Connection;
use std::{
    sync::mpsc::{Receiver, Sender, channel},
    thread::{self, JoinHandle},
};
use tokio::sync::oneshot;

type Work = Box<dyn FnOnce(&Connection) + Send>;

/// Does what it is asked, in order.
pub(super) struct Worker {
    work: Option<Sender<Work>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub(super) fn start(connection: Connection) -> Result<Self, StoreError> {
        let (work, orders) = channel();
        let thread = thread::Builder::new().name("sqlite".to_owned()).spawn(move || run(&connection, &orders));
        let thread = thread
            .map_err(|error| StoreErrorKind::Unavailable.because(format!("could not start a thread: {error}")))?;
        Ok(Self { work: Some(work), thread: Some(thread) })
    }

    /// Asks for something and waits for it; it is done also if nobody waits any more.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(Box::new(move |connection| {
            let _ = answer.send(work(connection));
        }));
        answered.await.map_err(|_| StoreErrorKind::Unavailable.because("the database's thread ended"))
    }

    /// Asks for something and does not wait.
    pub(super) fn tell<T>(&self, work: impl FnOnce(&Connection) -> T + Send + 'static) {
        self.send(Box::new(move |connection| {
            work(connection);
        }));
    }

    fn send(&self, work: Work) {
        if let Some(sender) = &self.work {
            let _ = sender.send(work);
        }
    }
}

impl Drop for Worker {
    /// Waits until the connection is closed, so that whoever opens the file next finds it free.
    fn drop(&mut self) {
        drop(self.work.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(connection: &Connection, orders: &Receiver<Work>) {
    for work in orders {
        work(connection);
    }
}

//! A TCP proxy in front of a broker, to cut connections and to move them to another broker.

use super::until;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};
use tokio::{
    io::{AsyncReadExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

pub(crate) struct Proxy {
    pub(crate) port: u16,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    /// Where connections go; none are let through while there is nothing.
    target: Mutex<Option<u16>>,
    /// Counts the cuts.
    cuts: watch::Sender<u32>,
    /// Nothing is passed on.
    frozen: watch::Sender<bool>,
    /// Counts the connections that were let through.
    made: AtomicUsize,
    /// Counts those of them that are there.
    open: AtomicUsize,
}

impl Proxy {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let own_port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            target: Mutex::new(Some(port)),
            cuts: watch::Sender::new(0),
            frozen: watch::Sender::new(false),
            made: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
        });
        let task = tokio::spawn(serve(listener, Arc::clone(&state)));
        Self { port: own_port, state, task }
    }

    /// Cuts all connections, without a word of MQTT.
    pub(crate) fn cut(&self) {
        self.state.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Cuts all connections and lets no new ones through.
    pub(crate) fn close(&self) {
        *self.state.target.lock().unwrap() = None;
        self.cut();
    }

    /// Lets connections through, to this port.
    pub(crate) fn open(&self, port: u16) {
        *self.state.target.lock().unwrap() = Some(port);
    }

    /// Takes connections and what is sent on them, and passes nothing on: the broker hangs.
    pub(crate) fn freeze(&self) {
        self.state.frozen.send_replace(true);
    }

    /// How many connections were let through so far.
    pub(crate) fn made(&self) -> usize {
        self.state.made.load(Ordering::SeqCst)
    }

    /// Waits until all connections have ended at both ends: the broker has read the last words, and gives no new connection
    /// what an earlier one has acknowledged.
    pub(crate) async fn until_all_ended(&self) {
        until("the broker to have read the last words", async || self.state.open.load(Ordering::SeqCst) == 0).await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    loop {
        let Ok((mut near, _)) = listener.accept().await else { continue };
        let (mut cuts, mut frozen) = (state.cuts.subscribe(), state.frozen.subscribe());
        let Some(port) = *state.target.lock().unwrap() else { continue };
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
            near.set_nodelay(true).unwrap();
            far.set_nodelay(true).unwrap();
            state.open.fetch_add(1, Ordering::SeqCst);
            state.made.fetch_add(1, Ordering::SeqCst);
            let is_frozen = tokio::select! {
                biased;
                _ = cuts.changed() => false,
                _ = frozen.wait_for(|frozen| *frozen) => true,
                _ = copy_bidirectional(&mut near, &mut far) => false,
            };
            let swallow = async { while near.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {} };
            if is_frozen {
                tokio::select! {
                    () = swallow => (),
                    _ = cuts.changed() => (),
                }
            }
            state.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

//! A TCP proxy in front of a broker, to cut connections and to move them to another broker.

use std::sync::{Arc, Mutex};
use tokio::{
    io::copy_bidirectional,
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
}

impl Proxy {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let own_port = listener.local_addr().unwrap().port();
        let state = Arc::new(State { target: Mutex::new(Some(port)), cuts: watch::channel(0).0 });
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
        let mut cuts = state.cuts.subscribe();
        let Some(port) = *state.target.lock().unwrap() else { continue };
        tokio::spawn(async move {
            let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
            near.set_nodelay(true).unwrap();
            far.set_nodelay(true).unwrap();
            tokio::select! {
                _ = copy_bidirectional(&mut near, &mut far) => (),
                _ = cuts.changed() => (),
            }
        });
    }
}

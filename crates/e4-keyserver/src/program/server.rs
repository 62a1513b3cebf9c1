//! All parts of a running server, put together.

use anyhow::Context;
use e4_keyserver::{
    api::{self, Api},
    deliver::{Broker, Delivery},
    fleet::Fleet,
};
use metrics_exporter_prometheus::PrometheusHandle;
use rustls::ServerConfig;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle, time::timeout};

/// How long requests that are under way have to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// How the interface listens.
pub(crate) struct Interface {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) clear_on_a_network: bool,
    pub(crate) settings: api::Settings,
    pub(crate) metrics: Option<PrometheusHandle>,
}

/// A running server. When it is dropped, delivery ends at once, as in a crash.
pub(crate) struct Server {
    pub(crate) fleet: Fleet,
    pub(crate) delivery: Delivery,
    /// Where the interface listens.
    pub(crate) address: SocketAddr,
    listening: JoinHandle<std::io::Result<()>>,
    stop: oneshot::Sender<()>,
}

impl Server {
    pub(crate) async fn start(fleet: Fleet, broker: Broker, interface: Interface) -> anyhow::Result<Self> {
        let Interface { address, tls, clear_on_a_network, settings, metrics } = interface;
        // Before anything is sent: who finds the address taken may be the second one on this machine.
        let listener = TcpListener::bind(address).await.with_context(|| format!("could not listen on {address}"))?;
        let address = listener.local_addr()?;
        let delivery = Delivery::start(fleet.clone(), broker).context("could not start to deliver")?;
        let router = Api::new(fleet.clone(), settings, Some(delivery.standing()), metrics).router();
        let (stop, stopped) = oneshot::channel();
        let listening = tokio::spawn(async move {
            let until = async {
                let _or_dropped = stopped.await;
            };
            api::serve(listener, tls, clear_on_a_network, router, until).await
        });
        Ok(Self { fleet, delivery, address, listening, stop })
    }

    /// Runs until it is asked to end, and ends in good order. Fails if the interface ends by itself.
    pub(crate) async fn run(mut self, end: impl Future<Output = ()>) -> anyhow::Result<()> {
        tokio::select! {
            () = end => (),
            ended = &mut self.listening => {
                ended.context("the interface ended")?.context("the interface ended")?;
            }
        }
        self.stop().await;
        Ok(())
    }

    /// Ends in good order.
    pub(crate) async fn stop(self) {
        let _or_ended = self.stop.send(());
        self.delivery.stop().await;
        let _or_not = timeout(PATIENCE, self.listening).await;
    }

    /// As a crash would.
    pub(crate) fn crash(self) {
        self.listening.abort();
    }
}

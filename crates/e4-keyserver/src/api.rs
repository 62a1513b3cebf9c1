//! The HTTP interface: who asks and whether they may, and each endpoint as one intention or one list of the fleet.
//!
//! Every request passes one gate (`gate`), which looks up in one table (`table`) whom its endpoint takes. The endpoints, one file
//! a group, only turn what is said into what the fleet takes, and back.

mod access;
mod answer;
mod audit;
mod convert;
mod devices;
mod events;
mod extract;
mod gate;
mod groups;
mod import;
mod invitations;
mod limits;
mod listen;
mod orders;
mod problem;
mod routes;
mod server;
mod table;
mod tls;
mod tokens;
mod topics;
mod watch;

pub use listen::serve;
pub use problem::Problem;
pub use tls::{TlsError, server_config};

use crate::{
    deliver::{BrokerState, Hearing, Standing},
    fleet::Fleet,
};
use axum::{Router, middleware};
use limits::Limits;
use metrics_exporter_prometheus::PrometheusHandle;
use std::{fmt, net::SocketAddr, num::NonZeroU32, sync::Arc};
use tokio::sync::watch::Receiver;

/// What can be chosen.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether `/metrics` needs no token.
    pub open_metrics: bool,
    /// How many requests a principal may make in a minute.
    pub requests_per_minute: NonZeroU32,
}

/// From where a request comes.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The other end of the connection.
    pub address: SocketAddr,
    /// The common name of its certificate, if it has one that was checked.
    pub certificate: Option<String>,
}

impl Peer {
    /// The address as it is written into the audit.
    fn origin(peer: Option<&Self>) -> String {
        peer.map_or_else(|| "unknown".to_owned(), |peer| peer.address.ip().to_canonical().to_string())
    }
}

/// The interface of one fleet. Cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Inner>);

struct Inner {
    fleet: Fleet,
    settings: Settings,
    limits: Limits,
    broker: Option<Receiver<Standing>>,
    metrics: Option<PrometheusHandle>,
    openapi: String,
}

impl Api {
    /// The interface of a fleet, of how its delivery stands, and of the metrics of this process; either may be missing.
    #[must_use]
    pub fn new(
        fleet: Fleet,
        settings: Settings,
        broker: Option<Receiver<Standing>>,
        metrics: Option<PrometheusHandle>,
    ) -> Self {
        let limits = Limits::new(settings.requests_per_minute);
        let openapi = routes::describe(routes::endpoints().into_openapi());
        // What is described in code can always be written.
        let openapi = openapi.to_json().unwrap_or_default();
        Self(Arc::new(Inner { fleet, settings, limits, broker, metrics, openapi }))
    }

    /// Everything that can be asked, for [`serve`].
    pub fn router(&self) -> Router {
        let (router, _) = routes::endpoints().split_for_parts();
        router
            .fallback(gate::nothing)
            .layer(middleware::from_fn_with_state(self.clone(), gate::gate))
            .with_state(self.clone())
    }

    fn fleet(&self) -> &Fleet {
        &self.0.fleet
    }

    fn settings(&self) -> &Settings {
        &self.0.settings
    }

    fn limits(&self) -> &Limits {
        &self.0.limits
    }

    fn metrics(&self) -> Option<&PrometheusHandle> {
        self.0.metrics.as_ref()
    }

    fn openapi(&self) -> &str {
        &self.0.openapi
    }

    fn broker(&self) -> Option<Standing> {
        self.0.broker.as_ref().map(|standing| standing.borrow().clone())
    }

    /// Whether commands go out and reports are heard, as far as this process delivers.
    fn is_connected(&self) -> bool {
        self.broker().is_none_or(|standing| {
            standing.broker == BrokerState::Connected
                && matches!(standing.hearing, Hearing::Hears | Hearing::Subscribed)
        })
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("fleet", &self.0.fleet).field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

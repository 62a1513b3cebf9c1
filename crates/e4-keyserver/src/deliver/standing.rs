//! How delivery stands, for people, metrics and the log. A state that changes is logged once.

use e4_mqtt::QoS;
use std::{sync::Arc, time::Instant};
use tokio::sync::{Notify, watch};

/// How delivery stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Where the broker is.
    pub address: String,
    /// Since when the two that follow are as they are.
    pub since: Instant,
    /// Whether there is a connection to the broker.
    pub broker: BrokerState,
    /// Whether devices are heard.
    pub hearing: Hearing,
    /// Why the database cannot be used, if it cannot.
    pub database: Option<String>,
    /// How many slices of the fleet this server delivers to.
    pub slices: usize,
    /// When the last snapshot of what devices report was complete.
    pub snapshot: Option<Instant>,
}

/// The connection to the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrokerState {
    /// It is there.
    Connected,
    /// It is not, for this reason. It is tried again by itself.
    Away(String),
}

/// Whether reports of devices arrive as they are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hearing {
    /// The broker has not answered yet.
    NotYet,
    /// The broker lets this server subscribe, and has brought no report since. Some brokers take a subscription that they do not
    /// serve, such as mosquitto by its file of access rules.
    Subscribed,
    /// They do: one arrived.
    Hears,
    /// They do not, for this reason: nothing is confirmed but by snapshots, if the broker allows those. It is tried again by itself.
    Cannot(String),
}

impl Hearing {
    pub(super) fn of_granted(granted: QoS) -> Self {
        if granted == QoS::AtMostOnce {
            Self::Cannot(
                "the broker grants only QoS 0 for the reports of devices, and loses some of them: have it grant QoS 1 on \
                 e4/+/report"
                    .to_owned(),
            )
        } else {
            Self::Subscribed
        }
    }

    pub(super) fn refused(reason: &str) -> Self {
        Self::Cannot(format!(
            "the broker does not let this server read the reports of devices ({reason}): have it allow to subscribe to e4/+/report"
        ))
    }
}

/// What parts of delivery tell each other.
#[derive(Debug, Default)]
pub(super) struct Bells {
    /// Something may be due.
    pub(super) due: Notify,
    /// Reports were judged, and orders may go on.
    pub(super) judged: Notify,
    /// Reports may have been missed: read what the broker keeps.
    pub(super) missed: Notify,
}

/// A handle on it, which all parts of delivery share.
#[derive(Debug, Clone)]
pub(super) struct Board(Arc<watch::Sender<Standing>>);

impl Board {
    pub(super) fn new(address: String) -> Self {
        let standing = Standing {
            address,
            since: Instant::now(),
            broker: BrokerState::Away("not connected yet".to_owned()),
            hearing: Hearing::NotYet,
            database: None,
            slices: 0,
            snapshot: None,
        };
        Self(Arc::new(watch::Sender::new(standing)))
    }

    pub(super) fn watch(&self) -> watch::Receiver<Standing> {
        self.0.subscribe()
    }

    fn change(&self, change: impl FnOnce(&mut Standing)) -> bool {
        self.0.send_if_modified(|standing| {
            let before = standing.clone();
            change(standing);
            if standing.broker != before.broker || standing.hearing != before.hearing {
                standing.since = Instant::now();
            }
            *standing != before
        })
    }

    pub(super) fn broker(&self, state: BrokerState) {
        metrics::gauge!("e4_broker_connected").set(f64::from(u8::from(state == BrokerState::Connected)));
        if self.change(|standing| standing.broker = state.clone()) {
            match state {
                BrokerState::Connected => tracing::info!("connected to the broker"),
                BrokerState::Away(reason) => tracing::warn!(reason, "no connection to the broker; trying again"),
            }
        }
    }

    pub(super) fn hearing(&self, hearing: Hearing) {
        metrics::gauge!("e4_hears_devices").set(f64::from(u8::from(hearing == Hearing::Hears)));
        if self.change(|standing| standing.hearing = hearing.clone()) {
            match hearing {
                Hearing::NotYet => (),
                Hearing::Subscribed => tracing::info!("subscribed to the reports of devices; none has arrived yet"),
                Hearing::Hears => tracing::info!("hears devices"),
                Hearing::Cannot(reason) => tracing::error!(reason, "cannot hear devices; trying again"),
            }
        }
    }

    /// A report arrived.
    pub(super) fn hears(&self) {
        if self.0.borrow().hearing == Hearing::Subscribed {
            self.hearing(Hearing::Hears);
        }
    }

    pub(super) fn database(&self, trouble: Option<String>) {
        metrics::gauge!("e4_database_available").set(f64::from(u8::from(trouble.is_none())));
        if self.change(|standing| standing.database = trouble.clone()) {
            match trouble {
                None => tracing::info!("the database is there again"),
                Some(reason) => tracing::error!(reason, "the database cannot be used; trying again"),
            }
        }
    }

    pub(super) fn slices(&self, slices: usize) {
        metrics::gauge!("e4_slices_held").set(u32::try_from(slices).map_or(f64::MAX, f64::from));
        if self.change(|standing| standing.slices = slices) {
            tracing::info!(slices, "slices of the fleet that this server delivers to");
        }
    }

    pub(super) fn snapshot(&self) {
        metrics::counter!("e4_snapshots_total").increment(1);
        self.change(|standing| standing.snapshot = Some(Instant::now()));
    }
}

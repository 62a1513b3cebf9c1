//! What the test files share: brokers, devices with their key server, an outsider without keys, and patience.
#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "each test file uses a part of it, and fails by panicking"
)]

pub(crate) mod broker;
pub(crate) mod certificates;
pub(crate) mod device;
pub(crate) mod outsider;
pub(crate) mod proxy;
pub(crate) mod rotation;
pub(crate) mod scripted;
pub(crate) mod search;
pub(crate) mod store;

use broker::{Broker, BrokerKind, Transport};
use e4_mqtt::MqttOptions;
use std::{future::Future, time::Duration};

/// How long anything may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(150);

/// Waits, but not for ever.
pub(crate) async fn within<T>(patience: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(patience, future).await {
        Ok(result) => result,
        Err(_) => panic!("waited {patience:?} in vain for {what}"),
    }
}

/// Looks again and again until something holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let look = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(PATIENCE, what, look).await;
}

/// The version of MQTT that devices speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V4,
    V5,
}

/// What a scenario runs on.
pub(crate) struct Setup {
    pub(crate) broker: Broker,
    pub(crate) version: Version,
}

impl Setup {
    /// The options of a client of the broker.
    pub(crate) fn options(&self, mqtt_id: &str) -> MqttOptions {
        self.options_at(self.broker.port(), mqtt_id)
    }

    /// The options of a client that reaches the broker by another port, of a proxy.
    pub(crate) fn options_at(&self, port: u16, mqtt_id: &str) -> MqttOptions {
        match self.version {
            Version::V4 => {
                use e4_mqtt::rumqttc_v4::{MqttOptions, Transport};
                let mut options = MqttOptions::new(mqtt_id, (self.broker.host(), port));
                if let Some(tls) = self.broker.tls() {
                    options.set_transport(Transport::tls_with_config(tls));
                }
                options.into()
            }
            Version::V5 => {
                use e4_mqtt::rumqttc_v5::{MqttOptions, Transport};
                let mut options = MqttOptions::new(mqtt_id, (self.broker.host(), port));
                if let Some(tls) = self.broker.tls() {
                    options.set_transport(Transport::tls_with_config(tls));
                }
                options.into()
            }
        }
    }
}

/// Runs a scenario on a broker of its own; does nothing where mosquitto is missing and may be.
pub(crate) fn run<F: Future<Output = ()>>(
    kind: BrokerKind,
    version: Version,
    transport: Transport,
    scenario: impl FnOnce(Setup) -> F,
) {
    if !kind.is_available() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let broker = Broker::start(kind, transport).await;
        within(Duration::from_secs(180), "the end of the scenario", scenario(Setup { broker, version })).await;
    });
    runtime.shutdown_background();
}

/// One test for each broker and version that is named, or for all.
macro_rules! scenario {
    ($name:ident) => {
        crate::common::scenario!($name: embedded_v4 embedded_v5 mosquitto_v4 mosquitto_v5);
    };
    ($name:ident and with tls) => {
        crate::common::scenario!($name: embedded_v4 embedded_v5 mosquitto_v4 mosquitto_v5
            embedded_v4_tls embedded_v5_tls mosquitto_v4_tls mosquitto_v5_tls);
    };
    ($name:ident: $($on:ident)+) => {
        mod $name {
            $(#[test] fn $on() { crate::common::scenario!(@run $on, super::$name); })+
        }
    };
    (@run embedded_v4, $scenario:path) => { crate::common::scenario!(@on Embedded V4 Plain, $scenario) };
    (@run embedded_v5, $scenario:path) => { crate::common::scenario!(@on Embedded V5 Plain, $scenario) };
    (@run mosquitto_v4, $scenario:path) => { crate::common::scenario!(@on Mosquitto V4 Plain, $scenario) };
    (@run mosquitto_v5, $scenario:path) => { crate::common::scenario!(@on Mosquitto V5 Plain, $scenario) };
    (@run embedded_v4_tls, $scenario:path) => { crate::common::scenario!(@on Embedded V4 Tls, $scenario) };
    (@run embedded_v5_tls, $scenario:path) => { crate::common::scenario!(@on Embedded V5 Tls, $scenario) };
    (@run mosquitto_v4_tls, $scenario:path) => { crate::common::scenario!(@on Mosquitto V4 Tls, $scenario) };
    (@run mosquitto_v5_tls, $scenario:path) => { crate::common::scenario!(@on Mosquitto V5 Tls, $scenario) };
    (@on $broker:ident $version:ident $transport:ident, $scenario:path) => {
        crate::common::run(
            crate::common::broker::BrokerKind::$broker,
            crate::common::Version::$version,
            crate::common::broker::Transport::$transport,
            $scenario,
        )
    };
}
pub(crate) use scenario;

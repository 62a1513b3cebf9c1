//! The broker of the demo: one inside this process, or one of the user's.

use anyhow::Context;
use mqtt5::broker::{
    BrokerConfig, MqttBroker,
    config::{StorageBackend, StorageConfig},
};
use std::{fmt, net::Ipv4Addr, str::FromStr, time::Duration};

/// How long to wait for the broker, and for what it is to deliver.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Where a broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

pub(super) struct Broker {
    pub(super) address: Address,
    /// Whether it belongs to the demo alone.
    pub(super) embedded: bool,
}

impl Broker {
    pub(super) fn real(address: &Address) -> Self {
        Self { address: address.clone(), embedded: false }
    }

    /// Starts a broker that nobody outside this machine can reach, and that writes nothing to the disk.
    pub(super) async fn embedded() -> anyhow::Result<Self> {
        let config = BrokerConfig::new()
            .with_bind_address((Ipv4Addr::LOCALHOST, 0))
            .with_storage(StorageConfig::new().with_backend(StorageBackend::Memory))
            .with_sys_topics_enabled(false);
        let mut broker = MqttBroker::with_config(config).await.context("could not start the broker of the demo")?;
        let port = broker.local_addr().context("the broker of the demo listens nowhere")?.port();
        tokio::spawn(async move { broker.run().await });
        Ok(Self { address: Address { host: Ipv4Addr::LOCALHOST.to_string(), port }, embedded: true })
    }
}

const DEFAULT_PORT: u16 = 1883;

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, port) = match text.rsplit_once(':') {
            // What is before the colon of an IPv6 address has colons itself, unless it is in brackets.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, port.parse().map_err(|_error| "the port is a number from 1 to 65535")?)
            }
            _ => (text, DEFAULT_PORT),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err("name the broker as HOST:PORT, such as localhost:1883");
        }
        if port == 0 {
            return Err("the port is a number from 1 to 65535");
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port_and_the_port_may_be_left_out() {
        for (text, host, port) in [
            ("localhost:1884", "localhost", 1884),
            ("broker.example", "broker.example", 1883),
            ("10.0.0.1:1", "10.0.0.1", 1),
            ("[::1]:1884", "::1", 1884),
            ("[::1]", "::1", 1883),
            ("::1", "::1", 1883),
        ] {
            assert_eq!(text.parse(), Ok(Address { host: host.to_owned(), port }), "{text}");
        }
        for text in ["", ":1883", "host:", "host:0", "host:65536", "host:mqtt", "[]:1883"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}

//! A broker that nobody outside this machine can reach, and that writes nothing to the disk.

use anyhow::Context;
use mqtt5::broker::{
    BrokerConfig, MqttBroker,
    config::{StorageBackend, StorageConfig},
};
use std::net::Ipv4Addr;

/// Starts one, and returns its port.
pub(super) async fn start() -> anyhow::Result<u16> {
    let config = BrokerConfig::new()
        .with_bind_address((Ipv4Addr::LOCALHOST, 0))
        .with_storage(StorageConfig::new().with_backend(StorageBackend::Memory))
        .with_sys_topics_enabled(false);
    let mut broker = MqttBroker::with_config(config).await.context("could not start the broker of the demo")?;
    let port = broker.local_addr().context("the broker of the demo listens nowhere")?.port();
    let mut ready = broker.ready_receiver();
    tokio::spawn(async move { broker.run().await });
    // What it is told before it is ready it does not hear.
    ready.wait_for(|ready| *ready).await.context("the broker of the demo did not start")?;
    Ok(port)
}

//! Somebody who records what passes by the broker.

use anyhow::Context;
use e4::{Client, ClientId, ClientKey, Identity, MemoryStore, TopicFilter};
use e4_mqtt::{Connection, Event, QoS, rumqttc_v5::MqttOptions};
use std::sync::{Arc, Mutex, PoisonError};

/// Topics and payloads, as they passed by.
pub(super) type Recording = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// Records everything under a filter until it is dropped.
pub(super) struct Listener {
    pub(super) recording: Recording,
    _connection: Connection,
}

impl Listener {
    pub(super) async fn start(port: u16, filter: &str) -> anyhow::Result<Self> {
        let identity = Identity::symmetric(ClientId::from_name("somebody")?, ClientKey::generate()?);
        let nobody = Client::builder(identity).create(MemoryStore::new())?;
        let options = MqttOptions::new("somebody", ("127.0.0.1", port));
        let everything = TopicFilter::new("#")?;
        let builder = Connection::builder(options, nobody).clear(&everything).clean_session();
        let (connection, mut events) = builder.connect()?;
        let recording = Recording::default();
        let recorded = Arc::clone(&recording);
        tokio::spawn(async move {
            while let Some(event) = events.next_event().await {
                if let Event::Message(message) = event {
                    recorded.lock().unwrap_or_else(PoisonError::into_inner).push((message.topic, message.payload));
                }
            }
        });
        connection.subscribe(filter, QoS::AtMostOnce).await.context("nobody can listen")?;
        Ok(Self { recording, _connection: connection })
    }

    pub(super) fn take(&self) -> Vec<(String, Vec<u8>)> {
        std::mem::take(&mut self.recording.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

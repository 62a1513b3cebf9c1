//! A client of the broker that has no keys: it listens to everything, and publishes what it likes.

use super::{PATIENCE, Setup, within};
use e4_mqtt::rumqttc_v5::{
    AsyncClient, Event, MqttOptions, Packet, PublishNotice, PublishOptions, QoS, SessionMode, Transport,
};
use tokio::{sync::mpsc, task::JoinHandle};

pub(crate) struct Outsider {
    client: AsyncClient,
    pub(crate) seen: mpsc::UnboundedReceiver<Seen>,
    task: JoinHandle<()>,
}

/// What passed by.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) content_type: Option<String>,
}

impl Outsider {
    /// Connects, and subscribes to filters at QoS 1.
    pub(crate) async fn join(setup: &Setup, mqtt_id: &str, filters: &[&str]) -> Self {
        let mut options = MqttOptions::new(mqtt_id, (setup.broker.host(), setup.broker.port()));
        options.set_session_mode(SessionMode::Clean);
        options.set_max_packet_size(Some(16 << 20));
        let mut network = options.network_options();
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        if let Some(tls) = setup.broker.tls() {
            options.set_transport(Transport::tls_with_config(tls));
        }
        let (client, mut events) = AsyncClient::builder(options).unbounded().try_build().unwrap();
        let (found, seen) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            while let Ok(event) = events.poll().await {
                if let Event::Incoming(Packet::Publish(publish)) = event {
                    let topic = String::from_utf8_lossy(&publish.topic).into_owned();
                    let content_type = publish.properties.and_then(|properties| properties.content_type);
                    let _ended = found.send(Seen { topic, payload: publish.payload.to_vec(), content_type });
                }
            }
        });
        let outsider = Self { client, seen, task };
        for filter in filters {
            let notice = outsider.client.try_subscribe_tracked(*filter, QoS::AtLeastOnce).unwrap();
            within(PATIENCE, "a subscription", notice.wait_completion_async()).await.unwrap();
        }
        outsider
    }

    /// Publishes, and waits until the broker has it.
    pub(crate) async fn publish(&self, topic: &str, payload: &[u8], qos: QoS) {
        let notice = self.put(topic, payload, PublishOptions::new(qos));
        within(PATIENCE, "a publication", notice.wait_completion_async()).await.unwrap();
    }

    /// Publishes without waiting.
    pub(crate) fn put(&self, topic: &str, payload: &[u8], options: PublishOptions) -> PublishNotice {
        self.client.try_publish_tracked(topic, payload.to_vec(), options).unwrap()
    }

    pub(crate) async fn next(&mut self) -> Seen {
        within(PATIENCE, "something to pass by", self.seen.recv()).await.expect("the outsider is connected")
    }

    /// Everything that passes by, up to what is on this topic, which is left out.
    pub(crate) async fn all_before(&mut self, topic: &str) -> Vec<Seen> {
        let mut all = Vec::new();
        loop {
            let seen = self.next().await;
            if seen.topic == topic {
                return all;
            }
            all.push(seen);
        }
    }
}

impl Drop for Outsider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

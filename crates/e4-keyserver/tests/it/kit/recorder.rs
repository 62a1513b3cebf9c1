//! Somebody who records the commands that pass by the broker.

use e4::{Client, ClientId, ClientKey, Identity, MemoryStore, Opened, TopicFilter, controller::SealedCommand};
use e4_mqtt::{Connection, Event, QoS, rumqttc_v5::MqttOptions};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex},
};

/// What was recorded, by control topic.
pub(crate) struct Recorder {
    commands: Arc<Mutex<HashMap<String, BTreeSet<Vec<u8>>>>>,
    _connection: Connection,
}

impl Recorder {
    pub(crate) async fn start(port: u16) -> Self {
        let identity = Identity::symmetric(ClientId::from_name("recorder").unwrap(), ClientKey::generate().unwrap());
        let nobody = Client::builder(identity).create(MemoryStore::new()).unwrap();
        let options = MqttOptions::new("recorder", ("127.0.0.1", port));
        let builder = Connection::builder(options, nobody).clear(&TopicFilter::new("#").unwrap()).clean_session();
        let (connection, mut events) = builder.connect().unwrap();
        let commands = Arc::<Mutex<HashMap<String, BTreeSet<Vec<u8>>>>>::default();
        let recorded = Arc::clone(&commands);
        tokio::spawn(async move {
            while let Some(event) = events.next_event().await {
                if let Event::Message(message) = event {
                    recorded.lock().unwrap().entry(message.topic).or_default().insert(message.payload);
                }
            }
        });
        connection.subscribe("e4/+", QoS::AtLeastOnce).await.unwrap();
        Self { commands, _connection: connection }
    }

    /// No second of a device carries more than its lane allows, nor two commands that do the same to one topic with other keys.
    /// Returns how many commands were looked at.
    pub(crate) fn no_second_was_used_twice(&self, devices: &[(ClientId, ClientKey)]) -> usize {
        let commands = self.commands.lock().unwrap();
        let mut seen = 0;
        for (id, key) in devices {
            let mut seconds: BTreeMap<_, Vec<_>> = BTreeMap::new();
            for payload in commands.get(id.control_topic().as_str()).into_iter().flatten() {
                let sent = SealedCommand::from_bytes(payload).unwrap().sent();
                let mut client =
                    Client::builder(Identity::symmetric(*id, key.clone())).create(MemoryStore::new()).unwrap();
                // A next key needs a current one, which this client has not.
                let did = match client.open(id.control_topic(), payload) {
                    Ok(Opened::Command(command)) => format!("{command:?}"),
                    _ => format!("{payload:?}"),
                };
                seconds.entry(sent).or_default().push(did);
                seen += 1;
            }
            for (sent, did) in seconds {
                let distinct: BTreeSet<_> = did.iter().collect();
                assert!(did.len() <= 15, "{} commands of one second for {id}", did.len());
                assert_eq!(distinct.len(), did.len(), "second {} of {id} was used twice: {did:?}", sent.as_unix());
            }
        }
        seen
    }
}

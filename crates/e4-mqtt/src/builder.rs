//! What a connection is to be like, before it starts.

use crate::{Connection, Events, MqttOptions, QoS, error::BuildError, protocol::Limits};
use e4::{Topic, TopicFilter};

/// A connection that is being put together; see [`Connection::builder`].
#[derive(Debug)]
#[must_use = "nothing connects before `connect`"]
pub struct Builder {
    pub(crate) options: MqttOptions,
    pub(crate) device: e4::Client,
    pub(crate) clear: Vec<TopicFilter<'static>>,
    pub(crate) will: Option<LastWill>,
    pub(crate) leave_messages: bool,
    pub(crate) limits: Limits,
}

impl Builder {
    pub(crate) fn new(options: MqttOptions, device: e4::Client) -> Self {
        let limits = Limits { queue: 1024, packet: 1 << 20, persistent: true };
        Self { options, device, clear: Vec::new(), will: None, leave_messages: false, limits }
    }

    /// Lets the topics of a filter pass in the clear, both ways: messages are published unsealed, and arrive marked as
    /// [`Protection::Clear`](crate::Protection::Clear), whether or not there is a key for their topic. The client's own
    /// control topic never passes in the clear.
    ///
    /// # Security
    ///
    /// The broker reads these, and anybody may have written them.
    pub fn clear(mut self, filter: &TopicFilter<'_>) -> Self {
        self.clear.push(filter.clone().into_owned());
        self
    }

    /// Has the broker publish a message when it loses this client. It is sealed at each connect: members take it as long
    /// as the key of that time is theirs, and if they [allow its age](e4::Client::set_max_age).
    pub fn last_will(mut self, will: LastWill) -> Self {
        self.will = Some(will);
        self
    }

    /// Asks for a session that ends with the connection. Commands that are sent while the client is away are then lost
    /// for it: for tools that run for a moment, not for devices.
    pub fn clean_session(mut self) -> Self {
        self.limits.persistent = false;
        self
    }

    /// Takes commands only, and leaves messages of QoS 1 and 2 that wait in the session to the broker, for another program
    /// of the same device that connects later: for a tool that only publishes.
    ///
    /// Brokers send so many messages that are not acknowledged and no more; mosquitto 20 in MQTT 3.1.1. If more wait,
    /// commands wait behind them.
    pub fn leave_messages(mut self) -> Self {
        self.leave_messages = true;
        self
    }

    /// How many messages may wait for the application, and how many for the broker; 1024 unless set, at least 1.
    ///
    /// Of what arrives, messages of QoS 0 beyond that are [lost](crate::Event::Overflowed), and those of QoS 1 and 2 wait
    /// in the broker. [`Connection::publish`] waits for room.
    pub fn queue(mut self, messages: usize) -> Self {
        self.limits.queue = messages.clamp(1, MAX_QUEUE);
        self
    }

    /// The largest packet in bytes that is sent, and with MQTT 5 also the largest that the broker may send; 1 MiB unless
    /// set, at least 1 KiB. In MQTT 3.1.1 what may arrive is the broker's to limit, and this must not be more than the
    /// broker takes: it ends the connection of who sends more, at QoS 1 and 2 each one anew.
    pub fn max_packet(mut self, bytes: u32) -> Self {
        self.limits.packet = bytes.max(1024);
        self
    }

    /// Starts the connection: a task of the Tokio runtime connects, and connects again whenever it has to.
    ///
    /// # Errors
    ///
    /// [`BuildError`]; nothing was started.
    pub fn connect(self) -> Result<(Connection, Events), BuildError> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(BuildError::NoRuntime);
        }
        crate::connection::start(self)
    }
}

/// Far above any use, and below what the channels refuse.
const MAX_QUEUE: usize = 1 << 20;

/// A message for the broker to publish when it loses the client.
#[derive(Clone)]
pub struct LastWill {
    pub(crate) topic: Topic<'static>,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
}

impl LastWill {
    /// A will of QoS 1 that is not retained.
    #[must_use]
    pub fn new(topic: &Topic<'_>, payload: impl Into<Vec<u8>>) -> Self {
        let topic = topic.clone().into_owned();
        Self { topic, payload: payload.into(), qos: QoS::AtLeastOnce, retain: false }
    }

    /// Sets the QoS.
    #[must_use]
    pub fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }

    /// Has the broker keep it for those who subscribe later.
    #[must_use]
    pub fn retained(mut self) -> Self {
        self.retain = true;
        self
    }
}

/// Prints no payload.
impl std::fmt::Debug for LastWill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LastWill")
            .field("topic", &self.topic.as_str())
            .field("bytes", &self.payload.len())
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .finish()
    }
}

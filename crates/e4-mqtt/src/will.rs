//! The last will.

use crate::QoS;
use e4::Topic;

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

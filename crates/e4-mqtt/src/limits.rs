//! What the broker takes, and whether a message fits.

use crate::{QoS, error::PublishError, protocol::Outgoing};

/// What the broker takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BrokerLimits {
    /// Bytes of the largest packet.
    pub(crate) max_packet: u32,
    pub(crate) max_qos: QoS,
}

impl BrokerLimits {
    /// Fails if a message is larger than the broker takes.
    pub(crate) fn check_size(self, message: &Outgoing) -> Result<(), PublishError> {
        let (bytes, limit) = (message.packet_len(), usize::try_from(self.max_packet).unwrap_or(usize::MAX));
        if bytes > limit { Err(PublishError::TooLarge { bytes, limit }) } else { Ok(()) }
    }

    /// Says why the broker does not take a message, if it does not.
    pub(crate) fn fit(self, message: &Outgoing) -> Result<(), String> {
        self.check_size(message).map_err(|error| error.to_string())?;
        let (qos, max_qos) = (message.qos as u8, self.max_qos as u8);
        if qos > max_qos {
            return Err(format!("it has QoS {qos}, and the broker takes {max_qos} at most"));
        }
        Ok(())
    }
}

/// Whether a topic or filter has a control character, for which brokers close the connection (MQTT 5, section 1.5.4).
pub(crate) fn has_control_character(text: &str) -> bool {
    text.chars().any(char::is_control)
}

impl Outgoing {
    /// Bytes of the packet, or a few more.
    fn packet_len(&self) -> usize {
        /// Fixed header, lengths, packet id, content type.
        const AROUND: usize = 5 + 2 + 2 + 4 + 32;
        AROUND + self.topic.len() + self.payload.len()
    }
}

//! Why a connection ended, for people: not in the words of the MQTT library.

use crate::terminal::printable;
use e4_mqtt::{Cause, Loss};

/// The reason as part of a line.
pub(crate) fn why_lost(loss: &Loss) -> String {
    match loss.cause {
        Cause::Closed | Cause::Contested => "the broker closed the connection, and did not say why".to_owned(),
        Cause::ClosedBeforeAnswer => "the broker closed the connection before it answered".to_owned(),
        Cause::Ended(code) => match reason(code) {
            Some(reason) => format!("the broker ended the connection: {reason} (reason code {code:#04x})"),
            None => format!("the broker ended the connection with reason code {code:#04x}"),
        },
        Cause::TakenOver => "another program connected under the MQTT client id of this one".to_owned(),
        Cause::Network => network(&loss.reason),
        _ => printable(&loss.reason),
    }
}

/// How the MQTT library begins what it hands on from its layers. The sentences of `e4-mqtt` do not.
const LAYERS: [&str; 2] = ["Mqtt state: ", "I/O: "];

/// What the network says, without the layers that handed it on.
fn network(reason: &str) -> String {
    let reason = LAYERS.iter().fold(reason, |rest, layer| rest.strip_prefix(layer).unwrap_or(rest));
    let reason = reason.split_once(" (os error").map_or(reason, |(reason, _number)| reason);
    match reason {
        "Last pingreq isn't acked" => "the broker does not answer any more".to_owned(),
        "Connection timeout" => "no answer in time".to_owned(),
        reason => printable(reason),
    }
}

/// Reason codes of DISCONNECT (MQTT 5, section 3.14.2.1) that a broker sends.
fn reason(code: u8) -> Option<&'static str> {
    Some(match code {
        0x81 => "malformed packet",
        0x82 => "protocol error",
        0x87 => "not authorized",
        0x89 => "the broker is busy",
        0x8b => "the broker is shutting down",
        0x8d => "nothing came from this client for too long",
        0x8f => "topic filter not valid",
        0x90 => "topic not valid",
        0x93 => "too many messages at once",
        0x94 => "topic alias not valid",
        0x95 => "packet too large",
        0x96 => "messages come too fast",
        0x97 => "quota exceeded",
        0x98 => "by somebody who runs the broker",
        0x99 => "payload format not valid",
        0x9a => "no retained messages",
        0x9b => "QoS not supported",
        0x9c | 0x9d => "use another server",
        0x9e => "no shared subscriptions",
        0x9f => "connections come too fast",
        0xa0 => "connected for too long",
        0xa1 => "no subscription identifiers",
        0xa2 => "no subscriptions with wildcards",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::network;

    #[test]
    fn what_the_network_says_is_said_without_the_layers_above() {
        for (reason, shown) in [
            ("I/O: Connection refused (os error 111)", "Connection refused"),
            ("Mqtt state: Last pingreq isn't acked", "the broker does not answer any more"),
            ("Mqtt state: I/O: broken", "broken"),
            ("a\nb", "a\\nb"),
        ] {
            assert_eq!(network(reason), shown);
        }
    }
}

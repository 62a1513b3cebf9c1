//! What CONNACK says about limits.

use crate::{
    report::{Connack, Limits},
    session::KEEP_ALIVE,
};
use mqtt5_protocol::PropertyId;

/// The limits of a CONNACK of MQTT 5; the standard's defaults (section 3.2.2.3) where it names none. What only repeats the
/// CONNECT is no limit: its keep alive, and the session that ends with the connection.
pub(crate) fn limits(connack: &Connack) -> Limits {
    let number = |id: PropertyId| {
        let property = connack.properties.iter().find(|property| property.id == id as u8)?;
        u32::from_str_radix(&property.value, 16).ok()
    };
    let short = |id| number(id).and_then(|value| u16::try_from(value).ok());
    let yes = |id| number(id) != Some(0);
    Limits {
        server_keep_alive: short(PropertyId::ServerKeepAlive).filter(|seconds| *seconds != KEEP_ALIVE),
        maximum_packet_size: number(PropertyId::MaximumPacketSize),
        receive_maximum: short(PropertyId::ReceiveMaximum).unwrap_or(u16::MAX),
        session_expiry: number(PropertyId::SessionExpiryInterval).filter(|seconds| *seconds != 0),
        topic_alias_maximum: short(PropertyId::TopicAliasMaximum).unwrap_or(0),
        maximum_qos: number(PropertyId::MaximumQoS).and_then(|qos| u8::try_from(qos).ok()).unwrap_or(2),
        retain_available: yes(PropertyId::RetainAvailable),
        wildcard_subscriptions: yes(PropertyId::WildcardSubscriptionAvailable),
        subscription_identifiers: yes(PropertyId::SubscriptionIdentifierAvailable),
        shared_subscriptions: yes(PropertyId::SharedSubscriptionAvailable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Property;

    #[test]
    fn limits_are_those_of_the_connack_and_else_those_of_the_standard() {
        let connack = |properties: &[(u8, &str)]| Connack {
            code: 0,
            bytes: String::new(),
            properties: properties.iter().map(|(id, value)| Property { id: *id, value: (*value).to_owned() }).collect(),
            assigned_id: None,
            reason: None,
        };
        let defaults = limits(&connack(&[]));
        assert_eq!((defaults.receive_maximum, defaults.maximum_qos, defaults.topic_alias_maximum), (65_535, 2, 0));
        assert_eq!(
            (defaults.maximum_packet_size, defaults.server_keep_alive, defaults.session_expiry),
            (None, None, None)
        );
        assert!(defaults.retain_available && defaults.wildcard_subscriptions);
        assert!(defaults.subscription_identifiers && defaults.shared_subscriptions);

        let all = [
            (0x13, "003c"),
            (0x27, "00100000"),
            (0x21, "000a"),
            (0x11, "ffffffff"),
            (0x22, "0010"),
            (0x24, "01"),
            (0x25, "00"),
            (0x28, "00"),
            (0x29, "00"),
            (0x2a, "00"),
        ];
        let seen = limits(&connack(&all));
        assert_eq!((seen.server_keep_alive, seen.maximum_packet_size), (Some(60), Some(1 << 20)));
        assert_eq!((seen.receive_maximum, seen.session_expiry), (10, Some(u32::MAX)));
        assert_eq!((seen.topic_alias_maximum, seen.maximum_qos), (16, 1));
        assert!(!seen.retain_available && !seen.wildcard_subscriptions);
        assert!(!seen.subscription_identifiers && !seen.shared_subscriptions);
    }

    #[test]
    fn f51_what_only_repeats_the_connect_is_not_dictated() {
        let connack = |keep_alive: &str, expiry: &str| Connack {
            code: 0,
            bytes: String::new(),
            properties: [(0x13, keep_alive), (0x11, expiry)]
                .map(|(id, value)| Property { id, value: value.to_owned() })
                .into(),
            assigned_id: None,
            reason: None,
        };
        let echo = limits(&connack("0078", "00000000"));
        assert_eq!((echo.server_keep_alive, echo.session_expiry), (None, None), "as ejabberd does");
        let dictated = limits(&connack("003c", "00000e10"));
        assert_eq!((dictated.server_keep_alive, dictated.session_expiry), (Some(60), Some(3600)));
    }
}

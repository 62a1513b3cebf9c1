//! MQTT 5.

use rumqttc_v5::{
    ConnectReturnCode, DisconnectReasonCode, Event, LastWillProperties, NoticeFailureReason, Outgoing as Sent, Packet,
    PersistedAckMode, PersistedSession, PubAckReason, PubCompReason, PubRecReason, PublishProperties,
    RetainForwardRule, SessionStore, SessionStoreError, SessionStoreKey, SubscribeFilter, mqttbytes,
};
use std::{future, pin::Pin};

super::common!(rumqttc_v5);

/// Of sealed messages, for whoever looks at the traffic. Nothing depends on it: it is not authenticated.
const CONTENT_TYPE: &str = "application/e4";

/// Messages of QoS 1 and 2 under way to the broker. It may allow 65,535; but the library goes through all that it could have under
/// way whenever it sends something.
const MAX_IN_FLIGHT: u16 = 1024;

fn adjust(options: &mut MqttOptions, limits: Limits) {
    options.set_max_packet_size(Some(limits.packet));
    let mut network_options = options.network_options();
    network_options.set_tcp_nodelay(true);
    options.set_network_options(network_options);
    // What is not acknowledged waits in the broker, not here.
    let queue = u16::try_from(limits.queue).unwrap_or(u16::MAX);
    options.set_receive_maximum(Some(options.receive_maximum().unwrap_or(queue).min(queue)));
    let in_flight = queue.min(MAX_IN_FLIGHT);
    let upper_limit = options.get_outgoing_inflight_upper_limit().unwrap_or(in_flight).clamp(1, in_flight);
    options.set_outgoing_inflight_upper_limit(upper_limit);
}

/// The options have it all.
fn adjust_events(_events: &mut EventLoop) {}

fn resume(options: &mut MqttOptions) {
    let upper_limit = options.get_outgoing_inflight_upper_limit();
    let expiry = options.session_expiry_interval();
    options.set_session_store(NothingUnderWay { upper_limit, expiry });
}

/// Not all of the session, as the library would publish nothing more in one that only the broker remembers.
fn forget(events: &mut EventLoop) {
    events.drain_pending_as_failed(NoticeFailureReason::SessionReset);
}

fn options_mut(events: &mut EventLoop) -> &mut MqttOptions {
    &mut events.options
}

fn last_will(will: &Outgoing) -> LastWill {
    let properties = will.sealed.then(|| LastWillProperties {
        delay_interval: None,
        payload_format_indicator: None,
        message_expiry_interval: None,
        content_type: Some(CONTENT_TYPE.to_owned()),
        response_topic: None,
        correlation_data: None,
        user_properties: Vec::new(),
    });
    LastWill::new(will.topic.clone(), will.payload.clone(), will.qos, will.retain, properties)
}

fn publish_options(message: &Outgoing) -> PublishOptions {
    let options = PublishOptions::new(message.qos).retain(message.retain);
    if !message.sealed {
        return options;
    }
    options
        .properties(PublishProperties { content_type: Some(CONTENT_TYPE.to_owned()), ..PublishProperties::default() })
}

/// Whoever waits for the message is told after its last answer, which comes after this one.
fn note_unheard(event: &Event, unheard: &Unheard) {
    if let Event::Incoming(Packet::PubRec(PubRec { pkid, reason: PubRecReason::NoMatchingSubscribers, .. })) = event {
        super::values::unheard(unheard).insert(*pkid);
    }
}

fn taken(result: PublishResult, unheard: &Unheard) -> Result<Taken, NotTaken> {
    let refused = |reason: &dyn std::fmt::Debug| Err(NotTaken::Refused(format!("the broker refuses it: {reason:?}")));
    match result {
        PublishResult::Qos0Flushed => Ok(Taken::Sent),
        PublishResult::Qos1(ack) => match ack.reason {
            PubAckReason::Success => Ok(Taken::ByBroker),
            PubAckReason::NoMatchingSubscribers => Ok(Taken::NoSubscriber),
            reason => refused(&reason),
        },
        PublishResult::Qos2PubRecRejected(rec) => refused(&rec.reason),
        PublishResult::Qos2Completed(complete) => match complete.reason {
            // The library does not hand on whether PUBREC said that there is no subscriber.
            PubCompReason::Success if super::values::unheard(unheard).remove(&complete.pkid) => Ok(Taken::NoSubscriber),
            PubCompReason::Success => Ok(Taken::ByBroker),
            reason @ PubCompReason::PacketIdentifierNotFound => refused(&reason),
        },
    }
}

/// Not by ending a subscription that there is not, as the library logs a warning of that.
fn ask(requests: &Requests, granted: &str) -> Answer<()> {
    let mut filter = SubscribeFilter::new(granted, QoS::AtLeastOnce);
    filter.retain_forward_rule = RetainForwardRule::Never;
    let granted = subscribed(requests.0.try_subscribe_many_tracked([filter]));
    Box::pin(async move { granted.await.map(drop) })
}

fn pub_ack(packet_id: u16) -> PubAck {
    PubAck::new(packet_id, None)
}

fn pub_rec(packet_id: u16) -> PubRec {
    PubRec::new(packet_id, None)
}

fn happening(event: Event, asked: &MqttOptions) -> Happening {
    match event {
        Event::Incoming(Packet::ConnAck(ack)) => {
            let session_expiry_asked = Some(asked.session_expiry_interval().unwrap_or(0));
            let properties = ack.properties.as_ref();
            let max_qos = match properties.and_then(|properties| properties.max_qos) {
                Some(0) => QoS::AtMostOnce,
                Some(1) => QoS::AtLeastOnce,
                Some(_) | None => QoS::ExactlyOnce,
            };
            Happening::Connected(Connected {
                session_kept: ack.session_present,
                session_expiry_asked,
                // A broker that says nothing grants what was asked for (section 3.2.2.3.2).
                session_expiry: properties
                    .and_then(|properties| properties.session_expiry_interval)
                    .or(session_expiry_asked),
                max_packet: properties.and_then(|properties| properties.max_packet_size),
                max_qos,
                retains: properties.and_then(|properties| properties.retain_available) != Some(0),
            })
        }
        Event::Incoming(Packet::Publish(publish)) => arrived(publish),
        Event::Outgoing(Sent::PubAck(_) | Sent::PubComp(_)) => Happening::Acknowledged,
        _ => Happening::Other,
    }
}

fn cause(error: &ConnectionError, connected: bool) -> Cause {
    use ConnectReturnCode::{RefusedProtocolVersion, UnsupportedProtocolVersion};
    match error {
        ConnectionError::ConnectionRefused(RefusedProtocolVersion | UnsupportedProtocolVersion)
        | ConnectionError::MqttState(StateError::ConnFail {
            reason: RefusedProtocolVersion | UnsupportedProtocolVersion,
        }) => Cause::WrongVersion,
        ConnectionError::ConnectionRefused(_) | ConnectionError::MqttState(StateError::ConnFail { .. }) => {
            Cause::Refused
        }
        ConnectionError::MqttState(
            StateError::Io(error) | StateError::Deserialization(mqttbytes::Error::Io(error)),
        )
        | ConnectionError::Io(error) => cause_of_io(error, connected),
        // A CONNACK of MQTT 3.1.1 has no properties.
        ConnectionError::MqttState(StateError::Deserialization(_)) if !connected => Cause::WrongVersion,
        ConnectionError::MqttState(StateError::ConnectionAborted) if !connected => Cause::ClosedBeforeAnswer,
        ConnectionError::MqttState(StateError::ConnectionAborted) => Cause::Closed,
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. }) => match reason_code {
            DisconnectReasonCode::SessionTakenOver => Cause::TakenOver,
            code => Cause::Ended(*code as u8),
        },
        ConnectionError::MqttState(StateError::Deserialization(
            mqttbytes::Error::InvalidConnectReturnCode(code) | mqttbytes::Error::InvalidSubscribeReasonCode(code),
        )) => Cause::UnknownAnswer(*code),
        ConnectionError::MqttState(StateError::Deserialization(_)) => Cause::Unreadable,
        ConnectionError::NotConnAck(_)
        | ConnectionError::SessionStateMismatch { .. }
        | ConnectionError::MqttState(StateError::ProtocolViolation(_) | StateError::Unsolicited(_)) => Cause::OutOfTurn,
        _ => Cause::Network,
    }
}

/// Says that the program had no message under way when it ended, so that the library resumes a session that only the
/// broker remembers. Without it, it would refuse to publish and to subscribe in such a session.
///
/// What arrives twice because of this, e4 recognizes; what was under way to the broker at QoS 1 or 2 is lost with the
/// program, unless the options have a store of their own.
#[derive(Debug)]
struct NothingUnderWay {
    upper_limit: Option<u16>,
    expiry: Option<u32>,
}

type Done<'a, T> = Pin<Box<dyn Future<Output = Result<T, SessionStoreError>> + Send + 'a>>;

impl SessionStore for NothingUnderWay {
    fn load<'a>(&'a self, key: &'a SessionStoreKey) -> Done<'a, Option<PersistedSession>> {
        Box::pin(future::ready(Ok(Some(PersistedSession {
            format_version: 1,
            client_id: key.client_id().to_owned(),
            clean_start: false,
            session_expiry_interval: self.expiry,
            outgoing_inflight_upper_limit: self.upper_limit,
            ack_mode: PersistedAckMode::Manual,
            last_pkid: 0,
            last_puback: 0,
            replay: Vec::new(),
            incoming_qos2: Vec::new(),
        }))))
    }

    fn save<'a>(&'a self, _: &'a SessionStoreKey, _: &'a PersistedSession) -> Done<'a, ()> {
        Box::pin(future::ready(Ok(())))
    }

    fn clear<'a>(&'a self, _: &'a SessionStoreKey) -> Done<'a, ()> {
        Box::pin(future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_under_way_to_the_broker_than_the_queue_holds_or_the_library_goes_through_soon() {
        for (asked, queue, limit) in [
            (None, 1024, 1024),
            (Some(20), 1024, 20),
            (Some(5000), 1 << 14, 1024),
            (None, 16, 16),
            (Some(0), 1, 1),
            (None, 1 << 20, 1024),
        ] {
            let mut options = MqttOptions::new("pump-7", ("localhost", 1883));
            if let Some(asked) = asked {
                options.set_outgoing_inflight_upper_limit(asked);
            }
            adjust(&mut options, Limits { queue, packet: 1 << 20, persistent: true });
            assert_eq!(options.get_outgoing_inflight_upper_limit(), Some(limit), "{asked:?} {queue}");
        }
    }
}

//! MQTT 3.1.1.

use rumqttc_v4::{ConnectReturnCode, Event, Outgoing as Sent, Packet, mqttbytes};

super::common!(rumqttc_v4);

/// The longest packet that MQTT has, in bytes (MQTT 3.1.1, section 2.2.3).
const LONGEST_PACKET: usize = 268_435_460;

/// Messages of QoS 1 and 2 under way to the broker. A client is not told how many the broker takes in this version, and
/// mosquitto, which takes 20, ends the connection of who sends more.
const MAX_IN_FLIGHT: u16 = 20;

fn adjust(options: &mut MqttOptions, limits: Limits) {
    options.set_inflight(options.inflight().clamp(1, MAX_IN_FLIGHT));
    // A client cannot tell the broker its limit in this version. A message over it would end the connection, and come
    // again on the next one, for ever: here the broker's limit is the one to set.
    options.set_max_packet_size(LONGEST_PACKET, usize::try_from(limits.packet).unwrap_or(LONGEST_PACKET));
}

/// Nothing is to be done for a session that only the broker remembers.
fn resume(_options: &mut MqttOptions) {}

fn forget(events: &mut EventLoop) {
    events.reset_session_state();
}

fn options_mut(events: &mut EventLoop) -> &mut MqttOptions {
    &mut events.mqtt_options
}

fn adjust_events(events: &mut EventLoop) {
    events.network_options.set_tcp_nodelay(true);
}

fn last_will(will: &Outgoing) -> LastWill {
    LastWill::new(will.topic.clone(), will.payload.clone(), will.qos, will.retain)
}

fn publish_options(message: &Outgoing) -> PublishOptions {
    PublishOptions::new(message.qos).retain(message.retain)
}

fn note_unheard(_: &Event, _: &Unheard) {}

fn taken(result: PublishResult, _: &Unheard) -> Result<Taken, NotTaken> {
    match result {
        PublishResult::Qos0Flushed => Ok(Taken::Sent),
        // This version says no more.
        PublishResult::Qos1(_) | PublishResult::Qos2Completed(_) => Ok(Taken::ByBroker),
    }
}

/// A subscription that is made again would bring what is retained again. But there are brokers that do not answer an
/// UNSUBSCRIBE.
fn ask(requests: &Requests, granted: &str) -> Answer<()> {
    const WITHIN: Duration = Duration::from_secs(1);
    // Nobody has subscribed to this.
    let unsubscribed = requests.unsubscribe(&format!("{granted}/nothing"));
    let (requests, granted) = (requests.clone(), granted.to_owned());
    Box::pin(async move {
        match tokio::time::timeout(WITHIN, unsubscribed).await {
            Ok(answer) => answer,
            Err(_) => requests.subscribe(&granted, QoS::AtLeastOnce).await.map(drop),
        }
    })
}

fn pub_ack(packet_id: u16) -> PubAck {
    PubAck::new(packet_id)
}

fn pub_rec(packet_id: u16) -> PubRec {
    PubRec::new(packet_id)
}

fn happening(event: Event, _asked: &MqttOptions) -> Happening {
    match event {
        Event::Incoming(Packet::ConnAck(ack)) => Happening::Connected(Connected {
            session_kept: ack.session_present,
            session_expiry_asked: None,
            session_expiry: None,
            max_packet: None,
            max_qos: QoS::ExactlyOnce,
            retains: true,
        }),
        Event::Incoming(Packet::Publish(publish)) => arrived(publish),
        Event::Outgoing(Sent::PubAck(_) | Sent::PubComp(_)) => Happening::Acknowledged,
        _ => Happening::Other,
    }
}

fn cause(error: &ConnectionError, connected: bool) -> Cause {
    match error {
        ConnectionError::ConnectionRefused(ConnectReturnCode::RefusedProtocolVersion) => Cause::WrongVersion,
        ConnectionError::ConnectionRefused(_) => Cause::Refused,
        ConnectionError::MqttState(
            StateError::Io(error) | StateError::Deserialization(mqttbytes::Error::Io(error)),
        )
        | ConnectionError::Io(error) => cause_of_io(error, connected),
        // The refusals of MQTT 5 have other codes, and more bytes.
        ConnectionError::MqttState(StateError::Deserialization(_)) if !connected => Cause::WrongVersion,
        ConnectionError::MqttState(StateError::ConnectionAborted) if !connected => Cause::ClosedBeforeAnswer,
        ConnectionError::MqttState(StateError::ConnectionAborted) => Cause::Closed,
        ConnectionError::MqttState(StateError::Deserialization(mqttbytes::Error::InvalidSubscribeReasonCode(code))) => {
            Cause::UnknownAnswer(*code)
        }
        ConnectionError::MqttState(StateError::Deserialization(_)) => Cause::Unreadable,
        ConnectionError::NotConnAck(_)
        | ConnectionError::SessionStateMismatch { .. }
        | ConnectionError::MqttState(StateError::ProtocolViolation(_) | StateError::Unsolicited(_)) => Cause::OutOfTurn,
        _ => Cause::Network,
    }
}

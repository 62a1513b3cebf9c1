//! MQTT 5.

use rumqttc_v5::{
    Event, LastWillProperties, Outgoing as Sent, Packet, PersistedAckMode, PersistedSession, PublishProperties,
    RetainForwardRule, SessionStore, SessionStoreError, SessionStoreKey, SubscribeFilter,
};
use std::{future, pin::Pin};

super::common!(rumqttc_v5);

/// Of sealed messages, for whoever looks at the traffic. Nothing depends on it: it is not authenticated.
const CONTENT_TYPE: &str = "application/e4";

fn adjust(options: &mut MqttOptions, limits: Limits) {
    options.set_max_packet_size(Some(limits.packet));
    let mut network_options = options.network_options();
    network_options.set_tcp_nodelay(true);
    options.set_network_options(network_options);
    // What is not acknowledged waits in the broker, not here.
    let queue = u16::try_from(limits.queue).unwrap_or(u16::MAX);
    options.set_receive_maximum(Some(options.receive_maximum().unwrap_or(queue).min(queue)));
}

/// The options have it all.
fn adjust_events(_events: &mut EventLoop) {}

fn resume(options: &mut MqttOptions) {
    let upper_limit = options.get_outgoing_inflight_upper_limit();
    let expiry = options.session_expiry_interval();
    options.set_session_store(NothingUnderWay { upper_limit, expiry });
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

fn publish_refusal(error: PublishNoticeError) -> String {
    match error {
        PublishNoticeError::V5PubAck(reason) => format!("the broker refused it ({reason:?})"),
        PublishNoticeError::V5PubRec(reason) => format!("the broker refused it ({reason:?})"),
        PublishNoticeError::V5PubComp(reason) => format!("the broker refused it ({reason:?})"),
        error => error.to_string(),
    }
}

fn subscribe_refusal(error: SubscribeNoticeError) -> String {
    match error {
        SubscribeNoticeError::V5SubAckFailure(reasons) => format!("the broker refused it {reasons:?}"),
        error => error.to_string(),
    }
}

/// Not by ending a subscription that there is not, as the library logs a warning of that.
fn ask(requests: &Requests, granted: &str) -> Answer {
    let mut filter = SubscribeFilter::new(granted, QoS::ExactlyOnce);
    filter.retain_forward_rule = RetainForwardRule::Never;
    subscribed(requests.0.try_subscribe_many_tracked([filter]))
}

fn pub_ack(packet_id: u16) -> PubAck {
    PubAck::new(packet_id, None)
}

fn pub_rec(packet_id: u16) -> PubRec {
    PubRec::new(packet_id, None)
}

fn happening(event: Event) -> Happening {
    match event {
        Event::Incoming(Packet::ConnAck(ack)) => {
            let (max_packet, max_qos) =
                ack.properties.map_or((None, None), |properties| (properties.max_packet_size, properties.max_qos));
            let max_qos = match max_qos {
                Some(0) => QoS::AtMostOnce,
                Some(1) => QoS::AtLeastOnce,
                Some(_) | None => QoS::ExactlyOnce,
            };
            Happening::Connected { session_kept: ack.session_present, max_packet, max_qos }
        }
        Event::Incoming(Packet::Publish(publish)) => arrived(publish),
        Event::Outgoing(Sent::PubAck(_) | Sent::PubComp(_)) => Happening::Acknowledged,
        _ => Happening::Other,
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

//! What the modules of both versions are made of.

/// What both versions have in the same words but different types. The version's module adds what differs: `adjust`,
/// `adjust_events`, `resume`, `forget`, `options_mut`, `note_unheard`, `last_will`, `publish_options`, `taken`, `ask`, `pub_ack`, `pub_rec`,
/// `happening` and `cause`.
///
/// `TCP_NODELAY` is set in both: what goes out is flushed in batches already, and to hold it back for the network as
/// well would cost a lone message 40 ms.
macro_rules! common {
    ($rumqttc:ident) => {
        use super::values::{
            Anew, Answer, Arrived, Broken, Connected, Happening, Limits, NotTaken, Outgoing, QoS, REQUEST_BATCH, Taken,
            Unheard, cause_of_io, unheard, unknown_answer,
        };
        use crate::{
            error::BuildError,
            loss::{Cause, Loss},
        };
        use std::time::Duration;
        use $rumqttc::{
            AckMode, AsyncClient, ConnectionError, EventLoop, LastWill, ManualAck, MqttOptions, PubAck, PubRec,
            PublishNoticeError, PublishOptions, PublishResult, SessionMode, StateError, SubscribeNotice,
            SubscribeNoticeError, SubscribeReasonCode, UnsubscribeNoticeError,
        };

        pub(super) fn link(mut options: MqttOptions, limits: Limits) -> Result<(Requests, Link), BuildError> {
            if options.last_will().is_some() {
                return Err(BuildError::UnsealedWill);
            }
            if limits.persistent && options.client_id().is_empty() {
                return Err(BuildError::NoMqttClientId);
            }
            options.set_session_mode(if limits.persistent { SessionMode::Persistent } else { SessionMode::Clean });
            options.set_ack_mode(AckMode::Manual);
            if options.max_request_batch() == 0 {
                options.set_max_request_batch(REQUEST_BATCH);
            }
            adjust(&mut options, limits);
            let without_will = options.clone();
            if limits.persistent && options.session_store().is_none() {
                resume(&mut options);
            }
            let (client, mut events) = AsyncClient::builder(options)
                .unbounded()
                .try_build()
                .map_err(|error| BuildError::Options(error.to_string()))?;
            adjust_events(&mut events);
            let heard_by_nobody = Unheard::default();
            let requests = Requests(client, Unheard::clone(&heard_by_nobody));
            Ok((requests, Link { events, without_will, connected: false, anew: Anew::No, unheard: heard_by_nobody }))
        }

        #[derive(Clone)]
        pub(crate) struct Requests(AsyncClient, Unheard);

        impl Requests {
            pub(super) fn publish(&self, message: &Outgoing) -> Answer<Taken> {
                let Outgoing { topic, payload, .. } = message;
                let notice = self.0.try_publish_tracked(topic.as_str(), payload.clone(), publish_options(message));
                let unheard = Unheard::clone(&self.1);
                Box::pin(async move {
                    let result = notice?.wait_async().await.map_err(|error| match error {
                        PublishNoticeError::SessionReset | PublishNoticeError::Recv => NotTaken::SessionLost,
                        // It was in the buffers of a connection that broke, and nobody has seen it.
                        PublishNoticeError::Qos0NotFlushed => NotTaken::SessionLost,
                        error => NotTaken::Refused(error.to_string()),
                    })?;
                    taken(result, &unheard)
                })
            }

            pub(super) fn subscribe(&self, filter: &str, qos: QoS) -> Answer<QoS> {
                subscribed(self.0.try_subscribe_tracked(filter, qos))
            }

            pub(super) fn ask(&self, granted: &str) -> Answer<()> {
                ask(self, granted)
            }

            pub(super) fn unsubscribe(&self, filter: &str) -> Answer<()> {
                let notice = self.0.try_unsubscribe_tracked(filter);
                Box::pin(async move {
                    notice?.wait_completion_async().await.map_err(|error| match error {
                        UnsubscribeNoticeError::SessionReset | UnsubscribeNoticeError::Recv => NotTaken::SessionLost,
                        error => NotTaken::Refused(error.to_string()),
                    })
                })
            }

            pub(super) fn acknowledge(&self, packet_id: u16, qos: QoS) {
                if let Some(ack) = ack(packet_id, qos) {
                    // It fails only when the connection is closed for good.
                    let _closed = self.0.try_manual_ack(ack);
                }
            }

            pub(super) fn disconnect(&self, patience: Duration) {
                let _closed = match patience {
                    Duration::ZERO => self.0.try_disconnect_now(),
                    _ => self.0.try_disconnect_with_timeout(patience),
                };
            }
        }

        impl From<$rumqttc::ClientError> for NotTaken {
            fn from(error: $rumqttc::ClientError) -> Self {
                match error {
                    $rumqttc::ClientError::RequestChannelDisconnected(_) => Self::Closed,
                    // Its text has the whole request in it.
                    $rumqttc::ClientError::InvalidRequest(_) => {
                        Self::Refused("the topic or filter is not valid".into())
                    }
                    _ => Self::Refused("the request queue does not take it".into()),
                }
            }
        }

        fn subscribed(notice: Result<SubscribeNotice, $rumqttc::ClientError>) -> Answer<QoS> {
            Box::pin(async move {
                let ack = notice?.wait_async().await.map_err(|error| match error {
                    SubscribeNoticeError::SessionReset | SubscribeNoticeError::Recv => NotTaken::SessionLost,
                    error => NotTaken::Refused(error.to_string()),
                })?;
                match ack.return_codes.first() {
                    Some(SubscribeReasonCode::Success(granted)) => Ok(*granted),
                    Some(refused) => Err(NotTaken::Refused(format!("the broker refuses it: {refused:?}"))),
                    None => Err(NotTaken::Refused("the broker's answer is empty".into())),
                }
            })
        }

        fn arrived(publish: $rumqttc::Publish) -> Happening {
            let $rumqttc::Publish { topic, payload, qos, retain: retained, pkid: packet_id, .. } = publish;
            Happening::Arrived(Arrived { topic, payload, qos, retained, packet_id })
        }

        fn ack(packet_id: u16, qos: QoS) -> Option<ManualAck> {
            match qos {
                QoS::AtMostOnce => None,
                QoS::AtLeastOnce => Some(ManualAck::PubAck(pub_ack(packet_id))),
                QoS::ExactlyOnce => Some(ManualAck::PubRec(pub_rec(packet_id))),
            }
        }

        pub(crate) struct Link {
            events: EventLoop,
            /// The options as they were at first: the library has no way to take a will out again.
            without_will: MqttOptions,
            /// The broker has taken the connection that there is now.
            connected: bool,
            anew: Anew,
            unheard: Unheard,
        }

        impl Link {
            pub(super) async fn poll(&mut self) -> Result<Happening, Broken> {
                match self.events.poll().await {
                    Ok(event) => {
                        note_unheard(&event, &self.unheard);
                        let mut happening = happening(event, &self.without_will);
                        if let Happening::Connected(connected) = &mut happening {
                            match std::mem::replace(&mut self.anew, Anew::No) {
                                Anew::Asked(cause) => return Err(Broken::Lost(self.ended_session(cause))),
                                // Of the old session, nothing; of the one between, nothing worth keeping.
                                Anew::Ended => connected.session_kept = false,
                                Anew::No => (),
                            }
                            self.connected = true;
                            if self.without_will.session_store().is_none() {
                                // What `resume` has set is needed once.
                                options_mut(&mut self.events).clear_session_store();
                            }
                        }
                        Ok(happening)
                    }
                    Err(ConnectionError::RequestsDone) => Err(Broken::Closed),
                    Err(error) => {
                        // What was read before the end would come after the next connection is made, as if it were part of
                        // that one. It is not acknowledged and comes again.
                        self.events.state.events.clear();
                        unheard(&self.unheard).clear();
                        let cause = cause(&error, std::mem::take(&mut self.connected));
                        let reason = match (cause, error) {
                            (Cause::UnknownAnswer(code), _) => unknown_answer(code),
                            // Its own text shows the whole packet.
                            (_, ConnectionError::NotConnAck(_)) => "the broker's first answer is not a CONNACK".to_owned(),
                            (Cause::Unreadable, _) => "what the broker sent cannot be read".to_owned(),
                            (Cause::OutOfTurn, _) => "the broker sent what it may not send at that point".to_owned(),
                            (_, error) => error.to_string(),
                        };
                        Err(Broken::Lost(Loss { cause, reason, in_a_row: 0 }))
                    }
                }
            }

            pub(super) fn cut(&mut self) {
                self.connected = false;
                self.events.clean();
                self.events.state.events.clear();
                unheard(&self.unheard).clear();
            }

            pub(super) fn forget(&mut self) {
                forget(&mut self.events);
            }

            pub(super) fn begin_anew(&mut self, cause: Cause) {
                self.anew = Anew::Asked(cause);
                options_mut(&mut self.events).set_session_mode(SessionMode::Clean);
            }

            /// The broker has ended the old session. A lasting one begins with the next connection.
            fn ended_session(&mut self, cause: Cause) -> Loss {
                self.anew = Anew::Ended;
                *options_mut(&mut self.events) = self.without_will.clone();
                self.cut();
                let reason = "what the broker sent from the session is nothing that this client can take, so that session \
                              was ended: what else waited there, commands too, is lost";
                Loss { cause, reason: reason.to_owned(), in_a_row: 0 }
            }

            pub(super) fn set_will(&mut self, will: Option<&Outgoing>) {
                let options = options_mut(&mut self.events);
                match will {
                    Some(will) => {
                        options.set_last_will(last_will(will));
                    }
                    None if options.last_will().is_some() => *options = self.without_will.clone(),
                    None => (),
                }
            }
        }
    };
}
pub(super) use common;

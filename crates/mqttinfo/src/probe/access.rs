//! What may be read, and what may be written.

use super::{
    answers::{STRAGGLERS, reaction_of, wait_for, without_answer},
    flows::PAYLOAD,
    prober::{Probe, Prober, Seen, Who, note},
};
use crate::{
    report::{Access, Level, LevelReport, PayloadCounts, Reaction, Reader, Reading, Report, Writing},
    session::{Received, Session},
};
use mqtt5_protocol::{Packet, PacketType, QoS};
use std::collections::{BTreeMap, HashMap};
use tokio::time::Instant;

/// What is subscribed to.
const FILTERS: [&str; 4] = ["#", "+/#", "$SYS/#", "$share/mqttinfo/#"];

/// Those by which strangers read what everybody sends.
const WILDCARDS: [&str; 2] = ["#", "+/#"];

/// Topics that are subscribed to by their names at the most.
const MOST_EXACT: usize = 5;

/// Messages that are counted of one subscription at the most.
const MOST: u64 = 20_000;

/// Topics below `$SYS` that go into a report, besides those that name a version.
const MOST_SYS: usize = 200;

/// Of those that name a version, more for which there is room.
const MOST_VERSIONS: usize = 20;

pub(super) fn probes<'p>(prober: &'p Prober<'_>, level: Level, who: Who, seen: &LevelReport) -> Vec<Probe<'p>> {
    let qos = match seen.limits.as_ref().map_or(2, |limits| limits.maximum_qos) {
        0 => QoS::AtMostOnce,
        _ => QoS::AtLeastOnce,
    };
    let mut probes: Vec<Probe<'p>> = FILTERS
        .into_iter()
        .map(|filter| -> Probe<'p> {
            Box::pin(async move {
                let heard = prober.read(level, who, filter).await;
                Box::new(move |report: &mut Report| heard.put(report, level, who, filter)) as Seen
            })
        })
        .collect();
    let write = prober.write(level, who, prober.topic("write"), qos);
    probes.push(note(level, write, move |part, writing| access(part, who).write = Some(writing)));
    if prober.settings.intrusive {
        let write = prober.write(level, who, format!("$SYS/{}", prober.topic("write")), qos);
        probes.push(note(level, write, move |part, writing| access(part, who).write_sys = Some(writing)));
    }
    probes
}

/// The place for what someone may do.
fn access(part: &mut LevelReport, who: Who) -> &mut Access {
    match who {
        Who::Stranger => part.stranger.get_or_insert_default(),
        Who::User => part.user.get_or_insert_default(),
    }
}

/// What a subscription brought.
struct Heard {
    reading: Reading,
    /// What subscriptions to topics by their names brought, if those were tried.
    exact: Option<Reading>,
    payloads: PayloadCounts,
    /// `$SYS` topics, with the text of those that name a version.
    sys: BTreeMap<String, Option<String>>,
}

impl Heard {
    const fn nothing(reaction: Reaction) -> Self {
        Self {
            reading: Reading {
                reaction,
                messages: 0,
                dollar: 0,
                retained: 0,
                bytes: 0,
                topics: 0,
                names: None,
                cut_short: false,
            },
            exact: None,
            payloads: PayloadCounts { e4: 0, random: 0, json: 0, number: 0, text: 0, binary: 0, empty: 0 },
            sys: BTreeMap::new(),
        }
    }

    fn put(self, report: &mut Report, level: Level, who: Who, filter: &str) {
        // The same messages come by every filter and in both versions: those of the one that brought most are kept, and
        // what a stranger may read goes before what a user may.
        let by = match who {
            Who::Stranger => Reader::Stranger,
            Who::User => Reader::User,
        };
        let before = report.payloads.total();
        let more = self.payloads.total() > before;
        let worse = by == Reader::Stranger && report.payloads_by == Reader::User && self.payloads.total() > 0;
        let less = by == Reader::User && report.payloads_by == Reader::Stranger && before > 0;
        if (more || worse) && !less {
            (report.payloads, report.payloads_by) = (self.payloads, by);
        }
        if self.sys.len() > report.sys.len() {
            report.sys = self.sys;
        }
        if let Some(part) = report.level_mut(level) {
            let access = access(part, who);
            access.read.insert(filter.to_owned(), self.reading);
            if let Some(exact) = self.exact
                && access.exact.as_ref().is_none_or(|other| other.retained < exact.retained)
            {
                access.exact = Some(exact);
            }
        }
    }
}

impl Prober<'_> {
    /// Subscribes, listens for a while, and ends the subscription.
    async fn read(&self, level: Level, who: Who, filter: &str) -> Heard {
        let mut session = match self.session(level, who).await {
            Ok(session) => session,
            Err(reaction) => return Heard::nothing(reaction),
        };
        let (mut heard, names) = self.listen(&mut session, level, filter).await;
        if heard.reading.reaction.is_accepted() {
            let unsubscribe = session.unsubscription(filter);
            let deadline = self.soon();
            if session.send(&unsubscribe, deadline).await.is_ok() {
                let _ended = wait_for(&mut session, level, PacketType::UnsubAck, deadline).await;
            }
        }
        session.leave().await;
        if WILDCARDS.contains(&filter) && heard.reading.retained == 0 {
            heard.exact = self.read_exactly(level, who, names).await;
        }
        heard
    }

    /// Subscribes to topics by their names, all on one connection. What is retained of them comes at once.
    async fn read_exactly(&self, level: Level, who: Who, topics: Vec<String>) -> Option<Reading> {
        if topics.is_empty() {
            return None;
        }
        let mut session = self.session(level, who).await.ok()?;
        let mut end = self.soon();
        for topic in &topics {
            let subscribe = session.subscription(topic, QoS::AtMostOnce);
            session.send(&subscribe, end).await.ok()?;
        }
        let mut sum: Option<Reading> = None;
        let mut heard = Heard::nothing(Reaction::Ignored).reading;
        let mut answers = 0;
        while let Received::Frame(frame) = session.receive(end).await {
            match (frame.kind(), frame.packet(level.byte())) {
                (Some(PacketType::SubAck), _) => {
                    if let Some(reaction @ Reaction::Accepted { .. }) = reaction_of(&frame, level) {
                        sum.get_or_insert_with(|| Heard::nothing(reaction).reading).topics += 1;
                    }
                    answers += 1;
                    if answers == topics.len() {
                        end = end.min(Instant::now() + STRAGGLERS);
                    }
                }
                (_, Some(Packet::Publish(message))) if topics.contains(&message.topic_name) => {
                    heard.messages += 1;
                    heard.retained += u64::from(message.retain);
                    heard.bytes += message.payload.len() as u64;
                }
                _ => (),
            }
        }
        for topic in &topics {
            let unsubscribe = session.unsubscription(topic);
            let deadline = self.soon();
            if session.send(&unsubscribe, deadline).await.is_err() {
                break;
            }
            let _ended = wait_for(&mut session, level, PacketType::UnsubAck, deadline).await;
        }
        session.leave().await;
        sum.map(|sum| Reading { messages: heard.messages, retained: heard.retained, bytes: heard.bytes, ..sum })
    }

    /// What a subscription brings, and the names of topics that it showed.
    async fn listen(&self, session: &mut Session, level: Level, filter: &str) -> (Heard, Vec<String>) {
        let subscribe = session.subscription(filter, QoS::AtMostOnce);
        let mut end = self.soon();
        let mut heard = Heard::nothing(Reaction::Closed);
        if session.send(&subscribe, end).await.is_err() {
            return (heard, Vec::new());
        }
        let now = jiff::Timestamp::now();
        // By topic, the bytes of the last payload. What a connection may read at all bounds it.
        let mut topics: HashMap<String, u64> = HashMap::new();
        let mut granted = None;
        loop {
            let frame = match session.receive(end).await {
                Received::Frame(frame) => frame,
                other => {
                    let cut_off = granted.is_some() && other == Received::Garbage;
                    heard.reading.cut_short |= cut_off;
                    heard.reading.reaction = granted.unwrap_or_else(|| without_answer(&other));
                    break;
                }
            };
            match frame.kind() {
                Some(PacketType::SubAck) => {
                    let reaction = reaction_of(&frame, level).unwrap_or(Reaction::Ignored);
                    if !reaction.is_accepted() {
                        heard.reading.reaction = reaction;
                        break;
                    }
                    granted = Some(reaction);
                    end = Instant::now() + self.settings.listen;
                }
                Some(PacketType::Disconnect) => {
                    let refused = reaction_of(&frame, level).unwrap_or(Reaction::Closed);
                    heard.reading.reaction = granted.unwrap_or(refused);
                    break;
                }
                Some(PacketType::Publish) => {
                    let passed_over = frame.body_len - frame.body.len();
                    let Some(Packet::Publish(message)) = frame.packet(level.byte()) else { continue };
                    if Self::is_own(&message.topic_name) {
                        continue;
                    }
                    let len = (message.payload.len() + passed_over) as u64;
                    let of_broker = message.topic_name.starts_with("$SYS/");
                    // [MQTT-4.7.2-1]: # does not match it. Where it comes all the same, it is nothing that anyone sent.
                    let counts = !message.topic_name.starts_with('$') || filter.starts_with("$SYS/");
                    heard.reading.dollar += u64::from(!counts);
                    if counts {
                        heard.reading.messages += 1;
                        heard.reading.bytes += len;
                        heard.reading.retained += u64::from(message.retain);
                    }
                    if of_broker {
                        let text = version_text(&message.topic_name, &message.payload);
                        let room = if text.is_some() { MOST_SYS + MOST_VERSIONS } else { MOST_SYS };
                        if heard.sys.len() < room {
                            heard.sys.insert(message.topic_name.clone(), text);
                        }
                    } else if counts {
                        heard.payloads.count(&message.payload, now);
                    }
                    if counts {
                        topics.insert(message.topic_name, len);
                    }
                    if heard.reading.messages >= MOST {
                        heard.reading.cut_short = true;
                        heard.reading.reaction = granted.unwrap_or(Reaction::Ignored);
                        break;
                    }
                }
                _ => (),
            }
        }
        heard.reading.topics = topics.len() as u64;
        let names = topics.keys().take(MOST_EXACT).cloned().collect();
        heard.reading.names = self.settings.show_topics.then(|| topics.into_iter().collect());
        (heard, names)
    }

    /// Publishes something, with a subscriber that says whether it arrives.
    async fn write(&self, level: Level, who: Who, topic: String, qos: QoS) -> Writing {
        let not = |reaction| Writing { reaction, delivered: false };
        let mut publisher = match self.session(level, who).await {
            Ok(session) => session,
            Err(reaction) => return not(reaction),
        };
        let mut subscriber = self.subscriber(level, who, &topic).await;
        let publish = publisher.publication(&topic, PAYLOAD, qos);
        let deadline = self.soon();
        let sent = publisher.send(&publish, deadline).await.is_ok();
        let answered = match qos {
            _ if !sent => Some(Reaction::Closed),
            QoS::AtMostOnce => None,
            _ => Some(match wait_for(&mut publisher, level, PacketType::PubAck, deadline).await {
                Ok(ack) => reaction_of(&ack, level).unwrap_or(Reaction::Ignored),
                Err(reaction) => reaction,
            }),
        };
        let mut delivered = false;
        if let Some(subscriber) = &mut subscriber {
            // What the broker has refused, or has confirmed, it would have delivered by now; without a word it takes
            // longer to be sure.
            let patience = if answered.is_some() { Instant::now() + STRAGGLERS } else { self.soon() };
            delivered = wait_for(subscriber, level, PacketType::Publish, patience).await.is_ok();
        }
        publisher.leave().await;
        if let Some(mut subscriber) = subscriber {
            let unsubscribe = subscriber.unsubscription(&topic);
            let deadline = self.soon();
            if subscriber.send(&unsubscribe, deadline).await.is_ok() {
                let _ended = wait_for(&mut subscriber, level, PacketType::UnsubAck, deadline).await;
            }
            subscriber.leave().await;
        }
        let by_arrival = || match delivered {
            true => Reaction::Accepted { by: "PUBLISH".into() },
            false => Reaction::Ignored,
        };
        Writing { reaction: answered.unwrap_or_else(by_arrival), delivered }
    }

    async fn subscriber(&self, level: Level, who: Who, topic: &str) -> Option<Session> {
        let mut session = self.session(level, who).await.ok()?;
        let subscribe = session.subscription(topic, QoS::AtMostOnce);
        let deadline = self.soon();
        session.send(&subscribe, deadline).await.ok()?;
        let ack = wait_for(&mut session, level, PacketType::SubAck, deadline).await.ok()?;
        reaction_of(&ack, level)?.is_accepted().then_some(session)
    }
}

/// The text of a topic that names a version of the broker, or of what it runs on.
fn version_text(topic: &str, payload: &[u8]) -> Option<String> {
    /// Characters that are kept of it.
    const MOST: usize = 100;
    let last = topic.rsplit('/').next()?;
    if !last.contains("version") && !last.contains("sysdescr") {
        return None;
    }
    Some(String::from_utf8_lossy(payload).chars().take(MOST).collect())
}

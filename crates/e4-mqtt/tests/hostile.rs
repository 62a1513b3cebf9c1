//! Who has no keys can flood a device with what he likes: its own messages and commands go on, what is refused is told
//! or counted, and its memory stays bounded.
#![cfg(all(feature = "v4", feature = "v5", feature = "tls"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod common;

use common::{
    Setup,
    device::{Device, Party},
    outsider::{Outsider, Seen},
    scenario,
    scripted::{SUBSCRIBE, Scripted, publish, usual},
    until,
};
use e4::{Command, OpenError, Refusal, Timestamp, Topic, TopicKey};
use e4_mqtt::{Connection, Event, QoS};
use std::collections::BTreeMap;

fn topic() -> Topic<'static> {
    Topic::new("plant/7").unwrap()
}

const LEGITIMATE: usize = 300;

scenario!(a_flood_of_hostile_input_is_refused_piece_by_piece_and_nothing_else_is_lost);
async fn a_flood_of_hostile_input_is_refused_piece_by_piece_and_nothing_else_is_lost(setup: Setup) {
    let controller = setup.controller().await;
    let (pump, panel, other) = (Party::symmetric("pump"), Party::symmetric("panel"), Party::symmetric("other"));
    let key = TopicKey::generate().unwrap();
    let sender = setup.join_as(&pump, pump.with_keys(&[(&topic(), &key)])).await;
    let mut victim = setup.join_as(&panel, panel.with_keys(&[(&topic(), &key)])).await;
    victim.subscribe("plant/#").await;
    let mut outsider = Outsider::join(&setup, "outsider", &["plant/7", "e4/+"]).await;

    // What the outsider can record: messages, and commands for the victim and for another device.
    let mut recorded = Vec::new();
    for n in 0..10 {
        sender.publish(&topic(), format!("recorded {n}").as_bytes(), QoS::AtLeastOnce).await;
        recorded.push(outsider.next().await);
        assert_eq!(victim.events.message().await.payload, format!("recorded {n}").as_bytes());
    }
    for (n, party) in [&panel, &other, &panel, &other, &panel].into_iter().enumerate() {
        let command = Command::set_topic_key(&Topic::new("plant/8").unwrap(), TopicKey::generate().unwrap());
        controller.send_at(party, &command, Timestamp::from_unix(Timestamp::now().as_unix() - 10 + n as u64)).await;
        recorded.push(outsider.next().await);
    }
    for _ in 0..3 {
        victim.events.keys_changed().await;
    }

    let attack = attack(&recorded, &panel.control_topic());
    let hostile = attack.len();
    let flood = tokio::spawn(async move {
        for (topic, payload) in &attack {
            outsider.publish(topic, payload, QoS::AtLeastOnce).await;
        }
    });
    let legitimate = tokio::spawn(async move {
        for n in 0..LEGITIMATE {
            sender.publish(&topic(), format!("legitimate {n}").as_bytes(), QoS::AtLeastOnce).await;
            if n % 100 == 50 {
                let command = Command::set_topic_key(&Topic::new("plant/9").unwrap(), TopicKey::generate().unwrap());
                controller.send(&panel, &command).await;
            }
        }
    });

    let mut reasons = BTreeMap::<String, usize>::new();
    let (mut refusals, mut messages, mut commands) = (0, 0, 0);
    while refusals < hostile || messages < LEGITIMATE || commands < 3 {
        match victim.events.next().await {
            Event::Message(message) => {
                assert_eq!(message.payload, format!("legitimate {messages}").as_bytes(), "complete and in order");
                messages += 1;
            }
            Event::Refused(refused) => {
                let OpenError::Refused(reason) = refused.reason else { panic!("{refused:?}") };
                let word = format!("{reason:?}");
                *reasons.entry(word.split([' ', '(']).next().unwrap().to_owned()).or_default() += 1;
                refusals += 1;
            }
            Event::Overflowed(lost) => {
                assert_eq!(lost.messages, 0);
                refusals += usize::try_from(lost.refusals).unwrap();
                commands += usize::try_from(lost.others).unwrap();
            }
            Event::KeysChanged(_) => commands += 1,
            other => panic!("{other:?}"),
        }
    }
    flood.await.unwrap();
    legitimate.await.unwrap();
    assert_eq!((refusals, messages, commands), (hostile, LEGITIMATE, 3));
    for reason in ["TooShort", "NotAuthentic", "Repeated", "Superseded", "NoTopicKey", "TooOld", "FromTheFuture"] {
        assert!(reasons.contains_key(reason), "none was refused as {reason}: {reasons:?}");
    }
}

/// Everything that the victim has to refuse, with the topic that it is published on.
fn attack(recorded: &[Seen], victims_control_topic: &str) -> Vec<(String, Vec<u8>)> {
    let mut random = fastrand::Rng::with_seed(7);
    let now = Timestamp::now().as_unix();
    let mut attack = Vec::new();
    let places = ["plant/7", "plant/7/unknown", victims_control_topic];
    // Garbage, which looks recent or not.
    for n in 0..300 {
        let mut payload: Vec<u8> = (0..random.usize(1..200)).map(|_| random.u8(..)).collect();
        if n % 2 == 0 && payload.len() >= 8 {
            payload[..8].copy_from_slice(&now.to_le_bytes());
        }
        attack.push((places[n % places.len()].to_owned(), payload));
    }
    // What is not even text, what is, and what is huge.
    for payload in [vec![0xff; 40], vec![0; 40], "plain text is not sealed, however long it goes on".into()] {
        attack.extend(places.map(|place| (place.to_owned(), payload.clone())));
    }
    for _ in 0..10 {
        let mut huge = vec![0x55; 300_000];
        huge[..8].copy_from_slice(&now.to_le_bytes());
        attack.extend(places.map(|place| (place.to_owned(), huge.clone())));
    }
    for Seen { payload, .. } in recorded {
        // Played back where it was, elsewhere, cut short, and with a bit turned.
        attack.extend(places.map(|place| (place.to_owned(), payload.clone())));
        for len in [1, 8, 23, 24, payload.len() - 1] {
            attack.extend(places.map(|place| (place.to_owned(), payload[..len].to_vec())));
        }
        for bit in [64, 8 * 20, 8 * payload.len() - 1] {
            let mut turned = payload.clone();
            turned[bit / 8] ^= 1 << (bit % 8);
            attack.extend(places.map(|place| (place.to_owned(), turned.clone())));
        }
    }
    random.shuffle(&mut attack);
    attack
}

// A broker may lose what has QoS 0. This one does not.
scenario!(f58_a_flood_fills_no_more_than_the_queue_and_is_counted: embedded_v4 embedded_v5);
async fn f58_a_flood_fills_no_more_than_the_queue_and_is_counted(setup: Setup) {
    const QUEUE: usize = 64;
    const FLOOD: usize = 2_000;
    let version = setup.version;
    let party = Party::symmetric("panel");
    let garbage = [&Timestamp::now().as_unix().to_le_bytes()[..], &[0x55; 1016]].concat();
    // Behind the flood, and carried out while the queue is full.
    let command = Command::set_topic_key(&Topic::new("plant/8").unwrap(), TopicKey::generate().unwrap());
    let sealed = party.recipient.seal_dated(&command, Timestamp::now()).unwrap();
    let control_topic = party.control_topic();
    let broker = Scripted::start(move |asked| {
        let mut said = usual(version, asked);
        if asked.kind == SUBSCRIBE && asked.names("plant/#") {
            said.extend((0..FLOOD).map(|_| publish(version, "plant/7", None, &garbage)));
            said.push(publish(version, &control_topic, Some(1), sealed.as_bytes()));
        }
        said
    });
    let broker = broker.await;
    let key = TopicKey::generate().unwrap();
    let builder = Connection::builder(broker.options(version, "panel"), party.with_keys(&[(&topic(), &key)]));
    let mut victim = Device::connect(builder.queue(QUEUE)).await;
    let before = resident_kib();
    victim.subscribe("plant/#").await;
    until("the command to be followed", async || victim.newest_command().await.is_some()).await;
    if let (Some(before), Some(after)) = (before, resident_kib()) {
        // It passed through the buffers of the whole test as well.
        assert!(after < before + 64 * 1024, "{before} KiB before and {after} KiB after");
    }

    let Event::Overflowed(lost) = victim.events.next().await else { panic!("what was lost comes first") };
    let lost = usize::try_from(lost.refusals).unwrap();
    assert!(lost >= FLOOD - QUEUE, "{lost} were counted");
    for _ in lost..FLOOD {
        let refused = victim.events.refused().await;
        assert_eq!(refused.reason, Refusal::NotAuthentic.into());
    }
    victim.shutdown().await;
    let mut events = victim.events.into_events();
    while let Some(event) = events.next_event().await {
        assert!(!matches!(event, Event::Refused(_)), "a refusal is left: {event:?}");
    }
}

/// How much memory this process has.
fn resident_kib() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

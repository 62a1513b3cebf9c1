//! Many messages of many clients: none is lost, and nothing of them is seen.

use crate::common::{
    PATIENCE, Setup,
    device::{Device, Party},
    outsider::{Outsider, Seen},
    scenario,
    search::contains,
    within,
};
use e4::{Command, RootKey, Subtree, Topic};
use e4_mqtt::QoS;

const CLIENTS: usize = 20;
const MESSAGES: usize = 500;
/// Part of every payload.
const MARK: &[u8] = b"plain for all to see";

scenario!(ten_thousand_messages_of_twenty_clients_arrive_and_none_is_seen and with tls);
async fn ten_thousand_messages_of_twenty_clients_arrive_and_none_is_seen(setup: Setup) {
    let controller = setup.controller().await;
    let root = RootKey::generate().unwrap();
    let subtree = Subtree::new("fleet/#").unwrap();
    let subtree_key = root.subtree_key(1, &subtree);
    let mut messages = Outsider::join(&setup, "sniffer", &["#"]).await;
    let mut commands = Outsider::join(&setup, "command sniffer", &["e4/#"]).await;

    let parties: Vec<Party> = (0..=CLIENTS).map(|n| Party::symmetric(&format!("client {n}"))).collect();
    let mut devices = Vec::new();
    for party in &parties {
        let mut device = setup.join(party).await;
        controller.send(party, &Command::set_subtree_key(&subtree, &subtree_key)).await;
        device.events.keys_changed().await;
        devices.push(device);
    }
    let mut collector = devices.remove(0);
    collector.subscribe("fleet/#").await;

    let senders: Vec<_> =
        devices.into_iter().enumerate().map(|(n, device)| tokio::spawn(send_all(n, device))).collect();
    let mut next = [0; CLIENTS];
    for _ in 0..CLIENTS * MESSAGES {
        let message = collector.events.message().await;
        let text = String::from_utf8(message.payload).unwrap();
        let (client, n) = text.rsplit_once(' ').unwrap().1.split_once('/').unwrap();
        let (client, n): (usize, usize) = (client.parse().unwrap(), n.parse().unwrap());
        assert_eq!(message.topic, format!("fleet/{client}/data"));
        assert_eq!(n, next[client], "the messages of client {client} are complete and in order");
        next[client] += 1;
    }
    for sender in senders {
        within(PATIENCE, "a sender", sender).await.unwrap();
    }

    let outsider = Outsider::join(&setup, "outsider", &[]).await;
    outsider.publish("e4/end", b"", QoS::AtLeastOnce).await;
    let mut seen = messages.all_before("e4/end").await;
    let commands = commands.all_before("e4/end").await;
    assert_eq!((seen.len(), commands.len()), (CLIENTS * MESSAGES + CLIENTS + 1, CLIENTS + 1));
    seen.extend(commands);
    let mut secrets: Vec<&[u8]> = parties.iter().map(|party| &party.secret[..]).collect();
    secrets.extend([MARK, subtree_key.as_bytes(), root.as_bytes()]);
    let topic_keys: Vec<_> =
        (0..CLIENTS).map(|n| root.topic_key(1, &Topic::new(&format!("fleet/{n}/data")).unwrap())).collect();
    secrets.extend(topic_keys.iter().map(|key| &key.as_bytes()[..]));
    assert_nothing_is_seen(&seen, &secrets);
}

async fn send_all(client: usize, device: Device) {
    let topic = Topic::new(&format!("fleet/{client}/data")).unwrap().into_owned();
    for n in 0..MESSAGES {
        let payload = [MARK, format!(" {client}/{n}").as_bytes()].concat();
        let _answer = device.connection.publish(&topic, &payload, QoS::AtLeastOnce).await.unwrap();
    }
    assert_eq!(device.shutdown().await.undelivered, 0);
}

fn assert_nothing_is_seen(seen: &[Seen], secrets: &[&[u8]]) {
    for Seen { topic, payload, .. } in seen {
        for secret in secrets {
            assert!(!contains(payload, secret), "seen on {topic}: {payload:?}");
        }
    }
}

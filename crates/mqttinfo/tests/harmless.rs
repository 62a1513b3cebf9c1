//! What a look leaves behind: nothing. Each packet that is sent is written down on its way to a broker.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod kit;

use kit::{
    brokers::Embedded,
    certificates::Certificates,
    quick,
    recorder::{packets, recorder},
};
use mqtt5_protocol::Packet;
use mqttinfo::{Settings, Target, examine, report::Outcome};
use std::collections::BTreeSet;
use tempfile::TempDir;

/// Where publications went: topics, and whether to be retained.
struct Traffic {
    published: BTreeSet<(String, bool)>,
    connections: usize,
}

/// Looks, and checks what holds for every look.
async fn record(settings: &Settings) -> Traffic {
    let folder = TempDir::new().unwrap();
    let broker = Embedded::start(&Certificates::create(folder.path(), &["localhost"])).await;
    let (port, sent) = recorder(broker.port).await;
    let report = examine(&format!("127.0.0.1:{port}").parse::<Target>().unwrap(), settings).await;
    assert_eq!((report.outcome, report.incomplete), (Outcome::Broker, None));

    let sent = sent.lock().unwrap();
    let mut published = BTreeSet::new();
    for connection in sent.iter() {
        let (level, packets) = packets(connection);
        let mut subscribed = BTreeSet::new();
        for (index, recorded) in packets.iter().enumerate() {
            match &recorded.packet {
                Some(Packet::Connect(connect)) => {
                    let id = &connect.client_id;
                    assert!(id.is_empty() || id.starts_with("mqttinfo-"), "it says who it is: {id}");
                    assert!(connect.will.is_none(), "no last will");
                    let clean = connect.clean_start || (id.is_empty() && level == 4);
                    assert!(clean, "no session stays: {id}");
                    assert_eq!(connect.properties.get_session_expiry_interval(), None);
                }
                Some(Packet::Publish(publish)) => {
                    published.insert((publish.topic_name.clone(), publish.retain));
                }
                Some(Packet::Subscribe(subscribe)) => {
                    subscribed.extend(subscribe.filters.iter().map(|filter| filter.filter.clone()));
                }
                Some(Packet::Unsubscribe(unsubscribe)) => {
                    for filter in &unsubscribe.filters {
                        assert!(subscribed.remove(filter), "{filter} was not subscribed to");
                    }
                }
                Some(_) => (),
                // What no codec reads: the levels that do not exist, and what the standard forbids.
                None if recorded.first == 0x10 && index == 0 => assert!([3, 6].contains(&level), "{level}"),
                None => {
                    let text = String::from_utf8_lossy(&recorded.body);
                    let is_ours = text.contains("mqttinfo") || text.contains("A+");
                    assert!(is_ours && recorded.first & 1 == 0, "{:02x} {text}", recorded.first);
                }
            }
        }
        // Where a packet was refused with the connection, the clean session ended with it.
        let provoked = subscribed.contains("A+") || packets.iter().any(|recorded| recorded.packet.is_none());
        let is_ours = |filter: &String| filter == "A+" || filter.starts_with("mqttinfo/");
        assert!(subscribed.is_empty() || provoked && subscribed.iter().all(is_ours), "left: {subscribed:?}");
    }
    Traffic { published, connections: sent.len() }
}

#[tokio::test]
async fn a_look_publishes_below_its_own_random_name_only_and_retains_nothing() {
    let traffic = record(&quick()).await;
    assert!(traffic.connections > 30, "everything was looked at");
    let mut names = BTreeSet::new();
    for (topic, retained) in &traffic.published {
        let levels: Vec<_> = topic.split('/').collect();
        assert!(levels[0] == "mqttinfo" && levels[1].len() == 12 && !retained, "{topic}, retained: {retained}");
        names.insert(levels[1].to_owned());
    }
    assert_eq!(names.len(), 1, "one name for a look: {names:?}");
    let again = record(&quick()).await;
    assert!(again.published.iter().all(|topic| !traffic.published.contains(topic)), "another one for the next");
}

#[tokio::test]
async fn an_intrusive_look_writes_below_sys_and_retains_nothing_either() {
    let mut settings = quick();
    settings.intrusive = true;
    let traffic = record(&settings).await;
    let below_sys: Vec<_> = traffic.published.iter().filter(|(topic, _)| topic.starts_with("$SYS/")).collect();
    assert_eq!(below_sys.len(), 1, "{below_sys:?}");
    for (topic, retained) in &traffic.published {
        let own = topic.strip_prefix("$SYS/").or_else(|| topic.strip_prefix('$')).unwrap_or(topic);
        assert!(own.starts_with("mqttinfo/") && !retained, "{topic}, retained: {retained}");
    }
}

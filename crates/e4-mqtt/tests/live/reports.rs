//! Reports on real brokers: a key server learns what a device holds, also when it comes later, and also of a device that was
//! away.

use crate::common::{
    Setup, Version,
    broker::Settings,
    device::{Controller, Device, Party, report_refused},
    scenario,
};
use e4::{
    C2SecretKey, Command, Timestamp, Topic, TopicFilter, TopicKey,
    controller::{LastReport, Report, WhyRefused},
};
use e4_mqtt::{Connection, Event, Protection, QoS, bounds::MAX_ENDED_ON_REPORT};
use std::time::Duration;

fn topic() -> Topic<'static> {
    Topic::new("plant/7").unwrap()
}

/// A key server's client, which reads the reports of all devices.
struct KeyServer(Controller);

impl KeyServer {
    async fn join(setup: &Setup) -> Self {
        let party = Party::symmetric("key server");
        let reports = TopicFilter::new("e4/+/report").unwrap();
        let builder = Connection::builder(setup.options(&party.name), party.with_keys(&[]));
        let device = Device::connect(builder.clean_session().clear(&reports)).await;
        device.subscribe(reports.as_str()).await;
        Self(Controller(device))
    }

    /// The next report of a device, and whether the broker had kept it.
    async fn report(&mut self, of: &Party) -> (Report, bool) {
        loop {
            let message = self.0.0.events.message().await;
            assert_eq!(message.protection, Protection::Clear);
            if message.topic == of.recipient.report_topic().as_str() {
                return (of.recipient.open_report(&message.payload).unwrap(), message.retained);
            }
        }
    }

    /// Waits until a device reports this as the newest command that it took.
    async fn newest(&mut self, of: &Party, sent: Timestamp) -> Report {
        let mut place = LastReport::new();
        loop {
            let (report, _) = self.report(of).await;
            place.accept(&report).expect("no report comes after a newer one");
            if report.newest == sent {
                return report;
            }
        }
    }
}

fn reporting(setup: &Setup, party: &Party) -> Device {
    let builder = Connection::builder(setup.options(&party.name), party.with_keys(&[]));
    Device::connect_with_reports(builder.report_within(Duration::ZERO))
}

scenario!(a_key_server_learns_what_a_device_took and with tls);
async fn a_key_server_learns_what_a_device_took(setup: Setup) {
    let c2 = C2SecretKey::generate().unwrap();
    let mut server = KeyServer::join(&setup).await;
    for party in [Party::symmetric("pump"), Party::public_key("valve", &c2)] {
        let device = reporting(&setup, &party);
        let (report, retained) = server.report(&party).await;
        assert_eq!((report.newest.as_unix(), report.topics, report.refused, retained), (0, 0, None, false));
        let now = Timestamp::now();
        server.0.send_at(&party, &Command::set_topic_key(&topic(), TopicKey::generate().unwrap()), now).await;
        assert_eq!(server.newest(&party, now).await.topics, 1);
        device.shutdown().await;
    }
}

// It takes some seconds: what anybody can bring about is not reported at once.
scenario!(a_key_server_learns_what_a_device_refused: embedded_v4 mosquitto_v5);
async fn a_key_server_learns_what_a_device_refused(setup: Setup) {
    let party = Party::symmetric("pump");
    let mut server = KeyServer::join(&setup).await;
    let mut device = reporting(&setup, &party);
    device.events.connected().await;
    let now = Timestamp::now();
    server.0.send_at(&party, &Command::ResetTopics, now).await;
    server.newest(&party, now).await;
    let old = Timestamp::from_unix(now.as_unix() - 10);
    server.0.send_at(&party, &Command::set_topic_key(&topic(), TopicKey::generate().unwrap()), old).await;
    let refused = loop {
        if let Some(refused) = server.report(&party).await.0.refused {
            break refused;
        }
    };
    assert_eq!((refused.why, refused.sent), (WhyRefused::Superseded, old));
    device.shutdown().await;
}

scenario!(a_key_server_that_comes_later_finds_the_newest_report);
async fn a_key_server_that_comes_later_finds_the_newest_report(setup: Setup) {
    let party = Party::symmetric("pump");
    let (controller, mut device) = (setup.controller().await, reporting(&setup, &party));
    device.events.connected().await;
    let now = Timestamp::now();
    controller.send_at(&party, &Command::set_topic_key(&topic(), TopicKey::generate().unwrap()), now).await;
    device.events.keys_changed().await;
    // In good order, which reports what was just accepted.
    device.shutdown().await;
    let mut server = KeyServer::join(&setup).await;
    let (report, retained) = server.report(&party).await;
    assert_eq!((report.newest, report.topics, retained), (now, 1, true));
}

scenario!(what_waited_for_a_device_is_reported_when_it_is_back);
async fn what_waited_for_a_device_is_reported_when_it_is_back(setup: Setup) {
    const COMMANDS: u64 = 10;
    let party = Party::symmetric("pump");
    let mut server = KeyServer::join(&setup).await;
    let mut device = reporting(&setup, &party);
    device.events.connected().await;
    let client = device.shutdown().await.device;
    drop(device);
    let first = Timestamp::now().as_unix() - COMMANDS;
    for n in 0..COMMANDS {
        let command = Command::set_topic_key(&topic(), TopicKey::generate().unwrap());
        server.0.send_at(&party, &command, Timestamp::from_unix(first + n)).await;
    }
    let builder = Connection::builder(setup.options(&party.name), client);
    let _device = Device::connect_with_reports(builder.report_within(Duration::ZERO));
    let report = server.newest(&party, Timestamp::from_unix(first + COMMANDS - 1)).await;
    assert_eq!(report.topics, 1);
}

/// What the page on MQTT says of access control, in one with all that this device does but report.
const ALL_BUT_REPORTS: [&str; 3] = ["topic read e4/+", "topic readwrite plant/#", "topic write e4/+"];

/// How mosquitto goes about what it forbids depends on whether it is to keep any number of messages (0).
async fn forbidden(setup: &mut Setup, max_queued: u32) -> Device {
    let settings = Settings { allows: ALL_BUT_REPORTS.into(), max_queued: Some(max_queued), ..Settings::default() };
    setup.broker.restart_with(settings).await;
    let party = Party::symmetric("pump");
    let controller = setup.controller().await;
    let mut device = reporting(setup, &party);
    device.events.connected().await;
    controller.send(&party, &Command::set_topic_key(&topic(), TopicKey::generate().unwrap())).await;
    device.events.keys_changed().await;
    device
}

async fn goes_on(mut device: Device, losses: usize) {
    device.subscribe("plant/#").await;
    device.publish(&topic(), b"and after", QoS::AtLeastOnce).await;
    // The command may have come again meanwhile.
    let message = |event: &Event| matches!(event, Event::Message(_)).then_some(());
    device.events.find("a message", message).await;
    let lost = device.events.passed().iter().filter(|event| matches!(event, Event::Disconnected(_))).count();
    assert_eq!(lost, losses);
}

scenario!(a_report_that_mosquitto_forbids_is_said_in_mqtt_5_and_disturbs_nothing: mosquitto_v4 mosquitto_v5);
async fn a_report_that_mosquitto_forbids_is_said_in_mqtt_5_and_disturbs_nothing(mut setup: Setup) {
    let mut device = forbidden(&mut setup, 1000).await;
    if setup.version == Version::V5 {
        let (reason, for_good) = device.events.find("a refusal", report_refused).await;
        assert!(reason.contains("NotAuthorized") && !for_good, "{reason}");
    }
    goes_on(device, 0).await;
}

scenario!(a_mosquitto_that_closes_for_reports_gets_no_more_of_them: mosquitto_v4 mosquitto_v5);
async fn a_mosquitto_that_closes_for_reports_gets_no_more_of_them(mut setup: Setup) {
    let mut device = forbidden(&mut setup, 0).await;
    let for_good = |event: &Event| report_refused(event).filter(|(_, for_good)| *for_good);
    device.events.find("that reports are not wanted", for_good).await;
    goes_on(device, MAX_ENDED_ON_REPORT as usize).await;
}

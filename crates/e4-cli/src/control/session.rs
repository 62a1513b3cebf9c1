//! A connection of the key server, for a moment, and what devices report meanwhile.

use crate::{
    broker::{self, BrokerArgs, PATIENCE},
    connect::{Connected, Role, connect},
    fleet::{Device, Fleet, Lanes},
    output::Failure,
    terminal::{note, printable},
};
use anyhow::{Context, anyhow};
use e4::{
    Client, ClientId, ClientKey, Identity, MemoryStore, TopicFilter,
    controller::{LastReport, Recipient, Report, ReportError},
};
use e4_mqtt::{BrokerError, Connection, Event, Events, QoS};
use std::{collections::BTreeMap, ops::ControlFlow, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

/// Where all devices report.
const ALL_REPORTS: &str = "e4/+/report";
/// How many questions to the broker are under way at once.
const AT_ONCE: usize = 50;
/// More events than wait at once.
const MOST_WAITING: usize = 10_000;

/// A connection, for as long as one command runs.
pub(super) struct Session {
    pub(super) connection: Connection,
    /// Until the connection is closed.
    events: Option<Events>,
    pub(super) reports: Reports,
}

impl Session {
    pub(super) async fn open(broker: &BrokerArgs) -> Result<Self, Failure> {
        let reports = TopicFilter::new(ALL_REPORTS)?.into_owned();
        // They come under keys of their own, and are opened here.
        let shape = |builder: e4_mqtt::Builder| builder.clear(&reports);
        let ignore = &mut |_| Ok(ControlFlow::Continue(()));
        let Connected { connection, events, .. } = connect(broker, Role::KeyServer, nobody()?, &shape, ignore).await?;
        Ok(Self { connection, events: Some(events), reports: Reports::default() })
    }

    /// Listens to what devices report from now on, and takes in what the broker has kept of their reports.
    pub(super) async fn listen<'d>(
        &mut self,
        fleet: &Fleet,
        lanes: &mut Lanes<'_>,
        devices: impl Iterator<Item = &'d Device>,
        qos: QoS,
    ) -> Result<(), Failure> {
        let mut topics = Vec::new();
        for device in devices {
            // Who has no key that can be used is told so when something is sealed for it.
            if let Ok(recipient) = fleet.recipient(device) {
                topics.push(recipient.report_topic().to_string());
                self.reports.expect(recipient, lanes.last_report(&device.id));
            }
        }
        for topics in topics.chunks(AT_ONCE) {
            let mut answers: JoinSet<Result<(), (String, BrokerError)>> = JoinSet::new();
            for topic in topics.iter().cloned() {
                let connection = self.connection.clone();
                answers.spawn(async move {
                    connection.subscribe(&topic, qos).await.map(drop).map_err(|error| (topic, error))
                });
            }
            while let Some(answer) = self.meanwhile(answers.join_next()).await {
                answer?.map_err(|(topic, error)| {
                    anyhow!(error).context(format!(
                        "could not subscribe to the reports on {}, which the broker has to let the key server read",
                        printable(&topic)
                    ))
                })?;
            }
        }
        // What the broker has kept comes before the answer.
        let connection = self.connection.clone();
        self.meanwhile(connection.round_trip()).await?;
        self.take_waiting().await;
        self.take_in(lanes);
        Ok(())
    }

    /// Has the commands to come follow what devices report.
    pub(super) fn take_in(&self, lanes: &mut Lanes<'_>) {
        for (id, report) in self.reports.all() {
            // They were compared with the last one when they came.
            let _older = lanes.take_in(id, report);
        }
    }

    /// Takes what happens until there is an answer.
    pub(super) async fn meanwhile<T>(&mut self, answer: impl Future<Output = T>) -> T {
        let mut answer = std::pin::pin!(answer);
        loop {
            tokio::select! {
                event = next(&mut self.events) => self.take(event),
                answer = &mut answer => return answer,
            }
        }
    }

    /// Listens until something is so, or the time is over.
    pub(super) async fn listen_until(&mut self, within: Duration, is_so: impl Fn(&Reports) -> bool) {
        let deadline = Instant::now() + within;
        // Where something is always there already, a deadline alone would never be looked at.
        while !is_so(&self.reports) && Instant::now() < deadline {
            let Ok(event) = timeout_at(deadline, next(&mut self.events)).await else { return };
            self.take(event);
        }
    }

    /// Takes what has arrived already.
    async fn take_waiting(&mut self) {
        for _ in 0..MOST_WAITING {
            let Ok(event) = timeout(Duration::ZERO, next(&mut self.events)).await else { return };
            self.take(event);
        }
    }

    fn take(&mut self, event: Option<Event>) {
        match event {
            Some(Event::Message(message)) => self.reports.hear(&message.topic, &message.payload),
            Some(event) => broker::report(&event, true),
            None => self.events = None,
        }
    }

    /// Closes the connection; what is under way gets its time if it is worth it.
    pub(super) async fn close(mut self, all_taken: bool) -> Result<(), Failure> {
        let patience = if all_taken { PATIENCE } else { Duration::ZERO };
        let shutdown = self.connection.clone().shutdown(patience);
        self.meanwhile(shutdown).await?;
        Ok(())
    }
}

async fn next(events: &mut Option<Events>) -> Option<Event> {
    match events {
        Some(events) => events.next_event().await,
        None => std::future::pending().await,
    }
}

/// A client that exists for one connection, as the key server is no client itself.
fn nobody() -> anyhow::Result<Client> {
    // Half of a random key that is used for nothing else is a random id.
    let random = ClientKey::generate()?;
    let id = random.as_bytes().first_chunk().copied().map(ClientId::from_bytes).context("a key has 32 bytes")?;
    Ok(Client::builder(Identity::symmetric(id, ClientKey::generate()?)).create(MemoryStore::new())?)
}

/// The newest reports of some devices.
#[derive(Default)]
pub(super) struct Reports(BTreeMap<ClientId, Heard>);

/// What was heard of a device.
struct Heard {
    /// Under which keys it may report: that which it has, and one that it is just given.
    keys: Vec<Recipient>,
    last: LastReport,
    report: Option<Report>,
    /// Whether an older report came, which was ignored.
    older: bool,
    /// Why something that arrived is no report of it.
    bad: Option<ReportError>,
}

impl Reports {
    /// A device, and the last that was known of it.
    fn expect(&mut self, recipient: Recipient, last: LastReport) {
        let id = *recipient.id();
        self.0.insert(id, Heard { keys: vec![recipient], last, report: None, older: false, bad: None });
    }

    /// A device may report under a key that it is given as well.
    pub(super) fn expect_under(&mut self, recipient: Recipient) {
        if let Some(heard) = self.0.get_mut(recipient.id()) {
            heard.keys.push(recipient);
        }
    }

    fn hear(&mut self, topic: &str, payload: &[u8]) {
        let Some((id, heard)) =
            ClientId::of_report_topic(topic).and_then(|id| self.0.get_mut(&id).map(|heard| (id, heard)))
        else {
            return;
        };
        let mut reason = ReportError::NotAuthentic;
        for recipient in heard.keys.iter().rev() {
            match recipient.open_report(payload) {
                Ok(report) => {
                    match heard.last.accept(&report) {
                        Ok(()) => (heard.report, heard.bad) = (Some(report), None),
                        // Anybody can play one back, again and again.
                        Err(older) if !heard.older => {
                            heard.older = true;
                            note(format!(
                                "A report of {id} is ignored: {older}. To have it report anew, send it what changes nothing, such \
                                 as `e4 control remove-topic a/topic/that/nobody/has --to NAME --wait`"
                            ));
                        }
                        Err(_) => (),
                    }
                    return;
                }
                // Of two keys, one is the wrong one.
                Err(ReportError::NotAuthentic) => (),
                Err(error) => reason = error,
            }
        }
        heard.bad = Some(reason);
    }

    /// The newest report of a device that arrived on this connection.
    pub(super) fn of(&self, device: &ClientId) -> Option<&Report> {
        self.0.get(device)?.report.as_ref()
    }

    /// Why what arrived last, where reports of this device do, is none.
    pub(super) fn bad(&self, device: &ClientId) -> Option<&ReportError> {
        self.0.get(device)?.bad.as_ref()
    }

    /// Whether only reports of this device arrived that are older than one before.
    pub(super) fn only_older(&self, device: &ClientId) -> bool {
        self.0.get(device).is_some_and(|heard| heard.older && heard.report.is_none())
    }

    fn all(&self) -> impl Iterator<Item = (&ClientId, &Report)> {
        self.0.iter().filter_map(|(id, heard)| Some((id, heard.report.as_ref()?)))
    }
}

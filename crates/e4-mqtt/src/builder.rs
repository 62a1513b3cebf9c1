//! What a connection is to be like, before it starts.

use crate::{
    MqttOptions, bounds,
    connection::{Connection, Events},
    delivery::Outbox,
    driver,
    due::Due,
    error::BuildError,
    limits::has_control_character,
    pacing::Pacing,
    protocol::{Limits, Link},
    queue::Queue,
    shared::Shared,
    will::LastWill,
};
use e4::TopicFilter;
use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64},
    },
    time::Duration,
};
use tokio::sync::{Notify, RwLock, watch};

impl Connection {
    /// A connection for a device, with a persistent session: the broker keeps what comes while the device is away.
    pub fn builder(options: impl Into<MqttOptions>, device: e4::Client) -> Builder {
        Builder::new(options.into(), device)
    }
}

/// A connection that is being put together; see [`Connection::builder`].
#[derive(Debug)]
#[must_use = "nothing connects before `connect`"]
pub struct Builder {
    options: MqttOptions,
    device: e4::Client,
    clear: Vec<TopicFilter<'static>>,
    will: Option<LastWill>,
    leave_messages: bool,
    reports: Reports,
    limits: Limits,
    queue_bytes: usize,
}

/// Whether the client reports to its key server.
#[derive(Debug, Clone, Copy)]
enum Reports {
    /// In a lasting session.
    AsADevice,
    Within(Duration),
    Never,
}

impl Builder {
    fn new(options: MqttOptions, device: e4::Client) -> Self {
        let limits = Limits { queue: 1024, packet: 1 << 20, persistent: true };
        let queue_bytes = bounds::MAX_UNACKNOWLEDGED_BYTES;
        let (clear, reports) = (Vec::new(), Reports::AsADevice);
        Self { options, device, clear, will: None, leave_messages: false, reports, limits, queue_bytes }
    }

    /// Lets the topics of a filter pass in the clear, both ways: messages are published unsealed, and arrive marked as
    /// [`Protection::Clear`](crate::Protection::Clear), whether or not there is a key for their topic. The client's own
    /// control topic never passes in the clear.
    ///
    /// # Security
    ///
    /// The broker reads these, and anybody may have written them.
    pub fn clear(mut self, filter: &TopicFilter<'_>) -> Self {
        self.clear.push(filter.clone().into_owned());
        self
    }

    /// Has the broker publish a message when it loses this client. It is sealed at each connect: members take it as long
    /// as the key of that time is theirs, and if they [allow its age](e4::Client::set_max_age).
    pub fn last_will(mut self, will: LastWill) -> Self {
        self.will = Some(will);
        self
    }

    /// Asks for a session that ends with the connection. Commands that are sent while the client is away are then lost
    /// for it: for tools that run for a moment, not for devices. So it does not report to a key server either, unless
    /// [`report_within`](Self::report_within) says that it does.
    pub fn clean_session(mut self) -> Self {
        self.limits.persistent = false;
        self
    }

    /// Takes commands only, and leaves messages of QoS 1 and 2 that wait in the session to the broker, for another program
    /// of the same device that connects later: for a tool that only publishes.
    ///
    /// Brokers send so many messages that are not acknowledged and no more; mosquitto 20 in MQTT 3.1.1. If more wait,
    /// commands wait behind them.
    pub fn leave_messages(mut self) -> Self {
        self.leave_messages = true;
        self
    }

    /// Within how long after each connection the client reports to its key server, at a random time, so that not all report at
    /// once when a broker comes back; [5 seconds](bounds::REPORT_WITHIN) unless set.
    ///
    /// A report says what the client holds and which commands it took ([`e4::Client::report`]). It goes out at QoS 1, retained, on
    /// [`e4::ClientId::report_topic`]; also after commands, once for a series, and after an authentic one that was refused. A
    /// broker that does not take it is an [event](crate::Event::ReportRefused) and no error.
    pub fn report_within(mut self, wait: Duration) -> Self {
        self.reports = Reports::Within(wait);
        self
    }

    /// Does not report to the key server: for where the broker forbids the topic of reports.
    pub fn no_reports(mut self) -> Self {
        self.reports = Reports::Never;
        self
    }

    /// How many messages may wait for the application, and how many for the broker; 1024 unless set, at least 1. The
    /// [other bounds](crate::bounds) follow.
    ///
    /// Of what arrives, messages of QoS 0 beyond that are [lost](crate::Event::Overflowed), and those of QoS 1 and 2 wait
    /// in the broker. [`Connection::publish`] waits for room.
    pub fn queue(mut self, messages: usize) -> Self {
        self.limits.queue = messages.clamp(1, bounds::MAX_QUEUE);
        self
    }

    /// How many bytes of messages may wait for the application, topics and payloads; 64 MiB unless set. One message may
    /// always wait. Beyond it messages of QoS 0 are [lost](crate::Event::Overflowed); with those of QoS 1 and 2 the connection
    /// ends, and the broker delivers them again.
    pub fn queue_bytes(mut self, bytes: usize) -> Self {
        self.queue_bytes = bytes;
        self
    }

    /// The largest packet in bytes that is sent, and with MQTT 5 also the largest that the broker may send; 1 MiB unless
    /// set, at least 1 KiB. In MQTT 3.1.1 what may arrive is the broker's to limit, and this must not be more than the
    /// broker takes: it ends the connection of who sends more, at QoS 1 and 2 each one anew.
    pub fn max_packet(mut self, bytes: u32) -> Self {
        self.limits.packet = bytes.max(1024);
        self
    }

    /// Starts the connection: a task of the Tokio runtime connects, and connects again whenever it has to.
    ///
    /// # Errors
    ///
    /// [`BuildError`]; nothing was started.
    pub fn connect(self) -> Result<(Connection, Events), BuildError> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(BuildError::NoRuntime);
        }
        let Self { options, device, clear, will, leave_messages, reports, limits, queue_bytes } = self;
        if will.as_ref().is_some_and(|will| has_control_character(will.topic.as_str())) {
            return Err(BuildError::ControlCharacter);
        }
        let (requests, link) = Link::new(options, limits)?;
        let (end, ended) = watch::channel(false);
        let shared = Arc::new(Shared {
            control_topic: device.control_topic(),
            report_topic: device.id().report_topic(),
            report_within: match reports {
                Reports::AsADevice => limits.persistent.then_some(bounds::REPORT_WITHIN),
                Reports::Within(wait) => Some(wait),
                Reports::Never => None,
            },
            due: Due::new(),
            device: Arc::new(RwLock::new(Some(device))),
            clear,
            will,
            leave_messages,
            queue: Queue::new(limits.queue, queue_bytes, requests.clone()),
            requests,
            subscriptions: Mutex::default(),
            sessions: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            following: Mutex::default(),
            last_loss: Mutex::default(),
            is_up: watch::Sender::default(),
            lost: watch::Sender::default(),
            forget: AtomicBool::new(false),
            pacing: Pacing::default(),
            command_room: Mutex::default(),
            broker: watch::Sender::new(None),
            max_packet: limits.packet,
            ending: Notify::new(),
            driver: OnceLock::new(),
            ended,
        });
        let outbox = Outbox::start(limits.queue, &shared);
        let task = tokio::spawn(driver::drive(link, Arc::clone(&shared), limits, end));
        shared.driver.get_or_init(|| task.abort_handle());
        Ok(Connection::new(shared, outbox))
    }
}

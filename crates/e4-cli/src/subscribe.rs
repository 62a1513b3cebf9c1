//! `e4 sub`: subscribes, and prints what arrives and is authentic.

use crate::{
    age_rule::AgeRule,
    broker::{self, BrokerArgs, Connecting, PATIENCE, PlaintextArgs, Step, filter, no_commands, qos, report},
    device::state::UnlockArgs,
    output::{Failure, Output, iso_time},
    terminal::{self, note, printable},
};
use anyhow::{Context, anyhow, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use e4::{Topic, TopicFilter};
use e4_mqtt::{Connection, Event, Events, Message, QoS};
use serde::Serialize;
use std::{
    io::{self, Write},
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use tokio::time::timeout;

/// How long the broker has to end a subscription.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// Subscribe, and print messages that are authentic
///
/// They are opened with the keys in a device's state, and the commands of its key server are carried out as they come.
/// Each message is a line: its topic, its payload, and in parentheses when it was sealed and by whom. Messages that are
/// refused are reported on standard error, with the reason.
///
/// The device's session at the broker is called e4-ID, with its client id. It goes on while this command does not run:
/// commands wait there for the next time. With -q 1 or 2 the filters stay subscribed as well, and messages wait.
///
/// Exit codes: 0 after -C messages, -E, Ctrl-C or SIGTERM; 27 when the time of -W is over; 1 for other reasons.
#[derive(clap::Args)]
#[command(
    disable_help_flag = true,
    disable_version_flag = true,
    after_help = "\
Examples:
  e4 sub --state panel-1.state -t 'plant/7/#'
  e4 sub --state panel-1.state -h broker.example -t plant/7/picture -C 1 -N > picture.jpg"
)]
pub(crate) struct Args {
    /// The state file of the device
    #[arg(long, value_name = "FILE")]
    state: PathBuf,
    #[command(flatten)]
    unlock: UnlockArgs,
    /// A topic, or a filter with + and #; may be given several times
    #[arg(short, long, value_name = "FILTER", required = true, value_parser = filter, allow_hyphen_values = true)]
    topic: Vec<TopicFilter<'static>>,
    /// A filter of an earlier run with -q 1 or 2, to be subscribed no longer
    #[arg(short = 'U', long, value_name = "FILTER", value_parser = filter, allow_hyphen_values = true)]
    unsubscribe: Vec<TopicFilter<'static>>,
    /// 0, 1 or 2: with 1 and 2 messages wait for this device while it is away
    #[arg(short, long, default_value = "0", value_parser = qos)]
    qos: QoS,
    /// End after so many messages
    #[arg(short = 'C', long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after so many seconds, with exit code 27
    #[arg(short = 'W', long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    wait: Option<u64>,
    /// End as soon as the broker has the subscriptions: from then on it keeps commands for this device
    #[arg(short = 'E', long)]
    exit_after_subscribe: bool,
    /// Do not print messages that the broker had kept (retained)
    #[arg(short = 'R', long)]
    no_retained: bool,
    /// What is done anyway, for those who are used to it
    #[arg(short, long, hide = true, conflicts_with_all = ["raw", "payload_only"])]
    verbose: bool,
    /// Print payloads only, a line each; on a terminal without the characters that would steer it
    #[arg(long, conflicts_with = "raw")]
    payload_only: bool,
    /// Print payloads only, exactly as they are, with nothing between them: on a terminal too
    #[arg(short = 'N', long)]
    raw: bool,
    /// How many seconds old messages may be that match a filter, or `any`: for retained messages and last wills, while this
    /// command runs
    #[arg(long, value_name = "FILTER=SECONDS", allow_hyphen_values = true)]
    max_age: Vec<AgeRule>,
    #[command(flatten)]
    plaintext: PlaintextArgs,
    /// Do not say on standard error what the key server changed, and how the connection is
    #[arg(short = 'Q', long)]
    quiet: bool,
    #[command(flatten)]
    broker: BrokerArgs,
}

pub(crate) fn run(args: &Args, output: Output) -> Result<(), Failure> {
    let form = args.form(output)?;
    let device = args.unlock.open(&args.state)?;
    let builder = args.plaintext.apply(args.broker.builder(device)?);
    broker::run(async {
        let mut signal = EndSignal::new()?;
        let (connection, mut events) = builder.connect()?;
        connection.with_device(|device| set_max_ages(device, &args.max_age)).await??;
        let connected = AtomicBool::new(false);
        let listening = async {
            tokio::select! {
                // The signal first: a flood of messages must not keep us from ending.
                biased;
                () = signal.wait() => Ok(()),
                result = args.listen(&connection, &mut events, form, &connected) => result,
            }
        };
        let result = match args.wait {
            Some(seconds) => timeout(Duration::from_secs(seconds), listening).await.unwrap_or(Err(Failure::TimedOut)),
            None => listening.await,
        };
        if !matches!(result, Err(Failure::Error(_))) {
            let connected = connected.load(Ordering::Relaxed);
            if connected {
                args.leave(&connection).await;
            }
            connection.shutdown(if connected { PATIENCE } else { Duration::ZERO }).await?;
        }
        result
    })
}

/// Sets the rules of this run. However it ends, they leave no trace in the state.
fn set_max_ages(device: &mut e4::Client, rules: &[AgeRule]) -> anyhow::Result<()> {
    rules.iter().try_for_each(|AgeRule { filter, max_age }| {
        device.set_max_age_for_now(filter, *max_age).with_context(|| format!("--max-age {filter}"))
    })
}

/// Ctrl-C, SIGTERM, or the end of the terminal.
struct EndSignal {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl EndSignal {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => (),
            _ = self.interrupt.recv() => (),
            _ = self.hangup.recv() => (),
        }
    }
}

#[cfg(not(unix))]
impl EndSignal {
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    async fn wait(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Args {
    fn form(&self, output: Output) -> anyhow::Result<Form> {
        let bare = self.raw || self.payload_only;
        ensure!(!(bare && output.json), "--json prints more than payloads: leave out one of the two");
        Ok(match () {
            () if output.json => Form::Json,
            () if self.raw => Form::Raw,
            () if self.payload_only => Form::PayloadLine,
            () => Form::Line,
        })
    }

    async fn listen(
        &self,
        connection: &Connection,
        events: &mut Events,
        form: Form,
        connected: &AtomicBool,
    ) -> Result<(), Failure> {
        let mut left = self.count;
        let connecting = Connecting::new(&self.broker);
        loop {
            match connecting.next(events).await? {
                Step::Connected { .. } => break,
                Step::WithoutControlTopic(reason) => return Err(no_commands(&reason).into()),
                // Messages that waited come before the answer to a subscription.
                Step::Other(event) => self.take(event, form, &mut left)?,
            }
            if left == Some(0) {
                return Ok(());
            }
        }
        connected.store(true, Ordering::Relaxed);
        for filter in &self.unsubscribe {
            let unsubscribed = connection.unsubscribe(filter.as_str()).await;
            unsubscribed.map_err(|error| anyhow!("could not unsubscribe from {filter}: {error}"))?;
        }
        for filter in &self.topic {
            let subscribed = connection.subscribe(filter.as_str(), self.qos).await;
            subscribed.map_err(|error| anyhow!("could not subscribe to {filter}: {error}"))?;
        }
        if !self.quiet {
            let filters: Vec<_> = self.topic.iter().map(TopicFilter::as_str).collect();
            note(format!("Connected to {}, subscribed to {}", self.broker.address(), filters.join(", ")));
        }
        while left != Some(0) && !self.exit_after_subscribe {
            let event = events.next_event().await.context("the connection was closed")?;
            self.take(event, form, &mut left)?;
        }
        Ok(())
    }

    /// With QoS 0 nothing waits for this device, so its filters need not stay. In the session of the next run they might
    /// overlap with others, and messages come twice.
    async fn leave(&self, connection: &Connection) {
        if self.qos != QoS::AtMostOnce {
            return;
        }
        let all = async {
            for filter in &self.topic {
                // In a session that ends there is nothing to leave.
                let _gone = connection.unsubscribe(filter.as_str()).await;
            }
        };
        let _without_connection = timeout(LEAVE_WITHIN, all).await;
    }

    fn take(&self, event: Event, form: Form, left: &mut Option<u64>) -> Result<(), Failure> {
        match event {
            Event::Message(message) if self.wants(&message) => {
                form.print(&message)?;
                *left = left.map(|left| left.saturating_sub(1));
            }
            Event::Message(message) if !(self.no_retained && message.retained) => note(format!(
                "A message on {} came for a filter of an earlier run, and is dropped: name it with -t, or end it with -U",
                printable(&message.topic)
            )),
            event => report(&event, self.quiet),
        }
        Ok(())
    }

    /// Whether the message is to be printed. A session that was kept may still have filters of an earlier run.
    fn wants(&self, message: &Message) -> bool {
        let Ok(topic) = Topic::new(&message.topic) else { return false };
        let matches = |filter: &TopicFilter<'_>| match unshared(filter.as_str()) {
            Some(filter) => TopicFilter::new(filter).is_ok_and(|filter| filter.matches(&topic)),
            None => filter.matches(&topic),
        };
        !(self.no_retained && message.retained) && self.topic.iter().any(matches)
    }
}

/// The filter in a shared subscription, `$share/GROUP/FILTER`.
fn unshared(filter: &str) -> Option<&str> {
    filter.strip_prefix("$share/")?.split_once('/').map(|(_group, filter)| filter)
}

/// How messages are printed.
#[derive(Clone, Copy)]
enum Form {
    Line,
    PayloadLine,
    Raw,
    Json,
}

impl Form {
    fn print(self, message: &Message) -> Result<(), Failure> {
        let mut bytes = match self {
            Self::Line => text_line(message).into_bytes(),
            Self::PayloadLine => terminal::payload(&message.payload, false).into_owned(),
            Self::Raw => message.payload.clone(),
            Self::Json => terminal::json(&Shown::new(message))?.into_bytes(),
        };
        if !matches!(self, Self::Raw) {
            bytes.push(b'\n');
        }
        let mut stdout = io::stdout().lock();
        stdout.write_all(&bytes)?;
        Ok(stdout.flush()?)
    }
}

/// `topic payload  (time, signer, what else is remarkable)`
fn text_line(message: &Message) -> String {
    let payload = match str::from_utf8(&message.payload) {
        Ok(text) => printable(text),
        Err(_) => format!("hex {}", hex::encode(&message.payload)),
    };
    let mut about = match message.seal() {
        None => "in the clear".to_owned(),
        Some(seal) => {
            let mut about = iso_time(seal.sent);
            if let Some(signer) = seal.signer {
                about += &format!(", signed by {signer}");
            }
            if seal.previous_key {
                about += ", under the previous key";
            }
            about
        }
    };
    if message.retained {
        about += ", retained";
    }
    format!("{} {payload}  ({about})", printable(&message.topic))
}

#[derive(Serialize)]
struct Shown<'a> {
    topic: &'a str,
    payload: String,
    /// `utf-8`: the payload is the text itself; `base64`: it is none, and this is its base64.
    payload_encoding: &'static str,
    sent: Option<String>,
    age: Option<u64>,
    signer: Option<String>,
    previous_key: bool,
    /// Whether it came unsealed, on a topic where that is allowed.
    clear: bool,
    retained: bool,
    qos: u8,
}

impl<'a> Shown<'a> {
    fn new(message: &'a Message) -> Self {
        let (payload, payload_encoding) = match str::from_utf8(&message.payload) {
            Ok(text) => (text.to_owned(), "utf-8"),
            Err(_) => (BASE64_STANDARD.encode(&message.payload), "base64"),
        };
        let seal = message.seal();
        Self {
            topic: &message.topic,
            payload,
            payload_encoding,
            sent: seal.map(|seal| iso_time(seal.sent)),
            age: seal.and_then(|seal| seal.age),
            signer: seal.and_then(|seal| seal.signer).map(|signer| signer.to_string()),
            previous_key: seal.is_some_and(|seal| seal.previous_key),
            clear: seal.is_none(),
            retained: message.retained,
            qos: match message.qos {
                QoS::AtMostOnce => 0,
                QoS::AtLeastOnce => 1,
                QoS::ExactlyOnce => 2,
            },
        }
    }
}

//! `e4 sub`: subscribes, and prints what arrives and is authentic.

mod form;

use crate::{
    age_rule::AgeRule,
    broker::{self, BrokerArgs, PATIENCE, PlaintextArgs, ReportArgs, qos, report},
    connect::{Connected, Role, connect},
    device::state::UnlockArgs,
    names::filter,
    output::{Failure, Output},
    terminal::{note, printable},
};
use anyhow::{Context, anyhow, bail, ensure};
use e4::{Client, Refusal, Repeated, Topic, TopicFilter};
use e4_mqtt::{Cause, Connection, Event, Events, QoS};
use form::Form;
use std::{collections::HashMap, io, ops::ControlFlow, path::PathBuf, pin::pin, time::Duration};
use tokio::time::timeout;

/// How many connections in a row may end soon after they were made.
const MOST_IN_A_ROW: u32 = 6;
/// How many copies of messages are expected on a topic, and on how many topics.
const MOST_COPIES: usize = 1000;
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
/// Exit codes: 0 after -C messages, -E, Ctrl-C or SIGTERM; 27 when the time of -W is over; 1 for other reasons, also when it
/// is ended before the broker has the subscriptions.
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
    /// Do not print messages that the broker had kept (retained); how many there were is said at the end
    #[arg(short = 'R', long)]
    no_retained: bool,
    /// Print messages that are equal to one that was taken before, and mark them, instead of refusing them: equal messages of
    /// two senders in one second, and what somebody plays back, which cannot be told from those
    #[arg(long)]
    repeated: bool,
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
    #[command(flatten)]
    reports: ReportArgs,
    /// Do not say on standard error what the key server changed, and how the connection is
    #[arg(short = 'Q', long)]
    quiet: bool,
    #[command(flatten)]
    broker: BrokerArgs,
}

pub(crate) fn run(args: &Args, output: Output) -> Result<(), Failure> {
    let form = args.form(output)?;
    let mut device = args.unlock.open(&args.state)?;
    args.set_wishes(&mut device)?;
    broker::run(async {
        let mut signal = EndSignal::new()?;
        let mut run = Run {
            args,
            form,
            left: args.count,
            dropped: 0,
            copies: HashMap::new(),
            stage: Stage::Connecting,
            connection: None,
        };
        let listening = async {
            tokio::select! {
                // The signal first: a flood of messages must not keep us from ending.
                biased;
                () = signal.wait() => Ok(Ended::BySignal),
                result = run.listen(device) => result.map(|()| Ended::ByItself),
            }
        };
        let result = match args.wait {
            Some(seconds) => timeout(Duration::from_secs(seconds), listening)
                .await
                .unwrap_or_else(|_| Err(Failure::TimedOut("Timed out".to_owned()))),
            None => listening.await,
        };
        run.tell_dropped();
        let (stage, connection) = (run.stage, run.connection);
        if let Some(connection) = connection
            && !matches!(result, Err(Failure::Error(_)))
        {
            args.leave(&connection).await;
            connection.shutdown(PATIENCE).await?;
        }
        match (result?, stage) {
            (Ended::ByItself, _) | (Ended::BySignal, Stage::Listening) => Ok(()),
            (Ended::BySignal, Stage::Connecting) => {
                Err(anyhow!("ended before the broker had the subscriptions: it had not taken the connection").into())
            }
            (Ended::BySignal, Stage::Subscribing) => {
                Err(anyhow!("ended before the broker had the subscriptions: it had not answered").into())
            }
        }
    })
}

enum Ended {
    ByItself,
    BySignal,
}

/// How far it has come.
#[derive(Clone, Copy)]
enum Stage {
    Connecting,
    Subscribing,
    Listening,
}

/// One run of the command.
struct Run<'a> {
    args: &'a Args,
    form: Form,
    /// Messages until the end.
    left: Option<u64>,
    /// Messages that were left out because they were marked as retained.
    dropped: u64,
    /// How many copies of messages may still come, by topic.
    copies: HashMap<String, usize>,
    stage: Stage,
    /// Once it is made.
    connection: Option<Connection>,
}

impl Run<'_> {
    async fn listen(&mut self, device: Client) -> Result<(), Failure> {
        let args = self.args;
        // Messages that waited come before the connection is ready.
        let shape = |builder| args.reports.apply(args.plaintext.apply(builder), args.exit_after_subscribe);
        let take = &mut |event| self.take(event);
        let Connected { connection, mut events, .. } =
            connect(&args.broker, Role::Device, device, &shape, take).await?;
        let connection = self.connection.insert(connection).clone();
        if self.is_done() {
            return Ok(());
        }
        self.stage = Stage::Subscribing;
        for filter in &args.unsubscribe {
            let answer = self.meanwhile(&mut events, connection.unsubscribe(filter.as_str())).await?;
            answer.with_context(|| format!("could not unsubscribe from {}", printable(filter.as_str())))?;
        }
        for filter in &args.topic {
            let name = printable(filter.as_str());
            let answer = self.meanwhile(&mut events, connection.subscribe(filter.as_str(), args.qos)).await;
            let answer = answer.and_then(|answer| Ok(answer?));
            let granted = answer.map_err(|failure| failure.context(format!("could not subscribe to {name}")))?;
            if (granted as u8) < args.qos as u8 {
                note(format!("Note: the broker grants QoS {} for {name}, and not {}", granted as u8, args.qos as u8));
            }
        }
        self.stage = Stage::Listening;
        if !args.quiet {
            let filters: Vec<_> = args.topic.iter().map(|filter| printable(filter.as_str())).collect();
            note(format!("Connected to {}, subscribed to {}", args.broker.address(), filters.join(", ")));
        }
        let mut done = self.is_done() || args.exit_after_subscribe;
        while !done {
            let event = events.next_event().await.context("the connection was closed")?;
            args.may_go_on(&event)?;
            done = self.take(event)?.is_break();
        }
        Ok(())
    }

    /// Takes events until the broker has answered. One that closes the connection each time does not want to be asked.
    async fn meanwhile<T>(&mut self, events: &mut Events, answer: impl Future<Output = T>) -> Result<T, Failure> {
        let mut answer = pin!(answer);
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return Ok(answer),
                // What comes behind the last message that is wanted waits in the broker.
                event = events.next_event(), if !self.is_done() => {
                    let event = event.context("the connection was closed")?;
                    self.args.may_go_on(&event)?;
                    if let Event::Disconnected(loss) = &event
                        && loss.in_a_row >= 3
                    {
                        let reason = broker::why_lost(loss);
                        return Err(anyhow!("the broker closes the connection when it is asked to ({reason})").into());
                    }
                    if self.take(event)?.is_break() {
                        self.stage = Stage::Listening;
                    }
                }
            }
        }
    }

    fn is_done(&self) -> bool {
        self.left == Some(0)
    }

    /// Breaks after the last message that is wanted.
    fn take(&mut self, event: Event) -> Result<ControlFlow<()>, Failure> {
        match event {
            Event::Message(message) if self.args.no_retained && message.retained => self.dropped += 1,
            Event::Message(message) => match self.args.matching(&message.topic) {
                0 => note(format!(
                    "A message on {} came for a filter of an earlier run, and is dropped: name it with -t, or end it with -U",
                    printable(&message.topic)
                )),
                filters => {
                    self.form.print(&message)?;
                    self.left = self.left.map(|left| left.saturating_sub(1));
                    self.expect_copies(message.topic, filters - 1);
                }
            },
            // A session that was kept may still have filters of an earlier run.
            Event::Refused(refused) if refused.reason == Refusal::Repeated.into() && self.is_copy(&refused.topic) => (),
            event => report(&event, self.args.quiet),
        }
        Ok(if self.is_done() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// Some brokers send a message once for each filter that matches. A copy is no message, and no replay either.
    fn expect_copies(&mut self, topic: String, copies: usize) {
        if copies > 0 && (self.copies.len() < MOST_COPIES || self.copies.contains_key(&topic)) {
            let expected = self.copies.entry(topic).or_default();
            *expected = expected.saturating_add(copies).min(MOST_COPIES);
        }
    }

    fn is_copy(&mut self, topic: &str) -> bool {
        let Some(expected) = self.copies.get_mut(topic).filter(|expected| **expected > 0) else { return false };
        *expected -= 1;
        true
    }

    /// Some brokers mark as retained what only waited for this device.
    fn tell_dropped(&self) {
        if self.dropped > 0 && !self.args.quiet {
            let messages =
                if self.dropped == 1 { "1 message".to_owned() } else { format!("{} messages", self.dropped) };
            note(format!("Left out {messages} that the broker marks as retained (-R)"));
        }
    }
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

    /// Sets what holds for this run. However it ends, it leaves no trace in the state.
    fn set_wishes(&self, device: &mut Client) -> anyhow::Result<()> {
        if self.repeated {
            device.set_repeated_for_now(Repeated::Report);
        }
        self.max_age.iter().try_for_each(|AgeRule { filter, max_age }| {
            device.set_max_age_for_now(filter, *max_age).with_context(|| format!("--max-age {filter}"))
        })
    }

    /// Fails if the connection does not come back, or does not last.
    fn may_go_on(&self, event: &Event) -> anyhow::Result<()> {
        match event {
            Event::Disconnected(loss) if loss.cause == Cause::TakenOver => bail!(
                "another program has connected to the broker under the MQTT client id of this one: end it, or give this one \
                 an id of its own with -i ({})",
                broker::why_lost(loss)
            ),
            Event::Disconnected(loss) if loss.in_a_row >= MOST_IN_A_ROW => bail!(
                "the broker ended {} connections in a row soon after it had taken them ({}): another program connects to it \
                 under the MQTT client id of this one, or the broker does not allow something and does not say so",
                loss.in_a_row,
                broker::why_lost(loss)
            ),
            _ => Ok(()),
        }
    }

    /// How many of the filters match a topic.
    fn matching(&self, topic: &str) -> usize {
        let Ok(topic) = Topic::new(topic) else { return 0 };
        let matches = |filter: &&TopicFilter<'_>| match unshared(filter.as_str()) {
            Some(filter) => TopicFilter::new(filter).is_ok_and(|filter| filter.matches(&topic)),
            None => filter.matches(&topic),
        };
        self.topic.iter().filter(matches).count()
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
}

/// The filter in a shared subscription, `$share/GROUP/FILTER`.
fn unshared(filter: &str) -> Option<&str> {
    filter.strip_prefix("$share/")?.split_once('/').map(|(_group, filter)| filter)
}

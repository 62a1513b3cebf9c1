//! `e4 pub`: publishes sealed messages.

use crate::{
    broker::{self, BrokerArgs, PATIENCE, PlaintextArgs, ReportArgs, qos, report},
    connect::{Connected, Role, connect},
    device::state::UnlockArgs,
    last_second::LastSecond,
    losses::Losses,
    names::topic,
    output::{Failure, Output},
    source::Source,
    terminal::{note, printable},
};
use anyhow::{Context, anyhow, bail, ensure};
use clap::ArgGroup;
use e4::{Client, OpenError, Refusal, Topic};
use e4_mqtt::{BrokerError, Cause, Connection, Delivery, Event, Events, Loss, PublishError, QoS};
use std::{
    fs,
    io::Read,
    ops::ControlFlow,
    path::{Path, PathBuf},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    sync::mpsc,
    time::timeout,
};

/// How many messages may be under way to the broker.
const UNDER_WAY: usize = 256;

/// Publish sealed messages
///
/// They are sealed, and in public-key mode signed, with the keys in a device's state. Commands of the key server that
/// wait for the device are carried out first. The device's session at the broker is called e4-ID, with its client id.
///
/// The command ends when the broker has the messages, and with exit code 1 if it does not take one, or ends the connection;
/// --only-connect ends with 3 if a command that waited was refused.
///
/// A message that is equal to one of the same second on the same topic is sent in the next second, also if another run of
/// this command sent that one: receivers take equal messages of one second for one. For more of them in a second put a
/// counter into the payload, or have readers print repeated messages (`e4 sub --repeated`). Two devices that send equal
/// messages in one second under one key do not know of each other, unless they sign: put their names into the payload.
#[derive(clap::Args)]
#[command(
    disable_help_flag = true,
    disable_version_flag = true,
    group(
        ArgGroup::new("what")
            .args(["message", "file", "stdin_file", "stdin_line", "null_message", "clear_retained", "only_connect"])
            .required(true)
    ),
    after_help = "\
Examples:
  e4 pub --state pump-7.state -t plant/7/pump/pressure -m '4.2 bar'
  vmstat 1 | e4 pub --state pump-7.state -h broker.example -t plant/7/load -q 1 -l
  e4 pub --state pump-7.state --only-connect"
)]
pub(crate) struct Args {
    /// The state file of the device
    #[arg(long, value_name = "FILE")]
    state: PathBuf,
    #[command(flatten)]
    unlock: UnlockArgs,
    /// The topic
    #[arg(short, long, value_parser = topic, required_unless_present = "only_connect", allow_hyphen_values = true)]
    topic: Option<Topic<'static>>,
    /// The message is this text
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    message: Option<String>,
    /// The message is the content of this file, as it is; `-` for standard input
    #[arg(short, long)]
    file: Option<PathBuf>,
    /// The message is all of standard input, as it is
    #[arg(short, long)]
    stdin_file: bool,
    /// Each line of standard input is a message
    #[arg(short = 'l', long)]
    stdin_line: bool,
    /// The message is empty: sealed, and as authentic as any
    #[arg(short, long)]
    null_message: bool,
    /// Have the broker forget the message that it keeps for the topic, by an empty one that is not sealed
    #[arg(long)]
    clear_retained: bool,
    /// Publish nothing: carry out the commands that wait. From then on the broker knows the session, and keeps commands
    #[arg(long, conflicts_with_all = ["topic", "retain"])]
    only_connect: bool,
    /// 0, 1 or 2: with 0 a message may be lost, with 1 and 2 the broker confirms it
    #[arg(short, long, default_value = "0", value_parser = qos)]
    qos: QoS,
    /// Have the broker keep the message for those who subscribe later; they have to allow its age
    #[arg(short, long, conflicts_with = "clear_retained")]
    retain: bool,
    #[command(flatten)]
    plaintext: PlaintextArgs,
    #[command(flatten)]
    reports: ReportArgs,
    /// Say on standard error only what goes wrong
    #[arg(short = 'Q', long)]
    quiet: bool,
    #[command(flatten)]
    broker: BrokerArgs,
}

/// What is to be published.
enum What {
    Message(Vec<u8>),
    LinesOfStdin,
    /// The broker is to forget what it keeps.
    Forget,
    Nothing,
}

pub(crate) fn run(args: &Args, _: Output) -> Result<(), Failure> {
    let what = args.what()?;
    let device = args.unlock.open(&args.state)?;
    let quiet = args.quiet;
    broker::run(async {
        // Messages in the device's session are for `e4 sub`.
        let shape = |builder| args.reports.apply(args.plaintext.apply(builder), args.only_connect).leave_messages();
        let mut refused = RefusedCommands::of(&device);
        let take = &mut |event: Event| {
            report(&event, quiet);
            refused.count(&event);
            goes_on(&event)?;
            Ok(ControlFlow::Continue(()))
        };
        let Connected { connection, mut events, keeps_commands } =
            connect(&args.broker, Role::Device, device, &shape, take).await?;
        // Whatever the broker says of the session: some have kept one and say that there is none.
        let in_time = timeout(PATIENCE, catch_up(&connection, &mut events, quiet, &mut refused)).await;
        in_time.context(
            "the broker did not say within 20 s whether more commands wait for this device: nothing was published",
        )??;
        let lost = Arc::new(Losses::default());
        let losses = Arc::clone(&lost);
        let told = tokio::spawn(async move {
            while let Some(event) = events.next_event().await {
                report(&event, quiet);
                if let Event::Disconnected(loss) = event {
                    losses.add(loss);
                }
            }
        });
        if args.topic.is_none() && !quiet && keeps_commands {
            note(format!("Connected to {}, which keeps commands for this device from now on", args.broker.address()));
        }
        let mut second = LastSecond::open(&args.state);
        let confirmed = Arc::new(AtomicU64::new(0));
        let result = tokio::select! {
            biased;
            result = args.publish_all(&connection, what, &mut second, &confirmed) => result,
            loss = lost.too_many() => Err(args.not_published(&loss, &confirmed)),
        };
        second.close().await;
        let result = match result {
            // QoS 0 has no answer. A broker that answers the next question has read the message and gone on.
            Ok(()) if args.qos == QoS::AtMostOnce && args.topic.is_some() => tokio::select! {
                biased;
                loss = lost.any() => Err(args.not_published(&loss, &confirmed)),
                _answered_or_not = connection.round_trip() => Ok(()),
            },
            result => result,
        };
        let patience = if result.is_ok() { PATIENCE } else { Duration::ZERO };
        connection.shutdown(patience).await?;
        // What happened until then.
        told.await?;
        result?;
        if args.only_connect { refused.into_result() } else { Ok(()) }
    })
}

/// Commands that arrived on the device's own control topic and were not carried out.
struct RefusedCommands {
    control_topic: String,
    number: u32,
    last_reason: String,
}

impl RefusedCommands {
    fn of(device: &Client) -> Self {
        Self { control_topic: device.control_topic().to_string(), number: 0, last_reason: String::new() }
    }

    fn count(&mut self, event: &Event) {
        let Event::Refused(refused) = event else { return };
        // What came again was carried out before.
        let is_again = matches!(refused.reason, OpenError::Refused(Refusal::Repeated | Refusal::Superseded { .. }));
        if refused.topic == self.control_topic && !is_again {
            self.number = self.number.saturating_add(1);
            self.last_reason = refused.reason.to_string();
        }
    }

    /// Whoever connects a device so that it gets its commands wants to know that it did not.
    fn into_result(self) -> Result<(), Failure> {
        let commands = match self.number {
            0 => return Ok(()),
            1 => "a command".to_owned(),
            number => format!("{number} commands"),
        };
        Err(Failure::Refused(format!(
            "{commands} on the control topic, the last one as {}. If the key server sent it, compare the key of this device \
             that it has with that of the state",
            self.last_reason
        )))
    }
}

/// Which line of standard input a message is.
type LineNumber = Option<u64>;

/// A line, before what is said of it.
fn in_line(line: LineNumber) -> String {
    line.map(|line| format!("line {line}: ")).unwrap_or_default()
}

/// Lets the commands arrive that waited in the broker. It sends them before it answers; or, if they are many, the next ones
/// as soon as the handshake of the first ones is over, which takes up to a round trip more.
async fn catch_up(
    connection: &Connection,
    events: &mut Events,
    quiet: bool,
    refused: &mut RefusedCommands,
) -> Result<(), Failure> {
    let mut round_trips_without_any = 0;
    while round_trips_without_any < 2 {
        round_trips_without_any += 1;
        let mut answer = pin!(connection.round_trip());
        loop {
            tokio::select! {
                biased;
                event = events.next_event() => {
                    let event = event.context("the connection was closed")?;
                    goes_on(&event)?;
                    if matches!(event, Event::KeysChanged(_) | Event::Refused(_)) {
                        round_trips_without_any = 0;
                    }
                    report(&event, quiet);
                    refused.count(&event);
                }
                answer = &mut answer => {
                    answer?;
                    break;
                }
            }
        }
    }
    Ok(())
}

/// What waits may be the command that takes a key away.
fn goes_on(event: &Event) -> anyhow::Result<()> {
    if let Event::CommandWaits(reason) = event {
        bail!("a command of the key server cannot be carried out yet ({reason}): nothing was published");
    }
    Ok(())
}

impl Args {
    fn what(&self) -> anyhow::Result<What> {
        let from_stdin = self.stdin_file || self.file.as_deref() == Some(Path::new("-"));
        if from_stdin || self.stdin_line {
            let secret = self.unlock.storage_key_file.as_ref().is_some_and(Source::is_stdin);
            ensure!(
                !secret && !self.broker.reads_stdin(),
                "standard input is what to publish: give secrets as files, or as env:NAME"
            );
        }
        if self.stdin_line {
            return Ok(What::LinesOfStdin);
        }
        if self.clear_retained {
            return Ok(What::Forget);
        }
        if self.only_connect {
            return Ok(What::Nothing);
        }
        let mut message = Vec::new();
        if from_stdin {
            std::io::stdin().lock().read_to_end(&mut message).context("could not read standard input")?;
        } else if let Some(path) = &self.file {
            message = fs::read(path).with_context(|| format!("could not read {}", path.display()))?;
        } else if let Some(text) = &self.message {
            message = text.clone().into_bytes();
        }
        Ok(What::Message(message))
    }

    fn not_published(&self, loss: &Loss, confirmed: &AtomicU64) -> Failure {
        let topic = self.topic.as_ref().map(Topic::as_str).unwrap_or_default();
        let (topic, reason) = (printable(topic), broker::why_lost(loss));
        let unconfirmed = confirmed.load(Ordering::Relaxed).saturating_add(1);
        let lines = if self.stdin_line && self.qos != QoS::AtMostOnce {
            format!("line {unconfirmed}, and what follows: ")
        } else {
            String::new()
        };
        let hint = match (loss.cause, self.qos) {
            // It has said what it does not take.
            (Cause::UnknownAnswer(_), _) => return anyhow!("{lines}not published on {topic}: {reason}").into(),
            (_, QoS::ExactlyOnce) => {
                "it may be too large for the broker, or not allowed; brokers without QoS 2 do so too: try -q 1"
            }
            _ => "it may be too large for the broker, or not allowed",
        };
        anyhow!("{lines}not published on {topic}: the connection ended ({reason}); {hint}").into()
    }

    async fn publish_all(
        &self,
        connection: &Connection,
        what: What,
        second: &mut LastSecond,
        confirmed: &Arc<AtomicU64>,
    ) -> Result<(), Failure> {
        // clap has seen to it that there is one, or nothing to publish.
        let Some(topic) = &self.topic else { return Ok(()) };
        let (under_way, deliveries) = mpsc::channel(UNDER_WAY);
        let all_confirmed = tokio::spawn(confirm(deliveries, Arc::clone(confirmed)));
        match what {
            What::Message(message) => {
                self.note_empty(topic, &message);
                let _given_up = under_way.send((None, self.publish(connection, topic, &message, second).await?)).await;
            }
            What::Forget => {
                let delivery = connection.clear_retained(topic).await?;
                let _given_up = under_way.send((None, delivery)).await;
            }
            What::LinesOfStdin => self.publish_lines(connection, topic, second, &under_way).await?,
            What::Nothing => (),
        }
        drop(under_way);
        let in_time = timeout(PATIENCE, all_confirmed).await;
        let in_time = in_time.map_err(|_| anyhow!("the broker did not confirm within {} s", PATIENCE.as_secs()))?;
        in_time?.map_err(|(line, error)| {
            anyhow!(error).context(format!("{}not published on {topic}", in_line(line))).into()
        })
    }

    async fn publish_lines(
        &self,
        connection: &Connection,
        topic: &Topic<'_>,
        second: &mut LastSecond,
        under_way: &mpsc::Sender<(LineNumber, Delivery)>,
    ) -> Result<(), Failure> {
        let mut stdin = BufReader::new(tokio::io::stdin());
        let mut line = Vec::new();
        let mut number = 0;
        let mut is_noted = false;
        while stdin.read_until(b'\n', &mut line).await.context("could not read standard input")? > 0 {
            number += 1;
            let message = line.strip_suffix(b"\n").unwrap_or(&line);
            is_noted = is_noted || self.note_empty(topic, message);
            let delivery = self.publish(connection, topic, message, second).await;
            let delivery = delivery.map_err(|error| anyhow!("{}{error:#}", in_line(Some(number))))?;
            if under_way.send((Some(number), delivery)).await.is_err() {
                // The broker has refused one, which our caller finds out.
                break;
            }
            line.clear();
        }
        Ok(())
    }

    /// Says what becomes of an empty message that is to be retained, and whether it is one.
    fn note_empty(&self, topic: &Topic<'_>, message: &[u8]) -> bool {
        let is_kept = self.retain && message.is_empty();
        if is_kept && !self.quiet {
            note(if self.plaintext.covers(topic) {
                "Note: an empty message that is not sealed has the broker forget what it keeps for the topic"
            } else {
                "Note: the broker keeps this empty message, sealed as it is; to have it forget what it keeps, use --clear-retained"
            });
        }
        is_kept
    }

    async fn publish(
        &self,
        connection: &Connection,
        topic: &Topic<'_>,
        message: &[u8],
        second: &mut LastSecond,
    ) -> anyhow::Result<Delivery> {
        let sealed = !self.plaintext.covers(topic);
        if sealed {
            let habit = second.wait_for_room(connection, topic, message).await?;
            if habit && !self.quiet {
                note(
                    "Note: equal messages leave one a second, as receivers take more for replays: a counter in the payload \
                     makes them differ",
                );
            }
        }
        let put = if self.retain {
            connection.publish_retained(topic, message, self.qos).await
        } else {
            connection.publish(topic, message, self.qos).await
        };
        let delivery = put.map_err(|error| match error {
            PublishError::Closed => error.into(),
            error => anyhow!("not published on {topic}: {error}"),
        })?;
        if sealed {
            second.remember(connection, topic, message).await?;
        }
        Ok(delivery)
    }
}

/// Waits for the broker's word on each message, up to the first one that it does not take, and counts.
async fn confirm(
    mut deliveries: mpsc::Receiver<(LineNumber, Delivery)>,
    confirmed: Arc<AtomicU64>,
) -> Result<(), (LineNumber, BrokerError)> {
    while let Some((line, delivery)) = deliveries.recv().await {
        delivery.await.map_err(|error| (line, error))?;
        confirmed.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

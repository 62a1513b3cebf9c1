//! `e4 pub`: publishes sealed messages.

use crate::{
    broker::{self, BrokerArgs, Connecting, PATIENCE, PlaintextArgs, Step, no_commands, qos, report},
    device::state::UnlockArgs,
    key,
    output::{Failure, Output},
    secret_file::Source,
    terminal::note,
};
use anyhow::{Context, anyhow, bail, ensure};
use clap::ArgGroup;
use e4::Topic;
use e4_mqtt::{BrokerError, Connection, Delivery, Event, Events, PublishError, QoS};
use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    pin::pin,
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
/// The command ends when the broker has the messages, and with exit code 1 if it does not take one.
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
    #[arg(short, long, value_parser = key::topic, required_unless_present = "only_connect", allow_hyphen_values = true)]
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
    // Messages in the device's session are for `e4 sub`.
    let builder = args.plaintext.apply(args.broker.builder(device)?).leave_messages();
    broker::run(async {
        let (connection, mut events) = builder.connect()?;
        let quiet = args.quiet;
        if args.connect(&mut events).await? {
            let in_time = timeout(PATIENCE, catch_up(&connection, &mut events, quiet)).await;
            in_time.context("too much arrives on the control topic of this device: nothing was published")??;
        }
        tokio::spawn(async move {
            while let Some(event) = events.next_event().await {
                report(&event, quiet);
            }
        });
        let result = args.publish_all(&connection, what).await;
        let patience = if result.is_ok() { PATIENCE } else { std::time::Duration::ZERO };
        connection.shutdown(patience).await?;
        result
    })
}

/// Lets the commands arrive that waited in the broker. It sends them before it answers; or, if they are many, the next ones
/// as soon as the handshake of the first ones is over, which takes up to a round trip more.
async fn catch_up(connection: &Connection, events: &mut Events, quiet: bool) -> Result<(), Failure> {
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

    /// Waits for the first connection, and returns whether it goes on with a session that the broker has kept.
    async fn connect(&self, events: &mut Events) -> anyhow::Result<bool> {
        let connecting = Connecting::new(&self.broker);
        loop {
            match connecting.next(events).await? {
                Step::Connected { session_kept } => return Ok(session_kept),
                Step::WithoutControlTopic(reason) => return Err(no_commands(&reason)),
                Step::Other(event) => {
                    report(&event, self.quiet);
                    goes_on(&event)?;
                }
            }
        }
    }

    async fn publish_all(&self, connection: &Connection, what: What) -> Result<(), Failure> {
        let Some(topic) = &self.topic else {
            // clap has seen to it that there is one, or nothing to publish.
            if !self.quiet {
                note(format!(
                    "Connected to {}, which keeps commands for this device from now on",
                    self.broker.address()
                ));
            }
            return Ok(());
        };
        let (under_way, deliveries) = mpsc::channel(UNDER_WAY);
        let confirmed = tokio::spawn(confirm(deliveries));
        match what {
            What::Message(message) => {
                let _given_up = under_way.send(self.publish(connection, topic, &message).await?).await;
            }
            What::Forget => {
                let delivery = connection.clear_retained(topic).await?;
                let _given_up = under_way.send(delivery).await;
            }
            What::LinesOfStdin => self.publish_lines(connection, topic, &under_way).await?,
            What::Nothing => (),
        }
        drop(under_way);
        let in_time = timeout(PATIENCE, confirmed).await;
        let in_time = in_time.map_err(|_| anyhow!("the broker did not confirm within {} s", PATIENCE.as_secs()))?;
        Ok(in_time?.with_context(|| format!("not published on {topic}"))?)
    }

    async fn publish_lines(
        &self,
        connection: &Connection,
        topic: &Topic<'_>,
        under_way: &mpsc::Sender<Delivery>,
    ) -> Result<(), Failure> {
        let mut stdin = BufReader::new(tokio::io::stdin());
        let mut line = Vec::new();
        while stdin.read_until(b'\n', &mut line).await.context("could not read standard input")? > 0 {
            let message = line.strip_suffix(b"\n").unwrap_or(&line);
            let delivery = self.publish(connection, topic, message).await?;
            if under_way.send(delivery).await.is_err() {
                // The broker has refused one, which our caller finds out.
                break;
            }
            line.clear();
        }
        Ok(())
    }

    async fn publish(&self, connection: &Connection, topic: &Topic<'_>, message: &[u8]) -> anyhow::Result<Delivery> {
        let put = if self.retain {
            connection.publish_retained(topic, message, self.qos).await
        } else {
            connection.publish(topic, message, self.qos).await
        };
        put.map_err(|error| match error {
            PublishError::Closed => error.into(),
            error => anyhow!("not published on {topic}: {error}"),
        })
    }
}

/// Waits for the broker's word on each message, up to the first one that it does not take.
async fn confirm(mut deliveries: mpsc::Receiver<Delivery>) -> Result<(), BrokerError> {
    while let Some(delivery) = deliveries.recv().await {
        delivery.await?;
    }
    Ok(())
}

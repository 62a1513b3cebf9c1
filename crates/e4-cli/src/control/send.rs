//! Sealing a command for each device, and getting it there.

use super::target::TargetArgs;
use crate::{
    broker::{self, PATIENCE},
    connect::{Connected, Role, connect},
    fleet::{CommandsFor, Device, Fleet, Lanes},
    output::{Failure, Output},
    terminal::{note, printable, without_keys},
};
use anyhow::{Context, anyhow};
use e4::{Client, ClientId, ClientKey, Command, Identity, MemoryStore, Mode, controller::SealedCommand};
use e4_mqtt::{BrokerError, Connection, Delivery, Taken};
use serde::Serialize;
use std::{ops::ControlFlow, time::Duration};
use tokio::time::{Instant, timeout, timeout_at};

/// Commands for devices.
pub(super) struct Order<'a> {
    /// As reports name it.
    pub(super) what: &'a str,
    pub(super) fleet: &'a Fleet,
    /// The broker has taken the commands for those of one turn before those of the next one are sent.
    pub(super) turns: Vec<Vec<(&'a str, &'a Device)>>,
    /// Makes the commands for one device, in the order in which they are to be sent.
    pub(super) commands: &'a CommandsFor<'a>,
}

/// What became of the command for one device.
#[derive(Serialize)]
struct Report<'a> {
    device: &'a str,
    id: String,
    control_topic: String,
    command: &'a str,
    /// In hexadecimal, if they are only to be printed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sealed: Vec<String>,
    /// Whether the broker has it. Whether the device has it is not known.
    handed_to_broker: bool,
    /// Whether the broker says that it has no session of the device, so that the command is lost. Not all brokers say it.
    no_subscriber: bool,
    error: Option<String>,
}

/// Sends one command to all devices that are meant.
pub(super) fn send_same(
    target: &TargetArgs,
    fleet: &Fleet,
    what: &str,
    takes: Option<Mode>,
    command: &Command,
    output: Output,
) -> Result<(), Failure> {
    let turns = vec![fleet.select(&target.whom, takes)?];
    Order { what, fleet, turns, commands: &|_| Ok(vec![command.clone()]) }.carry_out(target, output)
}

/// Says what has to follow when devices have taken a key that the fleet file does not know, or may have.
pub(super) fn keep_both(target: &TargetArgs, result: Result<(), Failure>, then: &str) -> Result<(), Failure> {
    let fleet = target.fleet.display();
    let until = "keep the old key until each device has taken a command that is sealed with the new one";
    note(match (&result, target.print_hex) {
        (Ok(()), true) => format!("Once they are sent, {then} in {fleet}; {until}"),
        (Ok(()), false) => format!("Now, {then} in {fleet}; {until}"),
        // The broker may have it, and only its answer is missing.
        (Err(_), _) => format!("Devices may have taken the new key all the same: {until}"),
    });
    result
}

/// A device, with its name and what it is to get, in order.
type Sealed<'a> = (&'a str, &'a Device, anyhow::Result<Vec<SealedCommand>>);

impl Order<'_> {
    /// Publishes or prints the commands. What fails for one device is reported, and the others go on.
    pub(super) fn carry_out(&self, target: &TargetArgs, output: Output) -> Result<(), Failure> {
        let (mut failed, mut printed) = (0, Ok(()));
        let mut report = |report: Report<'_>| {
            if let Some(error) = &report.error {
                failed += 1;
                note(format!("{}: {error}", printable(report.device)));
            }
            // Whether anybody reads it must not decide which devices get a command.
            let result = report.print(output);
            if printed.is_ok() {
                printed = result;
            }
        };
        // Until the end, so that nobody else sends what is dated later earlier.
        let mut lanes = Lanes::open(self.fleet)?;
        let turns = self.seal_all(&mut lanes)?;
        if target.print_hex {
            self.print(turns, &mut report);
        } else {
            self.publish(target, turns, &mut report)?;
        }
        drop(lanes);
        if let Err(Failure::Error(error)) = printed {
            return Err(anyhow!("could not print what became of the commands: {error:#}").into());
        }
        if failed > 0 {
            let all = self.devices().count();
            let what = if target.print_hex { "could be sealed for" } else { "was handed to the broker for" };
            return Err(anyhow!("{} {what} {} of {all} devices only", self.what, all - failed).into());
        }
        Ok(())
    }

    fn devices(&self) -> impl Iterator<Item = &(&str, &Device)> + Clone {
        self.turns.iter().flatten()
    }

    /// Looks whether all devices have keys that can be used, for commands that all should get or none.
    pub(super) fn check_keys(&self) -> anyhow::Result<()> {
        self.devices().try_for_each(|(_, device)| self.fleet.recipient(device).map(drop))
    }

    /// Seals what all devices get. The times are stored before this returns.
    fn seal_all(&self, lanes: &mut Lanes<'_>) -> anyhow::Result<Vec<Vec<Sealed<'_>>>> {
        let sealed = lanes.seal(self.devices().map(|(_, device)| *device), self.commands)?;
        let mut sealed = sealed.into_iter();
        let mut next = || sealed.next().context("nothing was sealed for it")?;
        let turns = self.turns.iter().map(|turn| turn.iter().map(|(name, device)| (*name, *device, next())).collect());
        Ok(turns.collect())
    }

    fn print(&self, turns: Vec<Vec<Sealed<'_>>>, report: &mut dyn FnMut(Report<'_>)) {
        for (name, device, sealed) in turns.into_iter().flatten() {
            let error = sealed.as_ref().err().map(in_words);
            let sealed = sealed.unwrap_or_default().iter().map(hex::encode).collect();
            report(Report { sealed, error, ..Report::of(name, device, self.what) });
        }
    }

    fn publish(
        &self,
        target: &TargetArgs,
        turns: Vec<Vec<Sealed<'_>>>,
        report: &mut dyn FnMut(Report<'_>),
    ) -> Result<(), Failure> {
        broker::run(async {
            let ignore = &mut |_| Ok(ControlFlow::Continue(()));
            let Connected { connection, mut events, .. } =
                connect(&target.broker, Role::KeyServer, nobody()?, &|builder| builder, ignore).await?;
            let reasons = tokio::spawn(async move {
                while let Some(event) = events.next_event().await {
                    broker::report(&event, true);
                }
            });
            let mut all_taken = true;
            for turn in turns {
                let mut under_way = Vec::new();
                for (name, device, sealed) in turn {
                    let deliveries = match sealed {
                        Ok(commands) => send(&connection, device, &commands).await,
                        Err(error) => Err(error),
                    };
                    under_way.push((name, device, deliveries));
                }
                let deadline = Instant::now() + PATIENCE;
                for (name, device, deliveries) in under_way {
                    let result = match deliveries {
                        Ok(deliveries) => confirm(deliveries, deadline).await,
                        Err(error) => Err(error),
                    };
                    all_taken &= result.is_ok();
                    report(Report::of(name, device, self.what).published(result));
                }
            }
            let patience = if all_taken { PATIENCE } else { Duration::ZERO };
            connection.shutdown(patience).await?;
            reasons.abort();
            Ok(())
        })
    }
}

/// Why something failed, without what may be a key.
fn in_words(error: &anyhow::Error) -> String {
    without_keys(&format!("{error:#}")).into_owned()
}

/// Hands the commands for one device over, in order.
async fn send(connection: &Connection, device: &Device, commands: &[SealedCommand]) -> anyhow::Result<Vec<Delivery>> {
    let mut deliveries = Vec::new();
    for command in commands {
        let control_topic = device.id.control_topic();
        let room = timeout(PATIENCE, connection.send_command(&control_topic, command)).await;
        deliveries.push(room.with_context(|| format!("the broker took nothing for {} s", PATIENCE.as_secs()))??);
    }
    Ok(deliveries)
}

/// What the broker says of the commands for one device.
async fn confirm(deliveries: Vec<Delivery>, deadline: Instant) -> anyhow::Result<Handed> {
    let mut handed = Handed::Over;
    for delivery in deliveries {
        let answer = timeout_at(deadline, delivery).await;
        let answer = answer.with_context(|| format!("the broker did not confirm within {} s", PATIENCE.as_secs()))?;
        if answer.map_err(|error: BrokerError| anyhow!(error))? == Taken::NoSubscriber {
            handed = Handed::ToNobody;
        }
    }
    Ok(handed)
}

/// Where commands are that the broker took.
enum Handed {
    /// There, or with the device.
    Over,
    /// Nowhere: it says that it knows no session that wants them.
    ToNobody,
}

/// A client that exists for one connection, as the key server is no client itself.
fn nobody() -> anyhow::Result<Client> {
    // Half of a random key that is used for nothing else is a random id.
    let random = ClientKey::generate()?;
    let id = random.as_bytes().first_chunk().copied().map(ClientId::from_bytes).context("a key has 32 bytes")?;
    Ok(Client::builder(Identity::symmetric(id, ClientKey::generate()?)).create(MemoryStore::new())?)
}

impl<'a> Report<'a> {
    fn of(device: &'a str, entry: &Device, command: &'a str) -> Self {
        Self {
            device,
            id: entry.id.to_string(),
            control_topic: entry.id.control_topic().to_string(),
            command,
            sealed: Vec::new(),
            handed_to_broker: false,
            no_subscriber: false,
            error: None,
        }
    }

    fn published(self, result: anyhow::Result<Handed>) -> Self {
        match result {
            Ok(Handed::Over) => Self { handed_to_broker: true, ..self },
            Ok(Handed::ToNobody) => {
                let error = "nobody has the command: the broker knows no session of this device, and dropped it. Have the device \
                             connect once (`e4 sub -E`, `e4 pub --only-connect`), and repeat this"
                    .to_owned();
                Self { no_subscriber: true, error: Some(error), ..self }
            }
            Err(error) => Self { error: Some(in_words(&error)), ..self },
        }
    }

    fn print(&self, output: Output) -> Result<(), Failure> {
        if output.json {
            return output.print(self, String::new);
        }
        for sealed in &self.sealed {
            output.print(self, || format!("{} {sealed}", self.control_topic))?;
        }
        if self.handed_to_broker {
            output.print(self, || format!("{}: {}, handed to the broker", printable(self.device), self.command))?;
        }
        Ok(())
    }
}

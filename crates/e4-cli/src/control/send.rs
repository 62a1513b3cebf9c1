//! Sealing a command for each device, and getting it there.

use super::TargetArgs;
use crate::{
    broker::{self, Connecting, PATIENCE, Step},
    fleet::{Device, Fleet},
    output::{Failure, Output},
    terminal::{note, printable, without_keys},
};
use anyhow::{Context, anyhow};
use e4::{
    Client, ClientId, ClientKey, CommandError, Identity, MemoryStore, Timestamp,
    controller::{Recipient, SealedCommand},
};
use e4_mqtt::{BrokerError, Connection, Delivery};
use serde::Serialize;
use std::{thread, time::Duration};
use tokio::time::{Instant, timeout, timeout_at};

/// Seals what a device is to get, with the time of now.
type Seal<'a> = dyn Fn(&Recipient, Timestamp) -> Result<Vec<SealedCommand>, CommandError> + 'a;

/// Commands for devices.
pub(super) struct Order<'a> {
    /// As reports name it.
    pub(super) what: &'a str,
    pub(super) fleet: &'a Fleet,
    pub(super) devices: Vec<(&'a str, &'a Device)>,
    /// Makes the commands for one device, in the order in which they are to be sent.
    pub(super) seal: &'a Seal<'a>,
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
    /// Whether the broker has it.
    sent: bool,
    error: Option<String>,
}

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
        let done = if target.print_hex {
            self.print(&mut report);
            Ok(())
        } else {
            self.publish(target, &mut report)
        };
        // Devices take a command that is equal to one of the same second for a replay, even if another came between.
        wait_for_the_next_second();
        done?;
        if let Err(Failure::Error(error)) = printed {
            return Err(anyhow!("could not print what became of the commands: {error:#}").into());
        }
        if failed > 0 {
            let all = self.devices.len();
            let what = if target.print_hex { "could be sealed for" } else { "reached the broker for" };
            return Err(anyhow!("{} {what} {} of {all} devices only", self.what, all - failed).into());
        }
        Ok(())
    }

    /// Reads the keys of all devices, for commands that all should get or none.
    pub(super) fn check_keys(&self) -> anyhow::Result<()> {
        self.devices.iter().try_for_each(|(_, device)| self.fleet.recipient(device).map(drop))
    }

    fn seal(&self, device: &Device) -> anyhow::Result<Vec<SealedCommand>> {
        let recipient = self.fleet.recipient(device)?;
        Ok((self.seal)(&recipient, Timestamp::now())?)
    }

    fn print(&self, report: &mut dyn FnMut(Report<'_>)) {
        for (name, device) in &self.devices {
            let sealed = self.seal(device);
            let error = sealed.as_ref().err().map(|error| without_keys(&format!("{error:#}")).into_owned());
            let sealed = sealed.unwrap_or_default().iter().map(hex::encode).collect();
            report(Report { sealed, error, ..Report::of(name, device, self.what) });
        }
    }

    fn publish(&self, target: &TargetArgs, report: &mut dyn FnMut(Report<'_>)) -> Result<(), Failure> {
        let builder = target.broker.builder(nobody()?)?.clean_session();
        broker::run(async {
            let (connection, mut events) = builder.connect()?;
            let connecting = Connecting::new(&target.broker);
            // Whether commands reach this identity that nobody knows is all the same.
            while let Step::Other(_) = connecting.next(&mut events).await? {}
            let reasons = tokio::spawn(async move {
                while let Some(event) = events.next_event().await {
                    broker::report(&event, true);
                }
            });
            let mut under_way = Vec::new();
            for (name, device) in &self.devices {
                under_way.push((name, device, self.send(&connection, device).await));
            }
            let deadline = Instant::now() + PATIENCE;
            let mut all_sent = true;
            for (name, device, sent) in under_way {
                let result = match sent {
                    Ok(deliveries) => confirm(deliveries, deadline).await,
                    Err(error) => Err(error),
                };
                all_sent &= result.is_ok();
                let error = result.as_ref().err().map(|error| without_keys(&format!("{error:#}")).into_owned());
                report(Report { sent: result.is_ok(), error, ..Report::of(name, device, self.what) });
            }
            let patience = if all_sent { PATIENCE } else { Duration::ZERO };
            connection.shutdown(patience).await?;
            reasons.abort();
            Ok(())
        })
    }

    /// Hands the commands for one device over, in order.
    async fn send(&self, connection: &Connection, device: &Device) -> anyhow::Result<Vec<Delivery>> {
        let mut deliveries = Vec::new();
        for command in self.seal(device)? {
            let control_topic = device.id.control_topic();
            let room = timeout(PATIENCE, connection.send_command(&control_topic, &command)).await;
            deliveries.push(room.with_context(|| format!("the broker took nothing for {} s", PATIENCE.as_secs()))??);
        }
        Ok(deliveries)
    }
}

async fn confirm(deliveries: Vec<Delivery>, deadline: Instant) -> anyhow::Result<()> {
    for delivery in deliveries {
        let answer = timeout_at(deadline, delivery).await;
        let answer = answer.with_context(|| format!("the broker did not confirm within {} s", PATIENCE.as_secs()))?;
        answer.map_err(|error: BrokerError| anyhow!(error))?;
    }
    Ok(())
}

fn wait_for_the_next_second() {
    let second = Timestamp::now();
    while Timestamp::now() == second {
        thread::sleep(Duration::from_millis(20));
    }
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
            sent: false,
            error: None,
        }
    }

    fn print(&self, output: Output) -> Result<(), Failure> {
        if output.json {
            return output.print(self, String::new);
        }
        for sealed in &self.sealed {
            output.print(self, || format!("{} {sealed}", self.control_topic))?;
        }
        if self.sent {
            output.print(self, || format!("{}: {}", printable(self.device), self.command))?;
        }
        Ok(())
    }
}

//! Sealing a command for each device, and getting it there.

use super::{
    outcome::{Outcome, Told, said},
    session::Session,
    target::TargetArgs,
};
use crate::{
    broker::{self, PATIENCE},
    fleet::{CommandsFor, Device, Fleet, Lanes},
    output::{Failure, Output},
    terminal::{note, printable, without_keys},
};
use anyhow::{Context, anyhow};
use e4::{
    Command, Mode,
    controller::{Recipient, SealedCommand},
};
use e4_mqtt::{BrokerError, Connection, Delivery, QoS, Taken};
use serde::Serialize;
use std::time::Duration;
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
    /// A device with the key that it is given, under which it reports from then on.
    pub(super) new_key: Option<Recipient>,
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
    /// Whether the broker has it. Whether the device has it is not known, unless that was waited for.
    handed_to_broker: bool,
    /// Whether the broker says that it has no session of the device, so that the command is lost. Not all brokers say it.
    no_subscriber: bool,
    /// What the device reports, if that was waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    /// Why not, if the device has not confirmed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_confirmed: Option<String>,
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
    let commands = &|_| Ok(vec![command.clone()]);
    Order { what, fleet, turns, commands, new_key: None }.carry_out(target, output)
}

/// Says what has to follow when devices have taken a key that the fleet file does not know, or may have.
pub(super) fn keep_both(target: &TargetArgs, result: Result<(), Failure>, then: &str) -> Result<(), Failure> {
    let fleet = target.fleet.display();
    let until = "keep the old key until each device has taken a command that is sealed with the new one";
    note(match (&result, target.print_hex) {
        (Ok(()), _) if target.wait.is_some() => format!("The device has it: now, {then} in {fleet}"),
        (Ok(()), true) => format!("Once they are sent, {then} in {fleet}; {until}"),
        (Ok(()), false) => format!("Now, {then} in {fleet}; {until}"),
        // The broker may have it, and only its answer is missing.
        (Err(_), _) => format!("Devices may have taken the new key all the same: {until}"),
    });
    result
}

/// A device, with its name and what it is to get, in order.
type Sealed<'a> = (&'a str, &'a Device, anyhow::Result<Vec<SealedCommand>>);

/// What was handed over for a device.
pub(super) struct Sent<'a> {
    name: &'a str,
    device: &'a Device,
    commands: Vec<SealedCommand>,
    handed: anyhow::Result<Handed>,
}

impl Sent<'_> {
    /// Whether the device may still say something of it.
    fn may_be_answered(&self) -> bool {
        matches!(self.handed, Ok(Handed::Over))
    }
}

impl<'f> Order<'f> {
    /// Publishes or prints the commands. What fails for one device is reported, and the others go on.
    pub(super) fn carry_out(&self, target: &TargetArgs, output: Output) -> Result<(), Failure> {
        // Until the end, so that nobody else sends what is dated later earlier.
        let mut lanes = Lanes::open(self.fleet)?;
        let mut account = Account::new(self.what, output);
        if target.print_hex {
            self.print(&mut lanes, &mut account)?;
            return account.close("could be sealed for");
        }
        broker::run(async {
            let mut session = Session::open(&target.broker).await?;
            if let Some(seconds) = target.wait {
                session.listen(self.fleet, &mut lanes, self.devices(), QoS::AtLeastOnce).await?;
                if let Some(recipient) = &self.new_key {
                    session.reports.expect_under(recipient.clone());
                }
                let sent = self.send(&mut session, &mut lanes, &mut |_| ()).await?;
                self.wait_and_tell(sent, seconds, &mut session, &mut lanes, &mut account).await;
            } else {
                self.send(&mut session, &mut lanes, &mut |sent| account.tell(self.handed(sent))).await?;
            }
            session.close(account.all_taken()).await
        })?;
        account.close("was handed to the broker for")
    }

    pub(super) fn devices(&self) -> impl Iterator<Item = &'f Device> + Clone {
        self.turns.iter().flatten().map(|(_, device)| *device)
    }

    /// Looks whether all devices have keys that can be used, for commands that all should get or none.
    pub(super) fn check_keys(&self) -> anyhow::Result<()> {
        self.devices().try_for_each(|device| self.fleet.recipient(device).map(drop))
    }

    /// Seals what all devices get. The times are stored before this returns.
    fn seal_all(&self, lanes: &mut Lanes<'_>) -> anyhow::Result<Vec<Vec<Sealed<'f>>>> {
        let sealed = lanes.seal(self.devices(), self.commands)?;
        let mut sealed = sealed.into_iter();
        let mut next = || sealed.next().context("nothing was sealed for it")?;
        let turns = self.turns.iter().map(|turn| turn.iter().map(|(name, device)| (*name, *device, next())).collect());
        Ok(turns.collect())
    }

    fn print(&self, lanes: &mut Lanes<'_>, account: &mut Account<'_>) -> anyhow::Result<()> {
        for (name, device, sealed) in self.seal_all(lanes)?.into_iter().flatten() {
            let error = sealed.as_ref().err().map(in_words);
            let sealed = sealed.unwrap_or_default().iter().map(hex::encode).collect();
            account.tell(Report { sealed, error, ..Report::of(name, device, self.what) });
        }
        Ok(())
    }

    /// Seals the commands and hands them to the broker, turn by turn.
    pub(super) async fn send(
        &self,
        session: &mut Session,
        lanes: &mut Lanes<'_>,
        tell: &mut dyn FnMut(&Sent<'f>),
    ) -> Result<Vec<Sent<'f>>, Failure> {
        let mut all = Vec::new();
        for turn in self.seal_all(lanes)? {
            let mut under_way = Vec::new();
            for (name, device, sealed) in turn {
                let connection = session.connection.clone();
                let (commands, deliveries) = match sealed {
                    Ok(commands) => {
                        let deliveries = session.meanwhile(send(&connection, device, &commands)).await;
                        (commands, deliveries)
                    }
                    Err(error) => (Vec::new(), Err(error)),
                };
                under_way.push((name, device, commands, deliveries));
            }
            let deadline = Instant::now() + PATIENCE;
            for (name, device, commands, deliveries) in under_way {
                let handed = match deliveries {
                    Ok(deliveries) => session.meanwhile(confirm(deliveries, deadline)).await,
                    Err(error) => Err(error),
                };
                let sent = Sent { name, device, commands, handed };
                tell(&sent);
                all.push(sent);
            }
        }
        Ok(all)
    }

    /// Waits until the devices have said what became of their commands, or the time is over, and stores what they say.
    pub(super) async fn wait(
        &self,
        sent: &[Sent<'_>],
        seconds: u64,
        session: &mut Session,
        lanes: &mut Lanes<'_>,
    ) -> Vec<Option<Told>> {
        let knew: Vec<_> = sent.iter().map(|sent| lanes.knows_next_keys(&sent.device.id).is_some()).collect();
        let is_said = |sent: &Sent<'_>, reports: &super::session::Reports| {
            !sent.may_be_answered() || said(&sent.commands, reports.of(&sent.device.id)).is_some()
        };
        let all_said = |reports: &super::session::Reports| sent.iter().all(|sent| is_said(sent, reports));
        session.listen_until(Duration::from_secs(seconds), all_said).await;
        session.take_in(lanes);
        lanes.save_reports();
        let told = sent.iter().zip(knew).map(|(sent, knew)| {
            let reports = &session.reports;
            sent.may_be_answered().then(|| Told::of(&sent.device.id, &sent.commands, reports, knew, seconds))
        });
        told.collect()
    }

    /// As [`wait`](Self::wait): for whom it did not end well, and why.
    pub(super) async fn unready(
        &self,
        sent: &[Sent<'f>],
        seconds: u64,
        session: &mut Session,
        lanes: &mut Lanes<'_>,
    ) -> Vec<String> {
        let told = self.wait(sent, seconds, session, lanes).await;
        let reasons = sent.iter().zip(told).filter_map(|(sent, told)| {
            let reason = self.handed(sent).error.or(told.and_then(|told| told.reason));
            reason.map(|reason| format!("{}: {reason}", printable(sent.name)))
        });
        reasons.collect()
    }

    /// As [`wait`](Self::wait), and tells what became of the commands for each device.
    pub(super) async fn wait_and_tell(
        &self,
        sent: Vec<Sent<'f>>,
        seconds: u64,
        session: &mut Session,
        lanes: &mut Lanes<'_>,
        account: &mut Account<'f>,
    ) {
        let told = self.wait(&sent, seconds, session, lanes).await;
        for (sent, told) in sent.iter().zip(told) {
            let report = self.handed(sent);
            account.tell(match told {
                Some(Told { outcome, reason }) => Report { outcome: Some(outcome), not_confirmed: reason, ..report },
                None => report,
            });
        }
    }

    fn handed(&self, sent: &Sent<'f>) -> Report<'f> {
        Report::of(sent.name, sent.device, self.what).published(&sent.handed)
    }
}

/// What is told of an order, device by device, and in the end as a whole.
pub(super) struct Account<'a> {
    what: &'a str,
    output: Output,
    all: usize,
    failed: usize,
    refused: usize,
    unconfirmed: usize,
    printed: Result<(), Failure>,
}

impl<'a> Account<'a> {
    pub(super) fn new(what: &'a str, output: Output) -> Self {
        Self { what, output, all: 0, failed: 0, refused: 0, unconfirmed: 0, printed: Ok(()) }
    }

    fn tell(&mut self, report: Report<'_>) {
        self.all += 1;
        match report.outcome {
            _ if report.error.is_some() => self.failed += 1,
            Some(Outcome::Refused) => self.refused += 1,
            Some(Outcome::Confirmed) | None => (),
            Some(_) => self.unconfirmed += 1,
        }
        if let Some(reason) = report.error.as_ref().or(report.not_confirmed.as_ref()) {
            note(format!("{}: {reason}", printable(report.device)));
        }
        // Whether anybody reads it must not decide which devices get a command.
        let result = report.print(self.output);
        if self.printed.is_ok() {
            self.printed = result;
        }
    }

    /// Whether the broker has taken all so far.
    pub(super) fn all_taken(&self) -> bool {
        self.failed == 0
    }

    /// What all of it comes to.
    pub(super) fn close(self, handed: &str) -> Result<(), Failure> {
        let Self { what, all, failed, refused, unconfirmed, .. } = self;
        if let Err(Failure::Error(error)) = self.printed {
            return Err(anyhow!("could not print what became of the commands: {error:#}").into());
        }
        if failed > 0 {
            return Err(anyhow!("{what} {handed} {} of {all} devices only", all - failed).into());
        }
        let confirmed = all - refused - unconfirmed;
        if refused > 0 {
            return Err(Failure::Refused(format!("{what}, by {refused} of {all} devices; {confirmed} confirmed it")));
        }
        if unconfirmed > 0 {
            return Err(Failure::TimedOut(format!("{what} was confirmed by {confirmed} of {all} devices only")));
        }
        Ok(())
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
            outcome: None,
            not_confirmed: None,
            error: None,
        }
    }

    fn published(self, result: &anyhow::Result<Handed>) -> Self {
        match result {
            Ok(Handed::Over) => Self { handed_to_broker: true, ..self },
            Ok(Handed::ToNobody) => {
                let error = "nobody has the command: the broker knows no session of this device, and dropped it. Have the device \
                             connect once (`e4 sub -E`, `e4 pub --only-connect`), and repeat this"
                    .to_owned();
                Self { no_subscriber: true, error: Some(error), ..self }
            }
            Err(error) => Self { error: Some(in_words(error)), ..self },
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
            let how = match self.outcome {
                None => "handed to the broker",
                Some(Outcome::Confirmed) => "confirmed by the device",
                Some(Outcome::Refused) => "refused by the device",
                Some(_) => "handed to the broker, not confirmed",
            };
            output.print(self, || format!("{}: {}, {how}", printable(self.device), self.command))?;
        }
        Ok(())
    }
}

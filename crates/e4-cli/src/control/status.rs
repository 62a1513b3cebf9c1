//! `e4 control status`: what the devices have reported.

use super::{holds::Holds, session::Session};
use crate::{
    broker::{self, BrokerArgs},
    fleet::{Device, Fleet, Lanes, Whom},
    output::{Failure, Output, iso_time},
    terminal::{printable, without_keys},
};
use anyhow::anyhow;
use e4::{Timestamp, controller};
use e4_mqtt::QoS;
use serde::Serialize;
use std::path::PathBuf;

/// Show what devices have last reported: what they hold, and which commands they took
///
/// The broker keeps the last report of each device. Whether the device is there now, it does not say. With topics in the
/// fleet file, this says which of them a device has the key of.
///
/// Devices of older versions do not report.
#[derive(clap::Args)]
#[command(after_help = "\
Topics in the fleet file are for this command alone:
  [topics.'plant/7/pump']
  key_file = 'pump.key'
  to = ['pump-7']                             who is to have the key:
  groups = ['panels']                         all devices, without both

Examples:
  e4 control status --all
  e4 control status --to pump-7 -h broker.example --json")]
pub(super) struct Args {
    /// The fleet file
    #[arg(long, value_name = "FILE", default_value = "fleet.toml")]
    fleet: PathBuf,
    #[command(flatten)]
    whom: Whom,
    #[command(flatten)]
    broker: BrokerArgs,
}

#[derive(Serialize)]
struct Status<'a> {
    device: &'a str,
    id: String,
    /// Whether there is a report of it.
    has_reported: bool,
    /// Whether there is one that is older than one before, and is not believed.
    only_older: bool,
    #[serde(flatten)]
    reported: Option<Reported>,
    error: Option<String>,
    /// Whether the fleet file's key for it could not be used, which the error tells.
    #[serde(skip)]
    lacks_its_key: bool,
}

/// What a device has reported. Times are Unix seconds.
#[derive(Serialize)]
struct Reported {
    /// When it did, by its own time; 0 if it knows none.
    sent: u64,
    /// When the newest command that it took was sealed.
    newest_command: Option<u64>,
    /// Why it refused the newest command that it refused since then.
    refused: Option<String>,
    knows_next_keys: bool,
    has_clock: bool,
    has_learned_time: bool,
    command_waits: bool,
    /// How many topics and subtrees it has keys of.
    topics: u32,
    /// Of how many more there is room for; `null` for as many as one likes.
    room: Option<u32>,
    digest: String,
    /// Compared with the topics of the fleet file; `null` if it names none for this device.
    holds: Option<Holds>,
}

pub(super) fn run(args: &Args, output: Output) -> Result<(), Failure> {
    let fleet = Fleet::load(&args.fleet)?;
    let devices = fleet.select(&args.whom, None)?;
    let mut lanes = Lanes::open(&fleet)?;
    let all = broker::run(async {
        let mut session = Session::open(&args.broker).await?;
        // Some brokers cut off what is kept for many topics, at a higher QoS.
        session.listen(&fleet, &mut lanes, devices.iter().map(|(_, device)| *device), QoS::AtMostOnce).await?;
        let all: Vec<_> = devices.iter().map(|(name, device)| Status::new(name, device, &fleet, &session)).collect();
        session.close(true).await?;
        Ok(all)
    })?;
    lanes.save_reports();
    all.iter().try_for_each(|status| output.print(status, || status.to_text()))?;
    match all.iter().filter(|status| status.lacks_its_key).count() {
        0 => Ok(()),
        1 => Err(anyhow!("the key of 1 device could not be used, so nothing is known of it: see above").into()),
        several => {
            Err(anyhow!("the keys of {several} devices could not be used, so nothing is known of them: see above")
                .into())
        }
    }
}

impl<'a> Status<'a> {
    fn new(name: &'a str, device: &Device, fleet: &Fleet, session: &Session) -> Self {
        let report = session.reports.of(&device.id);
        let reported = report.map(|report| Reported::new(report, Holds::find(name, device, fleet, report)));
        let bad = session.reports.bad(&device.id).filter(|_| report.is_none());
        let error = fleet.recipient(device).err().map(|error| without_keys(&format!("{error:#}")).into_owned());
        Self {
            device: name,
            id: device.id.to_string(),
            has_reported: report.is_some(),
            only_older: session.reports.only_older(&device.id),
            reported,
            lacks_its_key: error.is_some(),
            error: error.or_else(|| bad.map(ToString::to_string)),
        }
    }

    fn to_text(&self) -> String {
        let name = printable(self.device);
        match (&self.reported, &self.error) {
            (Some(reported), _) => format!("{name}: {}", reported.to_text()),
            (None, Some(error)) => format!("{name}: {error}"),
            (None, None) if self.only_older => {
                format!("{name}: only an older report than one before, which is ignored")
            }
            (None, None) => format!(
                "{name}: no report: it was not connected since it can report, is of an older version, or the broker keeps none"
            ),
        }
    }
}

impl Reported {
    fn new(report: &controller::Report, holds: Option<Holds>) -> Self {
        Self {
            sent: report.sent.as_unix(),
            // A device that took none has a time of its making there.
            newest_command: (report.newest_v != [0; 16]).then_some(report.newest.as_unix()),
            refused: report.refused.map(|refused| refused.why.to_string()),
            knows_next_keys: report.knows_next_keys,
            has_clock: report.has_clock,
            has_learned_time: report.has_learned_time,
            command_waits: report.command_waits,
            topics: report.topics,
            room: report.room,
            digest: hex::encode(report.digest.as_bytes()),
            holds,
        }
    }

    fn to_text(&self) -> String {
        let time = |seconds| if seconds == 0 { "no time".to_owned() } else { iso_time(Timestamp::from_unix(seconds)) };
        let mut text = format!("reported at {}, {}", time(self.sent), self.keys());
        text += &match self.newest_command {
            None => "; no command yet".to_owned(),
            Some(newest) => format!("; newest command of {}", time(newest)),
        };
        if let Some(why) = &self.refused {
            text += &format!("; refused a later one: {why}");
        }
        if self.command_waits {
            text += "; a command waits that it could not store yet";
        }
        if let Some(holds) = &self.holds {
            text += &format!("; {}", holds.to_text());
        }
        text
    }

    fn keys(&self) -> String {
        let topics = match self.topics {
            1 => "1 topic key".to_owned(),
            topics => format!("{topics} topic keys"),
        };
        self.room.map_or(topics.clone(), |room| format!("{topics}, room for {room} more"))
    }
}

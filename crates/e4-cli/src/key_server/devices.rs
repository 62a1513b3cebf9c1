//! `e4 fleet devices`.

use super::{
    address::Path,
    answer::Answer,
    bundle, holds, import,
    list::{self, ListArgs},
    names,
    server::{Seen, Server},
    table::{fields, or_dash},
    watch::{self, WaitArgs},
    withdraw,
};
use crate::{
    output::{Failure, Output},
    source::Source,
    terminal::printable,
};
use anyhow::{anyhow, ensure};
use e4::{ClientId, ClientKey, VerifyingKey};
use e4_keyserver_api::{Device, DeviceChange, Mode, NewDevice, Order, Report, Secret, Standing, Status};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// Devices: add, import, look at, label, give what they begin with, withdraw
#[derive(clap::Subcommand)]
pub(super) enum Action {
    List(ListDevices),
    Add(Add),
    Import(import::Args),
    Show(Named),
    Holds(holds::Args),
    Label(Label),
    Edit(Edit),
    Bundle(bundle::Args),
    Fetch(bundle::FetchArgs),
    Invite(bundle::InviteArgs),
    Register(bundle::RegisterArgs),
    RotateKey(RotateKey),
    Withdraw(withdraw::Args),
}

/// List devices, and whether they hold what they should
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  e4 fleet devices list --label site=basel,kind=panel
  e4 fleet devices list --standing late
  e4 fleet devices list --json")]
pub(super) struct ListDevices {
    /// Those with all of these labels: site=basel,kind=panel
    #[arg(long, value_name = "LABELS")]
    label: Option<String>,
    /// Those in this group
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Those that stand so: confirmed, 'under way', waiting, late, dormant, lapsed, 'never confirmed', 'no room', 'cannot store',
    /// refuses, 'not understood', ahead, unknown, 'other key'
    #[arg(long, value_name = "WORD", value_parser = standing)]
    standing: Option<Standing>,
    /// Those that are enrolled (never heard), active or withdrawn; withdrawn ones are only listed so
    #[arg(long, value_name = "WORD", value_parser = status)]
    status: Option<Status>,
    #[command(flatten)]
    list: ListArgs,
}

/// Add a device
///
/// In symmetric mode the key server makes its key, unless it has one already. A device in public-key mode is added by its
/// public key; or let it register that itself (`e4 fleet devices invite`).
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  e4 fleet devices add pump-7 --label site=basel --group pumps
  e4 fleet devices add pump-8 --key-file pump-8.key
  e4 fleet devices add panel-1 --public-key-file panel-1.key.pub")]
pub(super) struct Add {
    /// Its name
    name: String,
    /// Its id, if it does not follow from the name
    #[arg(long, value_name = "HEX")]
    id: Option<ClientId>,
    /// The client key that it has already (symmetric mode)
    #[arg(long, value_name = "FILE", conflicts_with = "public_key_file")]
    key_file: Option<Source>,
    /// Its public Ed25519 key (public-key mode)
    #[arg(long, value_name = "FILE")]
    public_key_file: Option<Source>,
    /// A label, NAME=VALUE; may be given several times
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<String>,
    /// A group that it becomes a member of; may be given several times
    #[arg(long = "group", value_name = "NAME")]
    groups: Vec<String>,
    /// What there is to say about it
    #[arg(long, value_name = "TEXT", default_value = "")]
    notes: String,
}

/// Show a device: how it stands and what that means, and its last report
#[derive(clap::Args)]
pub(super) struct Named {
    /// The device, by its name or its id
    device: String,
}

/// Give a device labels, and take some away
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  e4 fleet devices label pump-7 site=basel floor=2 --remove kind")]
pub(super) struct Label {
    /// The device, by its name or its id
    device: String,
    /// A label; the others stay
    #[arg(value_name = "NAME=VALUE")]
    labels: Vec<String>,
    /// The name of a label to be taken away; may be given several times
    #[arg(long, value_name = "NAME")]
    remove: Vec<String>,
}

/// Change the name or the notes of a device
#[derive(clap::Args)]
pub(super) struct Edit {
    /// The device, by its name or its id
    device: String,
    /// Another name; the id stays
    #[arg(long, required_unless_present = "notes")]
    name: Option<String>,
    /// Other notes
    #[arg(long, value_name = "TEXT")]
    notes: Option<String>,
}

/// Give a device a new key of its own
///
/// The key server keeps both keys until the device reports under the new one.
#[derive(clap::Args)]
pub(super) struct RotateKey {
    /// The device, by its name or its id
    device: String,
    #[command(flatten)]
    wait: WaitArgs,
}

fn standing(word: &str) -> Result<Standing, String> {
    Standing::from_word(word).ok_or_else(|| "no device can stand so: see --help".to_owned())
}

fn status(word: &str) -> Result<Status, String> {
    Status::from_word(word).ok_or_else(|| "it is enrolled, active or withdrawn".to_owned())
}

pub(super) fn run(action: &Action, server: &Server, output: Output) -> Result<(), Failure> {
    match action {
        Action::List(args) => args.run(server, output),
        Action::Add(args) => args.run(server, output),
        Action::Import(args) => import::run(args, server, output),
        Action::Show(args) => {
            let id = names::device(server, &args.device)?;
            print(&server.get(&Path::new(&["devices", &id]))?, output)
        }
        Action::Holds(args) => holds::run(args, server, output),
        Action::Label(args) => args.run(server, output),
        Action::Edit(args) => {
            let change = DeviceChange { name: args.name.clone(), notes: args.notes.clone(), ..DeviceChange::default() };
            change_device(server, &args.device, &change, output)
        }
        Action::Bundle(args) => bundle::run(args, server, output),
        Action::Fetch(args) => bundle::fetch(args, server, output),
        Action::Invite(args) => bundle::invite(args, server, output),
        Action::Register(args) => bundle::register(args, server, output),
        Action::RotateKey(args) => {
            let id = names::device(server, &args.device)?;
            let order = server.post(&Path::new(&["devices", &id, "rotate-key"]), &serde_json::json!({}))?;
            let order: Order = order.read()?;
            watch::made(server, &order, &args.wait, output)
        }
        Action::Withdraw(args) => withdraw::run(args, server, output),
    }
}

impl ListDevices {
    fn run(&self, server: &Server, output: Output) -> Result<(), Failure> {
        let path = Path::new(&["devices"])
            .with("label", self.label.as_ref())
            .with("group", self.group.as_ref())
            .with("standing", self.standing.map(Standing::word))
            .with("status", self.status.map(Status::word));
        let columns = ["name", "id", "mode", "standing", "since", "labels"];
        list::print(server, &path, &self.list, output, &columns, |device: &Device| {
            vec![
                or_dash(device.name.as_ref()),
                device.id.clone(),
                device.mode.to_string(),
                if device.status == Status::Withdrawn {
                    device.status.to_string()
                } else {
                    device.standing.to_string()
                },
                device.standing_since.clone(),
                labels(&device.labels),
            ]
        })
    }
}

impl Add {
    fn run(&self, server: &Server, output: Output) -> Result<(), Failure> {
        let key = self.key_file.as_ref().map(Source::key::<ClientKey>).transpose()?;
        let public_key = self.public_key_file.as_ref().map(Source::key::<VerifyingKey>).transpose()?;
        let device = NewDevice {
            name: Some(self.name.clone()),
            id: self.id.map(|id| id.to_string()),
            mode: if public_key.is_some() { Mode::PublicKey } else { Mode::Symmetric },
            key: key.map(|key| hex_secret(key.as_bytes())),
            public_key: public_key.map(|key| hex::encode(key.as_bytes())),
            labels: pairs(&self.labels)?,
            groups: self.groups.clone(),
            notes: self.notes.clone(),
        };
        print(&server.post(&Path::new(&["devices"]), &device)?, output)
    }
}

impl Label {
    fn run(&self, server: &Server, output: Output) -> Result<(), Failure> {
        let set = pairs(&self.labels)?.into_iter().map(|(name, value)| (name, Some(value)));
        let mut labels: BTreeMap<_, _> = set.collect();
        for name in &self.remove {
            if labels.insert(name.clone(), None).is_some() {
                return Err(anyhow!("the label {} is to be set and to be taken away", printable(name)).into());
            }
        }
        if labels.is_empty() {
            return Err(anyhow!("say which labels: NAME=VALUE, or --remove NAME").into());
        }
        change_device(server, &self.device, &DeviceChange { labels, ..DeviceChange::default() }, output)
    }
}

fn change_device(server: &Server, name: &str, change: &DeviceChange, output: Output) -> Result<(), Failure> {
    let id = names::device(server, name)?;
    print(&server.patch(&Path::new(&["devices", &id]), change, Seen::Any)?, output)
}

/// Labels as they are given on the command line.
pub(super) fn pairs(texts: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    for text in texts {
        let pair = text.split_once('=');
        let (name, value) = pair.ok_or_else(|| anyhow!("{} is no label: write NAME=VALUE", printable(text)))?;
        let twice = labels.insert(name.to_owned(), value.to_owned()).is_some();
        ensure!(!twice, "the label {} is given twice", printable(name));
    }
    Ok(labels)
}

/// A key as it goes to the key server.
pub(super) fn hex_secret(key: &[u8; 32]) -> Secret {
    Secret::new(Zeroizing::new(hex::encode(key)))
}

fn labels(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}

fn print(answer: &Answer, output: Output) -> Result<(), Failure> {
    if output.json {
        return output.print(&answer.value()?, String::new);
    }
    let device: Device = answer.read()?;
    output.print(&(), || text(&device))
}

fn text(device: &Device) -> String {
    let is_withdrawn = device.status == Status::Withdrawn;
    let standing = format!("{} since {}: {}", device.standing, device.standing_since, device.standing_means);
    let report = device.report.as_ref().map(report).unwrap_or_default();
    fields(&[
        ("name", device.name.clone().unwrap_or_default()),
        ("id", device.id.clone()),
        ("mode", device.mode.to_string()),
        ("status", device.status.to_string()),
        ("standing", if is_withdrawn { String::new() } else { standing }),
        ("labels", labels(&device.labels)),
        ("groups", device.groups.join(",")),
        ("notes", device.notes.clone()),
        ("public key", device.public_key.clone().unwrap_or_default()),
        ("key since", device.key_since.clone()),
        ("added", device.created.clone()),
        ("withdrawn", device.withdrawn.clone().unwrap_or_default()),
        ("confirmed", device.confirmed.clone().unwrap_or_else(|| "never".to_owned())),
        ("reported", device.reported.clone().unwrap_or_else(|| "never".to_owned())),
        ("report", report),
    ])
}

fn report(report: &Report) -> String {
    let mut parts = vec![format!("{} topic keys", report.topics)];
    parts.extend(report.room.map(|room| format!("room for {room} more")));
    parts.extend(report.newest_command.as_ref().map(|time| format!("newest command of {time}")));
    parts.extend(report.refused.as_ref().map(|why| format!("refused a later one: {why}")));
    if report.command_waits {
        parts.push("a command waits that it could not store yet".to_owned());
    }
    if !report.has_clock {
        parts.push("without a clock".to_owned());
    }
    if !report.knows_next_keys {
        parts.push("takes no next keys".to_owned());
    }
    parts.join(", ")
}

//! `e4 control rotate`: a new topic key for all who are to have it.

use super::{
    send::{Account, Order},
    session::Session,
    target::{DEFAULT_WAIT, TargetArgs},
};
use crate::{
    broker,
    fleet::{Device, Fleet, Lanes},
    key_file::{Kind, write_key},
    names::KeyName,
    output::{Failure, Output},
    source::Source,
    terminal::{note, printable},
};
use anyhow::{Context, ensure};
use clap::ArgGroup;
use e4::{Command, RootKey, TopicHash, TopicKey, controller::HardRotation};
use e4_mqtt::QoS;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Give devices a new key for a topic or a subtree
///
/// Whoever is left out cannot read what is sealed from then on. Messages under the old key are opened for one hour more,
/// so that those on their way arrive; with --hard they are refused at once.
///
/// Devices that do not publish on the topic, as the fleet file says with `writes`, get the key before those that do: what is
/// published under the new key before a reader has it, is lost to that reader.
///
/// The new key is written to a file before it is sent. If some devices do not get it, repeat with --topic-key-file, so that
/// all get the same.
#[derive(clap::Args)]
#[command(
    group(ArgGroup::new("new_key").args(["out", "root_file", "topic_key_file"]).required(true).multiple(true)),
    after_help = "\
Examples:
  e4 control rotate plant/7/pump --out pump-2.key --to pump-7,panel-1
  e4 control rotate 'plant/7/#' --root-file plant.root --epoch 2 --group plant-7 --hard
  e4 control rotate plant/7/pump --topic-key-file pump-2.key --to panel-1"
)]
pub(super) struct Args {
    /// The topic, or a subtree such as plant/7/#
    topic: KeyName,
    /// Where the new key goes
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace a file that exists. The key in it, which devices may have, is kept beside it as FILE.old-1, and so on
    #[arg(long, requires = "out")]
    force: bool,
    /// Derive the new key from this root key, instead of a random one
    #[arg(long, value_name = "FILE", requires = "epoch")]
    root_file: Option<Source>,
    /// The new epoch of the namespace
    #[arg(long, value_name = "N", requires = "root_file")]
    epoch: Option<u64>,
    /// Take the new key from this file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["out", "root_file"])]
    topic_key_file: Option<Source>,
    /// Replace the old key at once: nothing that is sealed under it is opened any more. A device that knows how, by a report
    /// that --wait or `status` has read, gets one command; others get a key that nobody else gets, and then the new one, so
    /// that at no time they fall back to the key of a subtree around the topic
    #[arg(long)]
    hard: bool,
    /// Lose no message: first give the devices the new key as one that they open with already, wait until all have reported
    /// that, or the time of --wait is over (10 seconds), and then have them seal under it. To devices that have not reported
    /// that they know how, it comes with the second step, and what is published until they have it is lost to them. Who did not
    /// report in time is told on standard error; the exit code is that of the second step
    #[arg(long, conflicts_with_all = ["hard", "print_hex"])]
    lossless: bool,
    #[command(flatten)]
    target: TargetArgs,
}

pub(super) fn run(args: &Args, output: Output) -> Result<(), Failure> {
    args.topic.ensure_not_control()?;
    let fleet = Fleet::load(&args.target.fleet)?;
    let devices = fleet.select(&args.target.whom, None)?;
    let key = args.key(&fleet)?;
    let topic = *args.topic.hash();
    let commands = |knows_next_keys| {
        if args.hard {
            // Whether a device has the key of a subtree around the topic is not known, and this serves those without as well.
            HardRotation::for_client(knows_next_keys, true).commands(topic, key.clone())
        } else {
            Ok(vec![Command::SetTopicKey { topic, key: key.clone() }])
        }
    };
    let how = match (args.hard, args.lossless) {
        (true, _) => "rotate --hard",
        (_, true) => "rotate --lossless",
        (false, false) => "rotate",
    };
    let what = format!("{how} {}, new key {}", args.topic.shown(), key.fingerprint());
    let turns = turns(devices, &args.topic);
    let order = Order { what: &what, fleet: &fleet, turns, commands: &commands, new_key: None };
    order.check_keys()?;
    if let Some(path) = &args.out {
        keep(path, &key, args.force)?;
    }
    let result = if args.lossless {
        lossless(&order, topic, &key, &args.target, output)
    } else {
        order.carry_out(&args.target, output)
    };
    if let (Err(_), Some(path)) = (&result, &args.out) {
        let path = path.display();
        note(format!("The new key is in {path}: repeat with --topic-key-file {path} instead of --out"));
    }
    result
}

/// Gives the devices that know next keys the new one as such, and then all of them as the current one.
fn lossless(
    order: &Order<'_>,
    topic: TopicHash,
    key: &TopicKey,
    target: &TargetArgs,
    output: Output,
) -> Result<(), Failure> {
    let seconds = target.wait.unwrap_or(DEFAULT_WAIT);
    let mut lanes = Lanes::open(order.fleet)?;
    let mut account = Account::new(order.what, output);
    broker::run(async {
        let mut session = Session::open(&target.broker).await?;
        session.listen(order.fleet, &mut lanes, order.devices(), QoS::AtLeastOnce).await?;
        let (able, others): (Vec<_>, Vec<_>) =
            order.turns.iter().flatten().partition(|(_, device)| lanes.knows_next_keys(&device.id) == Some(true));
        let commands = |_| Ok(vec![Command::SetNextTopicKey { topic, key: key.clone() }]);
        let (what, turns) = ("set-next-topic-key", vec![able]);
        let first = Order { what, fleet: order.fleet, turns, commands: &commands, new_key: None };
        let sent = first.send(&mut session, &mut lanes, &mut |_| ()).await?;
        let all = sent.len();
        let unready = first.unready(&sent, seconds, &mut session, &mut lanes).await;
        for reason in &unready {
            note(format!("The new key as the next one: {reason}"));
        }
        note(format!("{} of {all} devices that know next keys open with the new key already", all - unready.len()));
        if !others.is_empty() {
            let names: Vec<_> = others.iter().map(|(name, _)| printable(name)).collect();
            note(format!(
                "Not known to know next keys: {}. What is published under the new key before they have it is lost to them",
                names.join(", ")
            ));
        }
        let sent = order.send(&mut session, &mut lanes, &mut |_| ()).await?;
        order.wait_and_tell(sent, seconds, &mut session, &mut lanes, &mut account).await;
        let all_taken = account.all_taken();
        session.close(all_taken).await
    })?;
    account.close("was handed to the broker for")
}

/// Those who only read come first, those who are known to write last.
fn turns<'a>(devices: Vec<(&'a str, &'a Device)>, topic: &KeyName) -> Vec<Vec<(&'a str, &'a Device)>> {
    let mut turns = vec![Vec::new(); 3];
    for (name, device) in devices {
        if let Some(turn) = turns.get_mut(usize::from(device.turn(topic))) {
            turn.push((name, device));
        }
    }
    turns
}

fn keep(path: &Path, key: &TopicKey, force: bool) -> anyhow::Result<()> {
    ensure!(path.as_os_str() != "-", "the new key goes into a file, as it may be needed again: name one with --out");
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        let shown = path.display();
        ensure!(
            force,
            "{shown} exists. If it is from a rotation that was broken off, devices may have the key in it: go on with \
             --topic-key-file {shown} instead of --out. To draw another key choose another name, or replace the file with --force"
        );
        let beside =
            set_aside(path).with_context(|| format!("could not keep the key in {shown}, and did not replace it"))?;
        note(format!("The key that was in {shown} is in {} now: devices may have it", beside.display()));
    }
    write_key(path, Kind::Symmetric, key.as_bytes(), force)
}

/// Gives a file another name as well, so that it is still there when the first one is taken from it.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let mut number = 1_u32;
    loop {
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".old-{number}"));
        match fs::hard_link(path, &beside) {
            Ok(()) => return Ok(beside.into()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number = number.saturating_add(1),
            Err(error) => return Err(error),
        }
    }
}

impl Args {
    fn key(&self, fleet: &Fleet) -> anyhow::Result<TopicKey> {
        if let Some(file) = &self.topic_key_file {
            let key = file.key::<TopicKey>()?;
            fleet.check_topic_key(key.as_bytes())?;
            return Ok(key);
        }
        let Some(root) = &self.root_file else {
            return Ok(TopicKey::generate()?);
        };
        let root = root.key::<RootKey>()?;
        fleet.check_topic_key(root.as_bytes())?;
        let epoch = self.epoch.context("give --epoch with --root-file")?;
        Ok(match &self.topic {
            KeyName::Topic(topic) => root.topic_key(epoch, topic),
            KeyName::Subtree(subtree) => root.subtree_key(epoch, subtree).to_topic_key(),
        })
    }
}

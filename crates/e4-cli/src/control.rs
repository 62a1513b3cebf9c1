//! `e4 control`: commands of the key server to its devices.

mod holds;
mod outcome;
mod rotate;
mod send;
mod session;
mod status;
mod target;

use crate::{
    fleet::{Fleet, NewKey},
    names::KeyName,
    output::{Failure, Output},
    source::Source,
    terminal::{note, printable},
};
use anyhow::{Context, ensure};
use clap::ArgAction;
use e4::{C2PublicKey, ClientId, ClientKey, Command, Mode, SigningKey, TopicKey, VerifyingKey, controller::Recipient};
use send::{Order, keep_both, send_same};
use target::TargetArgs;

/// Send commands to devices, as their key server
///
/// The fleet file says which devices there are and where their keys are. The broker keeps commands for devices that are
/// away, if they were connected once; it does not know others, and drops what is sent to them. `e4 sub -E` and
/// `e4 pub --only-connect` connect a device for that.
#[derive(clap::Args)]
#[command(
    disable_help_flag = true,
    disable_version_flag = true,
    after_help = "\
A fleet file (TOML; paths in it are relative to it):
  c2_key_file = 'c2.key'                      the secret X25519 key, for devices in public-key mode

  [devices.pump-7]
  mode = 'symmetric'
  key_file = 'pump-7.key'                     the client key

  [devices.panel-1]
  mode = 'public-key'
  public_key_file = 'panel-1.key.pub'         the public Ed25519 key
  groups = ['panels']                         for --group
  id = '00112233445566778899aabbccddeeff'     if it does not follow from the name
  writes = ['plant/7/panel/#']                where it publishes: `rotate` gives it a new key last

No two devices have the same key, and no topic has that of a device. Beside the fleet file, `e4 control` keeps how the last \
commands are dated (FILE.lanes): keep the two together.

The broker takes the commands, and whether a device has got them is not known: it says \"handed to the broker\". With --wait \
it listens to what the devices report, and says whether they have carried them out; `status` shows their last reports.

Example:
  e4 control rotate plant/7/pump --out pump.key --to pump-7,panel-1 -h broker.example"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
    /// Print help
    #[arg(short, long, action = ArgAction::Help)]
    help: Option<bool>,
}

#[derive(clap::Subcommand)]
enum Action {
    SetTopicKey(SetTopicKey),
    RemoveTopic(RemoveTopic),
    ResetTopics(ResetTopics),
    Rotate(rotate::Args),
    SetIdKey(SetIdKey),
    SetPubKey(SetPubKey),
    RemovePubKey(RemovePubKey),
    ResetPubKeys(ResetPubKeys),
    SetC2Key(SetC2Key),
    Status(status::Args),
}

/// Give devices the key of a topic or of a subtree
///
/// The key that they had opens messages for one hour more.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  e4 control set-topic-key plant/7/pump --topic-key-file pump.key --to pump-7,panel-1
  e4 control set-topic-key 'plant/7/#' --topic-key-file plant-7.key --group panels -h broker.example")]
struct SetTopicKey {
    /// The topic, or a subtree such as plant/7/#
    topic: KeyName,
    /// The key of the topic; for a subtree, the key of the subtree
    #[arg(long, value_name = "FILE")]
    topic_key_file: Source,
    #[command(flatten)]
    target: TargetArgs,
}

/// Take the key of a topic or of a subtree from devices, at once
///
/// A device that has the key of a subtree around the topic seals and opens with that one again, for all who have it.
#[derive(clap::Args)]
struct RemoveTopic {
    /// The topic, or a subtree such as plant/7/#
    topic: KeyName,
    #[command(flatten)]
    target: TargetArgs,
}

/// Take the keys of all topics from devices, at once
#[derive(clap::Args)]
struct ResetTopics {
    #[command(flatten)]
    target: TargetArgs,
}

/// Give a device a new key of its own
///
/// In symmetric mode that is its client key, in public-key mode its secret Ed25519 key. From then on it takes only commands
/// that are sealed for the new key: the fleet file has to point to it.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  e4 control set-id-key --key-file pump-7-new.key --to pump-7")]
struct SetIdKey {
    /// The new secret key
    #[arg(long, value_name = "FILE")]
    key_file: Source,
    #[command(flatten)]
    target: TargetArgs,
}

/// Give devices the public key of a peer, whose signed messages they then accept (public-key mode)
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  e4 control set-pub-key panel-1 --all
  e4 control set-pub-key visitor --public-key-file visitor.key.pub --to panel-1")]
struct SetPubKey {
    #[command(flatten)]
    peer: PeerArgs,
    /// The public key of the peer, unless it is a device in the fleet file
    #[arg(long, value_name = "FILE")]
    public_key_file: Option<Source>,
    #[command(flatten)]
    target: TargetArgs,
}

/// Take the public key of a peer from devices, which then refuse its messages (public-key mode)
#[derive(clap::Args)]
struct RemovePubKey {
    #[command(flatten)]
    peer: PeerArgs,
    #[command(flatten)]
    target: TargetArgs,
}

/// Take the public keys of all peers from devices (public-key mode)
#[derive(clap::Args)]
struct ResetPubKeys {
    #[command(flatten)]
    target: TargetArgs,
}

/// Give devices a new public key of the key server (public-key mode)
///
/// From then on they take only commands that are sealed with the new secret: once all of them have it, the fleet file has
/// to point to it.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  e4 keygen x25519 --out c2-new.key
  e4 control set-c2-key --public-key-file c2-new.key.pub --all")]
struct SetC2Key {
    /// The public half of the new key
    #[arg(long, value_name = "FILE")]
    public_key_file: Source,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(clap::Args)]
#[group(skip)]
struct PeerArgs {
    /// The name of the peer, in the fleet file or not
    peer: String,
    /// The id of the peer, if it is not in the fleet file and does not follow from its name
    #[arg(long, value_name = "HEX")]
    peer_id: Option<ClientId>,
}

pub(crate) fn run(args: &Args, output: Output) -> Result<(), Failure> {
    match &args.action {
        Action::SetTopicKey(args) => args.run(output),
        Action::RemoveTopic(args) => {
            let command = Command::RemoveTopic(*args.topic.hash());
            let fleet = Fleet::load(&args.target.fleet)?;
            send_same(&args.target, &fleet, &format!("remove-topic {}", args.topic.shown()), None, &command, output)
        }
        Action::ResetTopics(args) => {
            let fleet = Fleet::load(&args.target.fleet)?;
            send_same(&args.target, &fleet, "reset-topics", None, &Command::ResetTopics, output)
        }
        Action::Rotate(args) => rotate::run(args, output),
        Action::SetIdKey(args) => args.run(output),
        Action::SetPubKey(args) => args.run(output),
        Action::RemovePubKey(args) => args.run(output),
        Action::ResetPubKeys(args) => {
            let fleet = Fleet::load(&args.target.fleet)?;
            send_same(&args.target, &fleet, "reset-pub-keys", Some(Mode::PublicKey), &Command::ResetPubKeys, output)
        }
        Action::SetC2Key(args) => args.run(output),
        Action::Status(args) => status::run(args, output),
    }
}

impl SetTopicKey {
    fn run(&self, output: Output) -> Result<(), Failure> {
        self.topic.ensure_not_control()?;
        let key = self.topic_key_file.key::<TopicKey>()?;
        let fleet = Fleet::load(&self.target.fleet)?;
        fleet.check_topic_key(key.as_bytes())?;
        let command = Command::SetTopicKey { topic: *self.topic.hash(), key };
        send_same(&self.target, &fleet, &format!("set-topic-key {}", self.topic.shown()), None, &command, output)
    }
}

impl SetIdKey {
    fn run(&self, output: Output) -> Result<(), Failure> {
        let fleet = Fleet::load(&self.target.fleet)?;
        let devices = fleet.select(&self.target.whom, None)?;
        let [(name, device)] = devices[..] else {
            return Err(anyhow::anyhow!("each device has a key of its own: name one device with --to").into());
        };
        if !matches!(self.key_file, Source::File(_)) {
            // From standard input or the environment, the device would be the only one to have it.
            return Err(anyhow::anyhow!("the new key of a device is needed again: give it as a file").into());
        }
        let (command, new_key, then) = match device.mode {
            Mode::Symmetric => {
                let key = self.key_file.key::<ClientKey>()?;
                fleet.check_new_key(name, &NewKey::Client(key.as_bytes()))?;
                let new_key = Recipient::symmetric(device.id, &key);
                (Command::SetClientKey(key), new_key, format!("put the new key as key_file of {}", printable(name)))
            }
            Mode::PublicKey => {
                let key = self.key_file.key::<SigningKey>()?;
                fleet.check_new_key(name, &NewKey::Signing(&key))?;
                let name = printable(name);
                let then = format!(
                    "put the public half of the new key as public_key_file of {name}, and tell its peers with \
                     `e4 control set-pub-key {name} --all`: that is"
                );
                let new_key = fleet.recipient_with(device, &key.verifying_key())?;
                (Command::SetSigningKey(key), new_key, then)
            }
        };
        let order = Order {
            what: "set-id-key",
            fleet: &fleet,
            turns: vec![vec![(name, device)]],
            commands: &|_| Ok(vec![command.clone()]),
            new_key: Some(new_key),
        };
        keep_both(&self.target, order.carry_out(&self.target, output), &then)
    }
}

impl SetPubKey {
    fn run(&self, output: Output) -> Result<(), Failure> {
        let fleet = Fleet::load(&self.target.fleet)?;
        let key = match &self.public_key_file {
            Some(file) => file.key::<VerifyingKey>()?,
            None => {
                let peer = &self.peer.peer;
                let device = fleet.device(peer).context("its public key is needed: give it with --public-key-file")?;
                device.public_key().with_context(|| format!("the device {}", printable(peer)))?
            }
        };
        let command = Command::SetPubKey { client: self.peer.id(&fleet)?, key };
        self.peer.send("set-pub-key", &self.target, &fleet, &command, output)
    }
}

impl RemovePubKey {
    fn run(&self, output: Output) -> Result<(), Failure> {
        let fleet = Fleet::load(&self.target.fleet)?;
        let command = Command::RemovePubKey(self.peer.id(&fleet)?);
        self.peer.send("remove-pub-key", &self.target, &fleet, &command, output)
    }
}

impl SetC2Key {
    fn run(&self, output: Output) -> Result<(), Failure> {
        if self.target.wait.is_some() {
            return Err(anyhow::anyhow!(
                "once a device has the new key of the key server, it reports under that: leave out --wait, put the new secret key \
                 into the fleet file, and look with `e4 control status`"
            )
            .into());
        }
        let command = Command::SetC2Key(self.public_key_file.key::<C2PublicKey>()?);
        let fleet = Fleet::load(&self.target.fleet)?;
        let sent = send_same(&self.target, &fleet, "set-c2-key", Some(Mode::PublicKey), &command, output);
        keep_both(&self.target, sent, "put the new secret key as c2_key_file")
    }
}

impl PeerArgs {
    fn id(&self, fleet: &Fleet) -> anyhow::Result<ClientId> {
        match (fleet.find(&self.peer), self.peer_id) {
            (Some(device), None) => Ok(device.id),
            (Some(device), Some(id)) => {
                ensure!(
                    device.id == id,
                    "the fleet file has another id for {}: leave out --peer-id",
                    printable(&self.peer)
                );
                Ok(id)
            }
            (None, Some(id)) => Ok(id),
            (None, None) => {
                let id = ClientId::from_name(&self.peer)?;
                note(format!("{} is not in the fleet file: its id follows from the name, {id}", printable(&self.peer)));
                Ok(id)
            }
        }
    }

    /// Sends a command about the peer: not to itself, unless it is named.
    fn send(
        &self,
        what: &str,
        target: &TargetArgs,
        fleet: &Fleet,
        command: &Command,
        output: Output,
    ) -> Result<(), Failure> {
        let mut devices = fleet.select(&target.whom, Some(Mode::PublicKey))?;
        if !target.whom.names(&self.peer) {
            devices.retain(|(name, _)| *name != self.peer);
        }
        let what = format!("{what} {}", printable(&self.peer));
        let order =
            Order { what: &what, fleet, turns: vec![devices], commands: &|_| Ok(vec![command.clone()]), new_key: None };
        order.carry_out(target, output)
    }
}

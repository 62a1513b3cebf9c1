use super::state::{Created, NewStateArgs};
use crate::{
    age_rule::AgeRule,
    id::ClientArgs,
    names::KeyName,
    output::{Failure, Output},
    source::Source,
};
use anyhow::{Context, ensure};
use clap::ArgGroup;
use e4::{
    C2PublicKey, Client, ClientBuilder, ClientId, ClientKey, GrowableKeyRing, Identity, SigningKey, TopicKey,
    VerifyingKey,
};
use std::{collections::HashSet, str::FromStr};

/// Create the state file of a device
///
/// A device has a name and a client key that it shares with its key server (symmetric mode), or a key pair of its own
/// and the public key of its key server (public-key mode). Most devices get everything else from their key server, by
/// commands that are sent from now on: older ones are refused, since the device may be an old one that lost its state.
#[derive(clap::Args)]
#[command(
    group(ArgGroup::new("identity").args(["key_file", "signing_key_file"]).required(true)),
    group(ArgGroup::new("who").args(["name", "id"]).required(true)),
    after_help = "\
Examples:
  e4 keygen symmetric --out pump-7.key
  e4 device init --state pump-7.state --name pump-7 --key-file pump-7.key

  e4 keygen ed25519 --out pump-7.key
  e4 device init --state pump-7.state --name pump-7 \\
      --signing-key-file pump-7.key --c2-key-file c2.key.pub \\
      --peer panel-1=panel-1.key.pub --topic-key 'plant/7/#=plant-7.key'

A secret FILE may also be `-` for standard input or `env:NAME` for an environment variable."
)]
pub(crate) struct Args {
    #[command(flatten)]
    state: NewStateArgs,
    #[command(flatten)]
    client: ClientArgs,
    /// The key that the device shares with its key server (symmetric mode)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["signing_key_file", "c2_key_file"])]
    key_file: Option<Source>,
    /// The secret key of the device's key pair (public-key mode)
    #[arg(long, value_name = "FILE", requires = "c2_key_file")]
    signing_key_file: Option<Source>,
    /// The public key of the key server (public-key mode)
    #[arg(long, value_name = "FILE", requires = "signing_key_file")]
    c2_key_file: Option<Source>,
    /// The key of a topic or of a subtree such as plant/7/#; the last = separates
    #[arg(long, value_name = "TOPIC=FILE", allow_hyphen_values = true)]
    topic_key: Vec<Assigned<KeyName>>,
    /// The public key of another device (public-key mode)
    #[arg(long, value_name = "NAME=FILE", allow_hyphen_values = true)]
    peer: Vec<Assigned<String>>,
    /// How many seconds old messages may be that match a filter, or `any`: for retained messages and last wills
    #[arg(long, value_name = "FILTER=SECONDS", allow_hyphen_values = true)]
    max_age: Vec<AgeRule>,
}

/// `KEY=FILE`.
#[derive(Clone)]
struct Assigned<T> {
    to: T,
    source: Source,
}

impl<T: FromStr<Err: Into<anyhow::Error>>> FromStr for Assigned<T> {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (to, source) = text.rsplit_once('=').context("a = is missing before the file")?;
        ensure!(!source.is_empty(), "the file is missing behind the =");
        Ok(Self { to: to.parse().map_err(Into::into)?, source: source.parse()? })
    }
}

pub(crate) fn run(args: &Args, output: Output) -> Result<(), Failure> {
    args.state.check_free()?;
    let id = args.client.required_id()?;
    let builder = args.put_in_keys(Client::builder(args.identity(id)?))?;
    let client = args.state.create(builder, id)?;
    let created = Created::new(&args.state, &client);
    output.print(&created, || created.to_text())
}

impl Args {
    fn identity(&self, id: ClientId) -> anyhow::Result<Identity> {
        if let Some(key) = &self.key_file {
            return Ok(Identity::symmetric(id, key.key::<ClientKey>()?));
        }
        let (Some(signing), Some(c2)) = (&self.signing_key_file, &self.c2_key_file) else {
            // clap has seen to it that there is one of the two.
            anyhow::bail!("give --key-file, or --signing-key-file and --c2-key-file");
        };
        let signing = signing.key::<SigningKey>()?;
        Ok(Identity::public_key(id, signing, c2.key::<C2PublicKey>()?)?)
    }

    fn put_in_keys(
        &self,
        mut builder: ClientBuilder<GrowableKeyRing>,
    ) -> anyhow::Result<ClientBuilder<GrowableKeyRing>> {
        let mut given = HashSet::new();
        for Assigned { to, source } in &self.topic_key {
            ensure!(given.insert(*to.hash()), "--topic-key {} is given twice", to.shown());
            to.ensure_not_control()?;
            let key = source.key::<TopicKey>()?;
            builder = builder.topic_key(to.hash(), key).with_context(|| format!("--topic-key {}", to.shown()))?;
        }
        let mut given = HashSet::new();
        for Assigned { to, source } in &self.peer {
            ensure!(given.insert(to), "--peer {to} is given twice");
            let key = source.key::<VerifyingKey>()?;
            builder = builder.peer(ClientId::from_name(to)?, key).with_context(|| format!("--peer {to}"))?;
        }
        for rule in &self.max_age {
            builder = builder.max_age(&rule.filter, rule.max_age)?;
        }
        Ok(builder)
    }
}

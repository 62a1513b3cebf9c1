use crate::{
    key_file::{Kind as KeyKind, print_key, write_key},
    names::{subtree, topic},
    output::{Failure, Output},
    source::Source,
    terminal::{note, printable},
};
use e4::{RootKey, Subtree, SubtreeKey, Topic};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Derive the key of a topic or of a subtree
///
/// One root key gives the keys of a whole namespace of topics; the key of a subtree such as plant/7/# gives the keys of
/// all topics below it. Without --out, only the fingerprint of the key is shown.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  e4 key topic --root-file plant.root --epoch 1 plant/7/pump --out pump.key
  e4 key subtree --root-file plant.root --epoch 1 'plant/7/#' --out plant-7.key
  e4 key topic --subtree-file plant-7.key --subtree 'plant/7/#' plant/7/pump --out pump.key

A secret FILE may also be `-` for standard input or `env:NAME` for an environment variable.")]
pub(crate) struct Args {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(clap::Subcommand)]
enum Kind {
    /// The key of one topic
    Topic {
        /// The topic
        #[arg(value_parser = topic)]
        topic: Topic<'static>,
        #[command(flatten)]
        from: FromArgs,
    },
    /// The key of a subtree, from which the keys of all topics below it are derived
    Subtree {
        /// The subtree: a filter that ends in /#, or # for everything
        #[arg(value_parser = subtree)]
        filter: Subtree<'static>,
        #[command(flatten)]
        from: FromArgs,
    },
}

#[derive(clap::Args)]
#[group(skip)]
struct FromArgs {
    /// The root key, as `e4 keygen root` makes it
    #[arg(long, value_name = "FILE", requires = "epoch", required_unless_present = "subtree_file")]
    root_file: Option<Source>,
    /// The epoch of the namespace; a higher one changes every key
    #[arg(long, value_name = "N", requires = "root_file", conflicts_with = "subtree_file")]
    epoch: Option<u64>,
    /// The key of a wider subtree, instead of the root key
    #[arg(long, value_name = "FILE", requires = "subtree", conflicts_with = "root_file")]
    subtree_file: Option<Source>,
    /// The subtree that the key in --subtree-file is of
    #[arg(
        long,
        value_name = "FILTER",
        requires = "subtree_file",
        conflicts_with = "root_file",
        value_parser = subtree,
        allow_hyphen_values = true
    )]
    subtree: Option<Subtree<'static>>,
    /// Where the derived key goes; `-` for standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace a file that exists
    #[arg(long)]
    force: bool,
}

#[derive(Serialize)]
struct Derived<'a> {
    name: &'a str,
    hash: String,
    fingerprint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_file: Option<&'a Path>,
}

pub(crate) fn run(args: &Args, output: Output) -> Result<(), Failure> {
    let (name, hash, key, from) = match &args.kind {
        Kind::Topic { topic, from } => {
            let key = match from.ancestor()? {
                Ancestor::Root(root, epoch) => root.topic_key(epoch, topic),
                Ancestor::Subtree(key, of) => key.topic_key(of, topic)?,
            };
            (topic.as_str(), topic.hash(), key, from)
        }
        Kind::Subtree { filter, from } => {
            let key = match from.ancestor()? {
                Ancestor::Root(root, epoch) => root.subtree_key(epoch, filter),
                Ancestor::Subtree(key, of) => key.subtree_key(of, filter)?,
            };
            (filter.as_str(), filter.hash(), key.to_topic_key(), from)
        }
    };
    let fingerprint = key.fingerprint().to_string();
    match from.out.as_deref() {
        Some(path) if path == Path::new("-") => {
            print_key(KeyKind::Symmetric, key.as_bytes())?;
            note(format!("fingerprint  {fingerprint}"));
            return Ok(());
        }
        Some(path) => write_key(path, KeyKind::Symmetric, key.as_bytes(), from.force)?,
        None => {}
    }
    let derived = Derived { name, hash: hash.to_string(), fingerprint, secret_file: from.out.as_deref() };
    output.print(&derived, || {
        let mut text = format!(
            "name         {}\nhash         {}\nfingerprint  {}",
            printable(derived.name),
            derived.hash,
            derived.fingerprint
        );
        if let Some(path) = derived.secret_file {
            text += &format!("\nsecret key   {}", path.display());
        }
        text
    })
}

/// What a key is derived from.
enum Ancestor<'a> {
    Root(RootKey, u64),
    Subtree(SubtreeKey, &'a Subtree<'static>),
}

impl FromArgs {
    fn ancestor(&self) -> anyhow::Result<Ancestor<'_>> {
        if let (Some(root), Some(epoch)) = (&self.root_file, self.epoch) {
            return Ok(Ancestor::Root(root.key::<RootKey>()?, epoch));
        }
        if let (Some(key), Some(of)) = (&self.subtree_file, &self.subtree) {
            return Ok(Ancestor::Subtree(key.key::<SubtreeKey>()?, of));
        }
        // clap has seen to it that there is one of the two.
        anyhow::bail!("give --root-file and --epoch, or --subtree-file and --subtree")
    }
}

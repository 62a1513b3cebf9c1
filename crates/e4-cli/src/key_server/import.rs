//! `e4 fleet devices import`.

use super::{address::Path, import_fleet, server::Server};
use crate::{
    output::{Failure, Output},
    source::Source,
};
use anyhow::anyhow;
use clap::ValueEnum;
use e4_keyserver_api::Imported;

/// The longest list, in bytes.
const LONGEST: usize = 64 << 20;

/// Add many devices: all of them, or none and what is wrong with which line
///
/// A fleet file of `e4 control` comes with its topics, groups and keys, and what the key server knows already stays as it is.
#[derive(clap::Args)]
#[command(after_help = "\
CSV has the names of its columns in the first line: name, mode (symmetric or public-key), and as needed id, key, public_key, labels \
(site=basel,kind=panel), groups (panels,visitors) and notes. JSON lines have one object a line with the same names, labels as an \
object and groups as a list. Keys are 64 hexadecimal digits; in symmetric mode the key server makes those that are left out.

  name,mode,key,labels
  pump-7,symmetric,,\"site=basel,floor=2\"
  pump-8,symmetric,71aa...,site=basel

Examples:
  e4 fleet devices import devices.csv
  e4 fleet devices import fleet.toml
  make-devices | e4 fleet devices import - --format jsonl")]
pub(super) struct Args {
    /// The file; `-` for standard input
    file: Source,
    /// What it is, if its name does not end in .csv, .jsonl or .toml
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Of a fleet file: say what would move, and change nothing. Lists are all or nothing anyway
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One line a device, and before them one with the names of columns
    Csv,
    /// One JSON object a line
    Jsonl,
    /// The fleet file of `e4 control`
    Fleet,
}

impl Args {
    fn format(&self) -> anyhow::Result<Format> {
        let extension = match &self.file {
            Source::File(path) => path.extension().and_then(|extension| extension.to_str()),
            _ => None,
        };
        match (self.format, extension) {
            (Some(format), _) => Ok(format),
            (None, Some("csv")) => Ok(Format::Csv),
            (None, Some("jsonl" | "ndjson")) => Ok(Format::Jsonl),
            (None, Some("toml")) => Ok(Format::Fleet),
            _ => Err(anyhow!("say what it is with --format: csv, jsonl, or fleet for a fleet file")),
        }
    }
}

pub(super) fn run(args: &Args, server: &Server, output: Output) -> Result<(), Failure> {
    let kind = match (args.format()?, &args.file) {
        (Format::Fleet, Source::File(path)) => return import_fleet::run(path, args.dry_run, server, output),
        (Format::Fleet, _) => return Err(anyhow!("a fleet file names other files, and has to be a file").into()),
        _ if args.dry_run => {
            return Err(anyhow!("--dry-run is for a fleet file: a list is taken whole or not at all").into());
        }
        (Format::Csv, _) => "text/csv",
        (Format::Jsonl, _) => "application/jsonl",
    };
    let lines = args.file.secret_bytes(LONGEST)?;
    let answer = server.post_lines(&Path::new(&["devices", "import"]), kind, &lines)?;
    let imported: Imported = answer.read()?;
    output.print(&imported, || format!("{} devices were added", imported.added))
}

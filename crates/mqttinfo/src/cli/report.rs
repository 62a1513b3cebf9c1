//! `mqttinfo report`: sums up a file of reports.

use anyhow::Context;
use mqttinfo::{findings::catalogue, output::table::Style, summary::Summary};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Write},
    path::PathBuf,
    process::ExitCode,
};

/// Sum up a file of results: counts and shares by finding and product
///
/// The file is what `mqttinfo --output FILE` has written, a line of JSON for each target.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  mqttinfo report scan.json\n  mqttinfo report scan.json --html scan.html")]
pub(crate) struct Args {
    /// The file; `-` for standard input
    file: PathBuf,
    /// Write a page with charts to this file; `-` for standard output
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let name = args.file.display();
    let input: Box<dyn BufRead> = if args.file.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(&args.file).with_context(|| format!("could not read {name}"))?))
    };
    let summary = Summary::read(input).with_context(|| name.to_string())?;
    match &args.html {
        None => io::stdout().lock().write_all(summary.text(catalogue(), Style::of_stdout()).as_bytes())?,
        Some(file) if file.as_os_str() == "-" => io::stdout().lock().write_all(summary.html(catalogue()).as_bytes())?,
        Some(file) => {
            std::fs::write(file, summary.html(catalogue()))
                .with_context(|| format!("could not write {}", file.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

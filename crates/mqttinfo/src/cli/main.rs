//! `mqttinfo`: looks at MQTT brokers from outside, one or many, and sums up what it saw.

mod arguments;
mod completions;
mod look;
mod report;

use clap::{CommandFactory, Parser};
use std::{io, process::ExitCode};

fn main() -> ExitCode {
    let mut cli = arguments::Cli::parse();
    let result = match cli.command.take() {
        Some(arguments::Command::Report(args)) => report::run(&args),
        Some(arguments::Command::Completions(args)) => {
            completions::run(&args, &mut arguments::Cli::command());
            Ok(ExitCode::SUCCESS)
        }
        None => look::run(&cli.look),
    };
    result.unwrap_or_else(|error| {
        // Whoever reads our output has read enough: `mqttinfo … | head`.
        let cause = error.root_cause().downcast_ref::<io::Error>();
        if cause.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            return ExitCode::SUCCESS;
        }
        anstream::eprintln!("Error: {error:#}");
        ExitCode::FAILURE
    })
}

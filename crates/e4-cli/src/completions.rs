use crate::output::{Failure, Output};
use clap::CommandFactory;
use clap_complete::Shell;
use std::io::Write;

/// Print the completions of a shell
#[derive(clap::Args)]
#[command(after_help = "Example:\n  e4 completions bash > ~/.local/share/bash-completion/completions/e4")]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: &Args, _: Output) -> Result<(), Failure> {
    // The generator panics when it cannot write, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::Cli::command(), "e4", &mut script);
    Ok(std::io::stdout().lock().write_all(&script)?)
}

//! `mqttinfo completions`

use clap::Command;
use clap_complete::Shell;

/// Print a script that completes the command's arguments
#[derive(clap::Args)]
#[command(after_help = "Example:\n  mqttinfo completions bash > ~/.local/share/bash-completion/completions/mqttinfo")]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: &Args, command: &mut Command) {
    clap_complete::generate(args.shell, command, "mqttinfo", &mut std::io::stdout());
}

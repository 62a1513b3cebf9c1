//! The command line. What the old tool of this name had means the same: `-h -p -u -P -j`.

use crate::{completions, report};
use anyhow::{Context, ensure};
use clap::{ArgAction, Parser, Subcommand, ValueEnum, builder::Resettable};
use mqttinfo::{
    Settings, dial::Proxy, report::Severity, scan, session::Credentials, target::Transport, tls::TlsSettings,
};
use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use zeroize::Zeroizing;

/// What does this MQTT broker let strangers do?
///
/// Looks at a broker from outside: who may connect, what a stranger may read and write, what the standard forbids and the
/// broker does anyway, and which product it probably is. Only look at brokers that you may look at.
///
/// Nothing is retained, and nothing is published outside a topic of its own with a random name. It calls itself mqttinfo
/// in the client id.
#[derive(Parser)]
#[command(
    name = "mqttinfo",
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_flag = true,
    after_help = "\
Examples:
  mqttinfo localhost
  mqttinfo mqtts://broker.example wss://broker.example:8084/mqtt
  mqttinfo -u pump-7 --password-file password.txt broker.example
  mqttinfo --targets brokers.txt --output scan.json
  mqttinfo report scan.json --html scan.html
  mqttinfo --fail-on medium --junit mqttinfo.xml staging.example

A target is host, host:port or a URL: mqtt, mqtts, ws, wss. The environment variables ALL_PROXY and NO_PROXY are heeded.

Exit codes: 0 done; 1 it could not be done; 2 the command line is wrong; 3 something as bad as --fail-on says was found; \
4 a target could not be reached or is no broker; 130 ended by Ctrl-C."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) look: Look,
    /// Print help
    #[arg(long, action = ArgAction::Help, global = true, help_heading = Resettable::Reset)]
    help: Option<bool>,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Report(report::Args),
    Completions(completions::Args),
}

#[derive(clap::Args)]
pub(crate) struct Look {
    /// Where to look: host, host:port, or a URL
    #[arg(value_name = "TARGET", required_unless_present_any = ["host", "targets"])]
    pub(crate) place: Vec<String>,
    /// A host to look at
    #[arg(short = 'h', long, value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// The port of targets that do not name one; 1883 unless given, 8883 with TLS, 80 and 443 with WebSocket
    #[arg(short, long, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// A file of targets, one a line; `-` for standard input
    #[arg(short = 'f', long, value_name = "FILE", conflicts_with_all = ["place", "host"])]
    pub(crate) targets: Option<PathBuf>,
    /// Targets without a scheme are reached by this
    #[arg(long, value_enum, default_value_t = Scheme::Mqtt)]
    transport: Scheme,
    #[command(flatten)]
    who: WhoArgs,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    how: HowArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum Scheme {
    Mqtt,
    Mqtts,
    Ws,
    Wss,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Credentials")]
struct WhoArgs {
    /// A user name: what may it do, and what do strangers?
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// The password. Others can see it in the list of processes: rather use --password-file, or the environment variable
    /// `MQTTINFO_PASSWORD`
    #[arg(short = 'P', long = "pw", value_name = "PASSWORD", requires = "username", conflicts_with = "password_file")]
    password: Option<String>,
    /// Where the password is: a file, `-` for standard input
    #[arg(long, value_name = "FILE", requires = "username")]
    password_file: Option<PathBuf>,
}

#[derive(clap::Args)]
#[command(next_help_heading = "TLS")]
struct TlsArgs {
    /// Trust the certificate authorities in this file (PEM) instead of the system's
    #[arg(long, value_name = "FILE")]
    cafile: Option<PathBuf>,
    /// The certificate to show (PEM)
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The secret key of that certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Show credentials to servers that cannot be trusted, too. Looking without credentials never needs this
    #[arg(long)]
    insecure: bool,
}

#[derive(clap::Args)]
#[command(next_help_heading = "How to look")]
struct HowArgs {
    /// Also try to publish below $SYS and $mqttinfo
    #[arg(long)]
    intrusive: bool,
    /// Show the names of topics that can be read. Payloads are never shown, nor stored
    #[arg(long)]
    show_topics: bool,
    /// How long to listen for messages
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    listen: Duration,
    /// How long a connection and an answer may take, each
    #[arg(long, value_name = "SECONDS", default_value = "4", value_parser = seconds)]
    timeout: Duration,
    /// How long a target may take
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    budget: Duration,
    /// How many targets to look at at once
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    parallel: u16,
    /// How many targets to begin in a second; as fast as can be unless given
    #[arg(long, value_name = "N", value_parser = scan::pause)]
    rate: Option<Duration>,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Print a line of JSON for each target (docs/mqttinfo.md)
    #[arg(long)]
    pub(crate) json: bool,
    /// Append the lines of JSON to this file. Targets that are in it already are passed over
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Append the lines of JSON to mqttinfo.json. Targets that are in it are looked at again
    #[arg(short, conflicts_with = "output")]
    pub(crate) j: bool,
    /// Write what was found as SARIF 2.1.0 to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) sarif: Option<PathBuf>,
    /// Write what was found as JUnit XML to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// End with exit code 3 if something as bad as this was found, or worse
    #[arg(long, value_name = "LEVEL", value_enum)]
    pub(crate) fail_on: Option<FailOn>,
    /// Do not print what was found
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Severities at which to fail.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum FailOn {
    Note,
    Low,
    Medium,
    High,
}

impl From<FailOn> for Severity {
    fn from(level: FailOn) -> Self {
        match level {
            FailOn::Note => Self::Note,
            FailOn::Low => Self::Low,
            FailOn::Medium => Self::Medium,
            FailOn::High => Self::High,
        }
    }
}

/// For clap: a time in seconds.
fn seconds(text: &str) -> Result<Duration, &'static str> {
    /// An hour.
    const LONGEST: f64 = 3600.0;
    let seconds = text.parse().ok().filter(|seconds| (0.05..=LONGEST).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or("give seconds, from 0.05 to 3600")
}

impl Look {
    pub(crate) fn transport(&self) -> Transport {
        match self.transport {
            Scheme::Mqtt => Transport::Tcp,
            Scheme::Mqtts => Transport::Tls,
            Scheme::Ws => Transport::WebSocket,
            Scheme::Wss => Transport::SecureWebSocket,
        }
    }

    pub(crate) fn parallel(&self) -> usize {
        usize::from(self.how.parallel)
    }

    pub(crate) fn pause(&self) -> Option<Duration> {
        self.how.rate
    }

    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        let TlsArgs { cafile, cert, key, insecure } = &self.tls;
        let tls = TlsSettings::load(cafile.as_deref(), cert.as_deref(), key.as_deref(), *insecure)?;
        let mut settings = Settings::new(Arc::new(tls));
        settings.credentials = self.credentials()?;
        settings.proxy = Proxy::from_environment().context("ALL_PROXY")?.map(Arc::new);
        settings.intrusive = self.how.intrusive;
        settings.show_topics = self.how.show_topics;
        settings.connect_within = self.how.timeout;
        settings.answer_within = self.how.timeout;
        settings.listen = self.how.listen;
        settings.budget = self.how.budget;
        Ok(settings)
    }

    fn credentials(&self) -> anyhow::Result<Option<Credentials>> {
        /// Bytes of the longest user name and password that MQTT has.
        const LONGEST: usize = 65_535;
        let Some(user) = self.who.username.clone() else { return Ok(None) };
        ensure!(
            user.len() <= LONGEST && !user.contains('\0'),
            "MQTT has no such user name: it is too long, or has a NUL"
        );
        let password = match (&self.who.password, &self.who.password_file) {
            (Some(password), _) => Some(Zeroizing::new(password.clone().into_bytes())),
            (None, Some(file)) => {
                let from_stdin = file.as_os_str() == "-";
                let targets_too = self.targets.as_deref() == Some(Path::new("-"));
                ensure!(!from_stdin || !targets_too, "standard input is the targets: give the password as a file");
                Some(read_password(file)?)
            }
            (None, None) => std::env::var_os("MQTTINFO_PASSWORD")
                .map(|password| Zeroizing::new(std::ffi::OsString::into_encoded_bytes(password))),
        };
        ensure!(password.as_ref().is_none_or(|one| one.len() <= LONGEST), "the password is longer than MQTT has it");
        Ok(Some(Credentials { user, password }))
    }
}

/// The first line of a file.
fn read_password(file: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let mut password = Zeroizing::new(Vec::with_capacity(1024));
    if file.as_os_str() == "-" {
        std::io::stdin().lock().read_to_end(&mut password).context("could not read standard input")?;
    } else {
        password = Zeroizing::new(fs::read(file).with_context(|| format!("could not read {}", file.display()))?);
    }
    let line = password.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line).len();
    password.truncate(line);
    Ok(password)
}

//! Brokers: the arguments that say which and how, spelled as those of mosquitto's tools, and what happens on a connection.

mod disconnected;
mod not_connected;
mod overflow;

pub(crate) use disconnected::why_lost;

use crate::{
    names::filter,
    output::Failure,
    password::one_line,
    source::Source,
    terminal::{note, printable},
};
use anyhow::{Context, anyhow, ensure};
use clap::{ArgAction, ValueEnum, builder::Resettable};
use e4::{Client, Topic, TopicFilter};
use e4_mqtt::{Builder, Cause, Connection, Event, MqttOptions, QoS, rumqttc_v4, rumqttc_v5};
use mqtt_advice::TlsSettings;
use std::{path::PathBuf, sync::OnceLock, time::Duration};
use zeroize::Zeroizing;

/// How long the broker has to take over what was sent, at the end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The longest packet that MQTT has, in bytes: here it is the broker's limit that counts.
const LONGEST_PACKET: u32 = 268_435_460;

/// Where the broker is, and who we are to it. The command's own help and version flags are to be disabled.
#[derive(clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Broker")]
pub(crate) struct BrokerArgs {
    /// The broker's host
    #[arg(short = 'h', long, default_value = "localhost")]
    host: String,
    /// The broker's port; 1883 unless given, 8883 with TLS
    #[arg(short, long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// The user name
    #[arg(short, long, value_name = "NAME", allow_hyphen_values = true)]
    username: Option<String>,
    /// The password. Others can see it in the list of processes: rather use --password-file, or the environment variable
    /// `E4_MQTT_PASSWORD`
    #[arg(
        short = 'P',
        long = "pw",
        value_name = "PASSWORD",
        requires = "username",
        conflicts_with = "password_file",
        allow_hyphen_values = true
    )]
    password: Option<String>,
    /// Where the password is: a file, `-` for standard input, `env:NAME` for an environment variable. It is one line, whose
    /// end does not count
    #[arg(long, value_name = "FILE", requires = "username")]
    password_file: Option<Source>,
    /// Use TLS, and trust the certificate authorities that the system trusts
    #[arg(long)]
    tls: bool,
    /// Use TLS, and trust the certificate authorities in this file (PEM)
    #[arg(long, value_name = "FILE")]
    cafile: Option<PathBuf>,
    /// The certificate to show to the broker (PEM)
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The secret key of that certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// How many seconds may pass without traffic
    #[arg(short, long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(5..))]
    keepalive: u16,
    /// The MQTT client id, which names the session at the broker
    #[arg(short = 'i', long, value_name = "ID", allow_hyphen_values = true)]
    mqtt_id: Option<String>,
    #[arg(skip)]
    tls_settings: OnceLock<TlsSettings>,
    /// The version of MQTT. Unless given it is 5, and 3.1.1 with brokers that do not speak 5
    #[arg(short = 'V', long, value_enum)]
    mqtt_version: Option<Version>,
    /// Print help
    #[arg(long, action = ArgAction::Help, help_heading = Resettable::Reset)]
    help: Option<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Version {
    /// MQTT 3.1.1
    #[value(name = "311", alias = "mqttv311")]
    V311,
    /// MQTT 5
    #[value(name = "5", alias = "mqttv5")]
    V5,
}

impl BrokerArgs {
    /// A connection to be made for a device. It has one session, whatever it is used for: its state is locked, so that only
    /// one program uses it at a time.
    pub(crate) fn builder(&self, device: Client, version: Version) -> anyhow::Result<Builder> {
        let id = self.mqtt_id.clone().unwrap_or_else(|| format!("e4-{}", device.id()));
        ensure!(!id.is_empty(), "the MQTT client id is empty: leave out -i, or give one");
        let options = self.options(id, version)?;
        Ok(Connection::builder(options, device).max_packet(LONGEST_PACKET))
    }

    fn options(&self, id: String, version: Version) -> anyhow::Result<MqttOptions> {
        let (broker, tls, password) = ((self.host()?, self.port()), self.tls()?, self.password()?);
        macro_rules! options {
            ($rumqttc:ident) => {{
                let mut options = $rumqttc::MqttOptions::new(id, broker);
                options.set_keep_alive(self.keepalive);
                if let Some(tls) = tls {
                    let config = $rumqttc::TlsConfiguration::Rustls(tls.strict(&[]));
                    options.set_transport($rumqttc::Transport::tls_with_config(config));
                }
                match (&self.username, password) {
                    (Some(name), Some(password)) => {
                        options.set_credentials(name, password.to_vec());
                    }
                    (Some(name), None) => {
                        options.set_username(name);
                    }
                    (None, _) => (),
                }
                Ok(options.into())
            }};
        }
        match version {
            Version::V311 => options!(rumqttc_v4),
            Version::V5 => options!(rumqttc_v5),
        }
    }

    /// The version of MQTT to speak, to a broker that has refused version 5 or not.
    pub(crate) fn version(&self, not_5: bool) -> Version {
        self.mqtt_version.unwrap_or(if not_5 { Version::V311 } else { Version::V5 })
    }

    /// Whether no version was asked for.
    pub(crate) fn may_change_version(&self) -> bool {
        self.mqtt_version.is_none()
    }

    fn uses_tls(&self) -> bool {
        self.tls || self.cafile.is_some() || self.cert.is_some()
    }

    /// The host as it is looked up.
    fn host(&self) -> anyhow::Result<String> {
        not_connected::bare_host(&self.host)
    }

    fn port(&self) -> u16 {
        self.port.unwrap_or(if self.uses_tls() { 8883 } else { 1883 })
    }

    /// The broker, as messages name it.
    pub(crate) fn address(&self) -> String {
        let (host, port) = (self.host().unwrap_or_else(|_| self.host.clone()), self.port());
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// Why the broker was not reached: what can be found out about that, or else the reason that the MQTT library gives.
    pub(crate) async fn not_connected(&self, version: Version, reason: &str) -> anyhow::Error {
        let version = match version {
            Version::V311 => mqtt_advice::Version::V3_1_1,
            Version::V5 => mqtt_advice::Version::V5,
        };
        let (Ok(host), Ok(tls)) = (self.host(), self.tls()) else {
            return anyhow!("could not connect to the broker {} ({reason})", self.address());
        };
        let tried = mqtt_advice::Connection { host: &host, tls, version };
        not_connected::explain(&self.address(), &tried, self.port(), self.username.is_some(), reason).await
    }

    /// Whether standard input is the password, and cannot be anything else.
    pub(crate) fn reads_stdin(&self) -> bool {
        self.password_file.as_ref().is_some_and(Source::is_stdin)
    }

    fn password(&self) -> anyhow::Result<Option<Zeroizing<Vec<u8>>>> {
        const MAX_LEN: usize = 65_535;
        if self.username.is_none() {
            return Ok(None);
        }
        if let Some(source) = &self.password_file {
            return Ok(Some(one_line(source.password(MAX_LEN)?).with_context(|| source.of_password())?));
        }
        let given = self.password.as_ref().map(|password| password.as_bytes().to_vec());
        let from_environment = || std::env::var_os("E4_MQTT_PASSWORD").map(std::ffi::OsString::into_encoded_bytes);
        let password = given.or_else(from_environment).map(Zeroizing::new);
        password.map(one_line).transpose().context("the password")
    }

    /// How to speak TLS, from files that are read once; none if it is not to be spoken.
    fn tls(&self) -> anyhow::Result<Option<&TlsSettings>> {
        if !self.uses_tls() {
            return Ok(None);
        }
        if let Some(settings) = self.tls_settings.get() {
            return Ok(Some(settings));
        }
        let settings = TlsSettings::load(self.cafile.as_deref(), self.cert.as_deref(), self.key.as_deref(), false)?;
        ensure!(
            !settings.roots().is_empty(),
            "no certificate authorities found on this system: name those to trust with --cafile"
        );
        Ok(Some(self.tls_settings.get_or_init(|| settings)))
    }
}

/// Topics that pass in the clear, for the commands that publish and subscribe.
#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct PlaintextArgs {
    /// Give up the protection of the topics that match: their messages are neither sealed nor opened, and anybody can read
    /// and write them
    #[arg(long, value_name = "FILTER", value_parser = filter, allow_hyphen_values = true)]
    plaintext_topic: Vec<TopicFilter<'static>>,
}

impl PlaintextArgs {
    pub(crate) fn apply(&self, builder: Builder) -> Builder {
        self.plaintext_topic.iter().fold(builder, Builder::clear)
    }

    /// Whether a topic passes in the clear.
    pub(crate) fn covers(&self, topic: &Topic<'_>) -> bool {
        self.plaintext_topic.iter().any(|filter| filter.matches(topic))
    }
}

/// What a device says to its key server of itself, for the commands that publish and subscribe.
#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct ReportArgs {
    /// Do not report to the key server which commands this device took and a digest of what it holds: for brokers that forbid
    /// it to publish on e4/ID/report
    #[arg(long)]
    no_report: bool,
}

impl ReportArgs {
    /// Whoever connects only to be known to its key server reports at once.
    pub(crate) fn apply(&self, builder: Builder, only_connects: bool) -> Builder {
        match (self.no_report, only_connects) {
            (true, _) => builder.no_reports(),
            (false, true) => builder.report_within(Duration::ZERO),
            (false, false) => builder,
        }
    }
}

/// For clap: a quality of service.
pub(crate) fn qos(text: &str) -> Result<QoS, &'static str> {
    match text {
        "0" => Ok(QoS::AtMostOnce),
        "1" => Ok(QoS::AtLeastOnce),
        "2" => Ok(QoS::ExactlyOnce),
        _ => Err("the QoS is 0, 1 or 2"),
    }
}

/// Runs what a connection lives in.
pub(crate) fn run<T>(task: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(task);
    overflow::tell_rest();
    // A read from standard input that is under way cannot be ended, and is not worth waiting for.
    runtime.shutdown_background();
    result
}

/// Says what happened on a connection, unless it is a message. Refusals are always told, the rest unless `quiet`.
pub(crate) fn report(event: &Event, quiet: bool) {
    match event {
        Event::Refused(refused) => note(format!("Refused on {}: {}", printable(&refused.topic), refused.reason)),
        Event::CommandWaits(reason) => note(format!("A command of the key server waits: {reason}")),
        Event::SubscriptionRefused { filter, reason } => {
            note(format!("The broker refused the subscription to {}: {}", printable(filter), printable(reason)));
        }
        Event::Overflowed(lost) => overflow::tell(lost),
        _ if quiet => (),
        Event::KeysChanged(command) => {
            note(format!("Applied the command {}", crate::seal::Applied::new(command).to_text()));
        }
        Event::Connected(granted) => {
            note("Connected again");
            granted.shortcomings().for_each(|shortcoming| note(format!("Note: {shortcoming}")));
        }
        Event::ReportRefused { reason, for_good } => {
            let more = if *for_good { "; it is not tried again" } else { "" };
            let reason = printable(reason);
            note(format!(
                "The broker does not take this device's report to its key server ({reason}){more}: see --no-report"
            ));
        }
        Event::SubscriptionLowered { filter, granted, .. } => {
            note(format!("The broker grants {} only at QoS {}", printable(filter), *granted as u8));
        }
        Event::Disconnected(loss) if loss.cause == Cause::TakenOver => (),
        Event::Disconnected(loss) => {
            let repetition = loss.repetition().map(|repetition| format!("; {repetition}")).unwrap_or_default();
            note(format!("Disconnected ({}{repetition}), trying again", why_lost(loss)));
        }
        _ => (),
    }
}

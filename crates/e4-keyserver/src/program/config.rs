//! The configuration: one TOML file, and the environment over it.

use super::unlock::Source;
use anyhow::{Context, bail, ensure};
use clap::Subcommand;
use e4_keyserver::fleet::Policy;
use serde::Deserialize;
use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};
use toml::{Table, Value};

/// What `init` writes.
pub(crate) const TEMPLATE: &str = include_str!("config.toml");

/// Before the name of a setting in the environment; between its section and its name are two underscores.
const PREFIX: &str = "E4_KEYSERVER_";

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) database: Database,
    pub(crate) vault: Vault,
    #[serde(default)]
    pub(crate) api: Api,
    #[serde(default)]
    pub(crate) broker: Broker,
    #[serde(default)]
    pub(crate) policy: Policy,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Database {
    pub(crate) url: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vault {
    /// What opens the vault at start, tried in this order.
    pub(crate) unlock: Vec<Source>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Api {
    pub(crate) address: SocketAddr,
    /// PEM, as all files here.
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    /// Whose certificates of clients are accepted instead of a token.
    pub(crate) client_ca: Option<PathBuf>,
    /// Tokens in clear over a network: for those behind a proxy that does TLS.
    pub(crate) without_tls_on_a_network: bool,
    pub(crate) open_metrics: bool,
    pub(crate) requests_per_minute: u32,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 7443)),
            certificate: None,
            key: None,
            client_ca: None,
            without_tls_on_a_network: false,
            open_metrics: false,
            requests_per_minute: 600,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Broker {
    /// `mqtt://host:port` or `mqtts://host:port`.
    pub(crate) url: String,
    /// 5 or 4 (which is MQTT 3.1.1), as the protocol counts its levels.
    pub(crate) version: u8,
    pub(crate) client_id: String,
    pub(crate) username: Option<String>,
    pub(crate) password_file: Option<PathBuf>,
    /// Instead of the authorities that the system trusts.
    pub(crate) ca: Option<PathBuf>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

impl Default for Broker {
    fn default() -> Self {
        Self {
            url: "mqtt://localhost:1883".to_owned(),
            version: 5,
            client_id: "e4-keyserver".to_owned(),
            username: None,
            password_file: None,
            ca: None,
            certificate: None,
            key: None,
        }
    }
}

impl Config {
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let text = fs::read_to_string(path).with_context(|| {
            format!("could not read {shown}: `e4-keyserver init` makes one, and --config names another one")
        })?;
        Self::from_text(&text, std::env::vars(), &folder_of(path)).with_context(|| format!("in {shown}"))
    }

    /// The configuration that is about to be written.
    pub(crate) fn from_template(text: &str, path: &Path) -> anyhow::Result<Self> {
        Self::from_text(text, std::env::vars(), &folder_of(path))
    }

    fn from_text(
        text: &str,
        environment: impl Iterator<Item = (String, String)>,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let mut table: Table = text.parse()?;
        for (name, value) in environment {
            set(&mut table, &name, value)?;
        }
        let mut config: Self = table.try_into()?;
        config.resolve(folder);
        config.check()?;
        Ok(config)
    }

    /// Paths are relative to the file that names them.
    fn resolve(&mut self, folder: &Path) {
        // Shown as they were written.
        let folder = folder.strip_prefix(".").unwrap_or(folder);
        let Self { database, vault, api, broker, policy: _ } = self;
        if let Some(path) = database.url.strip_prefix("sqlite:") {
            database.url = format!("sqlite:{}", folder.join(path).display());
        }
        vault.unlock.iter_mut().for_each(|source| source.resolve(folder));
        let files = [
            &mut api.certificate,
            &mut api.key,
            &mut api.client_ca,
            &mut broker.password_file,
            &mut broker.ca,
            &mut broker.certificate,
            &mut broker.key,
        ];
        for file in files.into_iter().flatten() {
            *file = folder.join(&*file);
        }
    }

    fn check(&self) -> anyhow::Result<()> {
        let Self { database, vault, api, broker, policy: _ } = self;
        ensure!(
            ["sqlite:", "postgres:", "postgresql:"].iter().any(|scheme| database.url.starts_with(scheme)),
            "database.url begins with sqlite: or postgresql:"
        );
        ensure!(!vault.unlock.is_empty(), "vault.unlock says what opens the vault, and is empty");
        ensure!(
            ["mqtt://", "mqtts://"].iter().any(|scheme| broker.url.starts_with(scheme)),
            "broker.url begins with mqtt:// or mqtts://"
        );
        ensure!(matches!(broker.version, 4 | 5), "broker.version is 5, or 4 for MQTT 3.1.1");
        ensure!(broker.certificate.is_some() == broker.key.is_some(), "broker.certificate and broker.key go together");
        ensure!(
            broker.username.is_some() || broker.password_file.is_none(),
            "broker.password_file goes with broker.username"
        );
        ensure!(api.certificate.is_some() == api.key.is_some(), "api.certificate and api.key go together");
        ensure!(
            api.certificate.is_some() || api.client_ca.is_none(),
            "api.client_ca needs TLS: api.certificate and api.key"
        );
        ensure!(api.requests_per_minute > 0, "api.requests_per_minute is 1 at least");
        if api.certificate.is_none() && !api.without_tls_on_a_network && !is_loopback(api.address.ip()) {
            bail!(
                "api.address {} is not of this machine alone, and tokens would go over the network in clear: set api.certificate \
                 and api.key, or api.without_tls_on_a_network = true behind a proxy that does TLS",
                api.address
            );
        }
        Ok(())
    }
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// The folder that a file is in.
pub(crate) fn folder_of(path: &Path) -> PathBuf {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

/// Sets `section.name` from `E4_KEYSERVER_SECTION__NAME`: a TOML value, or else text.
fn set(table: &mut Table, variable: &str, value: String) -> anyhow::Result<()> {
    let Some((section, name)) = variable.strip_prefix(PREFIX).and_then(|name| name.split_once("__")) else {
        return Ok(());
    };
    let section = table.entry(section.to_ascii_lowercase()).or_insert_with(|| Value::Table(Table::new()));
    let Value::Table(section) = section else { bail!("{variable}: there is no such section") };
    let value = value.parse().unwrap_or(Value::String(value));
    section.insert(name.to_ascii_lowercase(), value);
    Ok(())
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Say whether the configuration can be used, without starting anything
    Check,
}

impl Command {
    pub(crate) fn run(self, path: &Path) -> anyhow::Result<()> {
        let Self::Check = self;
        let config = Config::read(path)?;
        for source in &config.vault.unlock {
            println!("vault: {source}: {}", source.state());
        }
        println!("{} can be used", path.display());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, environment: &[(&str, &str)]) -> anyhow::Result<Config> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::from_text(text, environment, Path::new("/etc/e4"))
    }

    #[test]
    fn what_init_writes_can_be_read_and_says_what_holds_without_it() {
        let config = read(TEMPLATE, &[]).unwrap();
        assert_eq!(config.database.url, "sqlite:/etc/e4/e4-keyserver.db");
        let uncommented: String = TEMPLATE
            .lines()
            .map(|line| line.strip_prefix("#: ").unwrap_or(line))
            .flat_map(|line| [line, "\n"])
            .collect();
        let all = read(&uncommented, &[]).unwrap();
        assert_eq!(all.api.address, Api::default().address);
        assert_eq!(all.policy, Policy::default());
        assert_eq!(all.api.requests_per_minute, Api::default().requests_per_minute);
        assert_eq!(
            (all.broker.version, all.broker.client_id),
            (Broker::default().version, Broker::default().client_id)
        );
    }

    #[test]
    fn the_environment_goes_over_the_file() {
        let environment = [
            ("E4_KEYSERVER_DATABASE__URL", "postgresql:///e4"),
            ("E4_KEYSERVER_API__REQUESTS_PER_MINUTE", "7"),
            ("E4_KEYSERVER_BROKER__USERNAME", "e4"),
            ("E4_KEYSERVER_LOG", "debug"),
            ("OTHER__NAME", "x"),
        ];
        let config = read(TEMPLATE, &environment).unwrap();
        assert_eq!(config.database.url, "postgresql:///e4");
        assert_eq!(config.api.requests_per_minute, 7);
        assert_eq!(config.broker.username.as_deref(), Some("e4"));
    }

    #[test]
    fn what_is_unknown_or_dangerous_is_refused() {
        for variable in [
            ("E4_KEYSERVER_DATABASE__ULR", "x"),
            ("E4_KEYSERVER_DATABSE__URL", "x"),
            ("E4_KEYSERVER_DATABASE__URL", "mysql://x"),
            ("E4_KEYSERVER_VAULT__UNLOCK", "[]"),
            ("E4_KEYSERVER_VAULT__UNLOCK", "[\"magic\"]"),
            ("E4_KEYSERVER_API__ADDRESS", "0.0.0.0:7443"),
            ("E4_KEYSERVER_API__ADDRESS", "[::]:7443"),
            ("E4_KEYSERVER_API__CERTIFICATE", "cert.pem"),
            ("E4_KEYSERVER_API__CLIENT_CA", "ca.pem"),
            ("E4_KEYSERVER_BROKER__URL", "localhost"),
            ("E4_KEYSERVER_BROKER__VERSION", "3"),
            ("E4_KEYSERVER_BROKER__PASSWORD_FILE", "secret"),
        ] {
            assert!(read(TEMPLATE, &[variable]).is_err(), "{variable:?}");
        }
        let in_so_many_words =
            [("E4_KEYSERVER_API__ADDRESS", "0.0.0.0:7443"), ("E4_KEYSERVER_API__WITHOUT_TLS_ON_A_NETWORK", "true")];
        assert!(read(TEMPLATE, &in_so_many_words).is_ok());
    }
}

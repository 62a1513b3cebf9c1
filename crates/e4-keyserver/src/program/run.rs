//! `run`: the server itself.

use super::{
    config::{self, Config},
    open::open,
    server::{Interface, Server},
};
use anyhow::Context;
use clap::Args as ClapArgs;
use e4_keyserver::{
    api,
    deliver::{Broker, BrokerOptions, MqttVersion},
};
use metrics_exporter_prometheus::PrometheusBuilder;
use std::{fs, num::NonZeroU32, path::Path, sync::Arc, time::Duration};
use tracing_subscriber::EnvFilter;

/// Run the server
///
/// It ends in good order at SIGTERM and SIGINT. To kill it loses nothing either.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Write the log as JSON, a line an event
    #[arg(long)]
    json_log: bool,
}

impl Args {
    pub(crate) async fn run(self, path: &Path) -> anyhow::Result<()> {
        log(self.json_log);
        let config = Config::read(path)?;
        let broker = Broker::new(&broker_options(&config.broker))?;
        let fleet = open(&config).await?;
        let metrics = PrometheusBuilder::new().install_recorder().context("could not count for /metrics")?;
        let upkeep = metrics.clone();
        let counting = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(5)).await;
                upkeep.run_upkeep();
            }
        });
        let interface = Interface {
            address: config.api.address,
            tls: tls(&config.api)?,
            clear_on_a_network: config.api.without_tls_on_a_network,
            settings: settings(&config.api),
            metrics: Some(metrics),
        };
        let shown = broker.to_string();
        let server = Server::start(fleet, broker, interface).await?;
        tracing::info!(address = %server.address, broker = shown, "running");
        let ran = server.run(asked_to_end()).await;
        counting.abort();
        tracing::info!("ended");
        ran
    }
}

fn broker_options(broker: &config::Broker) -> BrokerOptions {
    let config::Broker { url, version, client_id, username, password_file, ca, certificate, key } = broker.clone();
    let version = if version == 4 { MqttVersion::V311 } else { MqttVersion::V5 };
    BrokerOptions { url, version, client_id, username, password_file, ca, certificate, key }
}

pub(crate) fn settings(api: &config::Api) -> api::Settings {
    let requests_per_minute = NonZeroU32::new(api.requests_per_minute).unwrap_or(NonZeroU32::MIN);
    api::Settings { open_metrics: api.open_metrics, requests_per_minute }
}

fn tls(api: &config::Api) -> anyhow::Result<Option<Arc<rustls::ServerConfig>>> {
    let (Some(certificate), Some(key)) = (&api.certificate, &api.key) else { return Ok(None) };
    let read = |file: &Path| fs::read(file).with_context(|| format!("could not read {}", file.display()));
    let authorities = api.client_ca.as_deref().map(read).transpose()?;
    let key = zeroize::Zeroizing::new(read(key)?);
    Ok(Some(api::server_config(&read(certificate)?, &key, authorities.as_deref())?))
}

/// To standard error; `E4_KEYSERVER_LOG` says how much.
fn log(json: bool) {
    let filter = EnvFilter::builder()
        .with_env_var("E4_KEYSERVER_LOG")
        .with_default_directive(tracing::Level::INFO.into())
        .from_env_lossy();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json {
        builder.json().init();
    } else {
        builder.init();
    }
}

/// SIGTERM or SIGINT.
pub(crate) async fn asked_to_end() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => (),
                _ = tokio::signal::ctrl_c() => (),
            }
            return;
        }
    }
    let _or_never = tokio::signal::ctrl_c().await;
}

//! The brokers: one in this process, and mosquitto.

use super::{PATIENCE, certificates::Certificates, until, within};
use e4_mqtt::rumqttc_v5::TlsConfiguration;
use mqtt5::broker::{
    BrokerConfig, MqttBroker,
    config::{StorageBackend, StorageConfig, TlsConfig},
};
use std::{
    env, fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tempfile::TempDir;
use tokio::task::JoinHandle;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BrokerKind {
    Embedded,
    Mosquitto,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Plain,
    Tls,
}

impl BrokerKind {
    /// Whether tests can run on it. Mosquitto may be missing, unless the environment says that it must not.
    pub(crate) fn is_available(self) -> bool {
        if self == Self::Embedded || mosquitto_program().is_some() {
            return true;
        }
        let required = env::var_os("E4_REQUIRE_MOSQUITTO").is_some_and(|value| value == "1");
        assert!(!required, "mosquitto is not installed, and E4_REQUIRE_MOSQUITTO=1");
        println!("skipped: mosquitto is not installed");
        false
    }
}

fn mosquitto_program() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")]);
    folders.map(|folder| folder.join("mosquitto")).find(|program| program.is_file())
}

/// What a test may want otherwise.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    /// The largest packet that the broker takes.
    pub(crate) max_packet: Option<u32>,
    /// The highest QoS that the broker takes; embedded only.
    pub(crate) max_qos: Option<u8>,
    /// Whether sessions and messages outlive the broker; mosquitto only.
    pub(crate) persistent: bool,
    /// Lines of an access control file; mosquitto only. Nothing else is allowed then.
    pub(crate) allows: Vec<&'static str>,
    /// How many messages wait for one client; mosquitto only, and as many as there are unless set.
    pub(crate) max_queued: Option<u32>,
}

/// A broker of a test's own, which ends with it.
pub(crate) struct Broker {
    running: Running,
    pub(crate) kind: BrokerKind,
    settings: Settings,
    certificates: Option<Certificates>,
    folder: TempDir,
}

enum Running {
    Embedded(Embedded),
    Mosquitto(Mosquitto),
    Stopped,
}

impl Broker {
    pub(crate) async fn start(kind: BrokerKind, transport: Transport) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificates = (transport == Transport::Tls).then(|| Certificates::create(folder.path()));
        let settings = Settings::default();
        let mut broker = Self { running: Running::Stopped, kind, settings, certificates, folder };
        broker.resume().await;
        broker
    }

    /// Begins again with other settings, on another port.
    pub(crate) async fn restart_with(&mut self, settings: Settings) {
        self.stop().await;
        self.settings = settings;
        self.resume().await;
    }

    /// Ends the broker in good order. Only a persistent one remembers anything.
    pub(crate) async fn stop(&mut self) {
        match std::mem::replace(&mut self.running, Running::Stopped) {
            Running::Embedded(broker) => broker.stop().await,
            Running::Mosquitto(broker) => broker.stop().await,
            Running::Stopped => (),
        }
    }

    /// Starts again what was stopped, on another port.
    pub(crate) async fn resume(&mut self) {
        let tls = self.certificates.as_ref();
        self.running = match self.kind {
            BrokerKind::Embedded => Running::Embedded(Embedded::start(&self.settings, tls).await),
            BrokerKind::Mosquitto => {
                Running::Mosquitto(Mosquitto::start(&self.settings, tls, self.folder.path()).await)
            }
        };
    }

    /// Waits until no more than so many clients are connected: the broker has read the last words of those that shut down. Until
    /// then it gives a new connection what an earlier one has acknowledged.
    pub(crate) async fn only_serves(&self, clients: usize) {
        // Mosquitto reads what came before it takes the next connection.
        if let Running::Embedded(broker) = &self.running {
            let gone = async || broker.stats.clients_connected.load(Ordering::Relaxed) <= clients;
            until("the broker to have read the last words", gone).await;
        }
    }

    pub(crate) fn port(&self) -> u16 {
        match &self.running {
            Running::Embedded(broker) => broker.port,
            Running::Mosquitto(broker) => broker.port,
            Running::Stopped => panic!("the broker is stopped"),
        }
    }

    /// The name to connect to, which is also in the certificate.
    pub(crate) fn host(&self) -> &'static str {
        if self.certificates.is_some() { "localhost" } else { "127.0.0.1" }
    }

    /// Trusts the certificate of this broker, and no other.
    pub(crate) fn tls(&self) -> Option<TlsConfiguration> {
        let ca = self.certificates.as_ref()?.ca_pem.clone().into_bytes();
        Some(TlsConfiguration::Simple { ca, alpn: None, client_auth: None })
    }
}

struct Embedded {
    port: u16,
    stats: Arc<mqtt5::broker::sys_topics::BrokerStats>,
    shutdown: mqtt5::broker::server::BrokerShutdownHandle,
    task: JoinHandle<()>,
}

impl Embedded {
    async fn start(settings: &Settings, tls: Option<&Certificates>) -> Self {
        assert!(!settings.persistent && settings.allows.is_empty(), "this broker has no such setting");
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut config = BrokerConfig::new()
            .with_bind_address(any_port)
            .with_storage(StorageConfig::new().with_backend(StorageBackend::Memory));
        config.sys_topics_enabled = false;
        if let Some(bytes) = settings.max_packet {
            config = config.with_max_packet_size(usize::try_from(bytes).unwrap());
        }
        if let Some(qos) = settings.max_qos {
            config = config.with_maximum_qos(qos);
        }
        if let Some(tls) = tls {
            config = config.with_tls(TlsConfig::new(tls.server.clone(), tls.key.clone()).with_bind_address(any_port));
        }
        let mut broker = MqttBroker::with_config(config).await.unwrap();
        let address = if tls.is_some() { broker.tls_local_addr() } else { broker.local_addr() };
        let (port, shutdown) = (address.unwrap().port(), broker.shutdown_handle());
        let (mut ready, stats) = (broker.ready_receiver(), broker.stats());
        let task = tokio::spawn(async move { broker.run().await.unwrap() });
        // What it is told before it is ready it does not hear.
        within(PATIENCE, "the broker to start", ready.wait_for(|ready| *ready)).await.unwrap();
        Self { port, stats, shutdown, task }
    }

    async fn stop(self) {
        self.shutdown.shutdown();
        within(PATIENCE, "the broker to end", self.task).await.unwrap();
    }
}

struct Mosquitto {
    port: u16,
    process: Child,
}

impl Mosquitto {
    /// Tries ports until one is really free.
    async fn start(settings: &Settings, tls: Option<&Certificates>, folder: &Path) -> Self {
        let program = mosquitto_program().unwrap();
        let start = async {
            loop {
                let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
                let file = folder.join("mosquitto.conf");
                fs::write(&file, Self::config(port, settings, tls, folder)).unwrap();
                let log = folder.join("mosquitto.log");
                let mut command = Command::new(&program);
                command.arg("-c").arg(file).stdin(Stdio::null()).stdout(Stdio::null());
                command.stderr(fs::File::create(&log).unwrap());
                let mut broker = Self { port, process: command.spawn().unwrap() };
                if broker.is_ready(&log).await {
                    return broker;
                }
            }
        };
        within(PATIENCE, "mosquitto to start", start).await
    }

    fn config(port: u16, settings: &Settings, tls: Option<&Certificates>, folder: &Path) -> String {
        assert!(settings.max_qos.is_none(), "this version has no such setting");
        let mut lines = vec![
            format!("listener {port} 127.0.0.1"),
            "allow_anonymous true".into(),
            // Or it would become a user who may not write here, when it is started by root.
            "user root".into(),
            format!("max_queued_messages {}", settings.max_queued.unwrap_or(0)),
            "set_tcp_nodelay true".into(),
            "sys_interval 0".into(),
            // That it runs, and why not.
            "log_dest stderr".into(),
            "log_type information".into(),
            "log_type error".into(),
        ];
        if let Some(tls) = tls {
            lines.push(format!("certfile {}", tls.server.display()));
            lines.push(format!("keyfile {}", tls.key.display()));
        }
        if let Some(bytes) = settings.max_packet {
            lines.push(format!("max_packet_size {bytes}"));
        }
        if !settings.allows.is_empty() {
            let file = folder.join("acl");
            fs::write(&file, settings.allows.join("\n") + "\n").unwrap();
            lines.push(format!("acl_file {}", file.display()));
        }
        if settings.persistent {
            lines.push("persistence true".into());
            lines.push(format!("persistence_location {}/", folder.display()));
        }
        lines.join("\n") + "\n"
    }

    /// Whether it takes connections; not so when it ended because somebody else has the port. Somebody else would take
    /// them as well, so it is asked for its own word.
    async fn is_ready(&mut self, log: &Path) -> bool {
        loop {
            if self.process.try_wait().unwrap().is_some() {
                return false;
            }
            if fs::read_to_string(log).unwrap().lines().any(|line| line.ends_with(" running")) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Asks it to end, so that it saves what it has.
    async fn stop(mut self) {
        let ended = async {
            while self.process.try_wait().unwrap().is_none() {
                // It forgets what comes after it says that it runs and before it does.
                let ask = format!("kill -TERM {}", self.process.id());
                assert!(Command::new("sh").arg("-c").arg(ask).status().unwrap().success());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(PATIENCE, "mosquitto to end", ended).await;
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        // It has ended already if these fail.
        let _ended = self.process.kill();
        let _ended = self.process.wait();
    }
}

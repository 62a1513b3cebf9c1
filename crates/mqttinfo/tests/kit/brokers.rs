//! Real brokers: mosquitto, and one in this process.

use super::certificates::Certificates;
use mqtt5::broker::{
    BrokerConfig, MqttBroker,
    config::{StorageBackend, StorageConfig, TlsConfig, WebSocketConfig},
};
use std::{
    env, fs,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(300);

/// The program, if there is one. It may be missing, unless the environment says that it must not.
fn mosquitto_program() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")]);
    let program = folders.map(|folder| folder.join("mosquitto")).find(|program| program.is_file());
    let required = env::var_os("E4_REQUIRE_MOSQUITTO").is_some_and(|value| value == "1");
    assert!(program.is_some() || !required, "mosquitto is not installed, and E4_REQUIRE_MOSQUITTO=1");
    if program.is_none() {
        println!("skipped: mosquitto is not installed");
    }
    program
}

pub(crate) struct Mosquitto {
    pub(crate) port: u16,
    pub(crate) folder: TempDir,
    process: Child,
}

impl Mosquitto {
    /// Starts one with these files and these lines of configuration, in which `FOLDER` stands for where the files are.
    /// None if it is not installed.
    pub(crate) async fn start(folder: TempDir, lines: &[&str]) -> Option<Self> {
        let program = mosquitto_program()?;
        let log = folder.path().join("mosquitto.log");
        // Another program may take the port in between.
        for _ in 0..100 {
            let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
            let mut text = format!("listener {port} 127.0.0.1\nuser root\nlog_dest stderr\nlog_type information\n");
            for line in lines {
                text += &line.replace("FOLDER", &folder.path().display().to_string());
                text.push('\n');
            }
            let file = folder.path().join("mosquitto.conf");
            fs::write(&file, text).unwrap();
            let mut command = Command::new(&program);
            command.arg("-c").arg(file).stdin(Stdio::null()).stdout(Stdio::null());
            command.stderr(fs::File::create(&log).unwrap());
            let mut process = command.spawn().unwrap();
            let runs = async {
                loop {
                    if process.try_wait().unwrap().is_some() {
                        return false;
                    }
                    if fs::read_to_string(&log).unwrap().lines().any(|line| line.ends_with(" running")) {
                        return true;
                    }
                    sleep(Duration::from_millis(5)).await;
                }
            };
            if timeout(PATIENCE, runs).await.unwrap() {
                return Some(Self { port, folder, process });
            }
        }
        panic!("mosquitto does not start: {}", fs::read_to_string(&log).unwrap());
    }

    /// One that takes anybody.
    pub(crate) async fn open() -> Option<Self> {
        Self::start(TempDir::new().unwrap(), &["allow_anonymous true"]).await
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        // It has ended already if these fail.
        let _ended = self.process.kill();
        let _ended = self.process.wait();
    }
}

/// The broker in this process.
pub(crate) struct Embedded {
    pub(crate) port: u16,
    pub(crate) tls: u16,
    pub(crate) websocket: u16,
}

impl Embedded {
    pub(crate) async fn start(certificates: &Certificates) -> Self {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let tls = TlsConfig::new(certificates.server.clone(), certificates.server_key.clone());
        let config = BrokerConfig::new()
            .with_bind_address(any_port)
            .with_storage(StorageConfig::new().with_backend(StorageBackend::Memory))
            .with_tls(tls.with_bind_address(any_port))
            .with_websocket(WebSocketConfig::new().with_bind_address(any_port));
        let mut broker = MqttBroker::with_config(config).await.unwrap();
        let port = |address: Option<SocketAddr>| address.unwrap().port();
        let (tcp, tls, websocket) =
            (port(broker.local_addr()), port(broker.tls_local_addr()), port(broker.ws_local_addr()));
        let mut ready = broker.ready_receiver();
        tokio::spawn(async move { broker.run().await });
        timeout(PATIENCE, ready.wait_for(|ready| *ready)).await.unwrap().unwrap();
        Self { port: tcp, tls, websocket }
    }
}

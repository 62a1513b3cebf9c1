//! What is measured against.

use crate::Result;
use mqtt5::broker::{
    BrokerConfig, MqttBroker,
    config::{StorageBackend, StorageConfig},
};
use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

pub(crate) enum Broker {
    /// In this process, on a runtime of its own.
    Embedded(u16),
    Mosquitto {
        port: u16,
        process: Child,
        _folder: TempDir,
    },
    Other(String, u16),
}

impl Broker {
    /// The one that was named, or all that can be started here.
    pub(crate) fn all(address: Option<&str>) -> Result<Vec<Self>> {
        if let Some(address) = address {
            let (host, port) = address.rsplit_once(':').ok_or("name the broker as HOST:PORT")?;
            return Ok(vec![Self::Other(host.to_owned(), port.parse()?)]);
        }
        let mut brokers = vec![Self::embedded()?];
        match Self::mosquitto() {
            Ok(mosquitto) => brokers.push(mosquitto),
            Err(error) => println!("mosquitto is left out: {error}"),
        }
        Ok(brokers)
    }

    pub(crate) fn name(&self) -> String {
        match self {
            Self::Embedded(_) => "Embedded broker".to_owned(),
            Self::Mosquitto { .. } => "mosquitto".to_owned(),
            Self::Other(host, port) => format!("{host}:{port}"),
        }
    }

    pub(crate) fn address(&self) -> (String, u16) {
        match self {
            Self::Embedded(port) | Self::Mosquitto { port, .. } => ("127.0.0.1".to_owned(), *port),
            Self::Other(host, port) => (host.clone(), *port),
        }
    }

    fn embedded() -> Result<Self> {
        let (tell, port) = mpsc::channel();
        thread::spawn(move || -> Result<()> {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(async {
                let config = BrokerConfig::new()
                    .with_bind_address(SocketAddr::from(([127, 0, 0, 1], 0)))
                    .with_client_channel_capacity(1 << 17)
                    .with_storage(StorageConfig::new().with_backend(StorageBackend::Memory));
                let mut broker = MqttBroker::with_config(config).await?;
                tell.send(broker.local_addr().ok_or("the broker listens nowhere")?.port())?;
                Ok(broker.run().await?)
            })
        });
        Ok(Self::Embedded(port.recv_timeout(Duration::from_secs(10))?))
    }

    fn mosquitto() -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("mosquitto.conf");
        // Without limits that would drop what is measured.
        let text =
            format!("listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nset_tcp_nodelay true\n");
        fs::write(&config, text)?;
        // Debian has it where only the administrator looks.
        let path = format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default());
        let process = Command::new("mosquitto")
            .env("PATH", path)
            .arg("-c")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let broker = Self::Mosquitto { port, process, _folder: folder };
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() > deadline {
                return Err("it does not answer".into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(broker)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Self::Mosquitto { process, .. } = self {
            let _ended = process.kill().and_then(|()| process.wait());
        }
    }
}

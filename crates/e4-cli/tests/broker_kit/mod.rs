//! Brokers to talk to: the embedded one in this process, and mosquitto where it is installed.
#![allow(dead_code, unused_imports, reason = "not every test uses all of it")]

mod background;
pub(crate) mod scripted;

pub(crate) use background::Background;
use mqtt5::broker::{
    BrokerConfig, MqttBroker,
    config::{StorageBackend, StorageConfig, TlsConfig},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long anything may take before it counts as not happening.
pub(crate) const DEADLINE: Duration = Duration::from_secs(300);

/// The user that [`Broker::mosquitto`] knows on its port with passwords.
pub(crate) const USER: &str = "operator";
pub(crate) const PASSWORD: &str = "wake up early";

/// A broker that ends with this value. Its folder has the certificate authority in `ca.pem`.
pub(crate) struct Broker {
    pub(crate) name: &'static str,
    pub(crate) port: u16,
    pub(crate) tls_port: u16,
    /// Where a user name and a password are asked for, and a user may write to control topics only; mosquitto only.
    pub(crate) password_port: u16,
    folder: tempfile::TempDir,
    _running: Running,
}

enum Running {
    /// The broker runs in it.
    Embedded(tokio::runtime::Runtime),
    Mosquitto(Child),
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Self::Mosquitto(child) = self {
            let _ended = child.kill().and_then(|()| child.wait());
        }
    }
}

/// All brokers that there are.
pub(crate) fn brokers() -> Vec<Broker> {
    std::iter::once(Broker::embedded()).chain(Broker::mosquitto()).collect()
}

impl Broker {
    pub(crate) fn embedded() -> Self {
        let folder = folder_with_certificates();
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let file = |name| folder.path().join(name);
        let config = BrokerConfig::new()
            .with_bind_address(any_port)
            .with_tls(TlsConfig::new(file("server.pem"), file("server.key")).with_bind_addresses(vec![any_port]))
            .with_storage(StorageConfig::new().with_backend(StorageBackend::Memory));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let mut broker = runtime.block_on(MqttBroker::with_config(config)).unwrap();
        let (port, tls_port) = (broker.local_addr().unwrap().port(), broker.tls_local_addr().unwrap().port());
        runtime.spawn(async move { broker.run().await });
        Self { name: "embedded", port, tls_port, password_port: 0, folder, _running: Running::Embedded(runtime) }
    }

    /// None when it is not installed, which is an error when `E4_REQUIRE_MOSQUITTO` is 1.
    pub(crate) fn mosquitto() -> Option<Self> {
        let Some(program) = find("mosquitto") else {
            assert_ne!(std::env::var("E4_REQUIRE_MOSQUITTO").as_deref(), Ok("1"), "mosquitto is not installed");
            println!("mosquitto is not installed: not tested with it");
            return None;
        };
        let folder = folder_with_certificates();
        let file = |name: &str| folder.path().join(name).display().to_string();
        let hash = Command::new(find("mosquitto_passwd").expect("it comes with mosquitto"))
            .args(["-c", "-b", &file("passwords"), USER, PASSWORD])
            .status();
        assert!(hash.unwrap().success());
        let [port, tls_port, password_port] = free_ports();
        // Else it would run as a user who cannot read the folder.
        let config = format!(
            "user root\nper_listener_settings true\n\
             listener {port} 127.0.0.1\nallow_anonymous true\n\
             listener {tls_port} 127.0.0.1\nallow_anonymous true\ncertfile {}\nkeyfile {}\n\
             listener {password_port} 127.0.0.1\nallow_anonymous false\npassword_file {}\nacl_file {}\n",
            file("server.pem"),
            file("server.key"),
            file("passwords"),
            file("rights"),
        );
        fs::write(file("rights"), format!("user {USER}\ntopic read #\ntopic readwrite e4/#\n")).unwrap();
        fs::write(file("conf"), config).unwrap();
        let child = Command::new(program).args(["-c", &file("conf")]).stderr(Stdio::null()).spawn().unwrap();
        let running = Running::Mosquitto(child);
        for port in [port, tls_port, password_port] {
            until(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok(), || "mosquitto does not listen".into());
        }
        Some(Self { name: "mosquitto", port, tls_port, password_port, folder, _running: running })
    }

    /// A file beside the broker, such as `ca.pem`.
    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// The arguments that connect to it, in each version of MQTT, plain and with TLS.
    pub(crate) fn ways(&self) -> Vec<String> {
        let tls = format!("-p {} --cafile {}", self.tls_port, self.file("ca.pem"));
        [format!("-p {}", self.port), tls].iter().flat_map(|to| ["311", "5"].map(|v| format!("{to} -V {v}"))).collect()
    }
}

/// A certificate authority, and a certificate of it for this host.
fn folder_with_certificates() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
    for (name, pem) in
        [("ca.pem", authority.pem()), ("server.pem", certificate.pem()), ("server.key", key.serialize_pem())]
    {
        fs::write(folder.path().join(name), pem).unwrap();
    }
    folder
}

pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Ports that were free a moment ago.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// A port on which nobody listens.
pub(crate) fn dead_port() -> u16 {
    free_ports::<1>()[0]
}

/// Waits for something to be so.
#[track_caller]
pub(crate) fn until(mut is_so: impl FnMut() -> bool, otherwise: impl Fn() -> String) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < DEADLINE, "{}", otherwise());
        thread::sleep(Duration::from_millis(10));
    }
}

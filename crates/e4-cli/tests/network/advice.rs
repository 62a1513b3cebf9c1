//! What is wrong with a connection is told in sentences that say what to do: certificates, keys, ports, versions.

use crate::{
    broker_kit::{Broker, find, free_ports, until},
    common::{Folder, Run},
    fleet,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// A folder with a device, and with files for TLS: an authority (`ca.pem`), and what it has signed.
struct World {
    folder: Folder,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl World {
    fn new() -> Self {
        let mut authority = CertificateParams::new([]).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, "Hill CA");
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let folder = fleet(&["panel"]);
        folder.write("ca.pem", authority.pem());
        Self { folder, authority }
    }

    /// A certificate of the authority and its key: `NAME.pem` and `NAME.key`.
    fn sign(&self, name: &str, params: &CertificateParams) -> String {
        let key = KeyPair::generate().unwrap();
        self.folder.write(&format!("{name}.pem"), params.signed_by(&key, &self.authority).unwrap().pem());
        self.folder.write(&format!("{name}.key"), key.serialize_pem());
        name.to_owned()
    }

    /// One that nobody but itself has signed.
    fn self_sign(&self, name: &str, params: &CertificateParams) -> String {
        let key = KeyPair::generate().unwrap();
        self.folder.write(&format!("{name}.pem"), params.self_signed(&key).unwrap().pem());
        self.folder.write(&format!("{name}.key"), key.serialize_pem());
        name.to_owned()
    }

    fn openssl(&self, args: &str) {
        let run = Command::new("openssl").args(args.split_whitespace()).current_dir(self.folder.path()).output();
        let run = run.unwrap();
        assert!(run.status.success(), "openssl {args}: {}", String::from_utf8_lossy(&run.stderr));
    }

    /// A mosquitto with this certificate.
    fn broker(&self, name: &str, more: &str) -> Option<Mosquitto> {
        Mosquitto::start(self.folder.path(), name, more)
    }

    fn connect(&self, args: &str) -> Run {
        self.folder.run(&format!("pub --state panel.state --only-connect {args}"))
    }

    /// Connects in both versions of MQTT, which fails with a sentence that has this in it, and no word of a library.
    fn fails(&self, args: &str, sentences: &[&str]) {
        for version in ["311", "5"] {
            let run = self.connect(&format!("{args} -V {version}"));
            let text = run.stderr().to_owned();
            assert_eq!(run.code(), 1, "{args}: {text}");
            for sentence in sentences {
                assert!(text.contains(sentence), "{args}: {sentence}: {text}");
            }
            for word in ["I/O", "InvalidCertificate", "Other(", "invalid peer", "os error", "Mqtt", "Incorrect"] {
                assert!(!text.contains(word), "{args}: {word}: {text}");
            }
        }
    }
}

struct Mosquitto {
    child: Child,
    port: u16,
}

impl Mosquitto {
    /// None when it is not installed.
    fn start(folder: &Path, name: &str, more: &str) -> Option<Self> {
        let program = find("mosquitto")?;
        let [port] = free_ports();
        let config = format!(
            "user root\nlistener {port} 127.0.0.1\nallow_anonymous true\ncertfile {name}.pem\nkeyfile {name}.key\n{more}\n"
        );
        std::fs::write(folder.join(format!("{port}.conf")), config).unwrap();
        let child = Command::new(program)
            .args(["-c", &format!("{port}.conf")])
            .current_dir(folder)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until(
            || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok(),
            || format!("{name}: mosquitto does not listen"),
        );
        Some(Self { child, port })
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// A server that answers what came first with what this says, and then closes; or goes on waiting.
fn server(answer: fn(&[u8]) -> Option<Vec<u8>>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            thread::spawn(move || {
                let _timeout = stream.set_read_timeout(Some(Duration::from_secs(60)));
                let (mut got, mut buffer) = (Vec::new(), [0; 4096]);
                while let Ok(1..) = stream.read(&mut buffer).inspect(|count| got.extend(&buffer[..*count])) {
                    if let Some(answer) = answer(&got) {
                        let _sent = stream.write_all(&answer);
                        if answer.first() != Some(&0x20) {
                            break;
                        }
                    }
                }
            });
        }
    });
    port
}

fn named(names: &[&str]) -> CertificateParams {
    CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
}

#[test]
fn f40_a_certificate_as_guides_make_it_is_told_what_is_wrong_with_it_and_the_advice_works() {
    let world = World::new();
    if find("openssl").is_none() || find("mosquitto").is_none() {
        println!("openssl or mosquitto is not installed: not tested with them");
        return;
    }
    let request = "req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=localhost";
    world.openssl(&format!("{request} -addext subjectAltName=DNS:localhost -keyout guide.key -out guide.pem"));
    let broker = world.broker("guide", "").unwrap();
    let to = |broker: &Mosquitto, authority: &str| format!("-h localhost -p {} --cafile {authority}", broker.port);
    world.fails(
        &to(&broker, "guide.pem"),
        &[
            "certificate cannot be trusted: it is self-signed, and marked as that of an authority, not of a server",
            "-addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:HOST",
        ],
    );
    // As the advice has it.
    let advised = "-addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:localhost";
    world.openssl(&format!("{request} {advised} -keyout advised.key -out advised.pem"));
    let broker = world.broker("advised", "").unwrap();
    world.connect(&to(&broker, "advised.pem")).ok();
    world
        .fails(&to(&broker, "ca.pem"), &["it is self-signed, and not among the trusted certificates", "with --cafile"]);

    // openssl req and openssl x509 -req without extensions, as older guides have it, make version 1.
    world.openssl("req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout old.key -out old.csr");
    world.openssl("x509 -req -in old.csr -signkey old.key -days 9 -out old.pem");
    let broker = world.broker("old", "").unwrap();
    world.fails(&to(&broker, "old.pem"), &["X.509 version 1", "make it anew as version 3"]);
}

#[test]
fn f40_what_keeps_a_certificate_from_being_trusted_is_told() {
    let world = World::new();
    let mut expired = named(&["localhost"]);
    expired.not_after = date_time_ymd(2021, 5, 6);
    let mut early = named(&["localhost"]);
    early.not_before = date_time_ymd(2110, 5, 6);
    let mut common = named(&[]);
    common.distinguished_name.push(DnType::CommonName, "localhost");
    let mut client = named(&["localhost"]);
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    for (name, sentences) in [
        (world.sign("expired", &expired), &["it expired on 2021-05-06", "renew it", "today is 20"][..]),
        (world.sign("early", &early), &["it is not valid before 2110-05-06", "set the clock"]),
        (
            world.sign("other", &named(&["broker.example", "10.9.8.7"])),
            &["it is not for localhost, only for broker.example, 10.9.8.7", "give the host by a name"],
        ),
        (world.sign("common", &common), &["no names but the common name localhost", "subjectAltName"]),
        (world.sign("purpose", &client), &["it is not made for a server"]),
        (world.self_sign("self", &named(&["localhost"])), &["it is self-signed, and not among", "--cafile"]),
    ] {
        let Some(broker) = world.broker(&name, "") else { return };
        world.fails(&format!("-p {} --cafile ca.pem", broker.port), sentences);
    }
    let broker = Broker::embedded();
    world.fails(
        &format!("-p {} --cafile ca.pem", broker.tls_port),
        &["no trusted authority has made it", "name the certificate authority of the broker with --cafile"],
    );
}

#[test]
fn f40_a_client_certificate_that_is_missing_or_of_another_authority_is_told() {
    let world = World::new();
    world.sign("server", &named(&["localhost"]));
    world.sign("client", &named(&["panel"]));
    world.self_sign("stranger", &named(&["panel"]));
    for versions in ["", "tls_version tlsv1.2"] {
        let config = format!("cafile ca.pem\nrequire_certificate true\n{versions}");
        let Some(broker) = world.broker("server", &config) else { return };
        let to = format!("-p {} --cafile ca.pem", broker.port);
        world.fails(&to, &["the broker wants a client certificate", "show one with --cert and --key"]);
        world.fails(
            &format!("{to} --cert stranger.pem --key stranger.key"),
            &["the broker does not take the client certificate", "an authority of the broker has signed"],
        );
        world.connect(&format!("{to} --cert client.pem --key client.key")).ok();
    }
}

#[test]
fn f40_files_that_are_not_what_they_should_be_are_told_from_what_they_are() {
    let world = World::new();
    world.sign("client", &named(&["panel"]));
    let key = KeyPair::generate().unwrap();
    let certificate = named(&["panel"]).signed_by(&key, &world.authority).unwrap();
    world.folder.write("der.key", key.serialize_der());
    world.folder.write("der.pem", certificate.der());
    world.folder.write("public.key", key.public_key_pem());
    world.folder.write("empty", "");
    let cut = world.folder.read("client.key");
    world.folder.write("cut.key", &cut.as_bytes()[..cut.len() / 2]);
    if find("openssl").is_some() {
        world.openssl("pkcs8 -topk8 -in client.key -out locked.key -passout pass:secret");
        world.openssl("pkcs8 -topk8 -in client.key -out locked-der.key -outform DER -passout pass:secret");
        world.openssl("pkcs12 -export -in client.pem -inkey client.key -out keystore.p12 -passout pass:secret");
        world.openssl("ecparam -name prime256v1 -genkey -noout -outform DER -out sec1.key");
        world.openssl("genrsa -aes128 -passout pass:secret -traditional -out old.key");
        for (files, sentence) in [
            (
                "--cert client.pem --key locked.key",
                "locked.key is protected by a passphrase: take it off with openssl pkey",
            ),
            ("--cert client.pem --key old.key", "old.key is protected by a passphrase"),
            ("--cert client.pem --key locked-der.key", "in DER that is protected by a passphrase"),
            ("--cert client.pem --key keystore.p12", "it is a keystore (PKCS #12): take out"),
            ("--cert keystore.p12 --key client.key", "it is a keystore (PKCS #12): take out"),
            ("--cert client.pem --key sec1.key", "a secret key in DER"),
        ] {
            world.fails(&format!("--cafile ca.pem {files}"), &[sentence]);
        }
    }
    for (files, sentence) in [
        (
            "--cert client.pem --key der.key",
            "der.key holds no secret key in PEM: it is a secret key in DER: convert it with",
        ),
        ("--cert der.pem --key client.key", "it is a certificate in DER: convert it with openssl x509 -inform DER"),
        ("--cert client.key --key client.pem", "client.key holds no certificate in PEM: it is a secret key"),
        ("--cert client.pem --key client.pem", "client.pem holds no secret key in PEM: it is a certificate"),
        ("--cert client.pem --key public.key", "it is a public key"),
        ("--cert client.pem --key der.pem", "it is a certificate in DER"),
        ("--cert client.pem --key empty", "it is empty"),
        ("--cert client.pem --key cut.key", "cut.key is damaged: a section of it has no end"),
    ] {
        world.fails(&format!("--cafile ca.pem {files}"), &[sentence]);
    }
    world.sign("second", &named(&["panel"]));
    world
        .fails("--cafile ca.pem --cert client.pem --key second.key", &["second.key is not that of the certificate in"]);
    let run = world.connect("--cafile absent.pem").fails(1, "could not read absent.pem: No such file");
    assert_eq!(run.stderr().matches("No such file").count(), 1, "{}", run.stderr());
    world.fails("--cafile der.pem", &["der.pem holds no certificate in PEM: it is a certificate in DER"]);
}

#[test]
fn f40_a_port_of_something_else_is_told() {
    const BAD: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\r\n";
    let world = World::new();
    // One that answers at once, and one that waits for the end of the request.
    let at_once = server(|_| Some(BAD.to_vec()));
    let patient = server(|got| got.ends_with(b"\r\n\r\n").then(|| BAD.to_vec()));
    for port in [at_once, patient] {
        world.fails(&format!("-p {port}"), &["looks like an HTTP server", "choose another port (-p)"]);
    }
    world.fails(&format!("-p {at_once} --cafile ca.pem"), &["looks like an HTTP server", "choose another port (-p)"]);
    let ssh = server(|_| Some(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()));
    for tls in ["", "--cafile ca.pem"] {
        world.fails(&format!("-p {ssh} {tls}"), &["looks like an SSH server"]);
    }
    let closes = server(|_| Some(Vec::new()));
    world.fails(&format!("-p {closes}"), &["closes the connection without a word", "check the port (-p)"]);

    let broker = Broker::embedded();
    world.fails(&format!("-p {}", broker.tls_port), &["this port speaks TLS", "use --cafile"]);
    world.fails(
        &format!("-p {} --cafile ca.pem", broker.port),
        &["this port speaks MQTT without TLS", "leave out --tls"],
    );
    let Some(mosquitto) = Broker::mosquitto() else { return };
    world.fails(&format!("-p {}", mosquitto.tls_port), &["this port speaks TLS", "use --cafile"]);
    world.fails(&format!("-p {} --cafile ca.pem", mosquitto.port), &["speaks MQTT without TLS", "leave out --tls"]);
}

#[test]
fn f40_a_broker_of_another_version_is_told() {
    let world = World::new();
    /// What a broker says to a CONNECT of its own version, and to another, which it may answer by closing.
    fn only(level: u8, got: &[u8], other: &[u8]) -> Option<Vec<u8>> {
        let own: &[u8] = if level == 5 { &[0x20, 3, 0, 0, 0] } else { &[0x20, 2, 0, 0] };
        (got.first() == Some(&0x10)).then(|| if got.get(8) == Some(&level) { own } else { other }.to_vec())
    }
    for (port, version, sentences) in [
        (server(|got| only(4, got, &[0x20, 2, 0, 1])), "5", ["speaks MQTT 3.1.1, and not MQTT 5", "with -V 311"]),
        // This closes.
        (server(|got| only(4, got, &[])), "5", ["speaks MQTT 3.1.1, and not MQTT 5", "with -V 311"]),
        (server(|got| only(5, got, &[0x20, 2, 0, 1])), "311", ["speaks MQTT 5, and not MQTT 3.1.1", "with -V 5"]),
        (server(|got| only(5, got, &[])), "311", ["speaks MQTT 5, and not MQTT 3.1.1", "with -V 5"]),
    ] {
        let run = world.connect(&format!("-p {port} -V {version}"));
        for sentence in sentences {
            assert!(run.stderr().contains(sentence), "{sentence}: {}", run.stderr());
        }
    }
}

#[test]
fn f40_a_host_with_a_port_is_told_how_to_give_it() {
    let world = World::new();
    for (host, sentence) in [
        ("localhost:1884", "give the port with -p, as in -h localhost -p 1884"),
        ("[::1]:1884", "-h ::1 -p 1884"),
        ("mqtts://localhost", "-h localhost -p 8883, and --tls or --cafile for TLS"),
    ] {
        world.fails(&format!("-h {host}"), &["the host (-h) is a name or an address only", sentence]);
    }
}

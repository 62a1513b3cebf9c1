//! Connections: TLS, certificates of clients, who is slow, and how it ends.

use super::world::World;
use e4_keyserver::{
    api::{serve, server_config},
    model::Role,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};
use tokio_rustls::TlsConnector;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate and its key, as PEM.
fn certificate(authority: &Authority, name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.signed_by(&key, authority).unwrap().pem(), key.serialize_pem())
}

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

async fn start(world: &World, tls: Option<Arc<rustls::ServerConfig>>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let router = world.router.clone();
    let task = tokio::spawn(async move {
        let stop = async {
            let _dropped = stopped.await;
        };
        serve(listener, tls, false, router, stop).await
    });
    Server { address, stop, task }
}

/// What comes back until the other side closes.
async fn exchange(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A connection that ends without the farewell of TLS has ended too.
    let _ended = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

fn get(path: &str, token: Option<&str>) -> String {
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{token}Connection: close\r\n\r\n")
}

fn client(authority: &Authority, certificate: Option<&(String, String)>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let config = match certificate {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    };
    TlsConnector::from(Arc::new(config))
}

#[tokio::test]
async fn a_certificate_of_a_client_stands_for_the_token_of_its_name() {
    let world = World::new().await;
    let (own, clients, other) = (authority(), authority(), authority());
    let (certificate_pem, key) = certificate(&own, "localhost");
    let tls = server_config(certificate_pem.as_bytes(), key.as_bytes(), Some(clients.pem().as_bytes())).unwrap();
    let server = start(&world, Some(tls)).await;
    let ask = async |certificate: Option<&(String, String)>, token: Option<&str>| {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = client(&own, certificate).connect(name, stream).await.ok()?;
        let answer = exchange(&mut stream, &get("/v1/devices", token)).await;
        answer.split(' ').nth(1).map(str::to_owned)
    };
    let viewer = certificate(&clients, Role::Viewer.word());
    let stranger = certificate(&clients, "stranger");
    let forged = certificate(&other, Role::Administrator.word());
    assert_eq!(ask(None, Some(world.token(Role::Viewer))).await.as_deref(), Some("200"));
    assert_eq!(ask(None, None).await.as_deref(), Some("401"));
    assert_eq!(ask(Some(&viewer), None).await.as_deref(), Some("200"));
    assert_eq!(ask(Some(&stranger), None).await.as_deref(), Some("401"));
    assert_eq!(ask(Some(&viewer), Some("e4t_wrong")).await.as_deref(), Some("401"), "what is shown is what counts");
    assert_eq!(ask(Some(&forged), None).await, None, "a certificate of another authority ends the connection");
    server.stop.send(()).unwrap();
    server.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_no_certificate_is_refused_at_the_start() {
    let authority = authority();
    let (certificate_pem, key) = certificate(&authority, "localhost");
    let (_, other_key) = certificate(&authority, "localhost");
    let (pem, key) = (certificate_pem.as_bytes(), key.as_bytes());
    assert!(server_config(pem, key, None).is_ok());
    for (what, result) in [
        ("key", server_config(pem, b"", None)),
        ("certificate", server_config(b"", key, None)),
        ("together", server_config(pem, other_key.as_bytes(), None)),
        ("authority", server_config(pem, key, Some(b"nothing"))),
    ] {
        assert!(result.unwrap_err().to_string().contains(what), "{what}");
    }
}

#[tokio::test]
async fn tokens_do_not_go_over_a_network_in_clear_by_accident() {
    let world = World::new().await;
    let listener = async || TcpListener::bind("0.0.0.0:0").await.unwrap();
    let now = async || ();
    let refused = serve(listener().await, None, false, world.router.clone(), now()).await.unwrap_err();
    assert!(refused.to_string().contains("without TLS"), "{refused}");
    serve(listener().await, None, true, world.router.clone(), now()).await.unwrap();
}

#[tokio::test]
async fn what_is_under_way_at_the_end_is_answered_and_nothing_more_is_taken() {
    let world = World::new().await;
    let server = start(&world, None).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let (head, rest) = ("POST /v1/topics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 12\r\n", "{\"name\":\"a\"}");
    let token = world.token(Role::Operator);
    let head = format!("{head}Expect: 100-continue\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    // It reads the body, so the request is under way.
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100"));
    server.stop.send(()).unwrap();
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!server.task.is_finished(), "it does not wait for what is under way");
    let answer = exchange(&mut stream, rest).await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    server.task.await.unwrap().unwrap();
}

/// Time stands still but for what nobody does anything in, so this waits for nothing.
#[tokio::test(start_paused = true)]
async fn who_does_not_finish_the_head_of_a_request_is_left() {
    let world = World::new().await;
    let server = start(&world, None).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let answer = exchange(&mut stream, "GET /v1/health HTTP/1.1\r\nHost:").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    server.stop.send(()).unwrap();
    server.task.await.unwrap().unwrap();
}

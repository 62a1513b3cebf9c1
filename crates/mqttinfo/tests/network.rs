//! Ways to a broker: IPv6, a name of which one address is dead, and proxies.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod kit;

use kit::{quick, scripted::Product};
use mqttinfo::{Report, Settings, dial::Proxy, examine, report::Outcome};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

async fn look(url: &str, settings: &Settings) -> Report {
    examine(&url.parse().unwrap(), settings).await
}

fn reason(report: &Report) -> &str {
    let Outcome::Unreachable { reason } = &report.outcome else { panic!("{:?}", report.outcome) };
    reason
}

/// What a proxy was asked for, and how often.
#[derive(Default)]
struct Asked {
    connections: AtomicUsize,
    names: std::sync::Mutex<std::collections::BTreeSet<String>>,
}

/// A proxy that takes this login, if any, and has every name lead to one port of this machine; none refuses all.
async fn proxy(socks: bool, login: Option<(&'static str, &'static str)>, behind: Option<u16>) -> (u16, Arc<Asked>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::<Asked>::default();
    let all = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let all = Arc::clone(&all);
            tokio::spawn(async move {
                all.connections.fetch_add(1, Ordering::SeqCst);
                let stream = BufReader::new(stream);
                let _ended = if socks {
                    socks5(stream, login, behind, &all).await
                } else {
                    connect(stream, login, behind, &all).await
                };
            });
        }
    });
    (port, asked)
}

/// RFC 1928 and, for the login, RFC 1929.
async fn socks5(
    mut client: BufReader<TcpStream>,
    login: Option<(&str, &str)>,
    behind: Option<u16>,
    asked: &Asked,
) -> std::io::Result<()> {
    async fn prefixed(client: &mut BufReader<TcpStream>) -> std::io::Result<String> {
        let mut text = vec![0; usize::from(client.read_u8().await?)];
        client.read_exact(&mut text).await?;
        Ok(String::from_utf8(text).unwrap())
    }
    assert_eq!(client.read_u8().await?, 5);
    let mut methods = vec![0; usize::from(client.read_u8().await?)];
    client.read_exact(&mut methods).await?;
    let wanted = if login.is_some() { 2 } else { 0 };
    if !methods.contains(&wanted) {
        return client.write_all(&[5, 0xFF]).await;
    }
    client.write_all(&[5, wanted]).await?;
    if let Some((user, password)) = login {
        assert_eq!(client.read_u8().await?, 1);
        let right = (prefixed(&mut client).await?, prefixed(&mut client).await?) == (user.into(), password.into());
        client.write_all(&[1, u8::from(!right)]).await?;
        if !right {
            return Ok(());
        }
    }
    let mut request = [0; 4];
    client.read_exact(&mut request).await?;
    assert_eq!(request, [5, 1, 0, 3], "the name goes to the proxy");
    let name = prefixed(&mut client).await?;
    let port = client.read_u16().await?;
    asked.names.lock().unwrap().insert(format!("{name}:{port}"));
    let Some(behind) = behind else { return client.write_all(&[5, 2, 0, 1, 0, 0, 0, 0, 0, 0]).await };
    client.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 0]).await?;
    copy_bidirectional(&mut client, &mut TcpStream::connect(("127.0.0.1", behind)).await?).await.map(drop)
}

/// RFC 9110, section 9.3.6; the login as in RFC 7617.
async fn connect(
    mut client: BufReader<TcpStream>,
    login: Option<(&str, &str)>,
    behind: Option<u16>,
    asked: &Asked,
) -> std::io::Result<()> {
    let mut first = String::new();
    client.read_line(&mut first).await?;
    let mut shown = None;
    loop {
        let mut line = String::new();
        client.read_line(&mut line).await?;
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        if name.eq_ignore_ascii_case("proxy-authorization") {
            shown = Some(value.to_owned());
        }
    }
    // `me:secret` in Base64.
    if shown.as_deref() != login.map(|_| "Basic bWU6c2VjcmV0") {
        return client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
    }
    let place = first.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).unwrap();
    asked.names.lock().unwrap().insert(place.to_owned());
    let Some(behind) = behind else { return client.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await };
    client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await?;
    copy_bidirectional(&mut client, &mut TcpStream::connect(("127.0.0.1", behind)).await?).await.map(drop)
}

fn through(url: &str, except: &str) -> Settings {
    let mut settings = quick();
    settings.proxy = Some(Arc::new(Proxy::new(url, except).unwrap()));
    settings
}

/// Forwards to a port from this address, and counts.
async fn front(address: &str, port: u16, behind: u16) -> std::io::Result<(u16, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind((address, port)).await?;
    let port = listener.local_addr()?.port();
    let connections = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut broker = TcpStream::connect(("127.0.0.1", behind)).await.unwrap();
                let _ended = copy_bidirectional(&mut client, &mut broker).await;
            });
        }
    });
    Ok((port, connections))
}

#[tokio::test]
async fn brokers_are_reached_by_ipv6() {
    let Ok((port, connections)) = front("::1", 0, Product::plain().serve().await).await else {
        println!("skipped: this machine has no IPv6");
        return;
    };
    let report = look(&format!("mqtt://[::1]:{port}"), &quick()).await;
    assert_eq!(report.outcome, Outcome::Broker);
    assert_eq!(report.address, Some(format!("[::1]:{port}")));
    assert!(connections.load(Ordering::SeqCst) > 20);
}

#[tokio::test]
async fn a_dead_address_of_a_name_is_passed_over_and_the_living_one_is_kept() {
    let broker = Product::plain().serve().await;
    let report = look(&format!("localhost:{broker}"), &quick()).await;
    assert_eq!((report.outcome, report.address), (Outcome::Broker, Some(format!("127.0.0.1:{broker}"))));
    // Where both addresses live, one of them gets all connections.
    let (port, four) = front("127.0.0.1", 0, broker).await.unwrap();
    let Ok((_, six)) = front("::1", port, broker).await else { return };
    assert_eq!(look(&format!("localhost:{port}"), &quick()).await.outcome, Outcome::Broker);
    let (four, six) = (four.load(Ordering::SeqCst), six.load(Ordering::SeqCst));
    assert!((four == 0) != (six == 0), "{four} by IPv4 and {six} by IPv6");
}

#[tokio::test]
async fn proxies_of_both_kinds_are_gone_through_with_and_without_a_login() {
    let broker = Product::plain().serve().await;
    for (socks, scheme) in [(true, "socks5"), (false, "http")] {
        for (login, shown) in [(None, ""), (Some(("me", "secret")), "me:secret@")] {
            let (port, asked) = proxy(socks, login, Some(broker)).await;
            let report =
                look("broker.invalid:1884", &through(&format!("{scheme}://{shown}127.0.0.1:{port}"), "")).await;
            assert_eq!(report.outcome, Outcome::Broker, "{scheme} {shown}");
            assert_eq!(report.address, None, "the proxy's address is not the broker's");
            let names: Vec<_> = asked.names.lock().unwrap().iter().cloned().collect();
            assert_eq!(names, ["broker.invalid:1884"]);
            assert!(asked.connections.load(Ordering::SeqCst) > 20);
        }
    }
}

#[tokio::test]
async fn what_a_proxy_refuses_is_said_without_the_password() {
    for (socks, scheme) in [(true, "socks5"), (false, "http")] {
        let (refusing, _) = proxy(socks, None, None).await;
        let report = look("broker.invalid", &through(&format!("{scheme}://127.0.0.1:{refusing}"), "")).await;
        assert!(reason(&report).starts_with("the proxy did not connect ("), "{}", reason(&report));
        let (strict, _) = proxy(socks, Some(("me", "secret")), None).await;
        let wrong = format!("{scheme}://me:geheim@127.0.0.1:{strict}");
        let report = look("broker.invalid", &through(&wrong, "")).await;
        assert!(!reason(&report).contains("geheim"), "{}", reason(&report));
        let gone = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
        let report = look("broker.invalid", &through(&format!("{scheme}://{gone}"), "")).await;
        assert!(reason(&report).contains(&gone.to_string()), "{}", reason(&report));
    }
}

#[tokio::test]
async fn hosts_that_are_excepted_are_reached_without_the_proxy() {
    let broker = Product::plain().serve().await;
    let (port, asked) = proxy(true, None, None).await;
    let settings = through(&format!("socks5://127.0.0.1:{port}"), "127.0.0.1");
    assert_eq!(look(&format!("127.0.0.1:{broker}"), &settings).await.outcome, Outcome::Broker);
    assert_eq!(asked.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_heeds_the_environment() {
    let broker = Product::plain().serve().await;
    let (port, asked) = proxy(false, None, Some(broker)).await;
    for (except, code, asks) in [("", 0, true), ("127.0.0.1", 4, false)] {
        let before = asked.connections.load(Ordering::SeqCst);
        let mut command = assert_cmd::Command::new(assert_cmd::cargo::cargo_bin!("mqttinfo"));
        command.args(["127.0.0.1:9", "-q", "--listen", "0.1", "--timeout", "1"]);
        command.env("ALL_PROXY", format!("http://127.0.0.1:{port}")).env("NO_PROXY", except);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert_eq!(asked.connections.load(Ordering::SeqCst) > before, asks);
    }
}

//! Servers that are no broker, or that do what none should: each look ends in time, with a report that says what it was.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod kit;

use futures_util::future::join_all;
use kit::{
    certificates::Certificates,
    quick,
    scripted::{Does, Product},
    tls_front,
};
use mqttinfo::{
    Report, Settings, Target, examine,
    report::{Answer, Outcome, Reaction},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::Instant,
};

/// Serves each connection in the same way, and returns the port.
async fn server<F: Future<Output = ()> + Send>(serve: impl Fn(TcpStream) -> F + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let serve = serve.clone();
            tokio::spawn(async move { serve(stream).await });
        }
    });
    port
}

/// One that says something to the first bytes that come, and goes on as the caller wants.
async fn says(text: &'static [u8], closes: bool) -> u16 {
    server(move |mut stream| async move {
        let mut request = [0; 1024];
        let _read = stream.read(&mut request).await;
        let _written = stream.write_all(text).await;
        while !closes && stream.read(&mut request).await.is_ok_and(|read| read > 0) {}
    })
    .await
}

fn patient(budget: u64) -> Settings {
    let mut settings = quick();
    settings.answer_within = Duration::from_millis(500);
    settings.connect_within = Duration::from_millis(800);
    settings.budget = Duration::from_secs(budget);
    settings
}

/// Looks, and sees to it that it does not take longer than it may.
async fn look(url: &str, settings: &Settings) -> Report {
    let target: Target = url.parse().unwrap();
    let begun = Instant::now();
    let report = examine(&target, settings).await;
    let most = settings.budget + Duration::from_secs(2);
    assert!(begun.elapsed() < most, "{url} took {:?}", begun.elapsed());
    report
}

#[tokio::test]
async fn what_is_no_broker_is_said_to_be_what_it_looks_like() {
    let mut looks = Vec::new();
    for (text, looks_like) in [
        (&b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"[..], "an HTTP server"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "an SSH server"),
        (b"220 mail.example ESMTP\r\n", "an FTP or SMTP server"),
        (b"-ERR unknown command\r\n", "a Redis server"),
        (b"what do you want?\r\n", "a server of text"),
        (b"\x00\x00\x00\x00", "nothing known"),
        (b"\x20\xff\xff\xff\xff\x01", "nothing known"),
    ] {
        for closes in [true, false] {
            looks.push(async move {
                let report = look(&format!("127.0.0.1:{}", says(text, closes).await), &patient(10)).await;
                assert_eq!(report.outcome, Outcome::NotMqtt { reason: format!("not MQTT, but {looks_like}") });
            });
        }
    }
    join_all(looks).await;
}

#[tokio::test]
async fn f52_a_port_that_speaks_tls_is_told_so() {
    // By an alert, at once or to who speaks TLS only, whatever it says in the clear.
    let port = says(b"\x15\x03\x03\x00\x02\x02\x46", true).await;
    for (scheme, secure) in [("mqtt", "mqtts"), ("ws", "wss")] {
        let path = if scheme == "ws" { "/mqtt" } else { "" };
        let report = look(&format!("{scheme}://127.0.0.1:{port}"), &patient(10)).await;
        let reason = format!("it speaks TLS: look at {secure}://127.0.0.1:{port}{path}");
        assert_eq!(report.outcome, Outcome::NotMqtt { reason });
    }
    let folder = tempfile::TempDir::new().unwrap();
    let certificates = Certificates::create(folder.path(), &["localhost"]);
    let broker = Product::plain().serve().await;
    let port = tls_front::in_front_of(broker, &certificates).await;
    let report = look(&format!("127.0.0.1:{port}"), &patient(10)).await;
    let reason = format!("it speaks TLS: look at mqtts://127.0.0.1:{port}");
    assert_eq!(report.outcome, Outcome::NotMqtt { reason });
    // And the other way round.
    let report = look(&format!("mqtts://127.0.0.1:{broker}"), &patient(10)).await;
    let reason = format!("this port speaks MQTT without TLS: look at mqtt://127.0.0.1:{broker}");
    assert_eq!(report.outcome, Outcome::NotMqtt { reason });
}

#[tokio::test]
async fn a_port_where_nothing_listens_is_unreachable() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    for scheme in ["mqtt", "mqtts", "ws", "wss"] {
        let report = look(&format!("{scheme}://127.0.0.1:{port}"), &patient(10)).await;
        let Outcome::Unreachable { reason } = &report.outcome else { panic!("{:?}", report.outcome) };
        assert!(reason.contains("nothing listens on this port"), "{reason}");
    }
    let report = look("mqtt://name.invalid", &patient(10)).await;
    let Outcome::Unreachable { reason } = &report.outcome else { panic!("{:?}", report.outcome) };
    assert!(reason.contains("the name was not found"), "{reason}");
}

#[tokio::test]
async fn who_says_nothing_is_not_waited_for() {
    let silent = server(|mut stream| async move {
        let mut request = [0; 1024];
        while stream.read(&mut request).await.is_ok_and(|read| read > 0) {}
    })
    .await;
    join_all(["mqtt", "mqtts", "ws", "wss"].map(async |scheme| {
        let report = look(&format!("{scheme}://127.0.0.1:{silent}"), &patient(5)).await;
        assert_ne!(report.outcome, Outcome::Broker, "{scheme}");
    }))
    .await;
    let closing = server(|_| async {}).await;
    let report = look(&format!("127.0.0.1:{closing}"), &patient(5)).await;
    assert_eq!(report.outcome, Outcome::NotMqtt { reason: "closed without an answer".into() });
}

#[tokio::test]
async fn one_byte_at_a_time_does_not_keep_us() {
    // A CONNACK with 60 properties that comes byte by byte, and takes longer than an answer may.
    let port = server(|mut stream| async move {
        let mut request = [0; 1024];
        let _read = stream.read(&mut request).await;
        for byte in [0x20, 0x7f, 0x00, 0x00, 0x7c].into_iter().chain([0x27; 122]) {
            if stream.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    let report = look(&format!("127.0.0.1:{port}"), &patient(5)).await;
    assert_eq!(report.outcome, Outcome::NotMqtt { reason: "not MQTT, but nothing known".into() });
    assert!(report.seconds < 3.0, "{} s", report.seconds);
}

#[tokio::test]
async fn endless_bytes_are_read_up_to_a_limit() {
    /// What is read of one connection, and what lies in the buffers of the two sockets.
    const MOST: usize = (16 + 16) << 20;
    let connack = [0x20, 2, 0, 0];
    let servers: [(&str, &[u8], &[u8]); 5] = [
        ("zeros", &[], &[0; 4096]),
        ("letters", &[], &[b'a'; 4096]),
        // Accepted at first, and then pings that nobody asked for, or messages.
        ("pings", &connack, &[0xd0, 0].repeat(2048)),
        ("messages", &connack, &[0x31, 8, 0, 1, b't', 1, 2, 3, 4, 5].repeat(400)),
        // One packet that is announced with 268,435,455 bytes.
        ("a giant", &[0x20, 2, 0, 0, 0x30, 0xff, 0xff, 0xff, 0x7f, 0, 1], &[b'a'; 4096]),
    ];
    join_all(servers.map(async |(name, beginning, endless)| {
        let most_sent = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&most_sent);
        let (beginning, endless) = (beginning.to_vec(), endless.to_vec());
        let port = server(move |mut stream| {
            let (counter, beginning, endless) = (Arc::clone(&counter), beginning.clone(), endless.clone());
            async move {
                let mut request = [0; 1024];
                let _read = stream.read(&mut request).await;
                let _written = stream.write_all(&beginning).await;
                let mut sent = 0;
                while stream.write_all(&endless).await.is_ok() {
                    sent += endless.len();
                    counter.fetch_max(sent, Ordering::Relaxed);
                }
            }
        })
        .await;
        let report = look(&format!("127.0.0.1:{port}"), &patient(3)).await;
        let sent = most_sent.load(Ordering::Relaxed);
        assert!(sent < MOST, "{name}: {sent} bytes were read of one connection");
        let is_broker = report.outcome == Outcome::Broker;
        assert_eq!(is_broker, beginning_is_connack(name), "{name}: {:?}", report.outcome);
    }))
    .await;
}

fn beginning_is_connack(name: &str) -> bool {
    ["pings", "messages", "a giant"].contains(&name)
}

/// Forwards to a port, and closes after so many bytes of the answers.
async fn cut_after(port: u16, bytes: usize) -> u16 {
    server(move |mut client| async move {
        let Ok(mut broker) = TcpStream::connect(("127.0.0.1", port)).await else { return };
        let (mut from_client, mut to_client) = client.split();
        let (from_broker, mut to_broker) = broker.split();
        let mut cut = from_broker.take(bytes as u64);
        tokio::select! {
            _ = tokio::io::copy(&mut from_client, &mut to_broker) => (),
            _ = tokio::io::copy(&mut cut, &mut to_client) => (),
        }
    })
    .await
}

#[tokio::test]
async fn a_broker_that_closes_at_any_point_gives_a_report() {
    let product = Product {
        level_5: Ok("22000a <id> 210014"),
        assigned_id: "auto-1",
        a_plus: Does::Takes,
        malformed: Does::Takes,
        sys_topics: &[("$SYS/broker/version", "x")],
        ..Product::plain()
    };
    let port = product.serve().await;
    let whole = look(&format!("127.0.0.1:{port}"), &patient(10)).await;
    assert_eq!(whole.outcome, Outcome::Broker);
    // At once: each of these looks mostly waits.
    join_all((0..40).map(async |bytes| {
        let report = look(&format!("127.0.0.1:{}", cut_after(port, bytes).await), &patient(10)).await;
        match &report.outcome {
            Outcome::Broker => assert!(bytes >= 4, "{bytes}"),
            Outcome::NotMqtt { .. } => assert!(bytes < 4, "{bytes}: {:?}", report.outcome),
            Outcome::Unreachable { reason } => panic!("{bytes}: {reason}"),
        }
        // Whatever was not seen is not made up.
        let accepted = |reaction: &Reaction| reaction.is_accepted();
        if let Some(part) = &report.mqtt_3_1_1
            && bytes < 9
        {
            assert!(part.flows.as_ref().is_none_or(|flows| !accepted(&flows.qos2_in)), "{bytes}: {part:?}");
            assert!(part.oddities.values().all(|reaction| !accepted(reaction)), "{bytes}: {:?}", part.oddities);
        }
    }))
    .await;
}

#[tokio::test]
async fn what_a_hostile_connack_says_is_kept_short() {
    // 2 kB of properties, with a reason string in it that goes beyond its end.
    let mut body = vec![0, 0x87, 0xd0, 0x0f, 0x1f, 0xff, 0xff];
    body.extend([b'x'; 2001]);
    let mut answer = vec![0x20, 0xd8, 0x0f];
    answer.extend(body);
    let answer: &'static [u8] = answer.leak();
    let report = look(&format!("127.0.0.1:{}", says(answer, false).await), &patient(10)).await;
    assert_eq!(report.outcome, Outcome::Broker);
    let Some(Answer::Refused(connack)) = report.mqtt_5.map(|part| part.anonymous) else { panic!("refused") };
    assert_eq!((connack.code, connack.reason.as_deref(), connack.bytes.len()), (0x87, None, 1024));
}

#[tokio::test]
async fn a_web_server_without_mqtt_is_said_to_be_one() {
    let not_found = says(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", true).await;
    let report = look(&format!("ws://127.0.0.1:{not_found}"), &patient(10)).await;
    let Outcome::Unreachable { reason } = &report.outcome else { panic!("{:?}", report.outcome) };
    assert!(reason.contains("no WebSocket (the server answers with HTTP status 404"), "{reason}");
}

#[tokio::test]
async fn the_time_for_a_target_ends_and_what_was_seen_is_kept() {
    // Greets as a broker, and says nothing more.
    let port = server(|mut stream| async move {
        let mut request = [0; 1024];
        let _read = stream.read(&mut request).await;
        let _written = stream.write_all(&[0x20, 2, 0, 0]).await;
        while stream.read(&mut request).await.is_ok_and(|read| read > 0) {}
    })
    .await;
    let report = look(&format!("127.0.0.1:{port}"), &patient(1)).await;
    assert_eq!(report.outcome, Outcome::Broker);
    assert_eq!(report.incomplete.as_deref(), Some("the time of 1 s was over"));
    assert!(report.mqtt_3_1_1.is_some_and(|part| part.anonymous.is_accepted()));
}

//! Servers that are none, or mean no good: a reason within the time, and never more memory than it takes.

use crate::server::{Authority, Server, limits, look_at, serve};
use mqttinfo::{report::TlsReport, tls::Limits};
use std::{
    io,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const LIMITS: Limits = Limits { attempt: Duration::from_millis(700), total: Duration::from_millis(1500), at_once: 4 };

async fn error_of(server: &Server) -> (String, TlsReport) {
    let authority = Authority::new("a");
    let began = Instant::now();
    let report = look_at(server, "localhost", &authority.trusted(), &LIMITS).await;
    assert!(began.elapsed() < LIMITS.total + Duration::from_millis(500), "{:?}", began.elapsed());
    (report.error.clone().unwrap_or_default(), report)
}

async fn drain(stream: &mut TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}

#[tokio::test]
async fn who_speaks_something_else_is_told_so() {
    let server = serve(|mut stream, _| async move {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await?;
        drain(&mut stream).await
    })
    .await;
    let (error, report) = error_of(&server).await;
    assert_eq!(error, "the server speaks no TLS: it answers with HTTP");
    assert!(report.versions.is_empty() && report.suites.is_empty() && report.chain.is_empty());
    assert_eq!(report.client_certificate, None);
    assert_eq!(server.connections.load(Ordering::SeqCst), 1, "one try is enough");

    let server = serve(|mut stream, _| async move {
        stream.write_all(&[0x20, 2, 0, 1]).await?;
        drain(&mut stream).await
    })
    .await;
    assert_eq!(error_of(&server).await.0, "the server speaks no TLS: it answers with a CONNACK of MQTT");

    let server = serve(|mut stream, _| async move {
        stream.write_all(b"220 smtp.example \x1b[31m ESMTP\r\n").await?;
        drain(&mut stream).await
    })
    .await;
    let (error, _) = error_of(&server).await;
    assert!(error.starts_with("the server speaks no TLS: it answers with the bytes 3232302073"), "{error}");
    assert!(!error.contains('\x1b'));
}

#[tokio::test]
async fn who_closes_is_tried_with_old_versions_too() {
    let server = serve(|_, _| async { Ok(()) }).await;
    let (error, report) = error_of(&server).await;
    assert!(error.contains("closed the connection"), "{error}");
    assert_eq!(report.versions.values().filter(|spoken| **spoken).count(), 0);
    assert_eq!(report.versions.len(), 4);

    let server = serve(|mut stream, _| async move {
        let _ = stream.read(&mut [0; 64]).await?;
        Ok(())
    })
    .await;
    assert!(error_of(&server).await.0.contains("closed the connection"));
}

#[tokio::test]
async fn who_is_silent_or_slow_is_given_up() {
    let server = serve(|mut stream, _| async move { drain(&mut stream).await }).await;
    let (error, report) = error_of(&server).await;
    assert_eq!(error, "the server did not finish the handshake in time");
    assert!(report.versions.is_empty());
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);

    // A byte at a time, of what could become a record.
    let server = serve(|mut stream, _| async move {
        for byte in [22, 3, 3, 0x40, 0, 2, 0, 0x3F, 0xFC].into_iter().chain(core::iter::repeat(3)) {
            stream.write_all(&[byte]).await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    })
    .await;
    assert_eq!(error_of(&server).await.0, "the server did not finish the handshake in time");
}

#[tokio::test]
async fn who_is_slow_only_later_does_not_hold_up_the_rest() {
    // Refuses the first handshake, and never answers another.
    let server = serve(|mut stream, count| async move {
        if count.fetch_add(1, Ordering::SeqCst) == 0 {
            let _ = stream.read(&mut [0; 64]).await?;
            return stream.write_all(&[21, 3, 1, 0, 2, 2, 40]).await;
        }
        drain(&mut stream).await
    })
    .await;
    let (error, report) = error_of(&server).await;
    assert_eq!(error, "not all was looked at: the server did not finish the handshake in time");
    assert!(!report.versions.values().any(|spoken| *spoken), "silence is no version");
    assert!(report.versions.is_empty(), "nor the absence of one: {report:?}");
}

#[tokio::test]
async fn endless_bytes_come_to_an_end() {
    // Garbage; records of a handshake; warnings; application data.
    for piece in [
        &[0xA5_u8; 64][..],
        &[22, 3, 3, 0, 1, 2],
        &[21, 3, 3, 0, 2, 1, 112],
        &[23, 3, 3, 0, 2, 0, 0],
        &[22, 3, 1, 0, 0],
    ] {
        let piece: &'static [u8] = Box::leak(piece.repeat(1000).into());
        static PIECE: std::sync::Mutex<&'static [u8]> = std::sync::Mutex::new(&[]);
        *PIECE.lock().unwrap() = piece;
        let server = serve(|mut stream, _| async move {
            let piece = *PIECE.lock().unwrap();
            loop {
                stream.write_all(piece).await?;
            }
        })
        .await;
        let (error, report) = error_of(&server).await;
        assert!(!error.is_empty(), "{:x?}", &piece[..8]);
        assert!(!report.versions.values().any(|spoken| *spoken));
    }
}

#[tokio::test]
async fn random_answers_never_make_it_panic() {
    let authority = Authority::new("a");
    let settings = authority.trusted();
    for seed in 0..40 {
        static SEED: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        SEED.store(seed, Ordering::SeqCst);
        let server = serve(|mut stream, _| async move {
            let _ = stream.read(&mut [0; 2048]).await?;
            let mut state = SEED.load(Ordering::SeqCst).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
            let mut answer = vec![22, 3, 3, 0, 80, 2, 0, 0, 76, 3, 3];
            answer.extend(
                core::iter::repeat_with(|| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    state.to_be_bytes()[0]
                })
                .take(100),
            );
            answer[43] = 0;
            stream.write_all(&answer).await
        })
        .await;
        let report = look_at(&server, "localhost", &settings, &limits()).await;
        assert!(report.error.is_some() || !report.suites.is_empty(), "{report:?}");
    }
}

#[tokio::test]
async fn where_nobody_listens_there_is_no_connection() {
    let server = serve(|_, _| async { Ok(()) }).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (error, _) = error_of(&Server { port: free, ..server }).await;
    assert!(error.starts_with("no connection could be made: "), "{error}");
}

#[tokio::test]
async fn who_chooses_what_was_not_offered_is_not_asked_for_ever() {
    let server = serve(|mut stream, _| async move {
        let _ = stream.read(&mut [0; 2048]).await?;
        let mut answer = vec![22, 3, 3, 0, 42, 2, 0, 0, 38, 3, 3];
        answer.extend([0x5A; 32]);
        answer.extend([0, 0x00, 0x2F, 0]);
        stream.write_all(&answer).await
    })
    .await;
    let (_, report) = error_of(&server).await;
    assert_eq!(report.suites, ["TLS_RSA_WITH_AES_128_CBC_SHA"]);
    let connections = server.connections.load(Ordering::SeqCst);
    assert!(connections < 15, "{connections} connections");
}

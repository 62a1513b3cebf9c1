//! Accepts connections, with TLS or without, and gives what is asked over them to the router.

use super::{Peer, tls};
use axum::{Router, body::Body, http::Request};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use rustls::ServerConfig;
use std::{convert::Infallible, future::Future, io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

/// Who connects has this long for the handshake of TLS, and again for the head of each request.
const HEAD: Duration = Duration::from_secs(10);
/// What is under way when the server stops has this long.
const FAREWELL: Duration = Duration::from_secs(10);
/// Connections at a time; more of them wait.
const CONNECTIONS: usize = 1024;
/// A pause when the system has no room for another connection.
const NO_ROOM: Duration = Duration::from_millis(100);

/// Serves until `stop` is ready; what is under way then is brought to its end.
///
/// # Errors
///
/// If `listener` has no address: without TLS it must be of this machine alone, unless `clear_on_a_network`.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    clear_on_a_network: bool,
    router: Router,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    if tls.is_none() && !clear_on_a_network && !address.ip().to_canonical().is_loopback() {
        return Err(io::Error::other(format!(
            "without TLS tokens would go over the network in clear at {address}: give a certificate and a key, or listen on 127.0.0.1"
        )));
    }
    let acceptor = tls.map(TlsAcceptor::from);
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = async {
            let permit = Arc::clone(&connections).acquire_owned().await.map_err(io::Error::other)?;
            listener.accept().await.map(|(stream, peer)| (permit, stream, peer))
        };
        let (permit, stream, address) = tokio::select! {
            () = &mut stop => break,
            accepted = accepted => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(NO_ROOM).await;
                    continue;
                }
            },
        };
        let (router, acceptor, watcher) = (router.clone(), acceptor.clone(), graceful.watcher());
        tokio::spawn(async move {
            let _permit = permit;
            // Small answers are not to wait for each other; a stream that refuses it is only slower.
            let _ = stream.set_nodelay(true);
            let Some((stream, certificate)) = handshake(acceptor, stream).await else { return };
            let peer = Peer { address, certificate };
            let connection =
                connection_builder().serve_connection(TokioIo::new(stream), service(router, peer)).into_owned();
            // What goes wrong on a connection is the other side's, and it knows.
            let _ = watcher.watch(connection).await;
        });
    }
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = sleep(FAREWELL) => tracing::info!("some connections were still open and are closed"),
    }
    Ok(())
}

fn connection_builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(64 << 10);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(32 << 10)
        .max_concurrent_streams(32)
        .keep_alive_interval(HEAD)
        .keep_alive_timeout(HEAD);
    builder
}

type Service = TowerToHyperService<
    tower::util::BoxCloneSyncService<Request<hyper::body::Incoming>, axum::response::Response, Infallible>,
>;

fn service(router: Router, peer: Peer) -> Service {
    let service = router.map_request(move |request: Request<hyper::body::Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer.clone());
        request
    });
    TowerToHyperService::new(tower::util::BoxCloneSyncService::new(service))
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

async fn handshake(acceptor: Option<TlsAcceptor>, stream: TcpStream) -> Option<(Box<dyn Stream>, Option<String>)> {
    let Some(acceptor) = acceptor else { return Some((Box::new(stream), None)) };
    // Whoever is too slow, or speaks no TLS, gets no answer.
    let stream = timeout(HEAD, acceptor.accept(stream)).await.ok()?.ok()?;
    let certificates = stream.get_ref().1.peer_certificates();
    let name = certificates.and_then(|all| all.first()).and_then(tls::common_name);
    Some((Box::new(stream), name))
}

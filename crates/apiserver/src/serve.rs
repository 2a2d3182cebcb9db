//! Connections: TLS with optional client certificates, HTTP/1.1 and HTTP/2 on one port.

use crate::authn;
use crate::chain::{self, Caller};
use crate::server::ApiServer;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tricorn_meta::UserInfo;

/// A TLS handshake takes at most this long.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// The head of an HTTP/1 request takes at most this long.
const HEADER_DEADLINE: Duration = Duration::from_secs(30);
/// Requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 1000;
/// All headers of a request together.
const MAX_HEADER_BYTES: u32 = 1 << 20;
const HTTP1_BUFFER_BYTES: usize = 1 << 20;
/// An HTTP/2 peer that says nothing for so long is asked whether it is there.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_DEADLINE: Duration = Duration::from_secs(15);
/// Pause after accepting failed, as when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A listening server. Dropping it closes the port and all connections; [`Listening::shutdown`] lets them finish first.
pub struct Listening {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Listening {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more, lets requests finish for at most the configured time, closes.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ApiServer {
    /// Serves on `listener` until the answer is shut down or dropped. The TLS settings ask for client certificates (optional) and offer `h2` and `http/1.1`.
    pub fn serve(&self, listener: TcpListener, tls: Arc<rustls::ServerConfig>) -> io::Result<Listening> {
        let address = listener.local_addr()?;
        let stop = self.server.stop.child_token();
        let task = tokio::spawn(accept(self.clone(), listener, TlsAcceptor::from(tls), stop.clone()));
        Ok(Listening { address, stop, task })
    }
}

async fn accept(api: ApiServer, listener: TcpListener, tls: TlsAcceptor, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(connection(api.clone(), stream, peer, tls.clone(), stop.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = stop.cancelled() => break,
        }
    }
    drop(listener);
    let finish = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(api.server.config.drain_timeout, finish).await.is_err() {
        tracing::info!("connections that would not finish are closed");
    }
}

async fn connection(api: ApiServer, stream: TcpStream, peer: SocketAddr, tls: TlsAcceptor, stop: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE_DEADLINE, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "TLS handshake failed");
            return;
        }
        Err(_) => return,
    };
    let user = match client(&stream) {
        Ok(user) => user,
        Err(error) => {
            tracing::debug!(%peer, %error, "the client certificate names nobody");
            return;
        }
    };
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (server, caller) = (api.server.clone(), Caller::Remote(user.clone()));
        async move { Ok::<_, Infallible>(chain::handle(server, request.map(Body::new), caller).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_DEADLINE).max_buf_size(HTTP1_BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_DEADLINE);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "a connection broke");
    }
}

/// The user that the client's certificate names; rustls has checked that the certificate is good.
fn client(stream: &tokio_rustls::server::TlsStream<TcpStream>) -> Result<Option<Arc<UserInfo>>, tricorn_meta::Status> {
    let (_, session) = stream.get_ref();
    match session.peer_certificates().and_then(|chain| chain.first()) {
        Some(certificate) => authn::certificate_user(certificate).map(|user| Some(Arc::new(user))),
        None => Ok(None),
    }
}

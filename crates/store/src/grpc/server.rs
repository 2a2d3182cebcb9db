//! The answering side.

use super::{CLUSTER, CONNECTION_WINDOW, MESSAGE_BYTES, SILENCE, STREAM_WINDOW, written};
use crate::handler::Handler;
use futures::StreamExt;
use futures::stream::BoxStream;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};
use tricorn_proto::peer;
use tricorn_proto::peer::peer_server::{Peer, PeerServer};

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// A running server.
pub(crate) struct Served {
    pub tasks: Vec<JoinHandle<()>>,
}

/// Serves the other members until `stop`.
pub(crate) fn serve(
    listeners: Vec<TcpListener>,
    tls: Option<&Arc<rustls::ServerConfig>>,
    handler: Arc<Handler>,
    stop: &CancellationToken,
) -> Served {
    if listeners.is_empty() {
        return Served { tasks: Vec::new() };
    }
    let acceptor = tls.map(|config| {
        let mut config = rustls::ServerConfig::clone(config);
        config.alpn_protocols = vec![b"h2".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    });
    let (ready, connections) = mpsc::channel::<io::Result<Connection>>(64);
    let mut tasks: Vec<JoinHandle<()>> =
        listeners.into_iter().map(|listener| tokio::spawn(accept(listener, acceptor.clone(), ready.clone(), stop.clone()))).collect();
    let cluster = written(handler.cluster_id());
    let service = PeerServer::new(Service { handler, cluster, warned: AtomicBool::new(false) })
        .max_decoding_message_size(MESSAGE_BYTES)
        .max_encoding_message_size(MESSAGE_BYTES);
    let server = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(SILENCE))
        .http2_keepalive_timeout(Some(SILENCE))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(Some(65_536))
        .add_service(service);
    let stop = stop.clone();
    tasks.push(tokio::spawn(async move {
        // Streams of a leader never end by themselves: connections are dropped, not drained.
        tokio::select! {
            () = stop.cancelled() => {}
            result = server.serve_with_incoming(ReceiverStream::new(connections)) => {
                if let Err(error) = result {
                    tracing::error!(%error, "serving peers failed");
                }
            }
        }
    }));
    Served { tasks }
}

async fn accept(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    ready: mpsc::Sender<io::Result<Connection>>,
    stop: CancellationToken,
) {
    let mut handshakes = JoinSet::new();
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => return,
            Some(_) = handshakes.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a peer connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        handshakes.spawn(greet(stream, acceptor.clone(), ready.clone(), stop.clone()));
    }
}

async fn greet(stream: TcpStream, acceptor: Option<TlsAcceptor>, ready: mpsc::Sender<io::Result<Connection>>, stop: CancellationToken) {
    // Latency only.
    let _slower = stream.set_nodelay(true);
    let wire = match acceptor {
        None => Wire::Plain(stream),
        Some(acceptor) => match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => Wire::Secure(Box::new(stream)),
            Ok(Err(error)) => {
                tracing::warn!(%error, "a peer's TLS handshake failed");
                return;
            }
            Err(_) => return,
        },
    };
    // Closed only when the server stops.
    let _stopping = ready.send(Ok(Connection { wire, stopped: Box::pin(stop.cancelled_owned()) })).await;
}

enum Wire {
    Plain(TcpStream),
    Secure(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}

/// A connection that breaks when the member stops: its streams have no end of their own.
struct Connection {
    wire: Wire,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Connected for Connection {
    type ConnectInfo = ();
    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.stopped.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        match &mut this.wire {
            Wire::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Wire::Secure(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().wire {
            Wire::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Wire::Secure(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Plain(stream) => Pin::new(stream).poll_flush(context),
            Wire::Secure(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Wire::Secure(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

struct Service {
    handler: Arc<Handler>,
    /// This member's cluster, as a request must name it.
    cluster: Option<MetadataValue<Ascii>>,
    /// A stranger has been heard of.
    warned: AtomicBool,
}

impl Service {
    /// The request's message, if its sender is of this cluster: a member that was forgotten, or is configured wrongly, must neither vote
    /// nor be heard here.
    fn ours<T>(&self, request: Request<T>) -> Result<T, Status> {
        let told = request.metadata().get(CLUSTER);
        if told.is_some() && told == self.cluster.as_ref() {
            return Ok(request.into_inner());
        }
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(theirs = ?told, ours = ?self.cluster, "refusing a member of another cluster");
        }
        Err(Status::failed_precondition("etcdserver: cluster ID mismatch"))
    }
}

fn internal(error: impl std::fmt::Display) -> Status {
    Status::internal(error.to_string())
}

#[tonic::async_trait]
impl Peer for Service {
    type AppendStream = BoxStream<'static, Result<peer::AppendReply, Status>>;

    async fn append(&self, request: Request<Streaming<peer::AppendRequest>>) -> Result<Response<Self::AppendStream>, Status> {
        let requests = self.ours(request)?.scan((), |(), request| alive(request));
        let replies = self.handler.append(requests.boxed()).map(|reply| reply.map_err(internal));
        Ok(Response::new(replies.boxed()))
    }

    async fn ask_vote(&self, request: Request<peer::VoteRequest>) -> Result<Response<peer::VoteReply>, Status> {
        Ok(Response::new(self.handler.vote(self.ours(request)?).await.map_err(internal)?))
    }

    async fn transfer(&self, request: Request<peer::TransferRequest>) -> Result<Response<peer::TransferReply>, Status> {
        Ok(Response::new(self.handler.transfer(self.ours(request)?).await.map_err(internal)?))
    }

    async fn install_snapshot(&self, request: Request<Streaming<peer::SnapshotChunk>>) -> Result<Response<peer::SnapshotReply>, Status> {
        let chunks = self.ours(request)?.scan((), |(), chunk| alive(chunk));
        Ok(Response::new(self.handler.install(chunks.boxed()).await.map_err(internal)?))
    }

    async fn forward(&self, request: Request<peer::ForwardRequest>) -> Result<Response<peer::Answer>, Status> {
        Ok(Response::new(self.handler.forward(self.ours(request)?).await))
    }

    async fn read_index(&self, request: Request<peer::ReadIndexRequest>) -> Result<Response<peer::ReadIndexReply>, Status> {
        self.ours(request)?;
        Ok(Response::new(self.handler.read_index().await))
    }

    async fn keep_alive(&self, request: Request<peer::KeepAliveRequest>) -> Result<Response<peer::LeaseReply>, Status> {
        Ok(Response::new(self.handler.keep_alive(self.ours(request)?.lease).await))
    }

    async fn time_left(&self, request: Request<peer::TimeLeftRequest>) -> Result<Response<peer::LeaseReply>, Status> {
        Ok(Response::new(self.handler.time_left(self.ours(request)?.lease)))
    }

    async fn change(&self, request: Request<peer::ChangeRequest>) -> Result<Response<peer::ChangeReply>, Status> {
        Ok(Response::new(self.handler.change(self.ours(request)?).await))
    }

    /// Asked by those who are of no cluster yet.
    async fn group(&self, _request: Request<peer::GroupRequest>) -> Result<Response<peer::GroupReply>, Status> {
        Ok(Response::new(self.handler.group()))
    }
}

/// Ends a stream at its first error: the sender has gone.
fn alive<T>(item: Result<T, Status>) -> std::future::Ready<Option<T>> {
    std::future::ready(item.ok())
}

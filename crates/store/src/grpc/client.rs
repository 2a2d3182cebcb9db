//! The calling side.

use super::{CLUSTER, CONNECTION_WINDOW, MESSAGE_BYTES, SILENCE, STREAM_WINDOW, written};
use crate::link::{Lane, Link, LinkError, LinkResult, Transport};
use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::error::Error as StdError;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tricorn_proto::peer;
use tricorn_proto::peer::peer_client::PeerClient;

const CONNECT: Duration = Duration::from_secs(2);

/// Links over TCP.
pub(crate) struct GrpcTransport {
    tls: Option<Arc<rustls::ClientConfig>>,
    cluster: Stamp,
}

/// Puts this member's cluster on every request, once it is known.
#[derive(Clone, Default)]
struct Stamp(Arc<OnceLock<MetadataValue<Ascii>>>);

impl Interceptor for Stamp {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(cluster) = self.0.get() {
            request.metadata_mut().insert(CLUSTER, cluster.clone());
        }
        Ok(request)
    }
}

type Client = PeerClient<InterceptedService<Channel, Stamp>>;

impl GrpcTransport {
    pub fn new(tls: Option<&Arc<rustls::ClientConfig>>) -> Self {
        let tls = tls.map(|config| {
            let mut config = rustls::ClientConfig::clone(config);
            config.alpn_protocols = vec![b"h2".to_vec()];
            Arc::new(config)
        });
        Self { tls, cluster: Stamp::default() }
    }
}

impl Transport for GrpcTransport {
    fn belongs_to(&self, cluster_id: u64) {
        if let Some(written) = written(cluster_id) {
            // Said once: a member is of one cluster.
            let _before = self.cluster.0.set(written);
        }
    }

    fn link(&self, urls: &[String], lane: Lane) -> Arc<dyn Link> {
        let channels = urls.iter().filter_map(|url| self.channel(url, lane)).map(|channel| self.client(channel)).collect();
        Arc::new(GrpcLink { clients: channels, turn: AtomicUsize::new(0) })
    }
}

impl GrpcTransport {
    fn client(&self, channel: Channel) -> Client {
        let client = PeerClient::with_interceptor(channel, self.cluster.clone());
        client.max_decoding_message_size(MESSAGE_BYTES).max_encoding_message_size(MESSAGE_BYTES)
    }

    fn channel(&self, url: &str, lane: Lane) -> Option<Channel> {
        let target: Uri = match url.parse() {
            Ok(target) => target,
            Err(error) => {
                tracing::error!(url, %error, "not a peer URL");
                return None;
            }
        };
        // TLS is done by the connector; to tonic every connection is a plain one.
        let plain = format!("http://{}", target.authority().map(ToString::to_string).unwrap_or_default());
        let endpoint = Endpoint::from_shared(plain).ok()?;
        let endpoint = endpoint
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(SILENCE / 3)
            .keep_alive_timeout(SILENCE)
            .keep_alive_while_idle(lane != Lane::Bulk)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        let tls = if target.scheme_str() == Some("https") { self.tls.clone() } else { None };
        let secure = target.scheme_str() == Some("https");
        Some(endpoint.connect_with_connector_lazy(tower::service_fn(move |uri: Uri| {
            let tls = tls.clone();
            async move { connect(&uri, secure, tls).await.map(TokioIo::new) }
        })))
    }
}

async fn connect(uri: &Uri, secure: bool, tls: Option<Arc<rustls::ClientConfig>>) -> io::Result<Wire> {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = uri.port_u16().unwrap_or(2380);
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    stream.set_nodelay(true)?;
    if !secure {
        return Ok(Wire::Plain(stream));
    }
    let tls = tls.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "an https peer URL, but no peer TLS is configured"))?;
    let name = ServerName::try_from(host).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    Ok(Wire::Secure(Box::new(TlsConnector::from(tls).connect(name, stream).await?)))
}

/// A connection, secured or not.
pub(super) enum Wire {
    Plain(TcpStream),
    Secure(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Secure(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Secure(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Secure(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Secure(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// A boxed stream with a name of its own: without one the compiler cannot follow its lifetime through a call.
struct Outgoing<T>(BoxStream<'static, T>);

impl<T> Stream for Outgoing<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.as_mut().poll_next(context)
    }
}

/// A link to one member, at any of its URLs.
struct GrpcLink {
    clients: Vec<Client>,
    turn: AtomicUsize,
}

fn failed(status: &Status) -> LinkError {
    let mut unsent = false;
    let mut cause: Option<&(dyn StdError + 'static)> = status.source();
    while let Some(error) = cause {
        unsent |= error.is::<tonic::ConnectError>();
        cause = error.source();
    }
    LinkError { unsent, late: status.code() == Code::DeadlineExceeded, reason: status.message().to_owned() }
}

impl GrpcLink {
    fn client(&self) -> LinkResult<Client> {
        let turn = self.turn.load(Ordering::Relaxed);
        let client = self.clients.get(turn % self.clients.len().max(1));
        client.cloned().ok_or_else(|| LinkError { unsent: true, late: false, reason: "the member has no usable peer URL".into() })
    }

    /// Takes the answer, or remembers to try the next URL.
    fn settle<T>(&self, result: Result<tonic::Response<T>, Status>) -> LinkResult<T> {
        result.map(tonic::Response::into_inner).map_err(|status| {
            let error = failed(&status);
            if error.unsent {
                self.turn.fetch_add(1, Ordering::Relaxed);
            }
            error
        })
    }

    async fn within<T>(&self, within: Duration, call: impl Future<Output = Result<tonic::Response<T>, Status>>) -> LinkResult<T> {
        match tokio::time::timeout(within, call).await {
            Ok(result) => self.settle(result),
            Err(_) => Err(LinkError { unsent: false, late: true, reason: format!("no answer within {within:?}") }),
        }
    }
}

#[async_trait]
impl Link for GrpcLink {
    async fn append(
        &self,
        requests: BoxStream<'static, peer::AppendRequest>,
    ) -> LinkResult<BoxStream<'static, LinkResult<peer::AppendReply>>> {
        let replies = self.settle(self.client()?.append(Request::new(Outgoing(requests))).await)?;
        Ok(replies.map(|reply| reply.map_err(|status| failed(&status))).boxed())
    }

    async fn vote(&self, request: peer::VoteRequest, within: Duration) -> LinkResult<peer::VoteReply> {
        self.within(within, self.client()?.ask_vote(request)).await
    }

    async fn transfer(&self, request: peer::TransferRequest, within: Duration) -> LinkResult<peer::TransferReply> {
        self.within(within, self.client()?.transfer(request)).await
    }

    async fn install(&self, chunks: BoxStream<'static, peer::SnapshotChunk>) -> LinkResult<peer::SnapshotReply> {
        self.settle(self.client()?.install_snapshot(Request::new(Outgoing(chunks))).await)
    }

    async fn forward(&self, request: peer::ForwardRequest, within: Duration) -> LinkResult<peer::Answer> {
        self.within(within, self.client()?.forward(request)).await
    }

    async fn read_index(&self, within: Duration) -> LinkResult<peer::ReadIndexReply> {
        self.within(within, self.client()?.read_index(peer::ReadIndexRequest {})).await
    }

    async fn keep_alive(&self, lease: i64, within: Duration) -> LinkResult<peer::LeaseReply> {
        self.within(within, self.client()?.keep_alive(peer::KeepAliveRequest { lease })).await
    }

    async fn time_left(&self, lease: i64, within: Duration) -> LinkResult<peer::LeaseReply> {
        self.within(within, self.client()?.time_left(peer::TimeLeftRequest { lease })).await
    }

    async fn change(&self, request: peer::ChangeRequest, within: Duration) -> LinkResult<peer::ChangeReply> {
        self.within(within, self.client()?.change(request)).await
    }

    async fn group(&self, within: Duration) -> LinkResult<peer::GroupReply> {
        self.within(within, self.client()?.group(peer::GroupRequest {})).await
    }
}

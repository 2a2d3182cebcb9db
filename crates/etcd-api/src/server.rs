//! The listeners: every address takes gRPC and HTTP/1.1, with or without TLS.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tower::ServiceExt;
use tricorn_proto::etcdserverpb::auth_server::AuthServer;
use tricorn_proto::etcdserverpb::cluster_server::ClusterServer;
use tricorn_proto::etcdserverpb::kv_server::KvServer;
use tricorn_proto::etcdserverpb::lease_server::LeaseServer;
use tricorn_proto::etcdserverpb::maintenance_server::MaintenanceServer;
use tricorn_proto::tricornpb::quota_server::QuotaServer;
use tricorn_proto::v3electionpb::election_server::ElectionServer;
use tricorn_proto::v3lockpb::lock_server::LockServer;
use tricorn_store::Store;

use crate::authority::Mended;
use crate::config::EtcdApiConfig;
use crate::counted::Counted;
use crate::error::ServeError;
use crate::gateway;
use crate::http::{Endpoints, routes};
use crate::metrics::Metrics;
use crate::outbox::outbox;
use crate::shared::{ClientName, Shared};
use crate::unary::{Call, Either};
use crate::watch::WatchDoor;

/// A client that has not finished its TLS handshake after this long is let go.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Request bytes beyond the largest request: what the message around it takes; etcd's number.
const OVERHEAD_BYTES: usize = 512 << 10;
/// What a client may send on a stream before it must wait.
const WINDOW: u32 = 1 << 20;

/// The open door.
pub struct EtcdApi {
    /// The client addresses, with the ports that were taken.
    pub addresses: Vec<SocketAddr>,
    /// The addresses for health and metrics.
    pub metrics_addresses: Vec<SocketAddr>,
    tasks: JoinSet<()>,
    /// What calls have left behind.
    background: TaskTracker,
    drain: Duration,
}

impl EtcdApi {
    /// Waits until the shutdown token has been cancelled and open requests have ended or been cut off.
    pub async fn closed(mut self) {
        while self.tasks.join_next().await.is_some() {}
        self.background.close();
        if tokio::time::timeout(self.drain, self.background.wait()).await.is_err() {
            tracing::info!(tasks = self.background.len(), "leaving locks and elections to their leases");
        }
    }
}

/// Opens the door: listens at once, serves until `shutdown` is cancelled. Dropping what is returned cuts everybody off.
pub fn serve(store: Store, config: EtcdApiConfig, shutdown: CancellationToken) -> BoxFuture<'static, Result<EtcdApi, ServeError>> {
    Box::pin(open(store, config, shutdown))
}

async fn open(store: Store, config: EtcdApiConfig, shutdown: CancellationToken) -> Result<EtcdApi, ServeError> {
    let config = Arc::new(config);
    let shared =
        Shared { store, tokens: config.tokens.clone(), config: config.clone(), stop: shutdown.clone(), background: TaskTracker::new() };
    let metrics = Arc::new(Metrics::new());
    let endpoints = routes(Endpoints { shared: shared.clone(), metrics: metrics.clone() });
    let mut tasks = JoinSet::new();
    let (reporter, health) = tonic_health::server::health_reporter();
    tasks.spawn(report_health(shared.clone(), reporter));
    // tonic answers what it does not know by itself; ours tells gRPC and HTTP apart.
    let services = counting(grpc_routes(&shared).add_service(health).into_axum_router().reset_fallback(), metrics.clone());
    let gateway = gateway::routes(&services, largest_message(&config)).map_err(ServeError::Gateway)?;
    let clients = services.merge(gateway).merge(endpoints.clone());

    let tls = config.tls.as_ref().map(|tls| acceptor(tls));
    let connections = Arc::new(Semaphore::new(config.max_connections));
    let (mut addresses, mut metrics_addresses) = (Vec::new(), Vec::new());
    for (wanted, app, tls, bound) in config
        .listen
        .iter()
        .map(|address| (address, &clients, &tls, true))
        .chain(config.metrics_listen.iter().map(|address| (address, &endpoints, &None, false)))
    {
        let listen = |source| ServeError::Listen { address: *wanted, source };
        let listener = TcpListener::bind(wanted).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        if bound {
            addresses.push(address)
        } else {
            metrics_addresses.push(address)
        }
        let door = Door {
            app: app.clone(),
            short: bound.then(|| shared.clone()),
            tls: tls.clone(),
            config: config.clone(),
            metrics: metrics.clone(),
            connections: connections.clone(),
            shutdown: shutdown.clone(),
        };
        tasks.spawn(door.accept(listener));
    }
    tracing::info!(?addresses, tls = config.tls.is_some(), "ready to serve client requests");
    Ok(EtcdApi { addresses, metrics_addresses, tasks, background: shared.background, drain: config.drain })
}

fn largest_message(config: &EtcdApiConfig) -> usize {
    config.max_request_bytes + OVERHEAD_BYTES
}

fn grpc_routes(shared: &Shared) -> Routes {
    let largest = largest_message(&shared.config);
    Routes::new(KvServer::new(shared.clone()).max_decoding_message_size(largest))
        .add_service(WatchDoor::new(shared.clone()))
        .add_service(LeaseServer::new(shared.clone()))
        .add_service(ClusterServer::new(shared.clone()))
        .add_service(MaintenanceServer::new(shared.clone()))
        .add_service(QuotaServer::new(shared.clone()))
        .add_service(AuthServer::new(shared.clone()))
        .add_service(LockServer::new(shared.clone()))
        .add_service(ElectionServer::new(shared.clone()).max_decoding_message_size(largest))
}

fn acceptor(tls: &rustls::ServerConfig) -> TlsAcceptor {
    let mut tls = tls.clone();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(tls))
}

/// gRPC's health service says "serving" while there is a leader.
async fn report_health(shared: Shared, reporter: tonic_health::server::HealthReporter) {
    let mut leadership = shared.store.leadership();
    loop {
        let led = leadership.borrow_and_update().leader.is_some();
        reporter.set_service_status("", if led { ServingStatus::Serving } else { ServingStatus::NotServing }).await;
        tokio::select! {
            () = shared.stop.cancelled() => return,
            changed = leadership.changed() => if changed.is_err() { return },
        }
    }
}

/// Counts calls and their outcome. An error before the first message is in the headers; later ones are not seen here.
fn counting(app: Router, metrics: Arc<Metrics>) -> Router {
    app.layer(axum::middleware::from_fn(move |request: Request<Body>, next: axum::middleware::Next| {
        let metrics = metrics.clone();
        async move {
            let Some(method) = metrics.started(request.uri().path()) else { return next.run(request).await };
            let begun = Instant::now();
            let response = next.run(request).await;
            metrics.handled(method, grpc_code(&response), begun.elapsed());
            response
        }
    }))
}

fn grpc_code(response: &Response<Body>) -> usize {
    response.headers().get("grpc-status").and_then(|code| code.to_str().ok()?.parse().ok()).unwrap_or(0)
}

/// One address.
struct Door {
    app: Router,
    /// Calls may go the short way.
    short: Option<Shared>,
    tls: Option<TlsAcceptor>,
    config: Arc<EtcdApiConfig>,
    metrics: Arc<Metrics>,
    connections: Arc<Semaphore>,
    shutdown: CancellationToken,
}

impl Door {
    async fn accept(self, listener: TcpListener) {
        let door = Arc::new(self);
        let graceful = GracefulShutdown::new();
        let mut open = JoinSet::new();
        loop {
            while open.try_join_next().is_some() {}
            let Ok(permit) = door.connections.clone().acquire_owned().await else { break };
            let accepted = tokio::select! {
                () = door.shutdown.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    open.spawn(door.clone().serve(stream, graceful.watcher(), permit));
                }
                Err(error) => {
                    // Out of file descriptors, most likely: let some connections end first.
                    tracing::warn!(%error, "cannot accept a connection of an etcd client");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        drop(listener);
        if tokio::time::timeout(door.config.drain, graceful.shutdown()).await.is_err() {
            tracing::info!(connections = open.len(), "cutting off etcd clients that do not end");
        }
        open.shutdown().await;
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, watcher: hyper_util::server::graceful::Watcher, permit: OwnedSemaphorePermit) {
        let _open = permit;
        // Small answers must not wait for more to come.
        let _best_effort = stream.set_nodelay(true);
        match &self.tls {
            None => self.converse(Mended::new(stream), None, watcher).await,
            Some(acceptor) => match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let name = self.config.client_cert_auth.then(|| client_name(stream.get_ref().1)).flatten();
                    self.converse(stream, name, watcher).await;
                }
                Ok(Err(error)) => tracing::debug!(%error, "TLS handshake with an etcd client failed"),
                Err(_) => tracing::debug!("TLS handshake with an etcd client took too long"),
            },
        }
    }

    async fn converse<S>(self: &Arc<Self>, stream: S, name: Option<ClientName>, watcher: hyper_util::server::graceful::Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (stream, postman) = outbox(Counted::new(stream, self.metrics.clone()));
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HANDSHAKE);
        builder
            .http2()
            .timer(TokioTimer::new())
            // gRPC knows no date.
            .auto_date_header(false)
            .max_concurrent_streams(self.config.max_concurrent_streams)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW * 4)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20));
        let door = self.clone();
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            if let Some(name) = &name {
                request.extensions_mut().insert(name.clone());
            }
            let door = door.clone();
            async move { Ok::<_, Infallible>(door.answer(request).await) }
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        if let Err(error) = postman.serve(watcher.watch(connection)).await {
            tracing::trace!(%error, "an etcd client's connection ended");
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Either> {
        if let (Some(shared), Some(call)) = (&self.short, Call::of(&request)) {
            let method = self.metrics.started(request.uri().path());
            let begun = Instant::now();
            let (response, code) = call.answer(shared, request, largest_message(&self.config)).await;
            if let Some(method) = method {
                self.metrics.handled(method, code as usize, begun.elapsed());
            }
            return response.map(Either::Short);
        }
        let Ok(response) = self.app.clone().oneshot(request.map(Body::new)).await;
        response.map(Either::Long)
    }
}

/// Whom the client's certificate names. The certificate has been checked by now; one that cannot be read names nobody.
fn client_name(session: &rustls::ServerConnection) -> Option<ClientName> {
    let certificate = session.peer_certificates()?.first()?;
    let subject = tricorn_pki::subject(certificate).ok()?;
    Some(ClientName(subject.common_name.into()))
}

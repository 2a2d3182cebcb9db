//! Whether the proxy keeps up, on port 10256, and, for load balancers, whether this node has endpoints of a Service.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::services::ServicePort;

/// A change that is not in the kernel after so long makes the proxy unhealthy.
const PATIENCE: Duration = Duration::from_secs(60);
const MAX_CONNECTIONS: usize = 256;

/// What is known about the proxy's work.
#[derive(Debug, Default)]
struct State {
    synced: bool,
    waiting_since: Option<Instant>,
    /// Whether this node is on its way out, so that load balancers look elsewhere.
    leaving: bool,
}

/// Shared between the worker and those who ask.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health {
    state: Arc<Mutex<State>>,
}

impl Health {
    /// A change has come that is not in the kernel yet.
    pub(crate) fn waiting(&self) {
        if let Ok(mut state) = self.state.lock() {
            state.waiting_since.get_or_insert_with(Instant::now);
        }
    }

    /// Everything is in the kernel.
    pub(crate) fn synced(&self) {
        if let Ok(mut state) = self.state.lock() {
            state.synced = true;
            state.waiting_since = None;
        }
    }

    /// Whether the node is to be left by load balancers.
    pub(crate) fn leaving(&self, leaving: bool) {
        if let Ok(mut state) = self.state.lock() {
            state.leaving = leaving;
        }
    }

    fn live(&self) -> bool {
        self.state.lock().is_ok_and(|s| s.synced && s.waiting_since.is_none_or(|since| since.elapsed() < PATIENCE))
    }

    fn eligible(&self) -> bool {
        self.live() && self.state.lock().is_ok_and(|s| !s.leaving)
    }

    fn answer(&self, path: &str) -> (StatusCode, String) {
        let healthy = match path {
            "/healthz" => self.eligible(),
            "/livez" => self.live(),
            _ => return (StatusCode::NOT_FOUND, "404 page not found\n".to_owned()),
        };
        let body = serde_json::json!({ "nodeEligible": self.eligible(), "healthy": healthy }).to_string();
        (if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, body)
    }
}

type Answer = Arc<dyn Fn(&str) -> (StatusCode, String) + Send + Sync>;

/// Answers GET requests on `listener` until `stop`.
async fn serve(listener: TcpListener, answer: Answer, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        if connections.len() >= MAX_CONNECTIONS {
            continue;
        }
        let answer = answer.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let (status, body) = answer(request.uri().path());
            async move {
                let mut response = Response::new(Full::new(Bytes::from(body)));
                *response.status_mut() = status;
                let json = http::HeaderValue::from_static("application/json");
                response.headers_mut().insert(http::header::CONTENT_TYPE, json);
                Ok::<_, Infallible>(response)
            }
        });
        connections.spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(10))
                .serve_connection(TokioIo::new(stream), service);
            let _ = tokio::time::timeout(Duration::from_secs(60), connection).await;
        });
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|source| Error::Io { what: format!("listen on {address}"), source })
}

/// Serves /healthz and /livez on `address` until `stop`.
pub(crate) async fn serve_health(address: SocketAddr, health: Health, stop: CancellationToken) -> Result<()> {
    let listener = listen(address).await?;
    serve(listener, Arc::new(move |path| health.answer(path)), stop).await;
    Ok(())
}

/// A Service and its number of endpoints on this node, as the listener tells them.
type Told = Arc<Mutex<(String, usize)>>;

/// One listener for each health check node port.
#[derive(Debug, Default)]
pub(crate) struct NodePortChecks {
    running: BTreeMap<u16, (CancellationToken, Told)>,
    tasks: JoinSet<()>,
}

impl NodePortChecks {
    /// Makes the listeners those that `ports` ask for, with their current counts.
    pub(crate) async fn update(&mut self, ports: &[ServicePort], stop: &CancellationToken) {
        while self.tasks.try_join_next().is_some() {}
        let mut wanted: BTreeMap<u16, (String, usize)> = BTreeMap::new();
        for port in ports.iter().filter(|p| p.external_local) {
            if let Some(check) = port.health_check_node_port {
                let local = port.endpoints.iter().filter(|e| e.local && e.ready).count();
                let entry = wanted.entry(check).or_insert_with(|| (port.service.clone(), 0));
                entry.1 = entry.1.max(local);
            }
        }
        self.running.retain(|port, (token, _)| {
            let keep = wanted.contains_key(port);
            if !keep {
                token.cancel();
            }
            keep
        });
        for (port, state) in wanted {
            if let Some((_, shared)) = self.running.get(&port) {
                if let Ok(mut shared) = shared.lock() {
                    *shared = state;
                }
                continue;
            }
            match listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await {
                Ok(listener) => self.start(port, state, listener, stop),
                Err(error) => tracing::warn!(%error, "health check node port"),
            }
        }
    }

    fn start(&mut self, port: u16, state: (String, usize), listener: TcpListener, stop: &CancellationToken) {
        let (token, shared) = (stop.child_token(), Arc::new(Mutex::new(state)));
        let told = shared.clone();
        let answer = move |_: &str| {
            let (service, count) = told.lock().map(|s| s.clone()).unwrap_or_default();
            let (namespace, name) = service.split_once('/').unwrap_or(("", ""));
            let status = if count > 0 { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            let body = serde_json::json!({
                "service": { "namespace": namespace, "name": name },
                "localEndpoints": count,
                "serviceProxyHealthy": true,
            });
            (status, body.to_string())
        };
        self.tasks.spawn(serve(listener, Arc::new(answer), token.clone()));
        self.running.insert(port, (token, shared));
    }
}

//! The kubelet's own server: health, pods, logs, metrics, and streams into containers.

mod auth;
mod metrics;
mod reply;
mod stream;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use k8s_openapi::jiff::Timestamp;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tricorn_proto::cri;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::logs::{self, Wanted};
use crate::manager::{self, Pods};
use crate::pod::{labels, spec};
use reply::{Body, text};

const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
const HEADER_LIMIT: Duration = Duration::from_secs(30);
/// Parts of a log that are read ahead of the client.
const LOG_PARTS_LIMIT: usize = 32;

/// A bound server.
pub struct Server {
    listener: TcpListener,
    tls: TlsAcceptor,
    shared: Arc<Shared>,
}

/// What every request sees.
pub(crate) struct Shared {
    pub(crate) context: Arc<Context>,
    pub(crate) pods: Pods,
}

impl Server {
    /// Reads the certificates and binds the port on the node's address.
    pub async fn bind(context: Arc<Context>, pods: Pods) -> Result<Self> {
        let tls = auth::acceptor(&context.config)?;
        let address = (context.config.node_ip, context.config.port);
        let listener =
            TcpListener::bind(address).await.map_err(|error| Error::Invalid(format!("listen on {}:{}: {error}", address.0, address.1)))?;
        Ok(Self { listener, tls, shared: Arc::new(Shared { context, pods }) })
    }

    /// Serves until cancelled; open connections are cut then.
    pub async fn run(self, stop: CancellationToken) {
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (tls, shared, stop) = (self.tls.clone(), self.shared.clone(), stop.clone());
                    connections.spawn(async move {
                        tokio::select! {
                            () = stop.cancelled() => {}
                            () = serve(stream, tls, shared, stop.clone()) => {}
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "accept on the kubelet's port");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        connections.close();
        connections.wait().await;
    }
}

async fn serve(stream: TcpStream, tls: TlsAcceptor, shared: Arc<Shared>, stop: CancellationToken) {
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_LIMIT, tls.accept(stream)).await else { return };
    let peer = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).and_then(|certificate| auth::subject(certificate));
    let service = hyper::service::service_fn(move |request| {
        let (shared, peer, stop) = (shared.clone(), peer.clone(), stop.clone());
        async move { Ok::<_, Infallible>(Box::pin(handle(shared, peer, request, stop)).await) }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADER_LIMIT);
    if let Err(error) = server.serve_connection(TokioIo::new(stream), service).with_upgrades().await {
        tracing::debug!(%error, "connection to the kubelet's port");
    }
}

async fn handle(shared: Arc<Shared>, peer: Option<auth::Subject>, request: Request<Incoming>, stop: CancellationToken) -> Response<Body> {
    let path = request.uri().path().to_owned();
    if let Err(refusal) = auth::allow(&shared.context, peer, request.method(), &path, request.headers()).await {
        return refusal;
    }
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match (request.method().clone(), parts.as_slice()) {
        (Method::GET, ["healthz"] | ["healthz", "ping" | "syncloop"]) => text(StatusCode::OK, "ok"),
        (Method::GET, ["pods"] | ["runningpods"]) => pod_list(&shared),
        (Method::GET, ["containerLogs", namespace, pod, container]) => container_logs(&shared, namespace, pod, container, &request).await,
        (Method::GET, ["stats", "summary"]) => metrics::summary(&shared).await,
        (Method::GET, ["metrics"]) => metrics::own(&shared),
        (Method::GET, ["metrics", "resource"]) => metrics::resource(&shared).await,
        (Method::GET | Method::POST, ["exec" | "attach" | "portForward", ..]) => stream::handle(&shared, &parts, request, stop).await,
        (_, ["run" | "checkpoint" | "configz" | "logs" | "debug", ..]) => {
            text(StatusCode::NOT_IMPLEMENTED, format!("{path}: not implemented\n"))
        }
        _ => text(StatusCode::NOT_FOUND, "404 page not found\n"),
    }
}

fn pod_list(shared: &Shared) -> Response<Body> {
    let pods: Vec<_> = manager::list(&shared.pods).iter().map(|pod| (**pod).clone()).collect();
    let items = serde_json::to_value(pods).unwrap_or_default();
    reply::json(&serde_json::json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}))
}

/// Query parameters in order; a name may come more than once.
pub(crate) fn query(request: &Request<Incoming>) -> Vec<(String, String)> {
    url_pairs(request.uri().query().unwrap_or_default())
}

fn url_pairs(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let plain = text.replace('+', " ");
        percent_encoding::percent_decode_str(&plain).decode_utf8_lossy().into_owned()
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(key, value)| (decode(key), decode(value))).collect()
}

/// Containers of a pod by name, newest first.
pub(crate) async fn containers(shared: &Shared, uid: &str, name: &str) -> Result<Vec<cri::Container>> {
    let selector = std::collections::HashMap::from([
        (labels::POD_UID.to_owned(), uid.to_owned()),
        (labels::CONTAINER_NAME.to_owned(), name.to_owned()),
    ]);
    let filter = cri::ContainerFilter { label_selector: selector, ..Default::default() };
    let request = cri::ListContainersRequest { filter: Some(filter) };
    let mut found = shared.context.cri.list_containers(uid, request).await?.containers;
    found.sort_by_key(|container| std::cmp::Reverse(container.created_at));
    Ok(found)
}

async fn container_logs(
    shared: &Arc<Shared>,
    namespace: &str,
    pod_name: &str,
    container: &str,
    request: &Request<Incoming>,
) -> Response<Body> {
    let Some(pod) = manager::find(&shared.pods, namespace, pod_name) else {
        return text(StatusCode::NOT_FOUND, format!("pod \"{pod_name}\" not found in namespace \"{namespace}\"\n"));
    };
    if !spec::members(&pod).iter().any(|member| member.container.name == container) {
        return text(StatusCode::NOT_FOUND, format!("container \"{container}\" not found in pod \"{pod_name}\"\n"));
    }
    let mut wanted = Wanted::default();
    let mut previous = false;
    for (key, value) in query(request) {
        match key.as_str() {
            "follow" => wanted.follow = value == "true",
            "previous" => previous = value == "true",
            "timestamps" => wanted.timestamps = value == "true",
            "tailLines" => wanted.tail = value.parse().ok(),
            "limitBytes" => wanted.limit_bytes = value.parse().ok(),
            "sinceTime" => wanted.since = value.parse().ok(),
            "sinceSeconds" => {
                let seconds = value.parse().unwrap_or_default();
                wanted.since = Timestamp::now().checked_sub(Duration::from_secs(seconds)).ok();
            }
            "stream" => wanted.stream = Some(value.to_ascii_lowercase()).filter(|stream| stream != "all"),
            _ => {}
        }
    }
    let found = match containers(shared, spec::uid(&pod), container).await {
        Ok(found) => found,
        Err(error) => return text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    };
    let mut started = found.into_iter().filter(|container| container.state != cri::ContainerState::ContainerCreated as i32);
    let Some(chosen) = (if previous { started.nth(1) } else { started.next() }) else {
        let message = if previous {
            format!("previous terminated container \"{container}\" in pod \"{pod_name}\" not found")
        } else {
            format!("container \"{container}\" in pod \"{pod_name}\" is waiting to start: {}", waiting_reason(&pod, container))
        };
        return text(StatusCode::BAD_REQUEST, message);
    };
    let request = cri::ContainerStatusRequest { container_id: chosen.id.clone(), verbose: false };
    let path = match shared.context.cri.container_status(&chosen.id, request).await {
        Ok(answer) => answer.status.unwrap_or_default().log_path,
        Err(error) => return text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    };
    let (out, parts) = tokio::sync::mpsc::channel(LOG_PARTS_LIMIT);
    let (shared, id) = (shared.clone(), chosen.id);
    let running: logs::Running = Box::new(move || {
        let (shared, id) = (shared.clone(), id.clone());
        Box::pin(async move {
            let request = cri::ContainerStatusRequest { container_id: id.clone(), verbose: false };
            let answer = shared.context.cri.container_status(&id, request).await;
            answer.ok().and_then(|answer| answer.status).is_some_and(|status| status.state == cri::ContainerState::ContainerRunning as i32)
        })
    });
    // The task ends with the client: its channel closes.
    tokio::spawn(logs::send(path.into(), wanted, running, out));
    reply::stream(parts)
}

fn waiting_reason(pod: &k8s_openapi::api::core::v1::Pod, container: &str) -> String {
    let status = pod.status.clone().unwrap_or_default();
    status
        .container_statuses
        .into_iter()
        .chain(status.init_container_statuses)
        .flatten()
        .find(|status| status.name == container)
        .and_then(|status| status.state?.waiting?.reason)
        .unwrap_or_else(|| "ContainerCreating".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_parameters_keep_their_order_and_are_decoded() {
        let pairs = url_pairs("command=sh&command=-c&command=echo+a%20b%2Bc&tty");
        let values: Vec<&str> = pairs.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["sh", "-c", "echo a b+c", ""]);
    }
}

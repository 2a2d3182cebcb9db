//! Handing a request on to a kubelet, a pod or a Service's endpoint, byte for byte; upgraded connections become a plain pipe.

use super::kubelet::kubelet_of;
use crate::Answer;
use crate::context::Context;
use crate::endpoint::Endpoint;
use crate::pipeline::Target;
use crate::server::Server;
use axum::body::Body;
use http::header::{AUTHORIZATION, CONNECTION, HOST, HeaderName, HeaderValue, UPGRADE};
use http::{Request, Response, StatusCode, Uri};
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use tricorn_meta::Status;

/// Reaching the other side, TLS included, takes at most this long.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Its answer begins within this time.
const HEAD_DEADLINE: Duration = Duration::from_secs(60);
/// How much of either direction of an upgraded connection is held at a time.
const PIPE_BUFFER_BYTES: usize = 32 << 10;

/// The other side.
pub(super) struct Upstream {
    pub host: String,
    pub port: u16,
    pub tls: bool,
}

/// nodes/proxy, pods/proxy, services/proxy.
pub(super) async fn serve(server: &Server, context: &Context, endpoint: &Endpoint, request: Request<Body>) -> Answer {
    let target = Target::new(endpoint, context);
    let query = if context.query.raw.is_empty() { String::new() } else { format!("?{}", context.query.raw) };
    let path = format!("/{}{query}", context.info.rest);
    let upstream = match endpoint.plural.as_str() {
        "nodes" => kubelet_of(server, target.name).await?,
        "pods" => pod(server, endpoint, target).await?,
        _ => service(server, endpoint, target).await?,
    };
    forward(server, upstream, &path, request).await
}

/// `[scheme:]name[:port]`, as proxy paths have it.
fn split(text: &str) -> (bool, &str, &str) {
    match text.split(':').collect::<Vec<_>>().as_slice() {
        ["https", name, port] => (true, *name, *port),
        ["http" | "", name, port] => (false, *name, *port),
        [name, port] => (false, *name, *port),
        _ => (false, text, ""),
    }
}

async fn pod(server: &Server, endpoint: &Endpoint, target: Target<'_>) -> Result<Upstream, Status> {
    let (tls, name, port) = split(target.name);
    let pod = server.registry.read(&endpoint.stored, target.namespace, name).await?;
    let address = pod.value()["status"]["podIP"].as_str().unwrap_or_default();
    if address.is_empty() {
        return Err(Status::bad_request("address not allowed"));
    }
    let port = port.parse().ok().or_else(|| first_port(pod.value())).unwrap_or(if tls { 443 } else { 80 });
    Ok(Upstream { host: address.to_owned(), port, tls })
}

/// The first port that a container of the pod declares.
fn first_port(pod: &Value) -> Option<u16> {
    let containers = pod["spec"]["containers"].as_array()?;
    containers.iter().find_map(|container| u16::try_from(container["ports"][0]["containerPort"].as_u64()?).ok())
}

async fn service(server: &Server, endpoint: &Endpoint, target: Target<'_>) -> Result<Upstream, Status> {
    let (tls, name, asked) = split(target.name);
    let mut port = asked.to_owned();
    // A number is that of the Service; where its pods listen is found by the port's name.
    if let Ok(number) = asked.parse::<u64>() {
        let service = server.registry.read(&endpoint.stored, target.namespace, name).await?;
        let absent = || Status::service_unavailable(format!("no service port {number} found for service {name:?}"));
        port = port_name(service.value(), number).ok_or_else(absent)?;
    }
    let endpoints = server.any_version("", "endpoints").ok_or_else(|| Status::internal("endpoints are not served"))?;
    let found = server.registry.read(&endpoints.stored, target.namespace, name).await?;
    let (host, port) = listener(found.value(), &port)
        .ok_or_else(|| Status::service_unavailable(format!("no endpoints available for service {name:?}")))?;
    Ok(Upstream { host, port, tls })
}

/// The name of the Service's port `number`; an only port may have none.
fn port_name(service: &Value, number: u64) -> Option<String> {
    let port = service["spec"]["ports"].as_array()?.iter().find(|port| port["port"] == number)?;
    Some(port["name"].as_str().unwrap_or_default().to_owned())
}

/// An address behind the Service, and where it listens for the port of that name.
fn listener(endpoints: &Value, name: &str) -> Option<(String, u16)> {
    endpoints["subsets"].as_array()?.iter().find_map(|subset| {
        let address = subset["addresses"][0]["ip"].as_str()?;
        let port = subset["ports"].as_array()?.iter().find(|port| port["name"].as_str().unwrap_or_default() == name)?;
        Some((address.to_owned(), u16::try_from(port["port"].as_u64()?).ok()?))
    })
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Hands the request on under another path, and the answer back.
pub(super) async fn forward(server: &Server, upstream: Upstream, path: &str, mut request: Request<Body>) -> Answer {
    let unreachable =
        |error: String| Status::service_unavailable(format!("error dialing backend: {}:{}: {error}", upstream.host, upstream.port));
    let stream = tokio::time::timeout(CONNECT_DEADLINE, connect(server, &upstream)).await;
    let stream = stream.map_err(|_| unreachable("i/o timeout".to_owned()))?.map_err(unreachable)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(error.to_string()))?;
    // Ends with the connection, or with the server.
    let stop = server.stop.child_token();
    drop(tokio::spawn(until(stop.clone(), async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a proxied connection broke");
        }
    })));
    let ours = hyper::upgrade::on(&mut request);
    let wants_upgrade = request.headers().contains_key(UPGRADE);
    let outgoing = outgoing(&upstream, path, request, wants_upgrade)?;
    let answer = tokio::time::timeout(HEAD_DEADLINE, sender.send_request(outgoing)).await;
    let mut answer = answer.map_err(|_| unreachable("no answer in time".to_owned()))?.map_err(|error| unreachable(error.to_string()))?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let theirs = hyper::upgrade::on(&mut answer);
        drop(tokio::spawn(until(stop, pipe(ours, theirs))));
        let (parts, _) = answer.into_parts();
        return Ok(Response::from_parts(parts, Body::empty()));
    }
    let (mut parts, body) = answer.into_parts();
    for name in [CONNECTION, HeaderName::from_static("keep-alive"), http::header::TRANSFER_ENCODING] {
        parts.headers.remove(name);
    }
    Ok(Response::from_parts(parts, Body::new(body)))
}

async fn until(stop: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        () = stop.cancelled() => {}
    }
}

async fn connect(server: &Server, upstream: &Upstream) -> Result<Box<dyn Stream>, String> {
    let stream = TcpStream::connect((upstream.host.as_str(), upstream.port)).await.map_err(|error| error.to_string())?;
    let _ = stream.set_nodelay(true);
    if !upstream.tls {
        return Ok(Box::new(stream));
    }
    let config = server.config.kubelet_tls.clone().ok_or_else(|| "this server has no credentials for kubelets".to_owned())?;
    let name = ServerName::try_from(upstream.host.clone()).map_err(|error| error.to_string())?;
    let stream = TlsConnector::from(config).connect(name, stream).await.map_err(|error| error.to_string())?;
    Ok(Box::new(stream))
}

fn outgoing(upstream: &Upstream, path: &str, request: Request<Body>, upgrade: bool) -> Result<Request<Body>, Status> {
    let (mut parts, body) = request.into_parts();
    parts.uri = path.parse::<Uri>().map_err(|error| Status::bad_request(format!("proxy to {path}: {error}")))?;
    parts.version = http::Version::HTTP_11;
    parts.extensions = http::Extensions::new();
    // The user's credentials are ours to know only.
    parts.headers.remove(AUTHORIZATION);
    let impersonation: Vec<_> = parts.headers.keys().filter(|name| name.as_str().starts_with("impersonate-")).cloned().collect();
    for name in impersonation {
        parts.headers.remove(name);
    }
    let host =
        HeaderValue::from_str(&format!("{}:{}", upstream.host, upstream.port)).map_err(|error| Status::internal(error.to_string()))?;
    parts.headers.insert(HOST, host);
    if upgrade {
        parts.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    } else {
        parts.headers.remove(CONNECTION);
    }
    Ok(Request::from_parts(parts, body))
}

async fn pipe(ours: OnUpgrade, theirs: OnUpgrade) {
    let (ours, theirs) = match tokio::try_join!(ours, theirs) {
        Ok(both) => both,
        Err(error) => {
            tracing::debug!(%error, "a connection could not be upgraded");
            return;
        }
    };
    let (mut ours, mut theirs) = (TokioIo::new(ours), TokioIo::new(theirs));
    let copied = tokio::io::copy_bidirectional_with_sizes(&mut ours, &mut theirs, PIPE_BUFFER_BYTES, PIPE_BUFFER_BYTES).await;
    if let Err(error) = copied {
        tracing::debug!(%error, "an upgraded connection broke");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn proxy_names_may_carry_scheme_and_port() {
        assert_eq!(split("a"), (false, "a", ""));
        assert_eq!(split("a:80"), (false, "a", "80"));
        assert_eq!(split("https:a:web"), (true, "a", "web"));
        assert_eq!(split("https:a:"), (true, "a", ""));
    }

    /// A Service's port 80 is asked for; its pods listen on 8080.
    #[test]
    fn a_services_port_leads_to_where_its_pods_listen() {
        let service = json!({"spec": {"ports": [{"port": 80, "targetPort": 8080}]}});
        let named = json!({"spec": {"ports": [{"name": "web", "port": 80}, {"name": "more", "port": 81}]}});
        assert_eq!(port_name(&service, 80).as_deref(), Some(""));
        assert_eq!(port_name(&service, 8080), None);
        assert_eq!(port_name(&named, 81).as_deref(), Some("more"));
        let endpoints = json!({"subsets": [
            {"notReadyAddresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 8080}]},
            {"addresses": [{"ip": "10.0.0.2"}], "ports": [{"name": "more", "port": 8081}, {"port": 8080}]},
        ]});
        assert_eq!(listener(&endpoints, ""), Some(("10.0.0.2".to_owned(), 8080)));
        assert_eq!(listener(&endpoints, "more"), Some(("10.0.0.2".to_owned(), 8081)));
        assert_eq!(listener(&endpoints, "web"), None);
    }

    #[test]
    fn a_pods_own_port_is_the_first_that_is_declared() {
        let pod = json!({"spec": {"containers": [{"name": "a"}, {"name": "b", "ports": [{"containerPort": 9}, {"containerPort": 10}]}]}});
        assert_eq!((first_port(&pod), first_port(&json!({}))), (Some(9), None));
    }
}

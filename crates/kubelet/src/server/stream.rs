//! exec, attach and port-forward: the runtime is asked for a streaming address, and the client's connection is joined to
//! one with that address, bytes unchanged. SPDY passes as it is; WebSocket passes up to version 4 of the channel
//! protocol, which is what the runtime speaks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tricorn_proto::cri;

use super::reply::{Body, text};
use super::{Shared, containers, query};
use crate::manager;
use crate::pod::{labels, spec};

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Protocols of the newest WebSocket channels, which the runtime does not know.
const TOO_NEW: [&str; 2] = ["v5.channel.k8s.io", "SPDY/3.1+portforward.k8s.io"];

/// Why a stream cannot be had.
struct Refusal(StatusCode, String);

/// Answers a streaming request.
pub(crate) async fn handle(shared: &Arc<Shared>, parts: &[&str], request: Request<Incoming>, stop: CancellationToken) -> Response<Body> {
    let result = async {
        refuse_newer(&request)?;
        let url = address(shared, parts, &request).await?;
        join(request, &url, stop).await
    };
    match result.await {
        Ok(response) => response,
        Err(Refusal(status, message)) => text(status, message),
    }
}

/// A client that offers nothing the runtime knows is told so at once: kubectl then falls back to SPDY.
fn refuse_newer(request: &Request<Incoming>) -> Result<(), Refusal> {
    let offered: Vec<&str> = request
        .headers()
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim))
        .collect();
    if !offered.is_empty() && offered.iter().all(|protocol| TOO_NEW.contains(protocol)) {
        return Err(Refusal(
            StatusCode::BAD_REQUEST,
            format!("unable to upgrade: none of the protocols {offered:?} is served; use SPDY/3.1\n"),
        ));
    }
    Ok(())
}

async fn address(shared: &Arc<Shared>, parts: &[&str], request: &Request<Incoming>) -> Result<String, Refusal> {
    let missing = |what: String| Refusal(StatusCode::NOT_FOUND, format!("{what}\n"));
    let (action, namespace, name, container) = match *parts {
        ["portForward", namespace, name] | ["portForward", namespace, name, _] => ("portForward", namespace, name, ""),
        [action @ ("exec" | "attach"), namespace, name, container] | [action @ ("exec" | "attach"), namespace, name, _, container] => {
            (action, namespace, name, container)
        }
        _ => return Err(missing("404 page not found".into())),
    };
    let pod = manager::find(&shared.pods, namespace, name).ok_or_else(|| missing(format!("pod does not exist: {namespace}/{name}")))?;
    let uid = spec::uid(&pod);
    let failed = |error: crate::Error| Refusal(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"));
    if action == "portForward" {
        let sandbox =
            sandbox(shared, uid).await.map_err(failed)?.ok_or_else(|| missing(format!("pod {namespace}/{name} has no sandbox")))?;
        let port = query(request)
            .into_iter()
            .filter(|(key, _)| key == "port" || key == "ports")
            .filter_map(|(_, value)| value.parse().ok())
            .collect();
        let request = cri::PortForwardRequest { pod_sandbox_id: sandbox.clone(), port };
        return Ok(shared.context.cri.port_forward(&sandbox, request).await.map_err(failed)?.url);
    }
    let running = cri::ContainerState::ContainerRunning as i32;
    let found = containers(shared, uid, container).await.map_err(failed)?;
    let id = found
        .into_iter()
        .find(|container| container.state == running)
        .ok_or_else(|| missing(format!("container not found (\"{container}\")")))?
        .id;
    let options = Options::read(query(request));
    if action == "exec" {
        let request = cri::ExecRequest {
            container_id: id.clone(),
            cmd: options.command,
            tty: options.tty,
            stdin: options.stdin,
            stdout: options.stdout,
            stderr: options.stderr && !options.tty,
        };
        Ok(shared.context.cri.exec(&id, request).await.map_err(failed)?.url)
    } else {
        let tty = spec::members(&pod).iter().any(|member| member.container.name == container && member.container.tty == Some(true));
        let request = cri::AttachRequest {
            container_id: id.clone(),
            stdin: options.stdin,
            tty,
            stdout: options.stdout,
            stderr: options.stderr && !tty,
        };
        Ok(shared.context.cri.attach(&id, request).await.map_err(failed)?.url)
    }
}

#[derive(Default)]
struct Options {
    command: Vec<String>,
    tty: bool,
    stdin: bool,
    stdout: bool,
    stderr: bool,
}

impl Options {
    /// The API server sends `input`, `output`, `error`; people send `stdin`, `stdout`, `stderr`.
    fn read(pairs: Vec<(String, String)>) -> Self {
        let mut options = Self::default();
        for (key, value) in pairs {
            let set = value == "1" || value == "true";
            match key.as_str() {
                "command" => options.command.push(value),
                "tty" => options.tty = set,
                "input" | "stdin" => options.stdin |= set,
                "output" | "stdout" => options.stdout |= set,
                "error" | "stderr" => options.stderr |= set,
                _ => {}
            }
        }
        options
    }
}

async fn sandbox(shared: &Shared, uid: &str) -> crate::Result<Option<String>> {
    let filter = cri::PodSandboxFilter {
        state: Some(cri::PodSandboxStateValue { state: cri::PodSandboxState::SandboxReady as i32 }),
        label_selector: std::collections::HashMap::from([(labels::POD_UID.to_owned(), uid.to_owned())]),
        ..Default::default()
    };
    let found = shared.context.cri.list_pod_sandbox(uid, cri::ListPodSandboxRequest { filter: Some(filter) }).await?.items;
    Ok(found.into_iter().max_by_key(|sandbox| sandbox.created_at).map(|sandbox| sandbox.id))
}

/// Makes the same upgrade request to the runtime, and when both sides agree, copies bytes between them.
async fn join(mut request: Request<Incoming>, url: &str, stop: CancellationToken) -> Result<Response<Body>, Refusal> {
    let bad = |error: &dyn std::fmt::Display| Refusal(StatusCode::BAD_GATEWAY, format!("reach the runtime's stream: {error}\n"));
    let url: Uri = url.parse().map_err(|error: http::uri::InvalidUri| bad(&error))?;
    let authority = url.authority().map(ToString::to_string).unwrap_or_default();
    let stream = tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(&authority))
        .await
        .map_err(|error| bad(&error))?
        .map_err(|error| bad(&error))?;
    let _ = stream.set_nodelay(true);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| bad(&error))?;
    // The task ends with the stream, which ends with either side or the kubelet.
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "stream to the runtime");
        }
    });
    let mut onward = Request::builder().method(request.method().clone()).uri(url.path_and_query().map_or("/", |path| path.as_str()));
    for (name, value) in request.headers() {
        if name != header::HOST && name != header::AUTHORIZATION && name != header::CONTENT_LENGTH {
            onward = onward.header(name, value);
        }
    }
    let onward = onward.header(header::HOST, authority).body(Empty::<Bytes>::new()).map_err(|error| bad(&error))?;
    let mut response = sender.send_request(onward).await.map_err(|error| bad(&error))?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let (head, body) = response.into_parts();
        return Ok(Response::from_parts(head, body.map_err(std::io::Error::other).boxed()));
    }
    let theirs = hyper::upgrade::on(&mut response);
    let ours = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let copy = async {
            let (Ok(ours), Ok(theirs)) = tokio::join!(ours, theirs) else { return };
            let (mut ours, mut theirs) = (TokioIo::new(ours), TokioIo::new(theirs));
            if let Err(error) = tokio::io::copy_bidirectional(&mut ours, &mut theirs).await {
                tracing::debug!(%error, "stream");
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = copy => {}
        }
    });
    let (head, _) = response.into_parts();
    Ok(Response::from_parts(head, super::reply::full(Bytes::new())))
}

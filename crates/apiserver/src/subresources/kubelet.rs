//! Logs, exec, attach and port-forward: handed on to the kubelet of the pod's node.

use super::proxy::{Upstream, forward};
use crate::Answer;
use crate::context::Context;
use crate::endpoint::Endpoint;
use crate::pipeline::Target;
use crate::server::Server;
use axum::body::Body;
use form_urlencoded::Serializer;
use http::{Request, StatusCode};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tricorn_admission::Operation;
use tricorn_meta::{Reason, Status};

/// The kubelet's port where a node does not say another.
const KUBELET_PORT: u16 = 10250;

/// No more of a kubelet's complaint is passed on.
const REFUSAL_BYTES: usize = 4096;

/// The kubelet of a node.
pub(super) async fn kubelet_of(server: &Server, node: &str) -> Result<Upstream, Status> {
    let nodes = server.any_version("", "nodes").ok_or_else(|| Status::internal("nodes are not served"))?;
    let node = server.registry.read(&nodes.stored, "", node).await?;
    let status = &node.value()["status"];
    let address = |kind: &str| {
        let found = status["addresses"].as_array()?.iter().find(|address| address["type"] == kind)?;
        found["address"].as_str().map(str::to_owned)
    };
    let host = address("InternalIP").or_else(|| address("Hostname")).or_else(|| address("ExternalIP"));
    let host = host.ok_or_else(|| Status::service_unavailable(format!("node {:?} has no address yet", node.name())))?;
    let port =
        status["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    Ok(Upstream { host, port: port.unwrap_or(KUBELET_PORT), tls: true })
}

/// The pod's node and the container that is meant.
async fn locate(server: &Server, context: &Context, endpoint: &Endpoint) -> Result<(Arc<Value>, String, String), Status> {
    let target = Target::new(endpoint, context);
    let pod = server.registry.read(&endpoint.stored, target.namespace, target.name).await?;
    let node = pod.value()["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
    let container = container(context, target.name, pod.value())?;
    Ok((pod.shared(), node, container))
}

fn container(context: &Context, pod_name: &str, pod: &Value) -> Result<String, Status> {
    let names = |part: &str| -> Vec<String> {
        pod["spec"][part].as_array().into_iter().flatten().filter_map(|one| one["name"].as_str().map(str::to_owned)).collect()
    };
    let (containers, inits, ephemerals) = (names("containers"), names("initContainers"), names("ephemeralContainers"));
    match context.query.get("container") {
        Some(wanted) if [&containers, &inits, &ephemerals].iter().any(|names| names.iter().any(|name| name == wanted)) => {
            Ok(wanted.to_owned())
        }
        Some(wanted) => Err(Status::bad_request(format!("container {wanted} is not valid for pod {pod_name}"))),
        None => {
            let default = pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"].as_str();
            match (default.filter(|name| containers.iter().any(|one| one == name)), containers.as_slice()) {
                (Some(name), _) => Ok(name.to_owned()),
                (None, [only]) => Ok(only.clone()),
                (None, _) => {
                    let mut choice = format!("[{}]", containers.join(" "));
                    if !inits.is_empty() {
                        choice += &format!(" or one of the init containers: [{}]", inits.join(" "));
                    }
                    Err(Status::bad_request(format!("a container name must be specified for pod {pod_name}, choose one of: {choice}")))
                }
            }
        }
    }
}

const LOG_OPTIONS: [&str; 8] = ["follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes", "stream"];

pub(super) async fn log(server: &Server, context: &Context, endpoint: &Endpoint, request: Request<Body>) -> Answer {
    let (pod, node, container) = locate(server, context, endpoint).await?;
    if node.is_empty() {
        // A pod that is nowhere has written nothing.
        return Ok(crate::respond::text(http::StatusCode::OK, ""));
    }
    let metadata = &pod["metadata"];
    let (namespace, name) = (metadata["namespace"].as_str().unwrap_or_default(), metadata["name"].as_str().unwrap_or_default());
    let path = format!("/containerLogs/{namespace}/{name}/{container}?{}", log_query(context));
    let answer = forward(server, kubelet_of(server, &node).await?, &path, request).await?;
    let code = answer.status();
    if code.is_client_error() || code.is_server_error() { Err(refusal(code, answer.into_body()).await) } else { Ok(answer) }
}

/// What a kubelet says of a log that it cannot show, as a Status.
async fn refusal(code: StatusCode, body: Body) -> Status {
    let said = axum::body::to_bytes(body, REFUSAL_BYTES).await.unwrap_or_default();
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    match code {
        StatusCode::BAD_REQUEST => Status::bad_request(said),
        StatusCode::NOT_FOUND => {
            Status::custom(404, Reason::NotFound, format!("the server could not find the requested resource: {said}"), None)
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Status::internal(format!("the kubelet refused this server: {said}")),
        _ => Status::internal(said),
    }
}

fn log_query(context: &Context) -> String {
    let mut query = Serializer::new(String::new());
    for name in LOG_OPTIONS {
        if let Some(value) = context.query.get(name) {
            query.append_pair(name, value);
        }
    }
    query.finish()
}

pub(super) async fn stream(server: &Server, context: &Context, endpoint: &Endpoint, request: Request<Body>) -> Answer {
    let action = context.info.subresource.as_str();
    let target = Target::new(endpoint, context);
    let (pod, node, container) = if action == "portforward" {
        let pod = server.registry.read(&endpoint.stored, target.namespace, target.name).await?;
        let node = pod.value()["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
        (pod.shared(), node, String::new())
    } else {
        locate(server, context, endpoint).await?
    };
    let mut admission = server.admission_request(context, target, Operation::Connect, false);
    admission.object = Some(options(context, action, &container));
    let objects = server.admission_objects();
    server.admission.mutate(&mut admission, &objects).await?;
    server.admission.validate(&mut admission, &objects).await?;
    if node.is_empty() {
        return Err(Status::bad_request(format!("pod {} does not have a host assigned", target.name)));
    }
    let uid = crate::stamp::text(&pod, "uid");
    let path = match action {
        "portforward" => {
            let ports = context.query.all("ports").join(",");
            let query = if ports.is_empty() { String::new() } else { format!("?port={ports}") };
            format!("/portForward/{}/{}{query}", target.namespace, target.name)
        }
        _ => format!("/{action}/{}/{}/{container}?{}", target.namespace, target.name, stream_query(context)),
    };
    tracing::debug!(uid, action, node, "handing a stream on to the kubelet");
    forward(server, kubelet_of(server, &node).await?, &path, request).await
}

/// The kubelet's names for the streams that are wanted.
fn stream_query(context: &Context) -> String {
    let mut query = Serializer::new(String::new());
    for (ours, theirs) in [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")] {
        // Outputs are on unless the client says otherwise, as upstream defaults them.
        let on = context.query.get(ours).map_or(matches!(ours, "stdout" | "stderr"), |value| matches!(value, "true" | "1"));
        if on {
            query.append_pair(theirs, "1");
        }
    }
    for word in context.query.all("command") {
        query.append_pair("command", &word);
    }
    query.finish()
}

fn options(context: &Context, action: &str, container: &str) -> Value {
    let kind = match action {
        "exec" => "PodExecOptions",
        "attach" => "PodAttachOptions",
        _ => "PodPortForwardOptions",
    };
    let mut options = Map::new();
    options.insert("apiVersion".to_owned(), json!("v1"));
    options.insert("kind".to_owned(), json!(kind));
    if action == "portforward" {
        options.insert(
            "ports".to_owned(),
            json!(context.query.all("ports").iter().filter_map(|port| port.parse::<u16>().ok()).collect::<Vec<_>>()),
        );
    } else {
        options.insert("container".to_owned(), json!(container));
        for flag in ["stdin", "stdout", "stderr", "tty"] {
            options.insert(flag.to_owned(), json!(context.query.get(flag).is_some_and(|value| matches!(value, "true" | "1"))));
        }
    }
    if action == "exec" {
        options.insert("command".to_owned(), json!(context.query.all("command")));
    }
    Value::Object(options)
}

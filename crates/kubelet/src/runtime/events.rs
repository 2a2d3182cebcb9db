//! Wakes pod workers when a container starts or ends: containerd's event stream, with a slow poll behind it in case
//! the stream is away.

use std::path::PathBuf;
use std::time::Duration;

use containerd_client::services::v1::SubscribeRequest;
use containerd_client::services::v1::events_client::EventsClient;
use containerd_client::tonic::Request;
use prost::Message;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const RECONNECT: Duration = Duration::from_secs(1);

/// Events that carry a container's id in field 1 (exit, start, out of memory) need no more than that.
#[derive(Clone, PartialEq, Message)]
struct WithContainer {
    #[prost(string, tag = "1")]
    container_id: String,
    #[prost(string, tag = "2")]
    process: String,
}

/// What the stream tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuntimeEvent {
    /// This container (or sandbox) has started, or something befell it.
    Changed(String),
    /// This container (or sandbox) has ended. CRI hears of it from the same stream, and may say otherwise for a moment.
    Ended(String),
    /// Anything may have changed: the stream was away.
    Unknown,
}

/// Follows the events until cancelled.
pub async fn follow(socket: PathBuf, events: mpsc::Sender<RuntimeEvent>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            result = stream(&socket, &events) => {
                if let Err(error) = result {
                    tracing::debug!(error, "containerd's events are away");
                }
            }
        }
        if events.send(RuntimeEvent::Unknown).await.is_err() {
            return;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RECONNECT) => {}
        }
    }
}

async fn stream(socket: &PathBuf, events: &mpsc::Sender<RuntimeEvent>) -> Result<(), String> {
    let channel = containerd_client::connect(socket).await.map_err(|error| error.to_string())?;
    let request = SubscribeRequest { filters: vec![r#"namespace==k8s.io,topic~="^/tasks/""#.into()] };
    let mut stream =
        EventsClient::new(channel).subscribe(Request::new(request)).await.map_err(|status| status.message().to_owned())?.into_inner();
    while let Some(envelope) = stream.message().await.map_err(|status| status.message().to_owned())? {
        if !matches!(envelope.topic.as_str(), "/tasks/start" | "/tasks/exit" | "/tasks/oom") {
            continue;
        }
        let Some(event) = envelope.event else { continue };
        let Ok(event) = WithContainer::decode(event.value.as_slice()) else { continue };
        // The end of a probe's or an exec's process is not the container's.
        if envelope.topic == "/tasks/exit" && event.process != event.container_id {
            continue;
        }
        let told = match envelope.topic.as_str() {
            "/tasks/exit" => RuntimeEvent::Ended(event.container_id),
            _ => RuntimeEvent::Changed(event.container_id),
        };
        if events.send(told).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

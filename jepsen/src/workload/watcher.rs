//! Watchers: each follows a range of keys for as long as a run lasts, from member to member, and notes every message.

use crate::history::{Process, Recorder};
use crate::kv::{Watch, WatchMessage, Watched};
use crate::target::{Client, Failure, System, watch_message};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tricorn_proto::etcdserverpb as pb;
use tricorn_proto::etcdserverpb::watch_request::RequestUnion;

/// Watchers are processes of their own, far from the numbers of the others.
const FIRST: u64 = 1_000_000;
/// A watcher turns to another member after so long, whether it has to or not.
const STAY: Duration = Duration::from_secs(5);
/// How often a watcher asks for progress.
const PROGRESS: Duration = Duration::from_millis(700);
const PAUSE: Duration = Duration::from_millis(100);
/// In the end a watcher is given so long to hear of what it still has to hear of.
const LAST: Duration = Duration::from_secs(2);
const MESSAGES: usize = 100_000;

/// Follows the keys of `range` from each member until `stop`; every other watcher wants to know what was before.
pub async fn follow_from_each(system: Arc<dyn System>, recorder: Recorder, range: (&str, &str), stop: CancellationToken) {
    let watchers =
        (0..system.names().len()).map(|number| follow(system.clone(), recorder.clone(), number, range, number % 2 == 0, stop.clone()));
    futures::future::join_all(watchers).await;
}

/// Follows the keys of `range` until `stop`.
async fn follow(system: Arc<dyn System>, recorder: Recorder, number: usize, range: (&str, &str), prev_kv: bool, stop: CancellationToken) {
    let Some(group) = system.store() else { return };
    let (watcher, process) = (format!("w{number}"), Process::Client(FIRST + number as u64));
    let mut from = 0;
    let mut turn = number;
    while !stop.is_cancelled() {
        let names = system.names();
        let client = group.client(&names[turn % names.len()]);
        turn += 1;
        let watch = Watch { key: range.0.into(), end: Some(range.1.into()), from, prev_kv, watcher: watcher.clone() };
        let pending = recorder.invoke(process, Some(&client.node), "watch", &watch);
        match listen(&client, &watch, &recorder, &stop).await {
            Ok(watched) => {
                from = next(from, &watched);
                pending.ok(&watched);
            }
            Err(failure) => {
                pending.fail(failure.to_string());
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Where the next watch begins: after what was told; after what was compacted, if that was missed.
fn next(from: i64, watched: &Watched) -> i64 {
    let mut next = if from == 0 && watched.created_at > 0 { watched.created_at + 1 } else { from };
    for message in &watched.messages {
        let told = message.events.iter().map(|event| event.kv.mod_revision + 1).max().unwrap_or(0);
        next = next.max(told).max(message.compact_revision);
    }
    next
}

async fn listen(client: &Client, watch: &Watch, recorder: &Recorder, stop: &CancellationToken) -> Result<Watched, Failure> {
    let (ask, requests) = mpsc::channel(8);
    let create = pb::WatchCreateRequest {
        key: watch.key.clone().into(),
        range_end: watch.end.clone().unwrap_or_default().into(),
        start_revision: watch.from,
        prev_kv: watch.prev_kv,
        progress_notify: true,
        ..Default::default()
    };
    let gone = || Failure::Not("the stream has ended".into());
    let request = |union| pb::WatchRequest { request_union: Some(union) };
    ask.send(request(RequestUnion::CreateRequest(create))).await.map_err(|_| gone())?;
    let mut replies = client.watch(ReceiverStream::new(requests)).await?;
    let mut watched = Watched::default();
    let leave = tokio::time::sleep(STAY);
    tokio::pin!(leave);
    let mut progress = tokio::time::interval(PROGRESS);
    let mut created = false;
    loop {
        let reply = tokio::select! {
            reply = replies.message() => reply,
            () = &mut leave => break,
            () = last_words(stop) => break,
            _ = progress.tick(), if created => {
                // A queue that is full has a question in it already.
                let _full = ask.try_send(request(RequestUnion::ProgressRequest(pb::WatchProgressRequest {})));
                continue;
            }
        };
        match reply {
            Ok(Some(reply)) if reply.created && !reply.canceled => {
                created = true;
                watched.created_at = reply.header.as_ref().map_or(0, |header| header.revision);
            }
            Ok(Some(reply)) => {
                if reply.canceled {
                    watched.error = Some(reply.cancel_reason.clone());
                }
                let message: WatchMessage = watch_message(&reply, recorder.now());
                watched.messages.push(message);
                if reply.canceled || watched.messages.len() >= MESSAGES {
                    break;
                }
            }
            Ok(None) => {
                watched.error = Some("the stream ended".into());
                break;
            }
            Err(status) => {
                watched.error = Some(status.message().to_owned());
                break;
            }
        }
    }
    if created || watched.messages.iter().any(|message| message.compact_revision > 0) { Ok(watched) } else { Err(gone()) }
}

async fn last_words(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(LAST).await;
}

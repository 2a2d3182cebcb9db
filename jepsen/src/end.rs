//! What is looked at when everything is over and healed: the hash of what each member holds, and whether etcd itself holds the same after
//! the same writes.

use crate::check::contents::{CONTENTS, Of, REPLAY, Replayed};
use crate::check::hash::{HASH, HashOf, Hashed};
use crate::history::{Process, Recorder};
use crate::kv::{Range, Request};
use crate::target::twin::{self, Twin, Writes};
use crate::target::{Failure, Group, System};
use anyhow::{Context, Result, bail};
use serde_json::json;

/// Whoever looks at the end is a process of its own.
pub(crate) const LAST: u64 = 900_000;
/// What histories call etcd itself.
const ETCD: &str = "etcd, after the same writes";

/// Looks at members that speak etcd's API.
pub(crate) async fn look(system: &dyn System, recorder: &Recorder) {
    let Some(group) = system.store() else { return };
    let Some((name, hashed)) = hashes(group, recorder).await else { return };
    let pending = recorder.invoke(Process::Client(LAST), None, REPLAY, &json!({}));
    match replay(group, recorder, &name, hashed.revision).await {
        Ok((twin, replayed)) => {
            pending.ok(&replayed);
            if replayed.came_to == replayed.expected {
                compare(group, recorder, &name, hashed, &twin).await;
            }
        }
        Err(error) => pending.fail(format!("{error:#}")),
    }
}

/// Asks every member for the hash of what it holds at one revision; the last one that said it, and what it said.
async fn hashes(group: &Group, recorder: &Recorder) -> Option<(String, Hashed)> {
    let read = Request::Range(Range { key: "hash".into(), ..Default::default() });
    // Leases may still run out, so the revision is fixed: whoever has answered a linearizable read has come so far.
    let mut revision = 0;
    let mut last = None;
    for name in group.names() {
        let client = group.client(&name);
        let pending = recorder.invoke(Process::Client(LAST), Some(&name), HASH, &HashOf { member: name.clone() });
        let asked = async {
            let now = client.ask(&read).await?;
            if revision == 0 {
                revision = now.revision;
            }
            client.hash(revision).await
        };
        match asked.await {
            Ok(hash) => {
                let hashed = Hashed { revision, compact_revision: hash.compact_revision, hash: hash.hash };
                pending.ok(&hashed);
                last = Some((name, hashed));
            }
            Err(failure) => pending.fail(failure.to_string()),
        }
    }
    last
}

/// Does all writes up to a revision to etcd itself.
async fn replay(group: &Group, recorder: &Recorder, name: &str, revision: i64) -> Result<(Twin, Replayed)> {
    if !Twin::there() {
        bail!("there is no etcd on this machine");
    }
    let writes: Writes = match twin::told(group, name, revision).await {
        Ok(writes) => writes,
        // What has been compacted is known from what clients did and saw, if they saw all of it.
        Err(failure) => twin::of_history(&recorder.history(), revision).with_context(|| failure.to_string())?,
    };
    let twin = Twin::start().await?;
    let replayed = twin.replay(&writes).await?;
    Ok((twin, replayed))
}

/// Notes what etcd holds beside what a member holds.
async fn compare(group: &Group, recorder: &Recorder, name: &str, hashed: Hashed, twin: &Twin) {
    let of = |name: &str| Of { member: name.to_owned() };
    let pending = recorder.invoke(Process::Client(LAST), None, CONTENTS, &of(ETCD));
    match twin::contents(twin.channel(), hashed.revision).await {
        Ok(contents) => pending.ok(&contents),
        Err(status) => pending.fail(status.message()),
    }
    let pending = recorder.invoke(Process::Client(LAST), Some(name), CONTENTS, &of(name));
    let asked = async {
        let channel = group.client(name).channel().await?;
        twin::contents(channel, hashed.revision).await.map_err(|status| Failure::Not(status.message().to_owned()))
    };
    match asked.await {
        Ok(contents) => pending.ok(&contents),
        Err(failure) => pending.fail(failure.to_string()),
    }
    let pending = recorder.invoke(Process::Client(LAST), None, HASH, &HashOf { member: ETCD.to_owned() });
    match twin.hash(hashed.revision, hashed.compact_revision).await {
        Ok(hash) => pending.ok(&hash),
        Err(error) => pending.fail(format!("{error:#}")),
    }
}

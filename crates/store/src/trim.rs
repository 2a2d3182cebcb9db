//! Keeps the log short in bytes; openraft counts entries, and an entry may hold many commands.

use crate::node::Node;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(1);
/// Bytes of applied commands after which the state is made durable, so that the log before may go, and a restart need not replay it.
const SNAPSHOT_BYTES: u64 = 64 << 20;

/// Asks for a snapshot whenever enough has been applied since the last one that was asked for here.
pub(crate) async fn drive(node: Arc<Node>) {
    let mut last = 0;
    loop {
        tokio::select! {
            biased;
            () = node.stop.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        let applied = node.counters.applied_bytes.load(Ordering::Relaxed);
        if applied - last < SNAPSHOT_BYTES {
            continue;
        }
        last = applied;
        if let Err(error) = node.raft.trigger().snapshot().await {
            tracing::debug!(%error, "no snapshot was made: the member is stopping");
        }
    }
}

//! Who leads, as this member sees it.

use crate::counters::add;
use crate::node::Node;
use crate::types::Types;
use openraft::async_runtime::WatchReceiver;
use std::sync::Arc;
use tokio::time::Instant;

/// Election timeouts without a sign of the leader after which a follower has none. Raft itself goes on naming it until
/// another is elected, which a member that is cut off never sees.
const SILENCE: u32 = 2;

/// Who leads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The leader's id, when there is one.
    pub leader: Option<u64>,
    /// Its name; empty while it has not been heard of.
    pub leader_name: String,
    /// The term of the present leader or election.
    pub term: u64,
    /// This member leads, and has applied an entry of its own term: it knows everything any leader before it committed.
    pub is_leader: bool,
}

/// Keeps the channel and the lessor in step with Raft.
pub(crate) async fn follow(node: Arc<Node>) {
    let mut metrics = node.raft.server_metrics();
    let mut applied = node.state.applied.subscribe();
    let mut heard = node.heard.subscribe();
    let mut last_leader = None;
    loop {
        let seen = metrics.borrow_watched().clone();
        let silent_at = *heard.borrow_and_update() + node.election_timeout * SILENCE;
        let silent = Instant::now() >= silent_at;
        let now = observe(&node, &seen, silent);
        let before = node.leadership.borrow().clone();
        if now != before {
            if now.leader.is_some() && now.leader != last_leader {
                add(&node.counters.leader_changes, 1);
                last_leader = now.leader;
            }
            match (before.is_leader, now.is_leader) {
                (false, true) => node.state.lessor.lead(),
                (true, false) => node.state.lessor.follow(),
                _ => {}
            }
            tracing::info!(member = node.id, leader = ?now.leader, name = %now.leader_name, term = now.term, leading = now.is_leader, "leadership");
            node.leadership.send_replace(now.clone());
        }
        let waiting = now.leader == Some(node.id) && !now.is_leader;
        let following = seen.current_leader.is_some_and(|leader| leader != node.id);
        let changed = tokio::select! {
            () = node.stop.cancelled() => return,
            () = tokio::time::sleep_until(silent_at), if following && !silent => true,
            changed = heard.changed(), if following && silent => changed.is_ok(),
            changed = metrics.changed() => changed.is_ok(),
            changed = applied.changed(), if waiting => changed.is_ok(),
        };
        if !changed {
            return;
        }
    }
}

fn observe(node: &Node, metrics: &openraft::metrics::RaftServerMetrics<Types>, silent: bool) -> Leadership {
    let members = &metrics.membership_config;
    for (id, member) in members.nodes() {
        node.links.learn(*id, &member.peer_urls);
    }
    let term = metrics.vote.leader_id.term;
    let leader = metrics.current_leader.filter(|leader| metrics.vote.committed && (*leader == node.id || !silent));
    let leader_name = leader.and_then(|id| members.get_node(&id)).map(|member| member.name.clone()).unwrap_or_default();
    let is_leader = leader == Some(node.id) && metrics.state == openraft::ServerState::Leader && node.state.applied.borrow().term == term;
    Leadership { leader, leader_name, term, is_leader }
}

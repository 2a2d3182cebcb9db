//! Who leads, as this member sees it.

use crate::counters::add;
use crate::node::Node;
use crate::types::Types;
use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver;
use std::sync::Arc;
use tokio::time::Instant;

/// Election timeouts without a sign of the leader after which a follower has none, and without a sign of a quorum after which a
/// leader is none. Raft itself goes on naming it until another is elected, which a member that is cut off never sees.
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

/// Keeps the channel and the lessor in step with Raft, and leads no more once Raft has stopped.
pub(crate) async fn follow(node: Arc<Node>) {
    let mut metrics = node.raft.server_metrics();
    let mut applied = node.state.applied.subscribe();
    let mut heard = node.heard.subscribe();
    let mut last_leader = None;
    let mut keeps_time = false;
    loop {
        let seen = metrics.borrow_watched().clone();
        let silent_at = *heard.borrow_and_update() + node.election_timeout * SILENCE;
        let leading = seen.current_leader == Some(node.id);
        let silent = if leading { is_cut_off(&node) } else { Instant::now() >= silent_at };
        let (now, leads) = observe(&node, &seen, silent);
        // Whoever was cut off and is heard again in the same term has kept the time all along: what it had proposed may still come.
        if leads != keeps_time {
            keeps_time = leads;
            if leads { node.state.lessor.lead() } else { node.state.lessor.follow() }
        }
        let before = node.leadership.borrow().clone();
        if now != before {
            if now.leader.is_some() && now.leader != last_leader {
                add(&node.counters.leader_changes, 1);
                last_leader = now.leader;
            }
            tracing::info!(member = node.id, leader = ?now.leader, name = %now.leader_name, term = now.term, leading = now.is_leader, "leadership");
            node.leadership.send_replace(now.clone());
        }
        let waiting = leading && !leads;
        let following = seen.current_leader.is_some() && !leading;
        let changed = tokio::select! {
            biased;
            () = node.stop.cancelled() => return,
            changed = metrics.changed() => changed.is_ok(),
            () = tokio::time::sleep(node.election_timeout / 2), if leading => true,
            () = tokio::time::sleep_until(silent_at), if following && !silent => true,
            changed = heard.changed(), if following && silent => changed.is_ok(),
            changed = applied.changed(), if waiting => changed.is_ok(),
        };
        if !changed {
            break;
        }
    }
    // Raft has ended though nobody stopped this member: it could not write.
    if let Err(reason) = &node.raft.metrics().borrow_watched().running_state {
        node.fail(reason);
    }
    node.leadership.send_modify(|now| (now.leader, now.is_leader) = (None, false));
    node.state.lessor.follow();
}

/// Whether a leader has not heard of a quorum for so long that another may have been elected.
fn is_cut_off(node: &Node) -> bool {
    if node.raft.voter_ids().all(|voter| voter == node.id) {
        return false;
    }
    let acked = node.raft.as_leader().ok().and_then(|leader| leader.last_quorum_acked());
    acked.is_some_and(|acked| acked.elapsed() >= node.election_timeout * SILENCE)
}

/// What this member says of leadership; and whether it leads as far as Raft knows, cut off or not.
fn observe(node: &Node, metrics: &openraft::metrics::RaftServerMetrics<Types>, silent: bool) -> (Leadership, bool) {
    let members = &metrics.membership_config;
    for (id, member) in members.nodes() {
        node.links.learn(*id, &member.peer_urls);
    }
    let term = metrics.vote.leader_id.term;
    let leader = metrics.current_leader.filter(|_| metrics.vote.committed && !silent);
    let leader_name = leader.and_then(|id| members.get_node(&id)).map(|member| member.name.clone()).unwrap_or_default();
    let elected = metrics.vote.committed && metrics.current_leader == Some(node.id) && metrics.state == openraft::ServerState::Leader;
    let leads = elected && node.state.applied.borrow().term == term;
    (Leadership { leader, leader_name, term, is_leader: leads && !silent }, leads)
}

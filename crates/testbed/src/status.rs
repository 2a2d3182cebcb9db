//! What `tricorn status` shows: each host from outside, each server in its own words.

use std::time::Duration;

use serde::Serialize;

use crate::access::ApiAccess;
use crate::dial::Dialer;
use crate::error::Result;
use crate::host::Role;
use crate::launch;
use crate::network::Network;
use crate::state::{HostRecord, Mode, StateFile};

const ASK: Duration = Duration::from_secs(2);

/// A cluster at one moment. Its JSON form is a contract.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Every host runs, every server answers, and they agree on a leader.
    pub healthy: bool,
    /// The name of the leader, if there is one.
    pub leader: Option<String>,
    /// The highest term that a server reports.
    pub term: u64,
    /// The highest revision that a server reports.
    pub revision: i64,
    /// The hosts.
    pub hosts: Vec<HostStatus>,
}

/// One host at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct HostStatus {
    /// Its name.
    pub name: String,
    /// server or worker.
    pub role: Role,
    /// Its address.
    pub address: String,
    /// Its network namespace; empty in loopback mode.
    pub netns: String,
    /// The machine's number of its main process.
    pub pid: Option<i32>,
    /// running, paused, starting, failed or off; "silent" for a server that runs and does not answer.
    pub state: String,
    /// The index of the last log entry that a server has applied.
    pub applied: Option<u64>,
    /// Resident memory of its main process.
    pub rss_bytes: Option<u64>,
}

struct Answer {
    leader: Option<String>,
    term: u64,
    revision: i64,
    applied: u64,
}

/// Looks at the cluster of `file`.
pub async fn status(file: &StateFile) -> Result<Status> {
    let state = file.read()?;
    let access = access(file);
    let asked = state.hosts.iter().map(|host| {
        let access = access.as_ref();
        async move { (host, ask(host, access).await) }
    });
    let answers = futures::future::join_all(asked).await;
    let mut whole = Status { healthy: true, leader: None, term: 0, revision: 0, hosts: Vec::new() };
    let mut leaders = Vec::new();
    for (host, answer) in answers {
        let mut shown = shown(host);
        match answer {
            Some(answer) => {
                shown.applied = Some(answer.applied);
                whole.revision = whole.revision.max(answer.revision);
                if answer.term >= whole.term {
                    whole.term = answer.term;
                    whole.leader = answer.leader.clone().or(whole.leader);
                }
                leaders.push(answer.leader);
            }
            None if host.role == Role::Server && shown.state == "running" => shown.state = "silent".to_owned(),
            None => {}
        }
        whole.healthy &= shown.state == "running";
        whole.hosts.push(shown);
    }
    leaders.dedup();
    whole.healthy &= leaders.len() == 1 && whole.leader.is_some();
    Ok(whole)
}

fn access(file: &StateFile) -> Option<ApiAccess> {
    let state = file.read().ok()?;
    let hub = match state.mode {
        Mode::Namespaces => Some(Network::netns_path(&Network::new(&state.id, state.subnet).hub())),
        Mode::Loopback => None,
    };
    let dialer = Dialer::start(hub).ok()?;
    let first = state.servers().map(|s| launch::server_kubeconfig(file.dir(), &s.name)).find(|p| p.is_file())?;
    ApiAccess::new(&first, dialer).ok()
}

fn shown(host: &HostRecord) -> HostStatus {
    let main = host.main.filter(|p| p.alive());
    HostStatus {
        name: host.name.clone(),
        role: host.role,
        address: host.address.to_string(),
        netns: host.netns.clone(),
        pid: main.map(|p| p.pid),
        state: host.state().to_owned(),
        applied: None,
        rss_bytes: main.and_then(|p| p.resident_bytes()),
    }
}

async fn ask(host: &HostRecord, access: Option<&ApiAccess>) -> Option<Answer> {
    if host.role != Role::Server || host.state() != "running" {
        return None;
    }
    let said = access?.json(host.address.into(), "/tricorn/v1/status", ASK).await.ok()?;
    let leader = said.get("leader").and_then(|v| v.as_str()).filter(|l| !l.is_empty()).map(str::to_owned);
    Some(Answer {
        leader,
        term: said.get("term")?.as_u64()?,
        revision: said.get("revision")?.as_i64()?,
        applied: said.get("applied")?.as_u64()?,
    })
}

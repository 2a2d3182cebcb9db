//! `tricorn status`.

use anyhow::Result;
use tricorn_testbed::{HostStatus, Role, Status, status};

use super::table::columns;
use super::up::DataDir;

/// Shows the cluster that `up` started: its hosts, leader, term, applied index and health.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  tricorn status\n  tricorn status -o json --data-dir /srv/tricorn")]
pub struct Args {
    #[command(flatten)]
    data_dir: DataDir,
    /// Print as JSON
    #[arg(short, long, value_parser = ["json"])]
    output: Option<String>,
}

impl Args {
    /// Asks every server and prints.
    #[allow(clippy::print_stdout)]
    pub async fn run(self) -> Result<()> {
        let status = status(&self.data_dir.file()?).await?;
        if self.output.is_some() {
            println!("{}", serde_json::to_string(&status)?);
        } else {
            print!("{}", human(&status));
        }
        Ok(())
    }
}

fn human(status: &Status) -> String {
    let health = if status.healthy { "healthy" } else { "not healthy" };
    let leader = status.leader.as_deref().unwrap_or("none");
    let mut text = format!("Cluster {health} · leader {leader} · term {} · revision {}\n\n", status.term, status.revision);
    text.push_str(&hosts_table(&status.hosts));
    text
}

/// The hosts, one a line.
pub fn hosts_table(hosts: &[HostStatus]) -> String {
    let mut rows = vec![["NAME", "ROLE", "ADDRESS", "STATE", "APPLIED", "MEMORY", "PID"].map(str::to_owned)];
    let dash = || "-".to_owned();
    rows.extend(hosts.iter().map(|host| {
        let role = match host.role {
            Role::Server => "server",
            Role::Worker => "worker",
        };
        [
            host.name.clone(),
            role.to_owned(),
            host.address.clone(),
            host.state.clone(),
            host.applied.map_or_else(dash, |n| n.to_string()),
            host.rss_bytes.map_or_else(dash, |bytes| format!("{} MiB", bytes / (1024 * 1024))),
            host.pid.map_or_else(dash, |n| n.to_string()),
        ]
    }));
    columns(&rows)
}

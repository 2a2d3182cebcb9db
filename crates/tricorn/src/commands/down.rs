//! `tricorn down`.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use tricorn_testbed::{StateFile, clean};

use super::up::DataDir;

/// Longer than the grace that hosts get.
const DEADLINE: Duration = Duration::from_secs(90);

/// Stops the cluster that `up` started. No process, namespace, mount, rule or control group of it is left, whatever
/// happened before; its data stays.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  tricorn down\n  tricorn down --data-dir /srv/tricorn --purge")]
pub struct Args {
    #[command(flatten)]
    data_dir: DataDir,
    /// Delete the data directory too
    #[arg(long)]
    purge: bool,
}

impl Args {
    /// Asks the supervisor to end, and clears away what is left.
    pub async fn run(self) -> Result<()> {
        let file = self.data_dir.file()?;
        if let Some(supervisor) = file.supervisor() {
            eprintln!("Taking the cluster down");
            supervisor.signal(Signal::SIGTERM);
            if let Err(error) = supervisor.gone("end the supervising process", DEADLINE).await {
                eprintln!("{error}: it is ended the hard way");
                supervisor.signal(Signal::SIGKILL);
                supervisor.gone("kill the supervising process", DEADLINE).await?;
            }
        }
        clean(&file).await?;
        if self.purge {
            purge(&file)?;
        }
        eprintln!("The cluster is down");
        Ok(())
    }
}

/// Deletes the data directory, if it is one of Tricorn's.
fn purge(file: &StateFile) -> Result<()> {
    // Reading it proves that the directory holds a cluster, and not somebody's home.
    file.read()?;
    std::fs::remove_dir_all(file.dir()).with_context(|| format!("delete {}", file.dir().display()))
}

//! `tricorn snapshot`.

use std::fs::File;
use std::io::{BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::pin::pin;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use futures::AsyncReadExt;
use serde_json::json;
use tricorn_store::{SnapshotInfo, inspect, inspect_etcd, is_etcd};

use crate::admin::Cluster;

/// Backups of the whole store, checked when they are written and when they are read.
#[derive(clap::Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  tricorn snapshot save monday.snap\n  tricorn snapshot status monday.snap\n  tricorn snapshot restore monday.snap --data-dir /var/lib/tricorn"
)]
pub struct Args {
    #[command(flatten)]
    cluster: Cluster,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Save the store's state to a new file
    Save {
        /// The file
        file: PathBuf,
    },
    /// Check a snapshot, and show what is in it
    Status {
        /// The file
        file: PathBuf,
        /// Print as JSON
        #[arg(short, long, value_parser = ["json"])]
        output: Option<String>,
    },
    /// Make a data directory from a snapshot, Tricorn's or another etcd's
    Restore(super::restore::Args),
}

impl Args {
    /// Does what the verb says.
    #[allow(clippy::print_stdout)]
    pub async fn run(self) -> Result<()> {
        match self.verb {
            Verb::Save { file } => {
                let info = save(&self.cluster, &file).await?;
                eprintln!("saved revision {} ({} bytes) to {}", info.revision, info.bytes, file.display());
                Ok(())
            }
            Verb::Status { file, output } => {
                let info = look(&file, false)?;
                let (cluster, members) = (format!("{:x}", info.cluster_id), &info.members);
                match output {
                    Some(_) => println!(
                        "{}",
                        json!({"cluster": cluster, "revision": info.revision, "applied": info.applied_index, "rows": info.rows, "bytes": info.bytes, "members": members})
                    ),
                    None => println!(
                        "whole and sound\ncluster   {cluster}\nrevision  {}\napplied   {}\nrows      {}\nbytes     {}\nmembers   {}",
                        info.revision,
                        info.applied_index,
                        info.rows,
                        info.bytes,
                        members.join(", ")
                    ),
                }
                Ok(())
            }
            Verb::Restore(restore) => restore.run(),
        }
    }
}

/// Reads a snapshot to its end; `copied`: it is a database file of etcd's that never had a checksum.
pub fn look(file: &Path, copied: bool) -> Result<SnapshotInfo> {
    let opened = File::open(file).with_context(|| format!("open {}", file.display()))?;
    let info = if is_etcd(&opened)? { inspect_etcd(&opened, copied) } else { inspect(BufReader::new(opened)) };
    info.with_context(|| format!("read {}", file.display()))
}

/// Writes beside the file, checks, and only then gives it its name.
async fn save(cluster: &Cluster, file: &Path) -> Result<SnapshotInfo> {
    if file.exists() {
        bail!("{} is there already: choose another name, or delete it", file.display());
    }
    let part = file.with_extension("part");
    let admin = cluster.admin().await?;
    let mut stream = pin!(admin.stream("/snapshot").await?);
    let result = async {
        let mut options = std::fs::OpenOptions::new();
        let mut out = options.write(true).create(true).truncate(true).mode(0o600).open(&part).context("open it")?;
        let mut buffer = vec![0; 256 << 10];
        loop {
            let length = stream.read(&mut buffer).await.context("receive the snapshot")?;
            if length == 0 {
                break;
            }
            out.write_all(&buffer[..length]).context("write it")?;
        }
        out.sync_all().context("make it durable")?;
        let info = look(&part, false)?;
        std::fs::rename(&part, file).context("give it its name")?;
        Ok(info)
    };
    let result: Result<SnapshotInfo> = result.await;
    if result.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    result.with_context(|| format!("save a snapshot to {}", file.display()))
}

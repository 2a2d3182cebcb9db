//! `tricorn image`.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use tricorn_testbed::StateFile;

/// Container images without a registry.
#[derive(clap::Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  tricorn image import app.tar                       into every worker of `tricorn up`\n  tricorn image import --data-dir /var/lib/tricorn app.tar.gz   into the worker that runs there"
)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Import OCI layouts or docker archives, plain or gzip-compressed
    Import {
        /// The data directory of `tricorn up`, or of one worker
        #[arg(long, env = "TRICORN_DATA_DIR", default_value = "./tricorn-data")]
        data_dir: PathBuf,
        /// The archives
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

impl Args {
    /// Does what the verb says.
    #[allow(clippy::print_stdout)]
    pub async fn run(self) -> Result<()> {
        let Verb::Import { data_dir, files } = self.verb;
        for (worker, socket) in workers(&data_dir)? {
            for file in &files {
                let opened = File::open(file).with_context(|| format!("open {}", file.display()))?;
                let name = file.display().to_string();
                let images = tricorn_kubelet::images::import(&socket, &name, BufReader::new(opened)).await;
                for image in images.with_context(|| format!("import {name} into {worker}"))? {
                    println!("{worker}: {image}");
                }
            }
        }
        Ok(())
    }
}

/// The workers of a cluster of `up`, or the one whose directory it is, each with its containerd's socket.
fn workers(data_dir: &Path) -> Result<Vec<(String, PathBuf)>> {
    let socket = |dir: &Path| dir.join("agent/containerd/c.sock");
    if socket(data_dir).exists() {
        return Ok(vec![(data_dir.display().to_string(), socket(data_dir))]);
    }
    let file = StateFile::new(data_dir)?;
    let state = file.read()?;
    let workers: Vec<_> = state.workers().map(|worker| (worker.name.clone(), socket(&file.dir().join(&worker.name)))).collect();
    if workers.is_empty() {
        bail!("the cluster in {} has no workers", data_dir.display());
    }
    Ok(workers)
}

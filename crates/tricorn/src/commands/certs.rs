//! `tricorn certs`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use clap::Subcommand;

use super::table::columns;

/// Certificates of a server or worker. Servers renew theirs by themselves, while they run.
#[derive(clap::Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  tricorn certs check\n  tricorn certs check --data-dir ./tricorn-data/s1"
)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Show what each certificate is for and how long it is good
    Check {
        /// The data directory of a server or worker
        #[arg(long, env = "TRICORN_DATA_DIR", default_value = "/var/lib/tricorn")]
        data_dir: PathBuf,
    },
    /// Issue all certificates anew
    Rotate,
}

impl Args {
    /// Does what the verb says.
    #[allow(clippy::print_stdout)]
    pub fn run(self) -> Result<()> {
        match self.verb {
            Verb::Check { data_dir } => print!("{}", check(&data_dir.join("pki"))?),
            Verb::Rotate => {
                bail!("rotating certificates on demand is not implemented yet; servers renew theirs 90 days before they run out")
            }
        }
        Ok(())
    }
}

fn check(pki: &Path) -> Result<String> {
    let entries = std::fs::read_dir(pki).with_context(|| format!("look into {}: name a server's or worker's --data-dir", pki.display()))?;
    let mut paths: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|x| x == "crt")).collect();
    paths.sort();
    let now = SystemTime::now();
    let mut rows = vec![["FILE", "SUBJECT", "ISSUER", "DAYS LEFT", "NAMES"].map(str::to_owned)];
    for path in paths {
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let info = tricorn_pki::certificate_info(&text).with_context(|| format!("read {}", path.display()))?;
        let left = info.remaining(now).map_or("expired".to_owned(), |left| (left.as_secs() / 86_400).to_string());
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        rows.push([file, info.subject.common_name, info.issuer, left, info.names.join(",")]);
    }
    Ok(columns(&rows))
}

//! `tricorn history`.

use anyhow::{Result, bail};

/// Past revisions of an object.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  tricorn history deployment/web\n  tricorn history configmap/web -n shop --diff")]
pub struct Args {
    /// The object, KIND/NAME
    object: String,
    /// Its namespace
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Show what changed from one to the next
    #[arg(long)]
    diff: bool,
}

impl Args {
    /// Says that it is not there yet.
    pub fn run(self) -> Result<()> {
        let diff = if self.diff { " with --diff" } else { "" };
        bail!("history of {} in {}{diff}: not implemented yet", self.object, self.namespace)
    }
}

//! `tricorn version`.

use anyhow::Result;
use serde_json::json;

use crate::cli::{GIT_VERSION, VERSION};

/// Shows the versions of this program and of what it speaks.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  tricorn version\n  tricorn version -o json")]
pub struct Args {
    /// Print as JSON
    #[arg(short, long, value_parser = ["json"])]
    output: Option<String>,
}

impl Args {
    /// Prints them.
    #[allow(clippy::print_stdout)]
    pub fn run(self) -> Result<()> {
        let etcd = tricorn_etcd_api::ETCD_VERSION;
        match self.output {
            Some(_) => println!("{}", json!({"tricorn": VERSION, "kubernetes": GIT_VERSION, "etcd": etcd})),
            None => println!("Tricorn {VERSION}\nKubernetes API {GIT_VERSION}\netcd API {etcd}"),
        }
        Ok(())
    }
}

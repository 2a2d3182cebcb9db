//! `tricorn bench`.

mod report;
mod stores;

use anyhow::Result;
use clap::Subcommand;
use indicatif::ProgressBar;
use serde::Serialize;
use tricorn_bench::{api, compare, kv};

/// Loads with figures: how much is done in a second, how long one request takes, what it costs.
#[derive(clap::Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  tricorn bench kv --endpoints http://127.0.0.1:2379 --workloads put\n  tricorn bench api --kubeconfig tricorn-data/kubeconfig"
)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
    /// Print as JSON
    #[arg(short, long, value_parser = ["json"], global = true)]
    output: Option<String>,
}

#[derive(Subcommand)]
enum Verb {
    /// Loads on any servers that speak etcd v3
    Kv(kv::KvArgs),
    /// Loads on any Kubernetes API server
    Api(api::ApiArgs),
    /// The same loads against our servers and the machine's etcd, in turns
    Compare(compare::CompareArgs),
    /// The store beside etcd: all loads, the leader's death, housekeeping
    Stores(report::Args),
    /// Every figure of the README, in one run: needs root and Debian's etcd
    Report(report::Args),
}

impl Args {
    /// Runs the loads and prints.
    pub async fn run(self) -> Result<()> {
        let progress = ProgressBar::new_spinner();
        progress.enable_steady_tick(std::time::Duration::from_millis(100));
        let json = self.output.is_some();
        match self.verb {
            Verb::Kv(args) => {
                let report = kv::run(&args, &progress).await?;
                show(json, &report, &report.to_text())
            }
            Verb::Api(args) => {
                let report = api::run(&args, &progress).await?;
                show(json, &report, &report.to_text())
            }
            Verb::Report(args) => {
                let report = Box::pin(report::run(&args, &progress)).await?;
                progress.finish_and_clear();
                show(json, &report, &report.to_text())
            }
            Verb::Stores(args) => {
                let dir = tempfile::Builder::new().prefix("tricorn-bench-").tempdir()?;
                let report = Box::pin(stores::run(&args, dir.path(), &progress)).await?;
                progress.finish_and_clear();
                show(json, &report, &report.to_text())
            }
            Verb::Compare(args) => {
                let report = compare::run(&args, &progress).await?;
                show(json, &report, &report.to_text())
            }
        }
    }
}

#[allow(clippy::print_stdout)]
fn show(json: bool, report: &impl Serialize, text: &str) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(report)?);
    } else {
        print!("{text}");
    }
    Ok(())
}

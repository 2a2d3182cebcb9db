//! `tricorn quota`.

use anyhow::Result;
use http::Method;

use crate::admin::Cluster;
use crate::protocol::QuotaInfo;

/// How many bytes the store may take on each server: shown, or changed while the cluster runs.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  tricorn quota                   what it is, and what is used\n  tricorn quota 8589934592        8 GiB from now on; alarms about space are taken back\n  tricorn quota 0                 no bound"
)]
pub struct Args {
    /// The new quota in bytes; 0 for no bound
    bytes: Option<u64>,
    /// Print as JSON
    #[arg(short, long, value_parser = ["json"])]
    output: Option<String>,
    #[command(flatten)]
    cluster: Cluster,
}

impl Args {
    /// Asks the cluster.
    #[allow(clippy::print_stdout)]
    pub async fn run(self) -> Result<()> {
        let admin = self.cluster.admin().await?;
        if let Some(bytes) = self.bytes {
            admin.act(Method::PUT, &format!("/quota/{bytes}")).await?;
        }
        let now: QuotaInfo = admin.get("/quota").await?;
        match self.output {
            Some(_) => println!("{}", serde_json::to_string(&now)?),
            None if now.bytes == 0 => println!("{} bytes used, no bound", now.used),
            None => println!("{} of {} bytes used", now.used, now.bytes),
        }
        for alarm in now.alarms {
            eprintln!("alarm: {alarm}");
        }
        Ok(())
    }
}

//! `tricorn kubeconfig`.

use anyhow::{Context, Result};

use crate::admin::Cluster;

/// Prints an administrator's kubeconfig. Whoever holds it may do anything in the cluster.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  tricorn kubeconfig > ~/.kube/config\n  tricorn kubeconfig --server https://api.example.org:6443")]
pub struct Args {
    #[command(flatten)]
    cluster: Cluster,
    /// The server's URL in it, for use from elsewhere
    #[arg(long)]
    server: Option<String>,
}

impl Args {
    /// Prints it.
    #[allow(clippy::print_stdout)]
    pub async fn run(self) -> Result<()> {
        let path = self.cluster.path()?;
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let Some(server) = self.server else {
            print!("{text}");
            return Ok(());
        };
        let mut config: serde_yaml_ng::Value = serde_yaml_ng::from_str(&text).with_context(|| format!("read {}", path.display()))?;
        let clusters = config.get_mut("clusters").and_then(|clusters| clusters.as_sequence_mut());
        for cluster in clusters.into_iter().flatten() {
            if let Some(cluster) = cluster.get_mut("cluster").and_then(|cluster| cluster.as_mapping_mut()) {
                cluster.insert("server".into(), server.clone().into());
            }
        }
        print!("{}", serde_yaml_ng::to_string(&config)?);
        Ok(())
    }
}

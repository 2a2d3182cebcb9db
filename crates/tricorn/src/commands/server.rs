//! `tricorn server`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

use super::etcd::auto_compaction;
use super::{own_address, own_name};
use crate::protocol::Settings;
use crate::{logging, server, signals};

/// Runs one server of the highly available group: the store, the Kubernetes API, and, where it leads, scheduler and controllers.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  tricorn server --name a --cluster-init\n  tricorn server --name b --join https://10.0.0.1:6443 --token-file /root/server-token\n  tricorn server --name a                    (again: its data directory tells the rest)"
)]
pub struct Args {
    /// This server's name in the group [default: the host's name]
    #[arg(long, env = "TRICORN_NAME")]
    name: Option<String>,
    /// Where it keeps everything
    #[arg(long, env = "TRICORN_DATA_DIR", default_value = "/var/lib/tricorn")]
    data_dir: PathBuf,
    /// Begin a new cluster; on a data directory that holds a server this changes nothing
    #[arg(long, env = "TRICORN_CLUSTER_INIT", conflicts_with = "join")]
    cluster_init: bool,
    /// Join the cluster of these servers, as https://HOST:6443; on a data directory that holds a server this changes nothing
    #[arg(long, env = "TRICORN_JOIN", value_delimiter = ',')]
    join: Vec<String>,
    /// The join token; better in a file, where process lists do not show it
    #[arg(long, env = "TRICORN_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// A file with the join token
    #[arg(long, env = "TRICORN_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// The address at which others reach this server [default: that of the default route]
    #[arg(long, env = "TRICORN_ADVERTISE_ADDRESS")]
    advertise_address: Option<IpAddr>,
    /// The address on which it listens
    #[arg(long, env = "TRICORN_BIND_ADDRESS", default_value = "0.0.0.0")]
    bind_address: IpAddr,
    /// The port of the Kubernetes API
    #[arg(long, env = "TRICORN_API_PORT", default_value_t = 6443)]
    api_port: u16,
    /// The port of the etcd v3 API
    #[arg(long, env = "TRICORN_ETCD_PORT", default_value_t = 2379)]
    etcd_port: u16,
    /// The port of the group's other members
    #[arg(long, env = "TRICORN_PEER_PORT", default_value_t = 2380)]
    peer_port: u16,
    /// A further name or address in this server's certificate (repeatable)
    #[arg(long, env = "TRICORN_TLS_SAN", value_delimiter = ',')]
    tls_san: Vec<String>,
    /// The range of pod addresses, for a new cluster
    #[arg(long, env = "TRICORN_CLUSTER_CIDR", default_value = "10.42.0.0/16")]
    cluster_cidr: String,
    /// The range of Service addresses, for a new cluster
    #[arg(long, env = "TRICORN_SERVICE_CIDR", default_value = "10.43.0.0/16")]
    service_cidr: String,
    /// The address of the cluster's DNS, for a new cluster
    #[arg(long, env = "TRICORN_CLUSTER_DNS", default_value = "10.43.0.10")]
    cluster_dns: IpAddr,
    /// The domain of the cluster's DNS, for a new cluster
    #[arg(long, env = "TRICORN_CLUSTER_DOMAIN", default_value = "cluster.local")]
    cluster_domain: String,
    /// How long a node may be silent before it counts as lost, in seconds
    #[arg(long, env = "TRICORN_NODE_MONITOR_GRACE_PERIOD", default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..=3600))]
    node_monitor_grace_period: u64,
    /// Bytes that the store may take before it refuses to grow; 0 for no bound. Changed while it runs with `tricorn quota`
    #[arg(long, env = "TRICORN_QUOTA_BACKEND_BYTES", default_value_t = 0)]
    quota_backend_bytes: u64,
    /// How --auto-compaction-retention counts
    #[arg(long, env = "TRICORN_AUTO_COMPACTION_MODE", default_value = "periodic", value_parser = ["periodic", "revision"])]
    auto_compaction_mode: String,
    /// How much of the past can be read and watched from: an age such as 5m, or a number of revisions. 0: all of it, for ever
    #[arg(long, env = "TRICORN_AUTO_COMPACTION_RETENTION", default_value = "1h")]
    auto_compaction_retention: String,
    /// Go on with this server alone and everything it holds: for a cluster that has lost two of its three servers for good. The others
    /// join again with empty data directories; start this one without the flag afterwards
    #[arg(long)]
    force_new_cluster: bool,
    /// Mebibytes of the store's rows kept in memory
    #[arg(long, env = "TRICORN_STORE_CACHE_MIB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=65536))]
    store_cache_mib: u64,
}

impl Args {
    /// Runs until a signal.
    pub async fn run(self) -> Result<()> {
        logging::start();
        let stop = signals::shutdown()?;
        let name = self.name.unwrap_or_else(own_name);
        if name.is_empty() {
            bail!("this host has no name: give --name");
        }
        let advertise_address = match (self.advertise_address, self.bind_address) {
            (Some(address), _) => address,
            (None, bound) if !bound.is_unspecified() => bound,
            (None, _) => own_address(),
        };
        let config = server::Config {
            name,
            data_dir: std::path::absolute(&self.data_dir)?,
            cluster_init: self.cluster_init,
            join: self.join,
            token: self.token,
            token_file: self.token_file,
            advertise_address,
            bind_address: self.bind_address,
            api_port: self.api_port,
            etcd_port: self.etcd_port,
            peer_port: self.peer_port,
            tls_san: self.tls_san,
            settings: Settings {
                cluster_cidr: self.cluster_cidr,
                service_cidr: self.service_cidr,
                cluster_dns: self.cluster_dns.to_string(),
                cluster_domain: self.cluster_domain,
            },
            node_monitor_grace: Duration::from_secs(self.node_monitor_grace_period),
            quota_bytes: self.quota_backend_bytes,
            auto_compaction: auto_compaction(&self.auto_compaction_mode, &self.auto_compaction_retention)?,
            force_new_cluster: self.force_new_cluster,
            cache_bytes: usize::try_from(self.store_cache_mib << 20)?,
        };
        server::run(config, stop).await
    }
}

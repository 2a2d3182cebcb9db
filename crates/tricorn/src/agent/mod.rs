//! One worker: its way into the cluster, the kubelet, the proxy.

mod join;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use k8s_openapi::api::core::v1::Taint;
use tokio_util::sync::CancellationToken;
use tricorn_client::{ClientIdentity, RemoteConfig, remote};
use tricorn_kubelet::{Kubelet, KubeletConfig};
use tricorn_proxy::ProxyConfig;

use crate::lock;
use join::Membership;

/// Pause before a proxy that ended by itself is started again.
const PROXY_PAUSE: Duration = Duration::from_secs(1);

/// Everything a worker is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's name.
    pub name: String,
    /// URLs of API servers; the cluster tells of the others.
    pub servers: Vec<String>,
    /// The join token.
    pub token: Option<String>,
    /// The file with the join token.
    pub token_file: Option<PathBuf>,
    /// Where it keeps everything.
    pub data_dir: PathBuf,
    /// The node's address.
    pub node_ip: IpAddr,
    /// Archives to import at every start.
    pub images_dir: PathBuf,
    /// Where pods' logs go.
    pub pod_logs_dir: PathBuf,
    /// The parent control group of its pods.
    pub cgroup_root: Option<String>,
    /// Labels of a new Node.
    pub labels: BTreeMap<String, String>,
    /// Taints of a new Node.
    pub taints: Vec<Taint>,
    /// Most pods it takes.
    pub max_pods: u32,
    /// containerd's executable.
    pub containerd: PathBuf,
    /// runc's executable.
    pub runc: PathBuf,
    /// Directory of the CNI plugins.
    pub cni_bin_dir: PathBuf,
}

/// Runs a worker until `stop`, then ends it in good order. Its pods go on.
pub async fn run(config: Config, stop: CancellationToken) -> Result<()> {
    let _held = lock::take(&config.data_dir)?;
    let Some(membership) = join::enter(&config, &stop).await? else { return Ok(()) };
    let node = client(&membership, "node")?;
    let proxy = client(&membership, "proxy")?;
    let kubelet = kubelet_config(&config, &membership)?;
    let proxy_config = ProxyConfig { cluster_cidr: membership.settings.cluster_cidr.clone(), ..ProxyConfig::new(&config.name) };
    tracing::info!(node = config.name, servers = membership.servers.join(","), "this worker is part of the cluster");
    let ending = stop.child_token();
    let proxying = tokio::spawn(keep_proxy(proxy_config, proxy, ending.clone()));
    let ran = Kubelet::run(kubelet, node, stop).await;
    ending.cancel();
    proxying.await.context("end the proxy")?;
    ran.map_err(|error| anyhow!(error).context(format!("run the node {}", config.name)))
}

/// A client of the API that shows the certificate `name`.
fn client(membership: &Membership, name: &str) -> Result<kube::Client> {
    let pair = tricorn_pki::files::read_identity(&membership.pki, name)?;
    let servers = membership.servers.iter().map(|url| url.parse().with_context(|| format!("read the server URL {url}")));
    Ok(remote(&RemoteConfig {
        servers: servers.collect::<Result<_>>()?,
        ca_pem: tricorn_pki::files::read(&membership.pki.join("ca.crt"))?,
        identity: Some(Arc::new(ClientIdentity::new(&pair.certificate_pem, &pair.key_pem)?)),
        bearer_token: None,
        default_namespace: "default".into(),
    })?)
}

fn kubelet_config(config: &Config, membership: &Membership) -> Result<KubeletConfig> {
    // containerd's socket is bound by this path: it must be absolute, whatever directory the worker was started in.
    let root = std::path::absolute(config.data_dir.join("agent")).context("find the data directory")?;
    let absolute = |path: &Path| std::path::absolute(path).with_context(|| format!("find {}", path.display()));
    let mut kubelet = KubeletConfig::new(&config.name, config.node_ip, &root);
    kubelet.pod_logs_dir = absolute(&config.pod_logs_dir)?;
    kubelet.images_dir = absolute(&config.images_dir)?;
    kubelet.cluster_dns = membership.settings.cluster_dns.parse().context("read the address of the cluster's DNS")?;
    kubelet.cluster_domain = membership.settings.cluster_domain.clone();
    kubelet.pod_cidr_all = membership.settings.cluster_cidr.clone();
    kubelet.tls_cert = membership.pki.join("kubelet.crt");
    kubelet.tls_key = membership.pki.join("kubelet.key");
    kubelet.client_ca = membership.pki.join("ca.crt");
    kubelet.containerd = config.containerd.clone();
    kubelet.runc = config.runc.clone();
    kubelet.cni_bin_dir = config.cni_bin_dir.clone();
    kubelet.node_labels = config.labels.clone();
    kubelet.taints = config.taints.clone();
    kubelet.max_pods = config.max_pods;
    kubelet.version = crate::cli::GIT_VERSION.to_owned();
    if let Some(root) = &config.cgroup_root {
        kubelet.cgroup_parent.clone_from(root);
    }
    Ok(kubelet)
}

/// The proxy, started again whenever it ends by itself.
async fn keep_proxy(config: ProxyConfig, client: kube::Client, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(error) = tricorn_proxy::run(config.clone(), client.clone(), stop.clone()).await {
            tracing::error!(%error, "the proxy ended; it is started again");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PROXY_PAUSE) => {}
        }
    }
}

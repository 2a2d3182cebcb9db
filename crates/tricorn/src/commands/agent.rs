//! `tricorn agent`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Taint;

use super::{own_address, own_name};
use crate::{agent, logging, signals};

/// Runs one worker: a kubelet on a containerd of its own, and the proxy. It keeps a list of all servers and moves on when one fails.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  tricorn agent --server https://10.0.0.1:6443 --token-file /root/agent-token\n  tricorn agent --server https://10.0.0.1:6443,https://10.0.0.2:6443 --token TC1... --node-label disk=fast"
)]
pub struct Args {
    /// The node's name [default: the host's name]
    #[arg(long, env = "TRICORN_NAME")]
    name: Option<String>,
    /// API servers, as https://HOST:6443; one is enough, it tells of the others
    #[arg(long, env = "TRICORN_SERVER", value_delimiter = ',')]
    server: Vec<String>,
    /// The join token; better in a file, where process lists do not show it
    #[arg(long, env = "TRICORN_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// A file with the join token
    #[arg(long, env = "TRICORN_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Where it keeps everything
    #[arg(long, env = "TRICORN_DATA_DIR", default_value = "/var/lib/tricorn")]
    data_dir: PathBuf,
    /// The node's address [default: that of the default route]
    #[arg(long, env = "TRICORN_NODE_IP")]
    node_ip: Option<IpAddr>,
    /// Image archives to import at every start [default: images in the data directory]
    #[arg(long, env = "TRICORN_IMAGES_DIR")]
    images_dir: Option<PathBuf>,
    /// Where the logs of pods go
    #[arg(long, env = "TRICORN_POD_LOGS_DIR", default_value = "/var/log/pods")]
    pod_logs_dir: PathBuf,
    /// The parent control group of this node's pods [default: /tricorn/NAME]
    #[arg(long, env = "TRICORN_CGROUP_ROOT")]
    cgroup_root: Option<String>,
    /// A label of the new node, KEY=VALUE (repeatable)
    #[arg(long, env = "TRICORN_NODE_LABEL", value_delimiter = ',')]
    node_label: Vec<String>,
    /// A taint of the new node, KEY[=VALUE]:EFFECT (repeatable)
    #[arg(long, env = "TRICORN_NODE_TAINT", value_delimiter = ',')]
    node_taint: Vec<String>,
    /// Most pods that the node takes
    #[arg(long, env = "TRICORN_MAX_PODS", default_value_t = 110)]
    max_pods: u32,
    /// containerd's executable [default: found on PATH]
    #[arg(long, env = "TRICORN_CONTAINERD")]
    containerd: Option<PathBuf>,
    /// runc's executable [default: found on PATH]
    #[arg(long, env = "TRICORN_RUNC")]
    runc: Option<PathBuf>,
    /// The directory of the CNI plugins
    #[arg(long, env = "TRICORN_CNI_BIN_DIR", default_value = "/usr/lib/cni")]
    cni_bin_dir: PathBuf,
}

impl Args {
    /// Runs until a signal.
    pub async fn run(self) -> Result<()> {
        logging::start();
        if !nix::unistd::geteuid().is_root() {
            bail!("a worker needs root, because it mounts volumes and starts containers: run it with sudo");
        }
        let stop = signals::shutdown()?;
        let name = self.name.unwrap_or_else(own_name);
        if name.is_empty() {
            bail!("this host has no name: give --name");
        }
        if !self.cni_bin_dir.join("bridge").is_file() {
            bail!(
                "{} has no CNI plugins: on Debian or Ubuntu `apt-get install containernetworking-plugins`, or name their directory with --cni-bin-dir",
                self.cni_bin_dir.display()
            );
        }
        let data_dir = std::path::absolute(&self.data_dir)?;
        let config = agent::Config {
            images_dir: self.images_dir.unwrap_or_else(|| data_dir.join("images")),
            data_dir,
            name,
            servers: self.server,
            token: self.token,
            token_file: self.token_file,
            node_ip: self.node_ip.unwrap_or_else(own_address),
            pod_logs_dir: self.pod_logs_dir,
            cgroup_root: self.cgroup_root,
            labels: self.node_label.iter().map(|label| read_label(label)).collect::<Result<BTreeMap<_, _>>>()?,
            taints: self.node_taint.iter().map(|taint| read_taint(taint)).collect::<Result<_>>()?,
            max_pods: self.max_pods,
            containerd: program(self.containerd, "containerd")?,
            runc: program(self.runc, "runc")?,
            cni_bin_dir: self.cni_bin_dir,
        };
        Box::pin(agent::run(config, stop)).await
    }
}

/// The program that was named, or the one that is found.
fn program(named: Option<PathBuf>, name: &str) -> Result<PathBuf> {
    if let Some(path) = named {
        return if path.is_file() { Ok(path) } else { bail!("{} is not there: name {name} with --{name}", path.display()) };
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let places = path.split(':').chain(["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"]).filter(|place| !place.is_empty());
    let found = places.map(|place| Path::new(place).join(name)).find(|path| path.is_file());
    found.with_context(|| format!("{name} is not installed: on Debian or Ubuntu `apt-get install {name}`, or name it with --{name}"))
}

fn read_label(text: &str) -> Result<(String, String)> {
    let (key, value) = text.split_once('=').with_context(|| format!("label {text:?}: want KEY=VALUE"))?;
    let problems = [tricorn_meta::names::qualified_name(key), tricorn_meta::names::label_value(value)].concat();
    match problems.first() {
        None => Ok((key.to_owned(), value.to_owned())),
        Some(problem) => bail!("label {text:?}: {problem}"),
    }
}

fn read_taint(text: &str) -> Result<Taint> {
    let (rest, effect) = text.rsplit_once(':').with_context(|| format!("taint {text:?}: want KEY[=VALUE]:EFFECT"))?;
    if !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) {
        bail!("taint {text:?}: the effect is NoSchedule, PreferNoSchedule or NoExecute");
    }
    let (key, value) = rest.split_once('=').map_or((rest, None), |(key, value)| (key, Some(value.to_owned())));
    match tricorn_meta::names::qualified_name(key).first() {
        None => Ok(Taint { key: key.to_owned(), value, effect: effect.to_owned(), time_added: None }),
        Some(problem) => bail!("taint {text:?}: {problem}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn labels_and_taints_are_read_or_refused() {
        assert_eq!(read_label("disk=fast").unwrap(), ("disk".into(), "fast".into()));
        let taint = read_taint("gpu=yes:NoSchedule").unwrap();
        assert_eq!((taint.key.as_str(), taint.value.as_deref(), taint.effect.as_str()), ("gpu", Some("yes"), "NoSchedule"));
        assert_eq!(read_taint("gpu:NoExecute").unwrap().value, None);
        for bad in ["disk", "a b=c"] {
            assert!(read_label(bad).is_err(), "{bad}");
        }
        for bad in ["gpu", "gpu:Never", ":NoExecute"] {
            assert!(read_taint(bad).is_err(), "{bad}");
        }
    }
}

//! What every part of a running kubelet shares.

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::runtime::reflector::Store;

use crate::config::KubeletConfig;
use crate::cri::Cri;
use crate::objects::ApiObjects;
use crate::pod::env::Facts;
use crate::recorder::Recorder;

/// What the machine has to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Processors, thousandths.
    pub milli_cpu: i64,
    /// Memory, bytes.
    pub memory_bytes: i64,
    /// Size of the file system below the kubelet's directory, bytes.
    pub storage_bytes: i64,
}

impl Machine {
    /// Asks the operating system.
    pub fn probe(config: &KubeletConfig) -> Self {
        let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kilobytes = text
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<i64>().ok())
            .unwrap_or_default();
        let storage =
            nix::sys::statvfs::statvfs(&config.root_dir).map(|stat| stat.blocks() as i64 * stat.fragment_size() as i64).unwrap_or_default();
        let processors = std::thread::available_parallelism().map_or(1, usize::from) as i64;
        Self { milli_cpu: processors * 1000, memory_bytes: kilobytes * 1024, storage_bytes: storage }
    }
}

/// Shared by the workers, the server and the node's status.
pub struct Context {
    /// What the kubelet was told.
    pub config: KubeletConfig,
    /// The runtime.
    pub cri: Cri,
    /// The API.
    pub client: kube::Client,
    /// Events.
    pub recorder: Recorder,
    /// ConfigMaps, Secrets, tokens.
    pub objects: ApiObjects,
    /// All Services, for environment variables.
    pub services: Store<Service>,
    /// What the machine has.
    pub machine: Machine,
}

impl Context {
    /// Facts for the downward API.
    pub fn facts(&self, pod_ips: &[String], pod: &Pod) -> Facts {
        let host_ip = self.config.node_ip.to_string();
        let pod_ips = if crate::pod::spec::host_network(pod) { vec![host_ip.clone()] } else { pod_ips.to_vec() };
        Facts {
            pod_ips,
            host_ip,
            node_milli_cpu: self.machine.milli_cpu,
            node_memory_bytes: self.machine.memory_bytes,
            node_storage_bytes: self.machine.storage_bytes,
        }
    }
}

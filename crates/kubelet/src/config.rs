//! What a kubelet is told when it starts, and where it keeps things.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Taint;

/// Everything a kubelet needs to know before it talks to anybody.
#[derive(Debug, Clone)]
pub struct KubeletConfig {
    /// The Node's name.
    pub node_name: String,
    /// The node's address, on which 10250 is served and which pods of the host network have.
    pub node_ip: IpAddr,
    /// The kubelet's own directory: pods, volumes, containerd, CNI. An absolute path, short enough for a socket below it.
    pub root_dir: PathBuf,
    /// Where pod logs go: `NAMESPACE_NAME_UID/CONTAINER/N.log`. Upstream's place is `/var/log/pods`.
    pub pod_logs_dir: PathBuf,
    /// Image archives to import at start (air-gap preload). Missing is fine.
    pub images_dir: PathBuf,
    /// Address of the cluster's DNS, for pods of policy ClusterFirst.
    pub cluster_dns: IpAddr,
    /// The cluster's DNS domain.
    pub cluster_domain: String,
    /// All pods' addresses, as a CIDR: what is not masqueraded.
    pub pod_cidr_all: String,
    /// Certificate that 10250 is served with, PEM.
    pub tls_cert: PathBuf,
    /// Its key, PEM.
    pub tls_key: PathBuf,
    /// Authority that clients of 10250 must be signed by, PEM.
    pub client_ca: PathBuf,
    /// Subjects (CN) that may use 10250; members of `system:masters` always may.
    pub allowed_clients: Vec<String>,
    /// Port of the kubelet's own server.
    pub port: u16,
    /// containerd's executable.
    pub containerd: PathBuf,
    /// runc's executable.
    pub runc: PathBuf,
    /// Directory of the CNI plugins.
    pub cni_bin_dir: PathBuf,
    /// Labels the Node is registered with, beside those the kubelet derives.
    pub node_labels: BTreeMap<String, String>,
    /// Taints the Node is registered with.
    pub taints: Vec<Taint>,
    /// Whether the kubelet creates its Node object.
    pub register: bool,
    /// Most pods the node takes.
    pub max_pods: u32,
    /// gitVersion to report, such as `v1.36.2+tricorn0.1.0`.
    pub version: String,
    /// The parent control group of everything the node runs, relative to the hierarchy's root: one a kubelet, since kubelets that share one
    /// would clean up each other's pods.
    pub cgroup_parent: String,
    /// Whether pods end when the kubelet does. A worker that restarts keeps them; a test host takes them along.
    pub stop_pods_on_shutdown: bool,
}

impl KubeletConfig {
    /// A configuration with the usual values; the rest is the caller's to change.
    pub fn new(node_name: &str, node_ip: IpAddr, root_dir: &Path) -> Self {
        Self {
            node_name: node_name.to_owned(),
            node_ip,
            root_dir: root_dir.to_path_buf(),
            pod_logs_dir: root_dir.join("logs"),
            images_dir: root_dir.join("images"),
            cluster_dns: IpAddr::from([10, 43, 0, 10]),
            cluster_domain: "cluster.local".into(),
            pod_cidr_all: "10.42.0.0/16".into(),
            tls_cert: root_dir.join("pki/kubelet.crt"),
            tls_key: root_dir.join("pki/kubelet.key"),
            client_ca: root_dir.join("pki/ca.crt"),
            allowed_clients: vec!["kube-apiserver-kubelet-client".into()],
            port: 10250,
            containerd: "/usr/bin/containerd".into(),
            runc: "/usr/sbin/runc".into(),
            cni_bin_dir: "/usr/lib/cni".into(),
            node_labels: BTreeMap::new(),
            taints: Vec::new(),
            register: true,
            max_pods: 110,
            version: format!("v1.36.2+tricorn{}", env!("CARGO_PKG_VERSION")),
            cgroup_parent: format!("/tricorn/{node_name}"),
            stop_pods_on_shutdown: false,
        }
    }

    /// containerd's own directory.
    pub fn containerd_dir(&self) -> PathBuf {
        self.root_dir.join("containerd")
    }

    /// containerd's socket.
    pub fn containerd_socket(&self) -> PathBuf {
        self.root_dir.join("containerd/c.sock")
    }

    /// Directory of the CNI network configuration.
    pub fn cni_conf_dir(&self) -> PathBuf {
        self.root_dir.join("cni/conf")
    }

    /// Directory of one pod: volumes, hosts file, termination messages.
    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.root_dir.join("pods").join(uid)
    }

    /// Log directory of one pod.
    pub fn pod_log_dir(&self, namespace: &str, name: &str, uid: &str) -> PathBuf {
        self.pod_logs_dir.join(format!("{namespace}_{name}_{uid}"))
    }

    /// The node's parent cgroup, relative to the hierarchy's root.
    pub fn cgroup_root(&self) -> String {
        format!("{}/kubepods", self.cgroup_parent.trim_end_matches('/'))
    }
}

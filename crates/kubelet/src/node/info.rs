//! What the machine says about itself.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::config::KubeletConfig;

/// Architecture by Go's name.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The labels a Node is registered with.
pub fn labels(config: &KubeletConfig) -> BTreeMap<String, String> {
    let mut labels = config.node_labels.clone();
    for (key, value) in [
        ("kubernetes.io/hostname", config.node_name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", architecture()),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", architecture()),
    ] {
        labels.insert(key.to_owned(), value.to_owned());
    }
    labels
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// `status.nodeInfo`.
pub fn node_info(config: &KubeletConfig, runtime_version: &str) -> Value {
    let system = read("/etc/os-release");
    let pretty = system.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("Linux").trim_matches('"').to_owned();
    json!({
        "machineID": read("/etc/machine-id"),
        "systemUUID": read("/sys/class/dmi/id/product_uuid"),
        "bootID": read("/proc/sys/kernel/random/boot_id"),
        "kernelVersion": read("/proc/sys/kernel/osrelease"),
        "osImage": pretty,
        "containerRuntimeVersion": runtime_version,
        "kubeletVersion": config.version,
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": architecture(),
    })
}

/// Memory that can still be given out, bytes.
pub fn available_memory_bytes() -> i64 {
    let text = read("/proc/meminfo");
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<i64>().ok()).unwrap_or_default() * 1024
}

/// Free part of the kubelet's file system, thousandths.
pub fn free_storage_permille(config: &KubeletConfig) -> u64 {
    nix::sys::statvfs::statvfs(&config.root_dir).map_or(1000, |stat| stat.blocks_available() * 1000 / stat.blocks().max(1))
}

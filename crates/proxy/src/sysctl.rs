//! Kernel settings that Services and routes need.

use std::path::Path;

/// Sets what is needed; what cannot be set is said once and does without.
pub(crate) fn prepare() {
    set("net/ipv4/ip_forward", "1");
    // Node ports on loopback addresses are rewritten to leave over another interface.
    set("net/ipv4/conf/all/route_localnet", "1");
    let bridge = "net/bridge/bridge-nf-call-iptables";
    if Path::new("/proc/sys").join(bridge).exists() {
        set(bridge, "1");
    } else {
        tracing::warn!(
            "the module br_netfilter is missing: a pod that reaches a pod of the same node through a Service gets no answer \
             (modprobe br_netfilter)"
        );
    }
    // Strict filtering drops what comes back by another way; loose filtering only what no way leads to.
    if read("net/ipv4/conf/all/rp_filter").as_deref() == Some("1") {
        set("net/ipv4/conf/all/rp_filter", "2");
    }
}

fn read(name: &str) -> Option<String> {
    std::fs::read_to_string(Path::new("/proc/sys").join(name)).ok().map(|text| text.trim().to_owned())
}

fn set(name: &str, value: &str) {
    if read(name).as_deref() == Some(value) {
        return;
    }
    if let Err(error) = std::fs::write(Path::new("/proc/sys").join(name), value) {
        tracing::warn!(setting = name, value, %error, "kernel setting not made");
    }
}

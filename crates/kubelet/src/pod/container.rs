//! What the runtime is asked for: configurations of sandboxes and containers, made from the pod. Pure but for the
//! pod's own directory, in which the hosts file and termination messages lie.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod};
use tricorn_proto::cri;

use super::spec::{self, Member, Role};
use super::{env, labels, resources, security};
use crate::config::KubeletConfig;
use crate::error::{Error, Result};
use crate::volumes::{self, Paths};

/// The host's resolver configuration.
const HOST_RESOLV_CONF: &str = "/etc/resolv.conf";
/// The longest hostname the kernel takes.
const HOSTNAME_LIMIT_BYTES: usize = 63;

/// The pod's hostname.
pub fn hostname(config: &KubeletConfig, pod: &Pod) -> String {
    if spec::host_network(pod) {
        return config.node_name.clone();
    }
    let pod_spec = pod.spec.as_ref();
    let own = pod_spec.and_then(|spec| spec.hostname_override.clone().or_else(|| spec.hostname.clone()));
    let mut name = own.filter(|name| !name.is_empty()).unwrap_or_else(|| spec::name(pod).to_owned());
    if pod_spec.is_some_and(|spec| spec.set_hostname_as_fqdn == Some(true))
        && let Some(subdomain) = pod_spec.and_then(|spec| spec.subdomain.as_deref()).filter(|subdomain| !subdomain.is_empty())
    {
        return format!("{name}.{subdomain}.{}.svc.{}", spec::namespace(pod), config.cluster_domain);
    }
    if name.len() > HOSTNAME_LIMIT_BYTES {
        name.truncate(HOSTNAME_LIMIT_BYTES);
        name = name.trim_end_matches(['-', '.']).to_owned();
    }
    name
}

/// The pod's resolver configuration, by its DNS policy.
pub fn dns(config: &KubeletConfig, pod: &Pod) -> cri::DnsConfig {
    let pod_spec = pod.spec.clone().unwrap_or_default();
    let policy = pod_spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let cluster = policy == "ClusterFirstWithHostNet" || (policy == "ClusterFirst" && !spec::host_network(pod));
    let host = || host_dns(&std::fs::read_to_string(HOST_RESOLV_CONF).unwrap_or_default());
    let mut dns = if cluster {
        let (domain, namespace) = (&config.cluster_domain, spec::namespace(pod));
        let mut searches = vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
        searches.extend(host().searches);
        cri::DnsConfig { servers: vec![config.cluster_dns.to_string()], searches, options: vec!["ndots:5".into()] }
    } else if policy == "None" {
        cri::DnsConfig::default()
    } else {
        host()
    };
    if let Some(own) = pod_spec.dns_config {
        dns.servers.extend(own.nameservers.into_iter().flatten());
        dns.searches.extend(own.searches.into_iter().flatten());
        for option in own.options.into_iter().flatten() {
            let name = option.name.unwrap_or_default();
            dns.options.retain(|known| known.split(':').next() != Some(name.as_str()));
            dns.options.push(option.value.map_or(name.clone(), |value| format!("{name}:{value}")));
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    dns.servers.retain(|server| seen.insert(server.clone()));
    dns.searches.retain(|search| seen.insert(search.clone()));
    dns
}

fn host_dns(text: &str) -> cri::DnsConfig {
    let mut dns = cri::DnsConfig::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => dns.servers.extend(words.map(str::to_owned)),
            Some("search") => dns.searches = words.map(str::to_owned).collect(),
            Some("options") => dns.options = words.map(str::to_owned).collect(),
            _ => {}
        }
    }
    dns
}

/// The text of the pod's /etc/hosts.
pub fn hosts(config: &KubeletConfig, pod: &Pod, addresses: &[String]) -> String {
    let pod_spec = pod.spec.clone().unwrap_or_default();
    let mut text = if spec::host_network(pod) {
        format!("# Kubernetes-managed hosts file (host network).\n{}", std::fs::read_to_string("/etc/hosts").unwrap_or_default())
    } else {
        let mut text = String::from(
            "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
             fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
        );
        let name = hostname(config, pod);
        for address in addresses {
            match pod_spec.subdomain.as_deref().filter(|subdomain| !subdomain.is_empty()) {
                Some(subdomain) => {
                    let full = format!("{name}.{subdomain}.{}.svc.{}", spec::namespace(pod), config.cluster_domain);
                    text.push_str(&format!("{address}\t{full}\t{name}\n"));
                }
                None => text.push_str(&format!("{address}\t{name}\n")),
            }
        }
        text
    };
    let aliases = pod_spec.host_aliases.unwrap_or_default();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        for alias in aliases {
            text.push_str(&format!("{}\t{}\n", alias.ip, alias.hostnames.unwrap_or_default().join("\t")));
        }
    }
    text
}

fn pod_labels(pod: &Pod) -> HashMap<String, String> {
    HashMap::from([
        (labels::POD_NAME.to_owned(), spec::name(pod).to_owned()),
        (labels::POD_NAMESPACE.to_owned(), spec::namespace(pod).to_owned()),
        (labels::POD_UID.to_owned(), spec::uid(pod).to_owned()),
    ])
}

/// The sandbox of a pod.
pub fn sandbox_config(config: &KubeletConfig, pod: &Pod, attempt: u32) -> cri::PodSandboxConfig {
    let mut labels = pod_labels(pod);
    for (key, value) in pod.metadata.labels.iter().flatten() {
        labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    let mut port_mappings = Vec::new();
    if !spec::host_network(pod) {
        for port in spec::members(pod).iter().flat_map(|member| member.container.ports.iter().flatten()) {
            if let Some(host_port) = port.host_port.filter(|port| *port > 0) {
                port_mappings.push(cri::PortMapping {
                    protocol: match port.protocol.as_deref() {
                        Some("UDP") => cri::Protocol::Udp,
                        Some("SCTP") => cri::Protocol::Sctp,
                        _ => cri::Protocol::Tcp,
                    } as i32,
                    container_port: port.container_port,
                    host_port,
                    host_ip: port.host_ip.clone().unwrap_or_default(),
                });
            }
        }
    }
    let host_network = spec::host_network(pod);
    cri::PodSandboxConfig {
        metadata: Some(cri::PodSandboxMetadata {
            name: spec::name(pod).to_owned(),
            uid: spec::uid(pod).to_owned(),
            namespace: spec::namespace(pod).to_owned(),
            attempt,
        }),
        hostname: if host_network { String::new() } else { hostname(config, pod) },
        log_directory: config.pod_log_dir(spec::namespace(pod), spec::name(pod), spec::uid(pod)).to_string_lossy().into_owned(),
        dns_config: Some(dns(config, pod)),
        port_mappings,
        labels,
        annotations: pod.metadata.annotations.clone().unwrap_or_default().into_iter().collect(),
        linux: Some(cri::LinuxPodSandboxConfig {
            cgroup_parent: resources::pod_cgroup(&config.cgroup_root(), pod),
            security_context: Some(security::sandbox(pod)),
            sysctls: security::sysctls(pod),
            ..Default::default()
        }),
    }
}

/// What a container's configuration is made from.
pub struct Ingredients<'a> {
    /// The node's configuration.
    pub config: &'a KubeletConfig,
    /// The pod.
    pub pod: &'a Pod,
    /// The container and its place.
    pub member: &'a Member,
    /// How many of its name were before it.
    pub attempt: u32,
    /// Its image.
    pub image: &'a cri::Image,
    /// Its environment.
    pub environment: Vec<(String, String)>,
    /// Host paths of the pod's volumes.
    pub volumes: &'a Paths,
    /// The pod's addresses.
    pub addresses: &'a [String],
    /// The container whose processes an ephemeral container sees.
    pub target: Option<String>,
    /// Memory of the node, bytes.
    pub node_memory_bytes: i64,
}

/// Where a container's termination message lies on the host.
pub fn termination_file(config: &KubeletConfig, uid: &str, container: &str, attempt: u32) -> PathBuf {
    config.pod_dir(uid).join("containers").join(container).join(attempt.to_string())
}

/// The container's configuration; makes the files it mounts from the pod's directory.
pub fn container_config(parts: &Ingredients<'_>) -> Result<cri::ContainerConfig> {
    let container = &parts.member.container;
    let known: BTreeMap<String, String> = parts.environment.iter().cloned().collect();
    let expand = |list: &Option<Vec<String>>| list.iter().flatten().map(|text| env::expand(text, &known)).collect::<Vec<_>>();
    let mut labels = pod_labels(parts.pod);
    labels.insert(labels::CONTAINER_NAME.into(), container.name.clone());
    let log_path = format!("{}/{}.log", container.name, parts.attempt);
    let log_dir = config_log_dir(parts).join(&container.name);
    std::fs::create_dir_all(&log_dir).map_err(Error::io("create", &log_dir))?;
    Ok(cri::ContainerConfig {
        metadata: Some(cri::ContainerMetadata { name: container.name.clone(), attempt: parts.attempt }),
        image: Some(cri::ImageSpec { image: parts.image.id.clone(), ..Default::default() }),
        command: expand(&container.command),
        args: expand(&container.args),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        envs: parts.environment.iter().map(|(key, value)| cri::KeyValue { key: key.clone(), value: value.clone() }).collect(),
        mounts: mounts(parts, &known)?,
        labels,
        annotations: annotations(parts),
        log_path,
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        tty: container.tty == Some(true),
        linux: Some(cri::LinuxContainerConfig {
            resources: Some(resources::container_resources(parts.pod, container, parts.node_memory_bytes)),
            security_context: Some(security::container(parts.pod, parts.member, parts.image, parts.target.clone())?),
        }),
        ..Default::default()
    })
}

fn config_log_dir(parts: &Ingredients<'_>) -> PathBuf {
    parts.config.pod_log_dir(spec::namespace(parts.pod), spec::name(parts.pod), spec::uid(parts.pod))
}

fn termination_path(container: &Container) -> &str {
    container.termination_message_path.as_deref().unwrap_or("/dev/termination-log")
}

fn annotations(parts: &Ingredients<'_>) -> HashMap<String, String> {
    let container = &parts.member.container;
    let grace = parts.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30);
    HashMap::from([
        (labels::CONTAINER_HASH.to_owned(), spec::container_hash(container)),
        (labels::RESTART_COUNT.to_owned(), parts.attempt.to_string()),
        (labels::TERMINATION_PATH.to_owned(), termination_path(container).to_owned()),
        (labels::TERMINATION_POLICY.to_owned(), container.termination_message_policy.clone().unwrap_or_else(|| "File".into())),
        (labels::GRACE_PERIOD.to_owned(), grace.to_string()),
    ])
}

fn mounts(parts: &Ingredients<'_>, known: &BTreeMap<String, String>) -> Result<Vec<cri::Mount>> {
    let container = &parts.member.container;
    let mut mounts = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let expanded = mount.sub_path_expr.as_ref().map(|text| env::expand(text, known));
        let sub_path = expanded.as_deref().or(mount.sub_path.as_deref());
        let source = volumes::mount_source(parts.pod, parts.volumes, mount, sub_path)?;
        mounts.push(cri::Mount {
            container_path: absolute(&mount.mount_path),
            host_path: source.to_string_lossy().into_owned(),
            readonly: mount.read_only == Some(true),
            propagation: match mount.mount_propagation.as_deref() {
                Some("HostToContainer") => cri::MountPropagation::PropagationHostToContainer,
                Some("Bidirectional") => cri::MountPropagation::PropagationBidirectional,
                _ => cri::MountPropagation::PropagationPrivate,
            } as i32,
            ..Default::default()
        });
    }
    let pod_dir = parts.config.pod_dir(spec::uid(parts.pod));
    let taken = |path: &str, mounts: &[cri::Mount]| mounts.iter().any(|mount| mount.container_path == path);
    if !taken("/etc/hosts", &mounts) && parts.member.role != Role::Ephemeral {
        let file = pod_dir.join("etc-hosts");
        let text = hosts(parts.config, parts.pod, parts.addresses);
        std::fs::write(&file, text).map_err(Error::io("write", &file))?;
        mounts.push(plain_mount("/etc/hosts", &file));
    }
    let termination = termination_path(container);
    if !termination.is_empty() && !taken(termination, &mounts) {
        let file = termination_file(parts.config, spec::uid(parts.pod), &container.name, parts.attempt);
        if let Some(directory) = file.parent() {
            std::fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
        }
        std::fs::write(&file, "").map_err(Error::io("create", &file))?;
        let writable = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        std::fs::set_permissions(&file, writable).map_err(Error::io("set mode of", &file))?;
        mounts.push(plain_mount(termination, &file));
    }
    Ok(mounts)
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

fn plain_mount(container_path: &str, host_path: &Path) -> cri::Mount {
    cri::Mount { container_path: container_path.to_owned(), host_path: host_path.to_string_lossy().into_owned(), ..Default::default() }
}

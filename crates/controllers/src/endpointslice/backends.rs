//! The pods behind a Service, with the ports that they offer for it.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};
use tricorn_client::{Key, Queue, Shared};

use crate::pods;

/// A port of a pod, under the name that the Service gives it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Port {
    pub(super) name: String,
    pub(super) number: i32,
    pub(super) protocol: String,
    pub(super) app_protocol: Option<String>,
}

/// One address behind the Service.
#[derive(Clone, Debug)]
pub(super) struct Backend {
    pub(super) pod: Arc<Pod>,
    pub(super) address: String,
    pub(super) ports: Vec<Port>,
    /// Traffic may go there.
    pub(super) ready: bool,
    /// It would serve, though it may be on its way out.
    pub(super) serving: bool,
    pub(super) terminating: bool,
    /// Its own name under the Service's, if it has one.
    pub(super) hostname: Option<String>,
}

/// Whether the Service is one whose addresses are found by selecting pods.
pub(super) fn is_selecting(service: &Service) -> bool {
    let spec = service.spec.as_ref();
    let selects = spec.and_then(|spec| spec.selector.as_ref()).is_some_and(|selector| !selector.is_empty());
    let external = spec.and_then(|spec| spec.type_.as_deref()) == Some("ExternalName");
    selects && !external && service.metadata.deletion_timestamp.is_none()
}

/// The Service's selector.
pub(super) fn selector(service: &Service) -> Option<Selector> {
    let labels = service.spec.as_ref()?.selector.clone()?;
    Some(labels.into_iter().collect())
}

/// Whether the Service has no virtual address.
pub(super) fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

/// The backends of `service` among `candidates`, in the order given.
pub(super) fn backends(service: &Service, candidates: &[Arc<Pod>]) -> Vec<Backend> {
    let Some(selector) = selector(service) else { return Vec::new() };
    let spec = service.spec.clone().unwrap_or_default();
    let unready_too = spec.publish_not_ready_addresses.unwrap_or(false);
    let selected = candidates.iter().filter(|pod| selector.matches(pod.labels()) && !pods::is_terminal(pod));
    let with_address = selected.filter_map(|pod| Some((pod, address(pod)?)));
    let backend = |(pod, address): (&Arc<Pod>, String)| {
        let serving = pods::is_ready(pod);
        let terminating = pods::is_deleting(pod);
        Backend {
            pod: pod.clone(),
            address,
            ports: ports(&spec.ports.clone().unwrap_or_default(), pod),
            ready: unready_too || (serving && !terminating),
            serving,
            terminating,
            hostname: hostname(service, pod),
        }
    };
    with_address.map(backend).collect()
}

/// The pod's IPv4 address.
fn address(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let all = status.pod_ips.iter().flatten().map(|ip| ip.ip.clone()).chain(status.pod_ip.clone());
    all.into_iter().find(|address| address.parse::<std::net::Ipv4Addr>().is_ok())
}

fn hostname(service: &Service, pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let hostname = spec.hostname.clone().filter(|name| !name.is_empty())?;
    (spec.subdomain.as_deref() == service.metadata.name.as_deref()).then_some(hostname)
}

fn ports(wanted: &[ServicePort], pod: &Pod) -> Vec<Port> {
    let resolve = |port: &ServicePort| {
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        let number = match &port.target_port {
            Some(IntOrString::Int(0)) | None => port.port,
            Some(IntOrString::Int(number)) => *number,
            Some(IntOrString::String(name)) if name.is_empty() => port.port,
            Some(IntOrString::String(name)) => named_port(pod, name, &protocol)?,
        };
        let name = port.name.clone().unwrap_or_default();
        Some(Port { name, number, protocol, app_protocol: port.app_protocol.clone() })
    };
    wanted.iter().filter_map(resolve).collect()
}

fn named_port(pod: &Pod, name: &str, protocol: &str) -> Option<i32> {
    let spec = pod.spec.as_ref()?;
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let fits = |port: &&k8s_openapi::api::core::v1::ContainerPort| {
        port.name.as_deref() == Some(name) && port.protocol.as_deref().unwrap_or("TCP") == protocol
    };
    ports.into_iter().find(fits).map(|port| port.container_port)
}

/// Wakes the Services that a changed pod stands behind, or stood behind before.
pub(super) fn follow_pods(pods: &Shared<Pod>, services: &Shared<Service>, queue: &Queue<Key>) {
    let (services, queue) = (services.clone(), queue.clone());
    pods.on_change(move |change| {
        let pod = change.latest();
        if let Some(old) = change.old()
            && !matters(old, pod)
        {
            return;
        }
        let namespace = pod.namespace().unwrap_or_default();
        for service in services.in_namespace(&namespace) {
            let Some(selector) = selector(&service).filter(|_| is_selecting(&service)) else { continue };
            let before = change.old().is_some_and(|old| selector.matches(old.labels()));
            if before || selector.matches(pod.labels()) {
                queue.add(Key::of(service.as_ref()));
            }
        }
    });
}

/// Whether a change of the pod can change what stands behind a Service.
fn matters(old: &Pod, new: &Pod) -> bool {
    pods::is_ready(old) != pods::is_ready(new)
        || pods::is_deleting(old) != pods::is_deleting(new)
        || pods::is_terminal(old) != pods::is_terminal(new)
        || address(old) != address(new)
        || pods::node(old) != pods::node(new)
        || old.metadata.labels != new.metadata.labels
}

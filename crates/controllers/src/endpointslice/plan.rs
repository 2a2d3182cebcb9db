//! How backends are laid out in slices: as few changes as possible, none larger than the limit.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};

use super::backends::{Backend, Port, is_headless};
use crate::owners::controller_reference;
use crate::pods;

/// Most endpoints in one slice.
const SLICE_ENDPOINTS: usize = 100;
/// Label: the Service that a slice belongs to.
pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Label: who writes a slice.
pub(super) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// The value of that label on slices of this controller.
pub(super) const MANAGER: &str = "endpointslice-controller.k8s.io";
/// Label on what belongs to a Service without a virtual address.
pub(super) const HEADLESS: &str = "service.kubernetes.io/headless";
/// Label of a node: the zone that it is in.
const ZONE: &str = "topology.kubernetes.io/zone";

/// What to do with the slices of one Service.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) create: Vec<EndpointSlice>,
    pub(super) update: Vec<EndpointSlice>,
    pub(super) delete: Vec<Arc<EndpointSlice>>,
}

/// Lays `backends` out over the slices that are there and new ones. `zones` tells the zone of each node.
pub(super) fn plan(service: &Service, backends: &[Backend], existing: &[Arc<EndpointSlice>], zones: &HashMap<String, String>) -> Plan {
    let mut groups: BTreeMap<Vec<Port>, Vec<Endpoint>> = BTreeMap::new();
    for backend in backends {
        groups.entry(backend.ports.clone()).or_default().push(endpoint(backend, zones));
    }
    if groups.is_empty() {
        // An empty slice tells readers that there is nothing, rather than nothing yet.
        groups.insert(Vec::new(), Vec::new());
    }
    let mut plan = Plan::default();
    let mut used: HashSet<Option<String>> = HashSet::new();
    for (ports, endpoints) in groups {
        let ports = slice_ports(&ports, endpoints.is_empty());
        let reusable: Vec<&Arc<EndpointSlice>> = existing.iter().filter(|slice| slice.ports == ports).collect();
        fill(service, &ports, endpoints, &reusable, &mut plan, &mut used);
    }
    let unused = existing.iter().filter(|slice| !used.contains(&slice.metadata.name));
    plan.delete = unused.cloned().collect();
    plan
}

/// Distributes the endpoints of one set of ports: known ones stay where they are, new ones fill gaps.
fn fill(
    service: &Service,
    ports: &Option<Vec<EndpointPort>>,
    endpoints: Vec<Endpoint>,
    reusable: &[&Arc<EndpointSlice>],
    plan: &mut Plan,
    used: &mut HashSet<Option<String>>,
) {
    let identity = |endpoint: &Endpoint| endpoint.target_ref.as_ref().and_then(|target| target.uid.clone());
    let empty = endpoints.is_empty();
    let mut wanted: HashMap<Option<String>, Endpoint> = endpoints.iter().map(|e| (identity(e), e.clone())).collect();
    let order: Vec<Option<String>> = endpoints.iter().map(identity).collect();
    let mut contents: Vec<Vec<Endpoint>> = Vec::new();
    for slice in reusable {
        let kept = slice.endpoints.iter().flatten().filter_map(|known| wanted.remove(&identity(known)));
        contents.push(kept.take(SLICE_ENDPOINTS).collect());
    }
    let mut new: Vec<Endpoint> = order.into_iter().filter_map(|uid| wanted.remove(&uid)).collect();
    new.reverse();
    for content in &mut contents {
        while content.len() < SLICE_ENDPOINTS
            && let Some(endpoint) = new.pop()
        {
            content.push(endpoint);
        }
    }
    let mut kept_empty = !empty;
    for (slice, content) in reusable.iter().zip(contents) {
        if content.is_empty() && std::mem::replace(&mut kept_empty, true) {
            continue;
        }
        used.insert(slice.metadata.name.clone());
        let mut changed = slice.as_ref().clone();
        dress(service, &mut changed);
        changed.endpoints = Some(content);
        let before = slice.endpoints.clone().unwrap_or_default();
        if changed.metadata != slice.metadata || changed.endpoints.as_ref() != Some(&before) {
            plan.update.push(changed);
        }
    }
    if empty && !kept_empty {
        plan.create.push(new_slice(service, ports.clone(), Vec::new()));
    }
    new.reverse();
    for content in new.chunks(SLICE_ENDPOINTS) {
        plan.create.push(new_slice(service, ports.clone(), content.to_vec()));
    }
}

fn new_slice(service: &Service, ports: Option<Vec<EndpointPort>>, endpoints: Vec<Endpoint>) -> EndpointSlice {
    let mut slice = EndpointSlice { address_type: "IPv4".to_owned(), endpoints: Some(endpoints), ports, ..Default::default() };
    slice.metadata.generate_name = Some(format!("{}-", service.metadata.name.as_deref().unwrap_or("")));
    slice.metadata.namespace.clone_from(&service.metadata.namespace);
    slice.metadata.owner_references = Some(vec![controller_reference(service)]);
    dress(service, &mut slice);
    slice
}

/// Labels: those of the Service, and who the slice belongs to.
fn dress(service: &Service, slice: &mut EndpointSlice) {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.to_owned(), service.metadata.name.clone().unwrap_or_default());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels.remove(HEADLESS);
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    slice.metadata.labels = Some(labels);
}

fn slice_ports(ports: &[Port], no_endpoints: bool) -> Option<Vec<EndpointPort>> {
    if no_endpoints {
        return None;
    }
    let port = |port: &Port| EndpointPort {
        name: Some(port.name.clone()),
        port: Some(port.number),
        protocol: Some(port.protocol.clone()),
        app_protocol: port.app_protocol.clone(),
    };
    Some(ports.iter().map(port).collect::<Vec<_>>()).filter(|ports| !ports.is_empty())
}

/// A reference to the pod behind an address.
pub(super) fn target(backend: &Backend) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: backend.pod.metadata.namespace.clone(),
        name: backend.pod.metadata.name.clone(),
        uid: backend.pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

fn endpoint(backend: &Backend, zones: &HashMap<String, String>) -> Endpoint {
    let node = pods::node(&backend.pod);
    Endpoint {
        addresses: vec![backend.address.clone()],
        conditions: Some(EndpointConditions {
            ready: Some(backend.ready),
            serving: Some(backend.serving),
            terminating: Some(backend.terminating),
        }),
        hostname: backend.hostname.clone(),
        node_name: node.map(str::to_owned),
        target_ref: Some(target(backend)),
        zone: node.and_then(|node| zones.get(node)).cloned(),
        ..Endpoint::default()
    }
}

/// The zone of each node that has one.
pub(super) fn zones<'a>(nodes: impl IntoIterator<Item = &'a Arc<k8s_openapi::api::core::v1::Node>>) -> HashMap<String, String> {
    let zone = |node: &Arc<k8s_openapi::api::core::v1::Node>| {
        let zone = node.metadata.labels.as_ref()?.get(ZONE)?.clone();
        Some((node.metadata.name.clone()?, zone))
    };
    nodes.into_iter().filter_map(zone).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::super::backends::backends;
    use super::*;
    use crate::pods::build::{deleting, labelled, on, pod, ready};
    use k8s_openapi::api::core::v1::{Container, ContainerPort, Pod, ServicePort, ServiceSpec};
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

    fn service(target: IntOrString) -> Service {
        let mut service = Service::default();
        service.metadata.name = Some("web".into());
        service.metadata.namespace = Some("default".into());
        service.spec = Some(ServiceSpec {
            selector: Some([("app".to_owned(), "web".to_owned())].into()),
            ports: Some(vec![ServicePort { name: Some("http".into()), port: 80, target_port: Some(target), ..Default::default() }]),
            cluster_ip: Some("10.43.0.20".into()),
            ..Default::default()
        });
        service
    }

    fn at(pod: Pod, address: &str) -> Arc<Pod> {
        let mut pod = labelled(on(pod, "w1"), "app", "web");
        pod.status.as_mut().unwrap().pod_ip = Some(address.into());
        Arc::new(pod)
    }

    fn named(slice: EndpointSlice, name: &str) -> Arc<EndpointSlice> {
        let mut slice = slice;
        slice.metadata.name = Some(name.into());
        Arc::new(slice)
    }

    #[test]
    fn conditions_follow_the_pods() {
        let service = service(IntOrString::Int(8080));
        let pods = [
            at(ready(pod("a", "Running"), 1), "10.42.0.2"),
            at(pod("b", "Running"), "10.42.0.3"),
            at(deleting(ready(pod("c", "Running"), 1)), "10.42.0.4"),
            at(pod("d", "Failed"), "10.42.0.5"),
            Arc::new(labelled(pod("e", "Pending"), "app", "web")),
        ];
        let plan = plan(&service, &backends(&service, &pods), &[], &HashMap::new());
        assert_eq!(plan.create.len(), 1);
        let slice = &plan.create[0];
        let seen: Vec<_> = slice
            .endpoints
            .as_ref()
            .unwrap()
            .iter()
            .map(|endpoint| {
                let conditions = endpoint.conditions.clone().unwrap();
                (endpoint.addresses[0].as_str(), conditions.ready.unwrap(), conditions.serving.unwrap(), conditions.terminating.unwrap())
            })
            .collect();
        assert_eq!(seen, [("10.42.0.2", true, true, false), ("10.42.0.3", false, false, false), ("10.42.0.4", false, true, true),]);
        assert_eq!(slice.ports.as_ref().unwrap()[0].port, Some(8080));
        assert_eq!(slice.metadata.labels.as_ref().unwrap()[MANAGED_BY], MANAGER);
    }

    #[test]
    fn named_ports_may_differ_from_pod_to_pod() {
        let service = service(IntOrString::String("web".into()));
        let with_port = |pod: Arc<Pod>, number: i32| {
            let mut pod = pod.as_ref().clone();
            let port = ContainerPort { name: Some("web".into()), container_port: number, ..Default::default() };
            pod.spec.as_mut().unwrap().containers = vec![Container { ports: Some(vec![port]), ..Default::default() }];
            Arc::new(pod)
        };
        let pods = [
            with_port(at(ready(pod("a", "Running"), 1), "10.42.0.2"), 8080),
            with_port(at(ready(pod("b", "Running"), 1), "10.42.0.3"), 9090),
        ];
        let plan = plan(&service, &backends(&service, &pods), &[], &HashMap::new());
        let ports: Vec<_> = plan.create.iter().map(|slice| slice.ports.as_ref().unwrap()[0].port.unwrap()).collect();
        assert_eq!(ports, [8080, 9090]);
    }

    #[test]
    fn an_unchanged_service_changes_nothing_and_an_empty_one_keeps_an_empty_slice() {
        let service = service(IntOrString::Int(8080));
        let first = plan(&service, &[], &[], &HashMap::new());
        let slice = named(first.create[0].clone(), "web-1");
        let again = plan(&service, &[], std::slice::from_ref(&slice), &HashMap::new());
        assert!(again.create.is_empty() && again.update.is_empty() && again.delete.is_empty(), "{again:?}");
        let pods = [at(ready(pod("a", "Running"), 1), "10.42.0.2")];
        let grown = plan(&service, &backends(&service, &pods), &[slice], &HashMap::new());
        assert_eq!((grown.create.len(), grown.delete.len()), (1, 1));
        let slice = named(grown.create[0].clone(), "web-2");
        let still = plan(&service, &backends(&service, &pods), &[slice], &HashMap::new());
        assert!(still.create.is_empty() && still.update.is_empty() && still.delete.is_empty(), "{still:?}");
    }

    #[test]
    fn large_services_take_several_slices_and_gaps_are_filled() {
        let service = service(IntOrString::Int(8080));
        let all: Vec<Arc<Pod>> =
            (0..250).map(|n| at(ready(pod(&format!("p{n}"), "Running"), 1), &format!("10.42.{}.{}", n / 200, n % 200 + 1))).collect();
        let first = plan(&service, &backends(&service, &all), &[], &HashMap::new());
        let sizes: Vec<_> = first.create.iter().map(|slice| slice.endpoints.as_ref().unwrap().len()).collect();
        assert_eq!(sizes, [100, 100, 50]);
        let existing: Vec<_> = first.create.into_iter().enumerate().map(|(n, slice)| named(slice, &format!("web-{n}"))).collect();
        let mut fewer = all[1..].to_vec();
        fewer.push(at(ready(pod("new", "Running"), 1), "10.42.9.9"));
        let second = plan(&service, &backends(&service, &fewer), &existing, &HashMap::new());
        assert_eq!((second.create.len(), second.update.len(), second.delete.len()), (0, 1, 0));
    }
}

//! The Endpoints controller: one object a Service, for readers that do not know slices.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service};
use tricorn_client::{Deletion, Key, Next, Objects, Queue, RequestError, Shared};

use super::backends::{Backend, Port, backends, follow_pods, is_headless, is_selecting};
use super::plan::{HEADLESS, target};
use crate::context::Context;
use crate::pods;
use crate::supervise::Failure;

/// Services that are worked on at a time.
const WORKERS: usize = 4;
/// Most addresses in one object.
const ADDRESSES: usize = 1000;
/// Label: who writes the object.
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
/// The value of that label.
const MANAGER: &str = "endpoint-controller";
/// Annotation: the object holds only a part of the addresses.
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

struct Controller {
    objects: Objects,
    services: Shared<Service>,
    pods: Shared<Pod>,
    endpoints: Shared<Endpoints>,
}

/// Runs the controller until shutdown.
pub(crate) async fn run(context: Context) -> Result<(), Failure> {
    let controller = Arc::new(Controller {
        objects: context.objects("endpoint-controller"),
        services: context.informers.of(),
        pods: context.informers.of(),
        endpoints: context.informers.of(),
    });
    controller.services.synced().await;
    controller.pods.synced().await;
    controller.endpoints.synced().await;
    let queue = Queue::new("endpoints");
    let wake = queue.clone();
    controller.services.on_change(move |change| wake.add(Key::of(change.latest().as_ref())));
    let wake = queue.clone();
    controller.endpoints.on_change(move |change| wake.add(Key::of(change.latest().as_ref())));
    follow_pods(&controller.pods, &controller.services, &queue);
    queue
        .run(WORKERS, context.shutdown.clone(), move |key| {
            let controller = controller.clone();
            async move { controller.sync(&key).await }
        })
        .await;
    Ok(())
}

impl Controller {
    async fn sync(&self, key: &Key) -> Result<Next, RequestError> {
        let current = self.endpoints.get(key);
        let Some(service) = self.services.get(key) else {
            // The Service is gone: what this controller wrote for it goes too.
            let ours = |e: &Arc<Endpoints>| e.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(MANAGED_BY));
            if let Some(current) = current.filter(ours) {
                let deletion = Deletion::of_uid(current.metadata.uid.clone().unwrap_or_default());
                self.objects.delete::<Endpoints>(key.namespace(), &key.name, &deletion).await?;
            }
            return Ok(Next::Done);
        };
        if !is_selecting(&service) {
            return Ok(Next::Done);
        }
        let backends = backends(&service, &self.pods.in_namespace(&key.namespace));
        let mut wanted = current.as_deref().cloned().unwrap_or_default();
        fill(&mut wanted, &service, &backends);
        let outcome = match current {
            Some(current) if *current == wanted => return Ok(Next::Done),
            Some(_) => self.objects.update(&wanted).await,
            None => self.objects.create(&wanted).await,
        };
        match outcome {
            Err(error) if !error.is_already_exists() && !error.is_namespace_terminating() => Err(error),
            _ => Ok(Next::Done),
        }
    }
}

/// Writes subsets, labels and annotations for the backends.
fn fill(endpoints: &mut Endpoints, service: &Service, backends: &[Backend]) {
    let mut groups: BTreeMap<Vec<Port>, (Vec<EndpointAddress>, Vec<EndpointAddress>)> = BTreeMap::new();
    let here: Vec<&Backend> = backends.iter().filter(|backend| !backend.terminating).collect();
    for backend in here.iter().take(ADDRESSES) {
        if backend.ports.is_empty() && !is_headless(service) {
            continue;
        }
        let (ready, waiting) = groups.entry(backend.ports.clone()).or_default();
        if backend.ready { ready.push(address(backend)) } else { waiting.push(address(backend)) }
    }
    let some = |addresses: Vec<EndpointAddress>| Some(addresses).filter(|addresses| !addresses.is_empty());
    let subset = |(ports, (ready, waiting)): (Vec<Port>, _)| EndpointSubset {
        addresses: some(ready),
        not_ready_addresses: some(waiting),
        ports: Some(ports.iter().map(port).collect::<Vec<_>>()).filter(|ports| !ports.is_empty()),
    };
    endpoints.subsets = Some(groups.into_iter().map(subset).collect::<Vec<_>>()).filter(|subsets| !subsets.is_empty());
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    endpoints.metadata.name.clone_from(&service.metadata.name);
    endpoints.metadata.namespace.clone_from(&service.metadata.namespace);
    endpoints.metadata.labels = Some(labels);
    let mut annotations = endpoints.metadata.annotations.clone().unwrap_or_default();
    annotations.remove(OVER_CAPACITY);
    if here.len() > ADDRESSES {
        annotations.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned());
    }
    endpoints.metadata.annotations = Some(annotations).filter(|all| !all.is_empty());
}

fn port(port: &Port) -> EndpointPort {
    EndpointPort {
        name: Some(port.name.clone()).filter(|name| !name.is_empty()),
        port: port.number,
        protocol: Some(port.protocol.clone()),
        app_protocol: port.app_protocol.clone(),
    }
}

fn address(backend: &Backend) -> EndpointAddress {
    EndpointAddress {
        ip: backend.address.clone(),
        hostname: backend.hostname.clone(),
        node_name: pods::node(&backend.pod).map(str::to_owned),
        target_ref: Some(target(backend)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::pods::build::{labelled, pod, ready};
    use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};

    #[test]
    fn ready_and_waiting_addresses_stand_apart() {
        let mut service = Service::default();
        service.metadata.name = Some("web".into());
        service.spec = Some(ServiceSpec {
            selector: Some([("app".to_owned(), "web".to_owned())].into()),
            ports: Some(vec![ServicePort { port: 80, ..Default::default() }]),
            ..Default::default()
        });
        let at = |pod: Pod, address: &str| {
            let mut pod = labelled(pod, "app", "web");
            pod.status.as_mut().unwrap().pod_ip = Some(address.into());
            Arc::new(pod)
        };
        let pods = [at(ready(pod("a", "Running"), 1), "10.42.0.2"), at(pod("b", "Running"), "10.42.0.3")];
        let mut endpoints = Endpoints::default();
        fill(&mut endpoints, &service, &backends(&service, &pods));
        let subsets = endpoints.subsets.unwrap();
        assert_eq!(subsets.len(), 1);
        assert_eq!(subsets[0].addresses.as_ref().unwrap()[0].ip, "10.42.0.2");
        assert_eq!(subsets[0].not_ready_addresses.as_ref().unwrap()[0].ip, "10.42.0.3");
        assert_eq!(subsets[0].ports.as_ref().unwrap()[0].name, None);
    }
}

//! The EndpointSlice controller.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use tricorn_client::{Change, Deletion, Key, Next, Objects, Queue, RequestError, Shared};

use super::backends::{backends, follow_pods, is_selecting};
use super::plan::{MANAGED_BY, MANAGER, SERVICE_NAME, plan, zones};
use crate::context::Context;
use crate::expectations::Expectations;
use crate::supervise::Failure;

/// Services that are worked on at a time.
const WORKERS: usize = 8;

struct Controller {
    objects: Objects,
    services: Shared<Service>,
    pods: Shared<Pod>,
    nodes: Shared<Node>,
    slices: Shared<EndpointSlice>,
    expectations: Expectations,
}

/// Runs the controller until shutdown.
pub(crate) async fn run(context: Context) -> Result<(), Failure> {
    let controller = Arc::new(Controller {
        objects: context.objects("endpointslice-controller"),
        services: context.informers.of(),
        pods: context.informers.of(),
        nodes: context.informers.of(),
        slices: context.informers.of(),
        expectations: Expectations::default(),
    });
    controller.services.synced().await;
    controller.pods.synced().await;
    controller.nodes.synced().await;
    controller.slices.synced().await;
    let queue = Queue::new("endpointslice");
    let (wake, seen) = (queue.clone(), controller.clone());
    controller.services.on_change(move |change| {
        let key = Key::of(change.latest().as_ref());
        if matches!(change, Change::Deleted(_)) {
            seen.expectations.forget(&key);
        }
        wake.add(key);
    });
    follow_pods(&controller.pods, &controller.services, &queue);
    let (wake, seen) = (queue.clone(), controller.clone());
    controller.slices.on_change(move |change| {
        let slice = change.latest();
        let Some(service) = service_of(slice) else { return };
        match change {
            Change::Added(_) => seen.expectations.created(&service),
            Change::Deleted(_) => seen.expectations.deleted(&service, slice.metadata.uid.as_deref().unwrap_or("")),
            Change::Updated { .. } => {}
        }
        wake.add(service);
    });
    queue
        .run(WORKERS, context.shutdown.clone(), move |key| {
            let controller = controller.clone();
            async move { controller.sync(&key).await }
        })
        .await;
    Ok(())
}

/// The Service that a slice of this controller belongs to.
fn service_of(slice: &EndpointSlice) -> Option<Key> {
    let labels = slice.labels();
    let ours = labels.get(MANAGED_BY).is_some_and(|manager| manager == MANAGER);
    ours.then(|| labels.get(SERVICE_NAME))?.map(|name| Key::new(slice.namespace().unwrap_or_default(), name.clone()))
}

impl Controller {
    async fn sync(&self, key: &Key) -> Result<Next, RequestError> {
        if !self.expectations.satisfied(key) {
            return Ok(Next::Done);
        }
        let Some(service) = self.services.get(key).filter(|service| is_selecting(service)) else { return Ok(Next::Done) };
        let existing: Vec<Arc<EndpointSlice>> = self.slices.in_namespace(&key.namespace);
        let existing: Vec<_> = existing.into_iter().filter(|slice| service_of(slice).as_ref() == Some(key)).collect();
        let backends = backends(&service, &self.pods.in_namespace(&key.namespace));
        let plan = plan(&service, &backends, &existing, &zones(&self.nodes.all()));
        if plan.create.is_empty() && plan.update.is_empty() && plan.delete.is_empty() {
            return Ok(Next::Done);
        }
        let doomed: Vec<String> = plan.delete.iter().filter_map(|slice| slice.metadata.uid.clone()).collect();
        self.expectations.expect(key, plan.create.len(), doomed);
        let mut failure = None;
        for slice in &plan.create {
            if let Err(error) = self.objects.create(slice).await {
                self.expectations.created(key);
                failure = Some(error).filter(|error| !error.is_namespace_terminating());
            }
        }
        for slice in &plan.update {
            if let Err(error) = self.objects.update(slice).await {
                failure = Some(error);
            }
        }
        for slice in &plan.delete {
            let deletion = Deletion::of_uid(slice.metadata.uid.clone().unwrap_or_default());
            if let Err(error) = self.objects.delete::<EndpointSlice>(Some(&key.namespace), &slice.name_any(), &deletion).await {
                self.expectations.deleted(key, slice.metadata.uid.as_deref().unwrap_or(""));
                failure = Some(error);
            }
        }
        failure.map_or(Ok(Next::Done), Err)
    }
}

//! Every namespace has a ConfigMap with the CA that signs for the API server, so that pods can tell whom they talk to.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use tricorn_client::{Key, Next, Objects, Queue, RequestError, Shared};

use crate::context::Context;
use crate::serviceaccount::is_active;
use crate::supervise::Failure;

/// Namespaces that are worked on at a time.
const WORKERS: usize = 4;
/// The ConfigMap.
const NAME: &str = "kube-root-ca.crt";
/// Its key.
const FIELD: &str = "ca.crt";

struct Controller {
    objects: Objects,
    namespaces: Shared<Namespace>,
    maps: Shared<ConfigMap>,
    ca_pem: String,
}

/// Runs the controller until shutdown.
pub(crate) async fn run(context: Context) -> Result<(), Failure> {
    if context.config.root_ca_pem.is_empty() {
        context.shutdown.cancelled().await;
        return Ok(());
    }
    let controller = Arc::new(Controller {
        objects: context.objects("root-ca-certificate-publisher"),
        namespaces: context.informers.of(),
        maps: context.informers.of(),
        ca_pem: context.config.root_ca_pem.clone(),
    });
    controller.namespaces.synced().await;
    controller.maps.synced().await;
    let queue = Queue::new("root-ca-publisher");
    let wake = queue.clone();
    controller.namespaces.on_change(move |change| wake.add(Key::of(change.latest().as_ref())));
    let wake = queue.clone();
    controller.maps.on_change(move |change| {
        let meta = &change.latest().metadata;
        if meta.name.as_deref() == Some(NAME) {
            wake.add(Key::new("", meta.namespace.clone().unwrap_or_default()));
        }
    });
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
        if !is_active(self.namespaces.get(key).as_ref()) {
            return Ok(Next::Done);
        }
        let data = [(FIELD.to_owned(), self.ca_pem.clone())].into();
        let outcome = match self.maps.get(&Key::new(key.name.clone(), NAME)) {
            Some(map) if map.data.as_ref() == Some(&data) => return Ok(Next::Done),
            Some(map) => {
                let mut map = map.as_ref().clone();
                map.data = Some(data);
                map.binary_data = None;
                self.objects.update(&map).await
            }
            None => {
                let mut map = ConfigMap { data: Some(data), ..ConfigMap::default() };
                map.metadata.namespace = Some(key.name.clone());
                map.metadata.name = Some(NAME.to_owned());
                let about = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";
                map.metadata.annotations = Some([("kubernetes.io/description".to_owned(), about.to_owned())].into());
                self.objects.create(&map).await
            }
        };
        match outcome {
            Err(error) if !error.is_already_exists() && !error.is_namespace_terminating() => Err(error),
            _ => Ok(Next::Done),
        }
    }
}

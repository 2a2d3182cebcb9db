//! Every namespace has a ServiceAccount `default`.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use tricorn_client::{Change, Key, Next, Objects, Queue, RequestError, Shared};

use crate::context::Context;
use crate::supervise::Failure;

/// Namespaces that are worked on at a time.
const WORKERS: usize = 4;
/// The account that pods use unless they name another.
const ACCOUNT: &str = "default";

/// Runs the controller until shutdown.
pub(crate) async fn run(context: Context) -> Result<(), Failure> {
    let objects = Arc::new(context.objects("service-account-controller"));
    let namespaces = context.informers.of::<Namespace>();
    let accounts = context.informers.of::<ServiceAccount>();
    namespaces.synced().await;
    accounts.synced().await;
    let queue = Queue::new("serviceaccount");
    let wake = queue.clone();
    namespaces.on_change(move |change| wake.add(Key::of(change.latest().as_ref())));
    let wake = queue.clone();
    accounts.on_change(move |change| {
        if let Change::Deleted(account) = change {
            wake.add(Key::new("", account.metadata.namespace.clone().unwrap_or_default()));
        }
    });
    queue
        .run(WORKERS, context.shutdown.clone(), move |key| {
            let (objects, namespaces, accounts) = (objects.clone(), namespaces.clone(), accounts.clone());
            async move { sync(&objects, &namespaces, &accounts, &key).await }
        })
        .await;
    Ok(())
}

/// Whether a namespace is there and stays.
pub(crate) fn is_active(namespace: Option<&Arc<Namespace>>) -> bool {
    let phase = |namespace: &Namespace| namespace.status.as_ref().and_then(|status| status.phase.clone());
    namespace.is_some_and(|ns| ns.metadata.deletion_timestamp.is_none() && phase(ns).as_deref() != Some("Terminating"))
}

async fn sync(
    objects: &Objects,
    namespaces: &Shared<Namespace>,
    accounts: &Shared<ServiceAccount>,
    key: &Key,
) -> Result<Next, RequestError> {
    let present = accounts.get(&Key::new(key.name.clone(), ACCOUNT)).is_some();
    if present || !is_active(namespaces.get(key).as_ref()) {
        return Ok(Next::Done);
    }
    let mut account = ServiceAccount::default();
    account.metadata.namespace = Some(key.name.clone());
    account.metadata.name = Some(ACCOUNT.to_owned());
    match objects.create(&account).await {
        Err(error) if !error.is_already_exists() && !error.is_namespace_terminating() => Err(error),
        _ => Ok(Next::Done),
    }
}

//! Tells in the status of each ResourceQuota what its namespace uses. Admission charges what is made; this takes off what goes, and what was
//! charged and never came to be.

mod kinds;
mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ResourceQuota, Service};
use serde::Serialize;
use serde_json::Value;
use tricorn_client::{Change, Key, Kind, Next, Objects, Queue, RequestError, Shared};
use tricorn_meta::Timestamp;

use self::kinds::Counted;
use self::plan::Held;
use crate::context::{Context, now};
use crate::pods;
use crate::supervise::Failure;

/// Quotas that are counted at a time.
const WORKERS: usize = 4;
/// Pause between a change and the count, in milliseconds, so that many changes make one count.
const GATHER_MS: u64 = 200;
/// Each quota is counted at least this often, in seconds: a charge for what was never stored shows in nothing that changes.
const RESYNC_SECONDS: u64 = 300;
/// Pause before a resource that is not known is looked for again, in seconds.
const UNKNOWN_SECONDS: u64 = 30;

/// Wakes the quotas of a namespace.
#[derive(Clone)]
struct Wake {
    quotas: Shared<ResourceQuota>,
    queue: Queue<Key>,
}

impl Wake {
    fn namespace(&self, namespace: &str) {
        self.count(&self.quotas.in_namespace(namespace));
    }

    fn count(&self, quotas: &[Arc<ResourceQuota>]) {
        for quota in quotas {
            self.queue.add_after(Key::of(quota.as_ref()), Duration::from_millis(GATHER_MS));
        }
    }

    /// Wakes them for what comes, goes, or `matters` in other ways.
    fn on<K: Kind>(&self, objects: &Shared<K>, matters: impl Fn(&K, &K) -> bool + Send + Sync + 'static) {
        let wake = self.clone();
        objects.on_change(move |change| {
            // Most namespaces have no quota, so that is looked at first.
            let quotas = wake.quotas.in_namespace(change.latest().meta().namespace.as_deref().unwrap_or_default());
            if !quotas.is_empty() && !matches!(change, Change::Updated { old, new } if !matters(old, new)) {
                wake.count(&quotas);
            }
        });
    }
}

struct Controller {
    objects: Objects,
    quotas: Shared<ResourceQuota>,
    pods: Shared<Pod>,
    services: Shared<Service>,
    claims: Shared<PersistentVolumeClaim>,
    counted: Counted,
}

/// Runs the controller until shutdown.
pub(crate) async fn run(context: Context) -> Result<(), Failure> {
    let queue = Queue::new("resourcequota");
    let wake = Wake { quotas: context.informers.of(), queue: queue.clone() };
    let controller = Arc::new(Controller {
        objects: context.objects("resourcequota-controller"),
        quotas: wake.quotas.clone(),
        pods: context.informers.of(),
        services: context.informers.of(),
        claims: context.informers.of(),
        counted: Counted::new(context.client.clone(), wake.clone(), context.shutdown.child_token()),
    });
    controller.quotas.synced().await;
    controller.pods.synced().await;
    controller.services.synced().await;
    controller.claims.synced().await;
    wake.on(&controller.pods, |old, new| {
        old.spec != new.spec || pods::is_terminal(old) != pods::is_terminal(new) || pods::is_deleting(old) != pods::is_deleting(new)
    });
    wake.on(&controller.services, |old, new| old.spec != new.spec);
    wake.on(&controller.claims, |old, new| old.spec != new.spec || old.status != new.status);
    let changed = queue.clone();
    controller.quotas.on_change(move |change| {
        // What admission charges is a change of the status, and no reason to count.
        if change.old().is_none_or(|old| old.spec != change.latest().spec) {
            changed.add(Key::of(change.latest().as_ref()));
        }
    });
    let own = controller.clone();
    queue
        .run(WORKERS, context.shutdown.clone(), move |key| {
            let controller = own.clone();
            async move { controller.sync(&key).await }
        })
        .await;
    controller.counted.stopped().await;
    Ok(())
}

/// The objects of a namespace as plans read them.
fn read<K: Kind + Serialize>(objects: &Shared<K>, namespace: &str) -> Held {
    let objects = objects.in_namespace(namespace);
    Held::Objects(objects.iter().map(|object| serde_json::to_value(object.as_ref()).unwrap_or(Value::Null)).collect())
}

impl Controller {
    async fn sync(&self, key: &Key) -> Result<Next, RequestError> {
        let Some(quota) = self.quotas.get(key) else {
            self.counted.keep_only(&self.quotas.all());
            return Ok(Next::Done);
        };
        let mut held = BTreeMap::new();
        for (group, plural) in plan::resources(&quota) {
            let objects = match (group, plural) {
                ("", "pods") => read(&self.pods, &key.namespace),
                ("", "services") => read(&self.services, &key.namespace),
                ("", "persistentvolumeclaims") => read(&self.claims, &key.namespace),
                _ => self.counted.number(group, plural, &key.namespace).await?.map_or(Held::Unknown, Held::Number),
            };
            held.insert((group, plural), objects);
        }
        let now = Timestamp::from_millis(now().as_millisecond());
        let recount = plan::recount(&quota, &held, now);
        if !plan::same(quota.status.as_ref(), &recount.status) {
            // With its version: what has been charged since this was read must not be lost.
            let updated = ResourceQuota { status: Some(recount.status), ..quota.as_ref().clone() };
            match self.objects.update_status(&updated).await {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        let seconds = if recount.incomplete { UNKNOWN_SECONDS } else { RESYNC_SECONDS };
        let ends = recount.next.and_then(|at| u64::try_from(at.seconds_since(now)).ok()).map_or(seconds, |left| left + 1);
        Ok(Next::After(Duration::from_secs(seconds.min(ends))))
    }
}

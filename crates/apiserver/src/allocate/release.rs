//! Giving addresses and ports back.

use super::{OWNER, wants};
use crate::server::Server;
use crate::stamp;
use serde_json::Value;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tricorn_meta::{Status, Timestamp};
use tricorn_registry::{ListQuery, Object, Paged, Step, StoredResource, Version, WriteOptions};

/// How often allocations without a Service are looked for.
const REPAIR_INTERVAL: Duration = Duration::from_secs(600);
/// An allocation without a Service is given back when it is older than this: its Service may be about to be written.
const ORPHAN_SECONDS: i64 = 300;

fn owner(allocation: &Value) -> &str {
    allocation["metadata"]["labels"][OWNER].as_str().unwrap_or_default()
}

impl Server {
    pub(super) async fn drop_allocation(&self, resource: &StoredResource, name: &str) {
        let change = |_: Arc<Object>| async { Ok(Step::Delete) };
        match self.registry.update(resource, "", name, WriteOptions::default(), change).await {
            Err(refusal) if !refusal.is_not_found() => {
                tracing::warn!(resource = %resource.plural, name, error = %refusal, "an allocation could not be given back; the repair will try again");
            }
            _ => {}
        }
    }

    /// Gives back what belongs to this Service and is not used by it any more.
    pub(super) async fn release_unused(&self, service: &Object) {
        let stored = StoredResource::builtin("", "services", true);
        let (address, ports) = match self.registry.read(&stored, service.namespace(), service.name()).await {
            Ok(current) if current.uid() == service.uid() => {
                (current.value()["spec"]["clusterIP"].clone(), wants::used_ports(current.value()))
            }
            Ok(_) => (Value::Null, Vec::new()),
            Err(refusal) if refusal.is_not_found() => (Value::Null, Vec::new()),
            Err(_) => return,
        };
        for (resource, in_use) in [
            (&self.allocator.addresses, address.as_str().map(str::to_owned).into_iter().collect::<HashSet<_>>()),
            (&self.allocator.ports, ports.iter().map(i64::to_string).collect()),
        ] {
            let cache = self.registry.cache(resource);
            if cache.ready().await.is_err() {
                continue;
            }
            let unused = cache.all().into_iter().filter(|one| owner(one.value()) == service.uid() && !in_use.contains(one.name()));
            for one in unused {
                self.drop_allocation(resource, one.name()).await;
            }
        }
    }
}

/// Gives back, now and then and on the leading server, what no Service uses: what a crash in the middle of a write left behind.
pub(crate) async fn repair(server: Arc<Server>) {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + REPAIR_INTERVAL, REPAIR_INTERVAL);
    loop {
        ticks.tick().await;
        if server.registry.store().leadership().borrow().is_leader
            && let Err(error) = repair_once(&server).await
        {
            tracing::warn!(%error, "allocations of Services could not be checked");
        }
    }
}

async fn repair_once(server: &Server) -> Result<(), Status> {
    // Allocations first: a Service that comes after them cannot be missed.
    let query = ListQuery { version: Version::Latest, ..ListQuery::default() };
    let now = stamp::now();
    for resource in [&server.allocator.addresses, &server.allocator.ports] {
        let Paged::Page(allocations) = server.registry.list(resource, &query).await? else { continue };
        let Paged::Page(services) = server.registry.list(&StoredResource::builtin("", "services", true), &query).await? else { continue };
        let owners: HashSet<&str> = services.objects.iter().map(|service| service.uid()).collect();
        for one in &allocations.objects {
            let created = Timestamp::parse(stamp::text(one.value(), "creationTimestamp")).unwrap_or(now);
            let owner = owner(one.value());
            if !owner.is_empty() && !owners.contains(owner) && now.seconds_since(created) > ORPHAN_SECONDS {
                server.drop_allocation(resource, one.name()).await;
            }
        }
    }
    Ok(())
}

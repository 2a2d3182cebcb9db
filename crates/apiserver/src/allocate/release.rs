//! Giving addresses and ports back.

use super::{Allocation, Held, OWNER, is_service};
use crate::pipeline::Target;
use crate::server::Server;
use crate::stamp;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tricorn_meta::{Status, Timestamp};
use tricorn_registry::{ListQuery, Object, Paged, Step, StoredResource, Version, WriteOptions};

/// How often allocations that nothing uses are looked for.
const REPAIR_INTERVAL: Duration = Duration::from_secs(180);
/// An allocation that nothing uses is given back when it is older than this: what it was made for may be about to be written.
const ORPHAN_SECONDS: i64 = 300;

fn owner(allocation: &Value) -> &str {
    allocation["metadata"]["labels"][OWNER].as_str().unwrap_or_default()
}

fn services() -> StoredResource {
    StoredResource::builtin("", "services", true)
}

impl Server {
    /// Gives an allocation back, if it is still the one that the Service with this uid made.
    async fn drop_allocation(&self, allocation: &Allocation, uid: &str) {
        let Allocation { resource, name } = allocation;
        let change = |current: Arc<Object>| async move { Ok(if owner(current.value()) == uid { Step::Delete } else { Step::Keep }) };
        match self.registry.update(resource, "", name, WriteOptions::default(), change).await {
            Err(refusal) if !refusal.is_not_found() => {
                tracing::warn!(resource = %resource.plural, name, error = %refusal, "an allocation could not be given back; the repair will try again");
            }
            _ => {}
        }
    }

    async fn drop_all(&self, allocations: &[Allocation], uid: &str) {
        for one in allocations {
            self.drop_allocation(one, uid).await;
        }
    }

    /// After a write that was refused: gives back what was allocated for it, if it is certain that it did not happen. Otherwise the repair will see.
    pub(crate) async fn release(&self, held: &Held, refusal: &Status) {
        self.drop_all(held.after(refusal), held.owner()).await;
    }

    /// After a write: gives back what the Service no longer uses, and what an attempt that lost had allocated and the last one did not want.
    pub(crate) async fn settle(&self, target: Target<'_>, object: &Object, held: &Held) {
        if !is_service(target) {
            return;
        }
        match self.registry.read(&services(), object.namespace(), object.name()).await {
            // Others may be about to write this Service, with allocations of their own: only this request's share is looked at.
            Ok(current) if current.uid() == object.uid() => {
                self.drop_all(&held.unused(&self.allocator.of(current.value())), object.uid()).await;
            }
            Ok(_) => self.release_owned(object.uid(), held).await,
            Err(refusal) if refusal.is_not_found() => self.release_owned(object.uid(), held).await,
            // The repair will see.
            Err(_) => {}
        }
    }

    /// Gives back all that belonged to a Service that is gone.
    async fn release_owned(&self, uid: &str, held: &Held) {
        // The caches may not have seen yet what this request has made.
        let mut all = held.unused(&[]);
        for resource in [&self.allocator.addresses, &self.allocator.ports] {
            let cache = self.registry.cache(resource);
            if cache.ready().await.is_ok() {
                let owned = cache.all().into_iter().filter(|one| owner(one.value()) == uid);
                all.extend(owned.map(|one| Allocation::new(resource, one.name())));
            }
        }
        self.drop_all(&all, uid).await;
    }
}

/// Gives back, now and then and on the leading server, what no Service uses: what a crash in the middle of a write left behind, or a write of which nobody
/// knew whether it had happened.
pub(crate) async fn repair(server: Arc<Server>) {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + REPAIR_INTERVAL, REPAIR_INTERVAL);
    loop {
        ticks.tick().await;
        if server.registry.store().leadership().borrow().is_leader
            && let Err(error) = repair_once(&server, stamp::now()).await
        {
            tracing::warn!(%error, "allocations of Services could not be checked");
        }
    }
}

pub(super) async fn repair_once(server: &Server, now: Timestamp) -> Result<(), Status> {
    for resource in [&server.allocator.addresses, &server.allocator.ports] {
        // Allocations first: a Service that comes after them cannot be missed.
        let allocations = all(server, resource).await?;
        let services = all(server, &services()).await?;
        let in_use: HashMap<&str, Vec<Allocation>> =
            services.iter().map(|service| (service.uid(), server.allocator.of(service.value()))).collect();
        for one in allocations.iter().map(|object| object.value()) {
            let allocation = Allocation::new(resource, stamp::text(one, "name"));
            if is_orphan(one, in_use.get(owner(one)).is_some_and(|used| used.contains(&allocation)), now) {
                server.drop_allocation(&allocation, owner(one)).await;
            }
        }
    }
    Ok(())
}

async fn all(server: &Server, resource: &StoredResource) -> Result<Vec<Arc<Object>>, Status> {
    let query = ListQuery { version: Version::Latest, ..ListQuery::default() };
    match server.registry.list(resource, &query).await? {
        Paged::Page(listing) => Ok(listing.objects),
        Paged::Expired { message, .. } => Err(Status::expired(message)),
    }
}

/// Whether an allocation is to be given back. One that names no owner is not ours: somebody made an IPAddress by hand.
fn is_orphan(allocation: &Value, used: bool, now: Timestamp) -> bool {
    let created = Timestamp::parse(stamp::text(allocation, "creationTimestamp")).unwrap_or(now);
    !owner(allocation).is_empty() && !used && now.seconds_since(created) > ORPHAN_SECONDS
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_is_old_and_not_used_is_an_orphan() {
        let now = Timestamp::parse("2026-01-01T00:10:00Z").unwrap();
        let (old, young) = ("2026-01-01T00:00:00Z", "2026-01-01T00:09:00Z");
        let cases = [
            ("u", false, old, true),
            ("u", true, old, false),
            ("u", false, young, false),
            ("", false, old, false),
            ("u", false, "", false),
        ];
        for (uid, used, created, expected) in cases {
            let allocation = json!({"metadata": {"labels": {OWNER: uid}, "creationTimestamp": created}});
            assert_eq!(is_orphan(&allocation, used, now), expected, "{uid} {used} {created}");
        }
    }
}

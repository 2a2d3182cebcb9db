//! What the authorizer knows: it is fed from the registry's watches of roles, bindings and what pods use.

use crate::server::Server;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tricorn_meta::Status;
use tricorn_registry::{ChangeKind, Object, Predicate, StoredResource, Version};

/// What decisions depend on: group, resource, whether it is namespaced.
const SOURCES: [(&str, &str, bool); 11] = [
    ("rbac.authorization.k8s.io", "clusterroles", false),
    ("rbac.authorization.k8s.io", "clusterrolebindings", false),
    ("rbac.authorization.k8s.io", "roles", true),
    ("rbac.authorization.k8s.io", "rolebindings", true),
    ("", "pods", true),
    ("", "persistentvolumes", false),
    ("", "persistentvolumeclaims", true),
    ("", "serviceaccounts", true),
    ("storage.k8s.io", "volumeattachments", false),
    ("resource.k8s.io", "resourceslices", false),
    ("resource.k8s.io", "resourceclaims", true),
];

/// Pause before a source that broke is read again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Counts the sources that have been read once.
#[derive(Debug, Default)]
pub(crate) struct Readiness(AtomicUsize);

impl Readiness {
    pub(crate) fn is_ready(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= SOURCES.len()
    }
}

/// Starts one task a source.
pub(crate) fn spawn(server: &Arc<Server>, tasks: &mut JoinSet<()>) {
    for (group, plural, namespaced) in SOURCES {
        let stored = StoredResource::builtin(group, plural, namespaced);
        tasks.spawn(run(server.clone(), stored));
    }
}

async fn run(server: Arc<Server>, stored: StoredResource) {
    let mut known = HashSet::new();
    let mut counted = false;
    loop {
        if let Err(error) = follow(&server, &stored, &mut known, &mut counted).await {
            tracing::warn!(resource = %stored.plural, %error, "authorization lost its watch and begins it again");
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

async fn follow(server: &Server, stored: &StoredResource, known: &mut HashSet<Arc<str>>, counted: &mut bool) -> Result<(), Status> {
    let (objects, _, mut watch) = server.registry.watch_list(stored, None, Version::Any, Predicate::all()).await?;
    {
        let mut authorizer = server.authorizer.write();
        let present: HashSet<Arc<str>> = objects.iter().map(|object| object.key().clone()).collect();
        for gone in known.difference(&present) {
            let mut parts = gone.rsplit('/');
            let (name, namespace) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            authorizer.remove(kind_of(&stored.plural), if stored.namespaced { namespace } else { "" }, name);
        }
        objects.iter().for_each(|object| authorizer.apply(kind_of(&stored.plural), object.value()));
        *known = present;
    }
    if !*counted {
        *counted = true;
        server.authorizer_ready.0.fetch_add(1, Ordering::Relaxed);
    }
    loop {
        let batch = watch.next().await?;
        if batch.events.is_empty() {
            continue;
        }
        let mut authorizer = server.authorizer.write();
        for event in batch.events {
            let object: &Object = &event.object;
            if event.kind == ChangeKind::Deleted {
                known.remove(object.key());
                authorizer.remove(kind_of(&stored.plural), object.namespace(), object.name());
            } else {
                known.insert(object.key().clone());
                authorizer.apply(kind_of(&stored.plural), object.value());
            }
        }
    }
}

fn kind_of(plural: &str) -> &'static str {
    match plural {
        "clusterroles" => "ClusterRole",
        "clusterrolebindings" => "ClusterRoleBinding",
        "roles" => "Role",
        "rolebindings" => "RoleBinding",
        "pods" => "Pod",
        "persistentvolumes" => "PersistentVolume",
        "persistentvolumeclaims" => "PersistentVolumeClaim",
        "serviceaccounts" => "ServiceAccount",
        "volumeattachments" => "VolumeAttachment",
        "resourceslices" => "ResourceSlice",
        "resourceclaims" => "ResourceClaim",
        _ => "",
    }
}

//! Which ReplicaSet is the newest, and how revisions are numbered.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;

use super::numbers::{DESIRED, MAXIMUM};

/// Annotation: the revision that a ReplicaSet, or the Deployment as a whole, is at.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
/// Annotation: earlier revisions that the same template has had, separated by commas.
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// Label that tells the pods of one template from those of another.
pub(super) const HASH: &str = "pod-template-hash";
/// Longest history that is kept, in bytes.
const HISTORY_BYTES: usize = 2000;
/// Annotations of the Deployment that are not handed down to its ReplicaSets.
const NOT_COPIED: [&str; 6] =
    ["kubectl.kubernetes.io/last-applied-configuration", REVISION, HISTORY, DESIRED, MAXIMUM, "deprecated.deployment.rollback.to"];

/// The ReplicaSets of a Deployment, oldest first, the one with the current template apart.
#[derive(Clone, Debug, Default)]
pub(super) struct Sets {
    pub(super) new: Option<Arc<ReplicaSet>>,
    pub(super) old: Vec<Arc<ReplicaSet>>,
}

impl Sets {
    /// Sorts the owned ReplicaSets by age and finds the current one.
    pub(super) fn of(deployment: &Deployment, mut owned: Vec<Arc<ReplicaSet>>) -> Self {
        owned.sort_by(|a, b| created(a).cmp(&created(b)));
        let template = deployment.spec.as_ref().map(|spec| &spec.template);
        let at = owned.iter().position(|set| template.is_some_and(|template| same_template(set, template)));
        let new = at.map(|at| owned.remove(at));
        Self { new, old: owned }
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<ReplicaSet>> {
        self.old.iter().chain(self.new.as_ref())
    }
}

/// What ReplicaSets are ordered by.
pub(super) fn created(set: &ReplicaSet) -> (Option<i64>, Option<&str>) {
    (set.metadata.creation_timestamp.as_ref().map(|time| time.0.as_second()), set.metadata.name.as_deref())
}

/// Whether the ReplicaSet was made from this template, its hash label aside.
pub(super) fn same_template(set: &ReplicaSet, template: &PodTemplateSpec) -> bool {
    let Some(own) = set.spec.as_ref().and_then(|spec| spec.template.as_ref()) else { return false };
    if own.spec != template.spec {
        return false;
    }
    let strip = |template: &PodTemplateSpec| {
        let mut meta = template.metadata.clone().unwrap_or_default();
        if let Some(labels) = &mut meta.labels {
            labels.remove(HASH);
        }
        meta.creation_timestamp = None;
        meta.labels = meta.labels.filter(|labels| !labels.is_empty());
        meta.annotations = meta.annotations.filter(|annotations| !annotations.is_empty());
        meta
    };
    strip(own) == strip(template)
}

/// The revision that a ReplicaSet is at, 0 if none is noted.
pub(super) fn revision(set: &ReplicaSet) -> i64 {
    let annotations = set.metadata.annotations.as_ref();
    annotations.and_then(|all| all.get(REVISION)).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The revision that the newest ReplicaSet must have: one above all others.
pub(super) fn next_revision(old: &[Arc<ReplicaSet>]) -> i64 {
    old.iter().map(|set| revision(set)).max().unwrap_or(0) + 1
}

/// The annotations that the newest ReplicaSet should carry: its own, what the Deployment hands down, and the revision,
/// with the former one put in the history.
pub(super) fn annotations(deployment: &Deployment, set: Option<&ReplicaSet>, next: i64) -> BTreeMap<String, String> {
    let mut all = set.and_then(|set| set.metadata.annotations.clone()).unwrap_or_default();
    for (name, value) in deployment.metadata.annotations.iter().flatten() {
        if !NOT_COPIED.contains(&name.as_str()) {
            all.insert(name.clone(), value.clone());
        }
    }
    let current: i64 = all.get(REVISION).and_then(|text| text.parse().ok()).unwrap_or(0);
    if current < next
        && let Some(former) = all.insert(REVISION.to_owned(), next.to_string()).filter(|_| current > 0)
    {
        let history = all.entry(HISTORY.to_owned()).or_default();
        *history = if history.is_empty() { former } else { format!("{history},{former}") };
        while history.len() > HISTORY_BYTES {
            match history.split_once(',') {
                Some((_, rest)) => *history = rest.to_owned(),
                None => break,
            }
        }
    }
    all
}

//! One step at a time: which pod of a StatefulSet is made or removed next, and the counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::jiff::Timestamp;

use crate::history::HASH;
use crate::{pods, templates};

/// Label: the pod's own name.
const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
/// Label: the pod's ordinal.
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// What to do.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Ordinals to make, each with whether it is of the newest revision.
    pub(super) create: Vec<(i32, bool)>,
    pub(super) delete: Vec<Arc<Pod>>,
}

/// The names of the two revisions that pods may be of.
#[derive(Clone, Debug)]
pub(super) struct Revisions {
    pub(super) current: String,
    pub(super) update: String,
}

/// The ordinal at the end of a pod's name, if it is one of the set's.
pub(super) fn ordinal(set: &str, pod: &Pod) -> Option<i32> {
    pods::name(pod).strip_prefix(set)?.strip_prefix('-')?.parse().ok()
}

fn revision(pod: &Pod) -> Option<&str> {
    pod.metadata.labels.as_ref()?.get(HASH).map(String::as_str)
}

struct Shape {
    name: String,
    first: i32,
    end: i32,
    parallel: bool,
    on_delete: bool,
    /// Ordinals below this one keep the current revision.
    partition: i32,
    wait: i32,
}

impl Shape {
    fn of(set: &StatefulSet) -> Self {
        let spec = set.spec.clone().unwrap_or_default();
        let first = spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0);
        let strategy = spec.update_strategy.unwrap_or_default();
        let partition = strategy.rolling_update.and_then(|rolling| rolling.partition).unwrap_or(0);
        Self {
            name: set.metadata.name.clone().unwrap_or_default(),
            first,
            end: first + spec.replicas.unwrap_or(1),
            parallel: spec.pod_management_policy.as_deref() == Some("Parallel"),
            on_delete: strategy.type_.as_deref() == Some("OnDelete"),
            partition: first + partition,
            wait: spec.min_ready_seconds.unwrap_or(0),
        }
    }

    fn is_wanted(&self, ordinal: i32) -> bool {
        (self.first..self.end).contains(&ordinal)
    }
}

/// The next steps. With ordered pods there is at most one, and none while a pod before it is not available.
pub(super) fn plan(set: &StatefulSet, owned: &[Arc<Pod>], revisions: &Revisions, now: Timestamp) -> Plan {
    let shape = Shape::of(set);
    let by_ordinal: BTreeMap<i32, &Arc<Pod>> = owned.iter().filter_map(|pod| Some((ordinal(&shape.name, pod)?, pod))).collect();
    let healthy = |pod: &Pod| !pods::is_deleting(pod) && pods::phase(pod) == "Running" && pods::is_available(pod, shape.wait, now);
    let mut plan = Plan::default();
    for at in shape.first..shape.end {
        match by_ordinal.get(&at) {
            None => plan.create.push((at, shape.on_delete || at >= shape.partition)),
            Some(pod) if pods::is_terminal(pod) && !pods::is_deleting(pod) => plan.delete.push((*pod).clone()),
            Some(pod) if healthy(pod) => continue,
            Some(_) if shape.parallel => continue,
            Some(_) => return plan,
        }
        if !shape.parallel {
            return plan;
        }
    }
    let surplus = by_ordinal.iter().rev().filter(|(at, _)| !shape.is_wanted(**at));
    for (_, pod) in surplus {
        if pods::is_deleting(pod) {
            if shape.parallel {
                continue;
            }
            return plan;
        }
        plan.delete.push((*pod).clone());
        if !shape.parallel {
            return plan;
        }
    }
    if shape.on_delete || !plan.create.is_empty() || !plan.delete.is_empty() {
        return plan;
    }
    for (at, pod) in by_ordinal.iter().rev().filter(|(at, _)| shape.is_wanted(**at)) {
        if *at < shape.partition {
            break;
        }
        if revision(pod) != Some(&revisions.update) && !pods::is_deleting(pod) {
            plan.delete.push((*pod).clone());
            return plan;
        }
        if !healthy(pod) {
            return plan;
        }
    }
    plan
}

/// The status: counts, and the current revision, which follows the newest once all pods are of it.
pub(super) fn status(set: &StatefulSet, owned: &[Arc<Pod>], revisions: &Revisions, now: Timestamp) -> StatefulSetStatus {
    let shape = Shape::of(set);
    let old = set.status.clone().unwrap_or_default();
    let ours: Vec<&Arc<Pod>> = owned.iter().filter(|pod| ordinal(&shape.name, pod).is_some()).collect();
    let count = |filter: &dyn Fn(&Pod) -> bool| i32::try_from(ours.iter().filter(|pod| filter(pod)).count()).unwrap_or(i32::MAX);
    let running = |pod: &Pod| pods::phase(pod) == "Running" && pods::is_ready(pod);
    let (replicas, ready) = (count(&|_| true), count(&running));
    let available = count(&|pod| running(pod) && pods::is_available(pod, shape.wait, now));
    let of = |name: &str| count(&|pod| !pods::is_deleting(pod) && revision(pod) == Some(name));
    let (mut current, updated) = (of(&revisions.current), of(&revisions.update));
    let mut current_revision = revisions.current.clone();
    let wanted = shape.end - shape.first;
    if !shape.on_delete && updated == wanted && replicas == wanted && ready == wanted {
        current_revision.clone_from(&revisions.update);
        current = updated;
    }
    let some = |count: i32| Some(count).filter(|count| *count != 0);
    StatefulSetStatus {
        replicas,
        ready_replicas: some(ready),
        available_replicas: Some(available),
        current_replicas: some(current),
        updated_replicas: some(updated),
        current_revision: Some(current_revision),
        update_revision: Some(revisions.update.clone()),
        observed_generation: set.metadata.generation,
        collision_count: Some(old.collision_count.unwrap_or(0)),
        conditions: old.conditions,
    }
}

/// The name of the claim that pod `ordinal` has for a claim template.
pub(super) fn claim_name(template: &str, set: &str, ordinal: i32) -> String {
    format!("{template}-{set}-{ordinal}")
}

/// Pod `ordinal`, with the identity that it keeps for good.
pub(super) fn new_pod(set: &StatefulSet, template: &PodTemplateSpec, revision: &str, ordinal: i32, owner: OwnerReference) -> Pod {
    let name = set.metadata.name.clone().unwrap_or_default();
    let mut pod = templates::pod_from(template, set.metadata.namespace.as_deref().unwrap_or(""), owner);
    let own = format!("{name}-{ordinal}");
    pod.metadata.generate_name = None;
    pod.metadata.name = Some(own.clone());
    let labels = pod.metadata.labels.get_or_insert_with(BTreeMap::new);
    labels.insert(POD_NAME.to_owned(), own.clone());
    labels.insert(POD_INDEX.to_owned(), ordinal.to_string());
    labels.insert(HASH.to_owned(), revision.to_owned());
    let spec = set.spec.clone().unwrap_or_default();
    let claims = spec.volume_claim_templates.unwrap_or_default();
    let pod_spec = pod.spec.get_or_insert_with(Default::default);
    pod_spec.hostname = Some(own);
    pod_spec.subdomain = spec.service_name.filter(|name| !name.is_empty());
    let names: Vec<String> = claims.iter().filter_map(|claim| claim.metadata.name.clone()).collect();
    let mut volumes: Vec<Volume> = names
        .iter()
        .map(|claim| Volume {
            name: claim.clone(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim_name(claim, &name, ordinal),
                read_only: None,
            }),
            ..Volume::default()
        })
        .collect();
    volumes.extend(pod_spec.volumes.take().into_iter().flatten().filter(|volume| !names.contains(&volume.name)));
    pod_spec.volumes = Some(volumes).filter(|volumes| !volumes.is_empty());
    pod
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::pods::build::{deleting, labelled, pod, ready};
    use serde_json::{Value, json};

    fn set(spec: Value) -> StatefulSet {
        let mut spec = spec;
        spec["template"] = json!({"spec": {"containers": []}});
        spec["selector"] = json!({});
        serde_json::from_value(json!({"metadata": {"name": "db", "namespace": "default"}, "spec": spec})).unwrap()
    }

    fn up(name: &str, revision: &str) -> Arc<Pod> {
        Arc::new(labelled(ready(pod(name, "Running"), 1), HASH, revision))
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn words(set: &StatefulSet, owned: &[Arc<Pod>], update: &str) -> Vec<String> {
        let plan = plan(set, owned, &Revisions { current: "r1".into(), update: update.into() }, at(9));
        let made = plan.create.iter().map(|(at, new)| format!("+{at}{}", if *new { "" } else { " old" }));
        made.chain(plan.delete.iter().map(|pod| format!("-{}", pods::name(pod)))).collect()
    }

    #[test]
    fn ordered_pods_come_one_after_the_other() {
        let set = set(json!({"replicas": 3}));
        let starting = Arc::new(pod("db-1", "Pending"));
        let leaving = Arc::new(deleting(ready(pod("db-1", "Running"), 1)));
        let failed = Arc::new(pod("db-0", "Failed"));
        assert_eq!(words(&set, &[], "r1"), ["+0"]);
        assert_eq!(words(&set, &[up("db-0", "r1")], "r1"), ["+1"]);
        assert!(words(&set, &[up("db-0", "r1"), starting], "r1").is_empty());
        assert!(words(&set, &[up("db-0", "r1"), leaving], "r1").is_empty());
        assert_eq!(words(&set, &[failed, up("db-1", "r1")], "r1"), ["-db-0"]);
    }

    #[test]
    fn parallel_pods_come_at_once() {
        let set = set(json!({"replicas": 3, "podManagementPolicy": "Parallel", "ordinals": {"start": 5}}));
        assert_eq!(words(&set, &[], "r1"), ["+5", "+6", "+7"]);
    }

    #[test]
    fn scaling_down_takes_the_highest_first() {
        let set = set(json!({"replicas": 1}));
        let all = [up("db-0", "r1"), up("db-1", "r1"), up("db-2", "r1")];
        assert_eq!(words(&set, &all, "r1"), ["-db-2"]);
    }

    #[test]
    fn a_rolling_update_goes_down_to_its_partition() {
        let all = [up("db-0", "r1"), up("db-1", "r1"), up("db-2", "r1")];
        let rolling =
            |partition: i32| json!({"replicas": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}});
        assert_eq!(words(&set(rolling(0)), &all, "r2"), ["-db-2"]);
        let mut next = all.to_vec();
        next[2] = up("db-2", "r2");
        assert_eq!(words(&set(rolling(0)), &next, "r2"), ["-db-1"]);
        assert!(words(&set(rolling(2)), &next, "r2").is_empty());
        next[2] = Arc::new(labelled(pod("db-2", "Pending"), HASH, "r2"));
        assert!(words(&set(rolling(0)), &next, "r2").is_empty(), "it waits for the pod that was just replaced");
        assert_eq!(words(&set(rolling(2)), &[], "r2"), ["+0 old"]);
        assert!(words(&set(json!({"replicas": 3, "updateStrategy": {"type": "OnDelete"}})), &all, "r2").is_empty());
    }

    #[test]
    fn the_current_revision_follows_when_all_is_done() {
        let set = set(json!({"replicas": 2}));
        let revisions = Revisions { current: "r1".into(), update: "r2".into() };
        let half = status(&set, &[up("db-0", "r1"), up("db-1", "r2")], &revisions, at(9));
        assert_eq!((half.current_revision.as_deref(), half.current_replicas, half.updated_replicas), (Some("r1"), Some(1), Some(1)));
        let all = status(&set, &[up("db-0", "r2"), up("db-1", "r2")], &revisions, at(9));
        assert_eq!((all.current_revision.as_deref(), all.current_replicas), (Some("r2"), Some(2)));
    }

    #[test]
    fn a_pod_keeps_its_name_and_its_claims() {
        let set = set(json!({"replicas": 1, "serviceName": "db", "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {}}]}));
        let pod = new_pod(&set, &set.spec.as_ref().unwrap().template, "r1", 4, OwnerReference { name: "db".into(), ..Default::default() });
        assert_eq!(pod.metadata.name.as_deref(), Some("db-4"));
        let spec = pod.spec.unwrap();
        assert_eq!((spec.hostname.as_deref(), spec.subdomain.as_deref()), (Some("db-4"), Some("db")));
        assert_eq!(spec.volumes.unwrap()[0].persistent_volume_claim.as_ref().unwrap().claim_name, "data-db-4");
    }
}

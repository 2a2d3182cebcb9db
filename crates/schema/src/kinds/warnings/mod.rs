//! What is said to a client whose object is taken as it is: that it asks for something that is going away, or hardly means what it says. The
//! texts are upstream's, and go into `Warning` headers.

mod addresses;
mod formats;
mod paths;
mod pods;
mod secrets;
mod volumes;

use serde_json::Value;
use tricorn_meta::{FieldPath, names};

use super::check::{At, same};
use super::service::headless;

/// What has been said so far.
type Said = Vec<String>;

/// What to say of a new object (`old` is `None`), or of one that was changed through itself. Objects have been defaulted and prepared.
pub fn warnings(group: &str, kind: &str, new: &Value, old: Option<&Value>) -> Vec<String> {
    let mut said = Said::new();
    let (at, before) = (At::root(new), old.map(At::root));
    match (group, kind) {
        ("apps", _) | ("batch", _) | ("", "ReplicationController" | "PodTemplate" | "Pod") => {
            workload(kind, &at, before.as_ref(), &mut said)
        }
        ("", "Service") => service(&at, &mut said),
        ("", "ServiceAccount") => noted(&at, ACCOUNT_NOTES, &mut said),
        ("", "Secret") => secrets::secret(&at, &mut said),
        ("", "Node") => node(&at.get("spec"), &mut said),
        ("", "PersistentVolume") => volumes::persistent(&at, &mut said),
        ("", "PersistentVolumeClaim") => {
            noted(&at, volumes::CLASS_NOTES, &mut said);
            volumes::claim(&at.get("spec"), &mut said);
        }
        ("", "Endpoints") => {
            let subsets = at.get("subsets").items().flat_map(|s| ["addresses", "notReadyAddresses"].map(|key| s.get(key)));
            subsets.flat_map(|list| list.items()).for_each(|item| addresses::ip(&item.get("ip"), &mut said));
        }
        ("discovery.k8s.io", "EndpointSlice") if matches!(at.get("addressType").text(), "IPv4" | "IPv6") => {
            let items = at.get("endpoints").items().flat_map(|endpoint| endpoint.get("addresses").items());
            items.for_each(|item| addresses::ip(&item, &mut said));
        }
        ("networking.k8s.io", "NetworkPolicy") => policy(&at.get("spec"), &mut said),
        ("networking.k8s.io", "Ingress") if old.is_none() => {
            const CLASS: &str = "kubernetes.io/ingress.class";
            if at.at("metadata.annotations").value.get(CLASS).is_some() {
                said.push(format!("annotation {CLASS:?} is deprecated, please use 'spec.ingressClassName' instead"));
            }
        }
        ("apiextensions.k8s.io", _) => {
            let versions = at.at("spec.versions");
            versions.items().for_each(|version| formats::unknown(version.at("schema.openAPIV3Schema").value, &mut said));
        }
        ("node.k8s.io", "RuntimeClass") => pods::node_labels(&at.at("scheduling.nodeSelector"), &mut said),
        ("storage.k8s.io", "StorageClass") => {
            let terms = at.get("allowedTopologies").items().flat_map(|term| term.get("matchLabelExpressions").items());
            terms.for_each(|term| pods::node_label(&term.get("key"), &mut said));
        }
        ("storage.k8s.io", "CSIStorageCapacity") => {
            pods::node_labels(&at.at("nodeTopology.matchLabels"), &mut said);
            at.at("nodeTopology.matchExpressions").items().for_each(|e| pods::node_label(&e.get("key"), &mut said));
        }
        _ => {}
    }
    said
}

/// Says something of a field.
fn tell(path: &FieldPath, words: &str, said: &mut Said) {
    said.push(format!("{path}: {words}"));
}

/// Annotations of service accounts, and what to say where one is there.
const ACCOUNT_NOTES: &[(&str, &str)] =
    &[("kubernetes.io/enforce-mountable-secrets", "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets")];

/// Says what there is to say of annotations.
fn noted(at: &At<'_>, known: &[(&str, &str)], said: &mut Said) {
    let notes = at.at("metadata.annotations");
    for (key, words) in known.iter().filter(|(key, _)| notes.value.get(key).is_some()) {
        tell(&notes.path.key(key), words, said);
    }
}

/// Pods and whatever makes them. Humans seldom change pods, so those are spoken of when they are made; makers, when their spec has changed.
fn workload(kind: &str, at: &At<'_>, before: Option<&At<'_>>, said: &mut Said) {
    let spec = at.get("spec");
    if kind == "CronJob" && spec.get("schedule").text().contains("TZ") {
        said.push(
            "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see \
             https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
                .to_owned(),
        );
    }
    let changed = before.is_none_or(|before| !same(spec.value, before.get("spec").value) || kind == "PodTemplate");
    if !changed || (kind == "Pod" && before.is_some()) {
        return;
    }
    if before.is_none() && !matches!(kind, "PodTemplate" | "StatefulSet" | "ControllerRevision") {
        name(kind, at.at("metadata.name").text(), said);
    }
    match kind {
        "Pod" => pods::pod(at, said),
        "PodTemplate" => pods::template(&at.get("template"), said),
        "Job" => job(&spec, said),
        "CronJob" => job(&spec.at("jobTemplate.spec"), said),
        "ControllerRevision" => {}
        _ => pods::template(&spec.get("template"), said),
    }
    if kind == "StatefulSet" {
        for claim in spec.get("volumeClaimTemplates").items() {
            volumes::claim(&At { value: claim.get("spec").value, path: claim.path }, said);
        }
        if spec.get("revisionHistoryLimit").int().is_some_and(|n| n < 0) {
            let words = "a negative value retains all historical revisions; a value >= 0 is recommended";
            tell(&spec.get("revisionHistoryLimit").path, words, said);
        }
    }
}

/// A pod is called by its name on the network.
fn name(kind: &str, name: &str, said: &mut Said) {
    let wrong = names::dns1123_label(name);
    if !wrong.is_empty() {
        let whose = if kind == "Pod" { "the Pod's hostname" } else { "Pod names and hostnames" };
        said.push(format!(
            "metadata.name: this is used in {whose}, which can result in surprising behavior; a DNS label is recommended: [{}]",
            wrong.join(" ")
        ));
    }
}

fn job(spec: &At<'_>, said: &mut Said) {
    let above = |key: &str, limit: i64| spec.get(key).int().is_some_and(|n| n > limit);
    if spec.get("completionMode").text() == "Indexed" && above("completions", 100_000) && above("parallelism", 10_000) {
        let words = "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail";
        tell(&spec.path, words, said);
    }
    pods::template(&spec.get("template"), said);
}

fn node(spec: &At<'_>, said: &mut Said) {
    if spec.get("configSource").is_set() {
        tell(&spec.get("configSource").path, "the feature is removed", said);
    }
    if !spec.get("externalID").is_empty() {
        tell(&spec.get("externalID").path, "this field is deprecated, and is unused by Kubernetes", said);
    }
    spec.get("podCIDRs").items().for_each(|block| addresses::cidr(&block, said));
}

fn service(at: &At<'_>, said: &mut Said) {
    const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
    let (spec, outside) = (at.get("spec"), at.at("spec.externalIPs"));
    let external_name = spec.get("type").text() == "ExternalName";
    if at.at("metadata.annotations").value.get(HINTS).is_some() {
        said.push(format!("annotation {HINTS} is deprecated, please use service.kubernetes.io/topology-mode instead"));
    }
    if !headless(&spec) {
        spec.get("clusterIPs").items().for_each(|ip| addresses::ip(&ip, said));
    } else if spec.get("type").text() == "ClusterIP" {
        let affinity = !matches!(spec.get("sessionAffinity").text(), "" | "None");
        let ignored = [
            ("loadBalancerIP", !spec.get("loadBalancerIP").is_empty()),
            ("externalIPs", !outside.is_empty()),
            ("SessionAffinity", affinity),
        ];
        for (field, _) in ignored.iter().filter(|(_, given)| *given) {
            said.push(format!("spec.{field} is ignored for headless services"));
        }
    }
    outside.items().for_each(|ip| addresses::ip(&ip, said));
    if !outside.is_empty() && !headless(&spec) && !external_name {
        said.push("spec.externalIPs is deprecated and may no longer be implemented in some clusters".to_owned());
    }
    addresses::ip(&spec.get("loadBalancerIP"), said);
    spec.get("loadBalancerSourceRanges").items().for_each(|block| addresses::cidr(&block, said));
    if external_name && !outside.is_empty() {
        said.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".to_owned());
    }
    if !external_name && !spec.get("externalName").is_empty() {
        said.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".to_owned());
    }
    if spec.get("trafficDistribution").text() == "PreferClose" {
        tell(&spec.get("trafficDistribution").path, "\"PreferClose\" is deprecated; use \"PreferSameZone\"", said);
    }
}

fn policy(spec: &At<'_>, said: &mut Said) {
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        for block in spec.get(rules).items().flat_map(|rule| rule.get(peers).items()).map(|peer| peer.get("ipBlock")) {
            addresses::cidr(&block.get("cidr"), said);
            block.get("except").items().for_each(|part| addresses::cidr(&part, said));
        }
    }
}

#[cfg(test)]
mod tests;

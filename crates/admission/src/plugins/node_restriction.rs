//! NodeRestriction: a kubelet writes its own node and what runs on it, and nothing that would widen its reach.

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde_json::Value;
use tricorn_authz::node_of;
use tricorn_meta::Status;

use crate::{Objects, Operation, Plugin, Request};

const NODES: &str = "system:nodes";
const LEASES: &str = "kube-node-lease";
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Labels of reserved prefixes that a kubelet may set on its node all the same.
const KUBELET_LABELS: &[&str] = &[
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.kubernetes.io/region",
    "failure-domain.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];

/// See the module.
pub struct NodeRestriction;

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[async_trait]
impl Plugin for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    fn validates(&self, request: &Request<'_>) -> bool {
        request.operation != Operation::Connect && request.user.in_group(NODES)
    }

    async fn validate(&self, request: &mut Request<'_>, objects: &dyn Objects) -> Result<(), Status> {
        let Some(node) = node_of(request.user) else {
            return Err(request.forbidden(format!("could not determine node from user {:?}", request.user.name)));
        };
        match (request.resource.group.as_str(), request.resource.resource.as_str(), request.subresource) {
            ("", "pods", "") => pod(request, objects, node).await,
            ("", "pods", "status") => pod_status(request, node),
            ("", "pods", "eviction") => eviction(request, objects, node).await,
            ("", "pods", other) => {
                Err(request.forbidden(format!("unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed")))
            }
            ("", "nodes", "" | "status") => own_node(request, node),
            ("", "persistentvolumeclaims", "status") => claim_status(request, node),
            ("", "persistentvolumeclaims", _) => Err(request.forbidden("may only update PVC status")),
            ("", "serviceaccounts", "token") => token(request, objects, node).await,
            ("coordination.k8s.io", "leases", _) => lease(request, node),
            ("storage.k8s.io", "csinodes", _) => csi_node(request, node),
            ("resource.k8s.io", "resourceslices", _) => slice(request, node),
            _ => Ok(()),
        }
    }
}

async fn pod(request: &Request<'_>, objects: &dyn Objects, node: &str) -> Result<(), Status> {
    match request.operation {
        Operation::Create => mirror_pod(request, node),
        Operation::Delete => {
            let known = request.old_object.clone();
            let pod = match known {
                Some(pod) => Some(pod),
                None => objects.get("", "pods", request.namespace, request.name).await?,
            };
            let pod = pod.ok_or_else(|| Status::not_found("", "pods", request.name))?;
            if text(&pod, "/spec/nodeName") == node {
                return Ok(());
            }
            Err(request.forbidden(format!("node {node:?} can only delete pods with spec.nodeName set to itself")))
        }
        _ => Err(request.forbidden(format!(
            "unexpected operation {:?}, node {node:?} can only create and delete mirror pods",
            request.operation.as_str()
        ))),
    }
}

/// A kubelet creates pods only to show the static ones that it runs; those refer to nothing.
fn mirror_pod(request: &Request<'_>, node: &str) -> Result<(), Status> {
    let pod = request.new_object();
    if pod.pointer("/metadata/annotations").and_then(|a| a.get(MIRROR)).is_none() {
        return Err(request.forbidden(format!("pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods")));
    }
    if text(pod, "/spec/nodeName") != node {
        return Err(request.forbidden(format!("node {node:?} can only create pods with spec.nodeName set to itself")));
    }
    let owners = pod.pointer("/metadata/ownerReferences").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    match owners {
        [] => {}
        [owner] if text(owner, "/kind") == "Node" && text(owner, "/apiVersion") == "v1" => {
            if text(owner, "/name") != node {
                return Err(request.forbidden(format!("node {node:?} can only create pods with an owner reference set to itself")));
            }
        }
        [_] => return Err(request.forbidden(format!("node {node:?} can only create pods with an owner reference set to itself"))),
        _ => return Err(request.forbidden(format!("node {node:?} can only create pods with a single owner reference set to itself"))),
    }
    match reference(pod) {
        None => Ok(()),
        Some(what) => Err(request.forbidden(format!("node {node:?} can not create pods that reference {what}"))),
    }
}

/// What of the API a pod refers to, told as a plural or with its article.
fn reference(pod: &Value) -> Option<&'static str> {
    if !text(pod, "/spec/serviceAccountName").is_empty() {
        return Some("a service account");
    }
    if pod.pointer("/spec/resourceClaims").and_then(Value::as_array).is_some_and(|c| !c.is_empty()) {
        return Some("resourceclaims");
    }
    let rendered = |what: &[&str]| contains_key(pod.get("spec").unwrap_or(&Value::Null), what);
    if rendered(&["secretKeyRef", "secretName", "secretRef", "nodePublishSecretRef", "imagePullSecrets"]) {
        return Some("secrets");
    }
    if rendered(&["configMapKeyRef", "configMapRef", "configMap"]) {
        return Some("configmaps");
    }
    rendered(&["persistentVolumeClaim", "ephemeral"]).then_some("persistentvolumeclaims")
}

fn contains_key(value: &Value, keys: &[&str]) -> bool {
    match value {
        Value::Object(object) => object.iter().any(|(key, value)| keys.contains(&key.as_str()) || contains_key(value, keys)),
        Value::Array(list) => list.iter().any(|value| contains_key(value, keys)),
        _ => false,
    }
}

fn pod_status(request: &Request<'_>, node: &str) -> Result<(), Status> {
    if request.operation != Operation::Update {
        return Err(request.forbidden(format!("unexpected operation {:?}", request.operation.as_str())));
    }
    if text(request.stored(), "/spec/nodeName") != node {
        return Err(request.forbidden(format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself")));
    }
    let labels = |pod: &Value| pod.pointer("/metadata/labels").cloned().unwrap_or_default();
    if labels(request.stored()) != labels(request.new_object()) {
        return Err(request.forbidden(format!("node {node:?} cannot update labels through pod status")));
    }
    Ok(())
}

async fn eviction(request: &Request<'_>, objects: &dyn Objects, node: &str) -> Result<(), Status> {
    if request.operation != Operation::Create {
        return Err(request.forbidden(format!("unexpected operation {:?}", request.operation.as_str())));
    }
    let name = if request.name.is_empty() { text(request.new_object(), "/metadata/name") } else { request.name };
    if name.is_empty() {
        return Err(request.forbidden("could not determine pod from request data"));
    }
    let pod = objects.get("", "pods", request.namespace, name).await?.ok_or_else(|| Status::not_found("", "pods", name))?;
    if text(&pod, "/spec/nodeName") != node {
        return Err(request.forbidden(format!("node {node} can only evict pods with spec.nodeName set to itself")));
    }
    Ok(())
}

fn own_node(request: &Request<'_>, node: &str) -> Result<(), Status> {
    let (old, new) = (request.stored(), request.new_object());
    let name = match request.operation {
        Operation::Create => text(new, "/metadata/name"),
        _ => request.name,
    };
    if name != node {
        return Err(request.forbidden(format!("node {node:?} is not allowed to modify node {name:?}")));
    }
    if !matches!(request.operation, Operation::Create | Operation::Update) {
        return Ok(());
    }
    if new.pointer("/spec/configSource").is_some_and(|s| !s.is_null())
        && new.pointer("/spec/configSource") != old.pointer("/spec/configSource")
    {
        return Err(request.forbidden(format!("node {node:?} is not allowed to update configSource to a new non-nil configSource")));
    }
    let forbidden = changed_labels(old, new).into_iter().filter(|l| is_reserved(l)).collect::<Vec<_>>();
    if !forbidden.is_empty() {
        return Err(request.forbidden(format!("is not allowed to modify labels: {}", forbidden.join(", "))));
    }
    if request.operation == Operation::Update {
        let list = |o: &Value, pointer: &str| o.pointer(pointer).filter(|l| l.as_array().is_some_and(|l| !l.is_empty())).cloned();
        if list(old, "/spec/taints") != list(new, "/spec/taints") {
            return Err(request.forbidden(format!("node {node:?} is not allowed to modify taints")));
        }
        if list(old, "/metadata/ownerReferences") != list(new, "/metadata/ownerReferences") {
            return Err(request.forbidden(format!("node {node:?} is not allowed to modify ownerReferences")));
        }
    }
    Ok(())
}

fn changed_labels<'a>(old: &'a Value, new: &'a Value) -> BTreeSet<&'a str> {
    let labels = |o: &'a Value| o.pointer("/metadata/labels").and_then(Value::as_object);
    let (old, new) = (labels(old), labels(new));
    let keys = old.into_iter().chain(new).flat_map(|l| l.keys());
    keys.filter(|k| old.and_then(|l| l.get(*k)) != new.and_then(|l| l.get(*k))).map(String::as_str).collect()
}

/// Whether a node may not change this label of itself.
fn is_reserved(label: &str) -> bool {
    let Some((domain, _)) = label.split_once('/') else { return false };
    let of = |suffix: &str| domain == suffix || domain.strip_suffix(suffix).is_some_and(|d| d.ends_with('.'));
    if of("node-restriction.kubernetes.io") {
        return true;
    }
    if !of("kubernetes.io") && !of("k8s.io") {
        return false;
    }
    !KUBELET_LABELS.contains(&label) && !of("kubelet.kubernetes.io") && !of("node.kubernetes.io")
}

fn claim_status(request: &Request<'_>, node: &str) -> Result<(), Status> {
    if request.operation != Operation::Update {
        return Err(request.forbidden(format!("unexpected operation {:?}", request.operation.as_str())));
    }
    let rest = |claim: &Value| {
        let mut claim = claim.clone();
        for path in [
            "status.conditions",
            "status.capacity",
            "status.allocatedResources",
            "status.allocatedResourceStatuses",
            "metadata.managedFields",
            "metadata.resourceVersion",
        ] {
            tricorn_meta::json::remove(&mut claim, path);
        }
        claim
    };
    if rest(request.stored()) != rest(request.new_object()) {
        return Err(
            request.forbidden(format!("node {node:?} is not allowed to update fields other than status.quantity and status.conditions"))
        );
    }
    Ok(())
}

/// A kubelet asks for tokens of the pods that it runs, bound to them.
async fn token(request: &Request<'_>, objects: &dyn Objects, node: &str) -> Result<(), Status> {
    let bound = request.new_object().pointer("/spec/boundObjectRef").unwrap_or(&Value::Null);
    if text(bound, "/kind") != "Pod" || text(bound, "/apiVersion") != "v1" || text(bound, "/name").is_empty() {
        return Err(request.forbidden("node requested token not bound to a pod"));
    }
    let (name, uid) = (text(bound, "/name"), text(bound, "/uid"));
    if uid.is_empty() {
        return Err(request.forbidden("node requested token with a pod binding without a uid"));
    }
    let pod = objects.get("", "pods", request.namespace, name).await?.ok_or_else(|| Status::not_found("", "pods", name))?;
    if text(&pod, "/metadata/uid") != uid {
        let actual = text(&pod, "/metadata/uid");
        return Err(request.forbidden(format!("the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated: {actual}")));
    }
    if text(&pod, "/spec/nodeName") != node {
        return Err(request.forbidden("node requested token bound to a pod scheduled on a different node"));
    }
    if text(&pod, "/spec/serviceAccountName") != request.name {
        return Err(request.forbidden("node requested token for a service account that its pod does not run as"));
    }
    Ok(())
}

fn lease(request: &Request<'_>, node: &str) -> Result<(), Status> {
    if request.namespace != LEASES {
        return Err(request.forbidden(format!("can only access leases in the {LEASES:?} system namespace")));
    }
    let name = if request.operation == Operation::Create { text(request.new_object(), "/metadata/name") } else { request.name };
    if name != node {
        return Err(request.forbidden("can only access node lease with the same name as the requesting node"));
    }
    Ok(())
}

fn csi_node(request: &Request<'_>, node: &str) -> Result<(), Status> {
    let name = if request.operation == Operation::Create { text(request.new_object(), "/metadata/name") } else { request.name };
    if name != node {
        return Err(request.forbidden("can only access CSINode with the same name as the requesting node"));
    }
    Ok(())
}

fn slice(request: &Request<'_>, node: &str) -> Result<(), Status> {
    let (object, verb) = match request.operation {
        Operation::Create => (request.new_object(), "create"),
        Operation::Update => (request.stored(), "update"),
        _ => (request.stored(), "delete"),
    };
    // A deletion of the collection has no object; the authorizer has checked its selector.
    if !object.is_null() && text(object, "/spec/nodeName") != node {
        return Err(request.forbidden(format!("can only {verb} ResourceSlice with the same NodeName as the requesting node")));
    }
    Ok(())
}

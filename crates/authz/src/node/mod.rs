//! Node authorization: a kubelet may read what the pods bound to its node use, and write its own node and those pods.

mod graph;
mod references;

use std::sync::OnceLock;

use serde_json::Value;
use tricorn_meta::UserInfo;

use crate::bootstrap::cluster_role_rules;
use crate::{Attributes, Decision, Rule};
use graph::Graph;
use references::What;

const NODES: &str = "system:nodes";
const NODE_PREFIX: &str = "system:node:";
const LEASES: &str = "kube-node-lease";

/// The Node authorizer, fed with pods, persistent volumes, volume attachments and resource slices.
#[derive(Clone, Debug, Default)]
pub struct NodeAuthorizer {
    graph: Graph,
}

/// The node that a user is, if it is one: a member of `system:nodes` named `system:node:NAME`.
pub fn node_of(user: &UserInfo) -> Option<&str> {
    user.name.strip_prefix(NODE_PREFIX).filter(|name| !name.is_empty() && user.in_group(NODES))
}

fn no(reason: impl Into<String>) -> Decision {
    Decision::NoOpinion(reason.into().into())
}

fn yes() -> Decision {
    Decision::Allow("".into())
}

impl NodeAuthorizer {
    /// An authorizer that knows no pod.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in a `Pod`, `PersistentVolume`, `VolumeAttachment` or `ResourceSlice`; other kinds are ignored.
    pub fn apply(&mut self, kind: &str, object: &Value) {
        self.graph.apply(kind, object);
    }

    /// Forgets one.
    pub fn remove(&mut self, kind: &str, namespace: &str, name: &str) {
        self.graph.remove(kind, namespace, name);
    }

    /// Decides for nodes; has no opinion on anybody else.
    pub fn authorize(&self, request: &Attributes<'_>) -> Decision {
        let Some(node) = node_of(request.user) else { return Decision::no_opinion() };
        if !request.resource_request {
            return by_rules(request);
        }
        match (request.api_group, request.resource) {
            ("", "secrets") => self.read(node, request, What::Secret),
            ("", "configmaps") => self.read(node, request, What::ConfigMap),
            ("", "persistentvolumeclaims") if request.subresource == "status" => self.status_of(node, request, What::Claim),
            ("", "persistentvolumeclaims") => self.get(node, request, What::Claim),
            ("", "persistentvolumes") => self.get(node, request, What::Volume),
            ("resource.k8s.io", "resourceclaims") => self.get(node, request, What::ResourceClaim),
            ("storage.k8s.io", "volumeattachments") => self.get(node, request, What::Attachment),
            ("", "serviceaccounts") => self.service_account(node, request),
            ("coordination.k8s.io", "leases") => lease(node, request),
            ("storage.k8s.io", "csinodes") => csi_node(node, request),
            ("resource.k8s.io", "resourceslices") => self.slice(node, request),
            ("", "nodes") => own_node(node, request),
            ("", "pods") => self.pod(node, request),
            _ => by_rules(request),
        }
    }

    fn known(&self, node: &str, request: &Attributes<'_>, what: What) -> Decision {
        if request.name.is_empty() {
            return no("No Object name found");
        }
        if self.graph.reaches(node, what, request.namespace, request.name) {
            yes()
        } else {
            no(format!("no relationship found between node '{node}' and this object"))
        }
    }

    fn get(&self, node: &str, request: &Attributes<'_>, what: What) -> Decision {
        if request.verb != "get" {
            return no("can only get individual resources of this type");
        }
        if !request.subresource.is_empty() {
            return no("cannot get subresource");
        }
        self.known(node, request, what)
    }

    fn read(&self, node: &str, request: &Attributes<'_>, what: What) -> Decision {
        if !matches!(request.verb, "get" | "list" | "watch") {
            return no("can only read resources of this type");
        }
        if !request.subresource.is_empty() {
            return no("cannot read subresource");
        }
        if request.namespace.is_empty() {
            return no("can only read namespaced object of this type");
        }
        self.known(node, request, what)
    }

    fn status_of(&self, node: &str, request: &Attributes<'_>, what: What) -> Decision {
        if !matches!(request.verb, "get" | "update" | "patch") {
            return no("can only get/update/patch this type");
        }
        self.known(node, request, what)
    }

    fn service_account(&self, node: &str, request: &Attributes<'_>) -> Decision {
        match (request.subresource, request.verb) {
            ("token", "create") => self.known(node, request, What::ServiceAccount),
            ("token", _) => no("can only create tokens for individual service accounts"),
            ("", "get") => self.known(node, request, What::ServiceAccount),
            ("", _) => no("can only get individual resources of this type"),
            _ => no("cannot get subresource"),
        }
    }

    fn slice(&self, node: &str, request: &Attributes<'_>) -> Decision {
        if !request.subresource.is_empty() {
            return no("cannot access ResourceSlice subresources");
        }
        match request.verb {
            "create" => yes(),
            "get" | "update" | "patch" | "delete" => self.known(node, request, What::Slice),
            "list" | "watch" | "deletecollection" if selects(request, "spec.nodeName", node) => yes(),
            "list" | "watch" | "deletecollection" => {
                no("can only list/watch/deletecollection resourceslices with spec.nodeName field selector")
            }
            _ => no(
                "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection",
            ),
        }
    }

    fn pod(&self, node: &str, request: &Attributes<'_>) -> Decision {
        match (request.subresource, request.verb) {
            ("", "get") => self.known(node, request, What::Pod),
            ("", "list" | "watch") if selects(request, "spec.nodeName", node) => yes(),
            ("", "list" | "watch") if !request.name.is_empty() => self.known(node, request, What::Pod),
            ("", "list" | "watch") => no("can only list/watch pods with spec.nodeName field selector"),
            ("", "create") => yes(),
            ("", "delete") | ("status", "update" | "patch") | ("eviction", "create") => yes(),
            _ => no("can only access its own pods"),
        }
    }
}

fn lease(node: &str, request: &Attributes<'_>) -> Decision {
    match request.verb {
        "get" | "create" | "update" | "patch" | "delete" => {}
        _ => return no("can only get, create, update, patch, or delete a node lease"),
    }
    if request.namespace != LEASES {
        return no(format!("can only access leases in the {LEASES:?} system namespace"));
    }
    if request.verb != "create" && request.name != node {
        return no("can only access node lease with the same name as the requesting node");
    }
    yes()
}

fn csi_node(node: &str, request: &Attributes<'_>) -> Decision {
    if !request.subresource.is_empty() {
        return no("cannot authorize CSINode subresources");
    }
    match request.verb {
        "get" | "create" | "update" | "patch" | "delete" => {}
        _ => return no("can only get, create, update, patch, or delete a CSINode"),
    }
    if request.verb != "create" && request.name != node {
        return no("can only access CSINode with the same name as the requesting node");
    }
    yes()
}

fn own_node(node: &str, request: &Attributes<'_>) -> Decision {
    match request.subresource {
        "" | "status" => {}
        _ => return by_rules(request),
    }
    let own = request.name == node;
    match request.verb {
        // Admission sees the name in the object; a create has none in its path.
        "create" | "update" | "patch" => yes(),
        "get" | "list" | "watch" if own || selects(request, "metadata.name", node) => yes(),
        "get" | "list" | "watch" => no(format!("node '{node}' cannot read '{}', only its own Node object", request.name)),
        _ => by_rules(request),
    }
}

/// Whether the request's field selector pins `field` to `value`.
fn selects(request: &Attributes<'_>, field: &str, value: &str) -> bool {
    request.field_selector.split(',').any(|term| {
        let (name, wanted) = term.split_once("==").or_else(|| term.split_once('=')).unwrap_or((term, ""));
        name.trim() == field && wanted.trim() == value
    })
}

/// What every node may do, whichever pods it runs.
fn by_rules(request: &Attributes<'_>) -> Decision {
    static RULES: OnceLock<Vec<Rule>> = OnceLock::new();
    let rules = RULES.get_or_init(|| cluster_role_rules("system:node"));
    if rules.iter().any(|rule| rule.allows(request)) { yes() } else { Decision::no_opinion() }
}

#[cfg(test)]
mod tests;

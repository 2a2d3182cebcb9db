//! The roles and bindings that every cluster starts with, read from the tables of this crate.

use serde_json::{Map, Value, json};

use crate::Rule;

const CLUSTER: &str = include_str!("../tables/cluster.txt");
const CONTROLLERS: &str = include_str!("../tables/controllers.txt");
const NAMESPACES: &str = include_str!("../tables/namespaces.txt");

const API_VERSION: &str = "rbac.authorization.k8s.io/v1";
const GROUP: &str = "rbac.authorization.k8s.io";
const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];

/// All bootstrap ClusterRoles, ClusterRoleBindings, Roles and RoleBindings, roles before bindings.
pub fn bootstrap_objects() -> Vec<Value> {
    let mut builder = Builder::default();
    builder.read(CLUSTER, "");
    builder.finish_role();
    builder.read(CONTROLLERS, "system:controller:");
    builder.finish_role();
    builder.read(NAMESPACES, "");
    builder.finish_role();
    builder.roles.append(&mut builder.bindings);
    builder.roles
}

/// The rules of one bootstrap ClusterRole.
pub(crate) fn cluster_role_rules(name: &str) -> Vec<Rule> {
    let objects = bootstrap_objects();
    let role = objects.iter().find(|o| o["kind"] == "ClusterRole" && o["metadata"]["name"] == name);
    role.map(crate::rule::rules_of).unwrap_or_default()
}

#[derive(Default)]
struct Builder {
    roles: Vec<Value>,
    bindings: Vec<Value>,
    /// The namespace that the lines are in; empty for the cluster.
    namespace: String,
    current: Option<Value>,
}

impl Builder {
    /// Reads one table. With a controllers' prefix every role is bound to the service account of its name.
    fn read(&mut self, table: &str, prefix: &str) {
        for line in table.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["in", namespace] => {
                    self.finish_role();
                    self.namespace = (*namespace).to_owned();
                }
                ["role", name, labels @ ..] if !line.starts_with(' ') => {
                    self.finish_role();
                    let full = format!("{prefix}{name}");
                    self.current = Some(self.role(&full, labels));
                    if !prefix.is_empty() {
                        let account = format!("kube-system/{name}");
                        let binding = self.binding(&full, &full, &["account", &account]);
                        self.bindings.push(binding);
                    }
                }
                ["bind", name, "to", role, subjects @ ..] => {
                    let binding = self.binding(name, role, subjects);
                    self.bindings.push(binding);
                }
                ["bind", name, subjects @ ..] => {
                    let binding = self.binding(name, name, subjects);
                    self.bindings.push(binding);
                }
                words => {
                    let rules = self.current.as_mut().and_then(|r| r.get_mut("rules")).and_then(Value::as_array_mut);
                    if let (Some(rules), Some(rule)) = (rules, rule(words)) {
                        rules.push(rule);
                    }
                }
            }
        }
    }

    fn finish_role(&mut self) {
        self.roles.extend(self.current.take());
    }

    fn metadata(&self, name: &str) -> Map<String, Value> {
        let mut metadata = Map::new();
        metadata.insert("name".into(), name.into());
        if !self.namespace.is_empty() {
            metadata.insert("namespace".into(), self.namespace.as_str().into());
        }
        metadata.insert("labels".into(), json!({"kubernetes.io/bootstrapping": "rbac-defaults"}));
        metadata.insert("annotations".into(), json!({"rbac.authorization.kubernetes.io/autoupdate": "true"}));
        metadata
    }

    fn role(&self, name: &str, labels: &[&str]) -> Value {
        let aggregate = |to: &str| format!("rbac.authorization.k8s.io/aggregate-to-{to}");
        let mut metadata = self.metadata(name);
        let kind = if self.namespace.is_empty() { "ClusterRole" } else { "Role" };
        let mut role = Map::new();
        role.insert("apiVersion".into(), API_VERSION.into());
        role.insert("kind".into(), kind.into());
        for pair in labels.chunks_exact(2) {
            match pair {
                ["from", label] => {
                    let selector = json!([{"matchLabels": {aggregate(label): "true"}}]);
                    role.insert("aggregationRule".into(), json!({"clusterRoleSelectors": selector}));
                }
                ["to", label] => {
                    if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
                        labels.insert(aggregate(label), "true".into());
                    }
                }
                _ => {}
            }
        }
        role.insert("metadata".into(), Value::Object(metadata));
        role.insert("rules".into(), json!([]));
        Value::Object(role)
    }

    fn binding(&self, name: &str, role: &str, subjects: &[&str]) -> Value {
        let (kind, role_kind) = if self.namespace.is_empty() { ("ClusterRoleBinding", "ClusterRole") } else { ("RoleBinding", "Role") };
        let subjects: Vec<Value> = subjects.chunks_exact(2).filter_map(|s| subject(s[0], s[1])).collect();
        let mut binding = json!({
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": self.metadata(name),
            "roleRef": {"apiGroup": GROUP, "kind": role_kind, "name": role},
        });
        if !subjects.is_empty() {
            binding["subjects"] = Value::Array(subjects);
        }
        binding
    }
}

fn subject(kind: &str, name: &str) -> Option<Value> {
    Some(match kind {
        "group" => json!({"apiGroup": GROUP, "kind": "Group", "name": name}),
        "user" => json!({"apiGroup": GROUP, "kind": "User", "name": name}),
        "account" => {
            let (namespace, name) = name.split_once('/')?;
            json!({"kind": "ServiceAccount", "namespace": namespace, "name": name})
        }
        _ => return None,
    })
}

fn rule(words: &[&str]) -> Option<Value> {
    let list = |text: &str| text.split(',').map(|w| if w == "core" { "" } else { w }.to_owned()).collect::<Vec<_>>();
    Some(match words {
        ["record-events"] => json!({"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch", "update"]}),
        ["url", paths, verbs_] => json!({"nonResourceURLs": list(paths), "verbs": verbs(verbs_)}),
        [groups, resources, verbs_] => json!({"apiGroups": list(groups), "resources": list(resources), "verbs": verbs(verbs_)}),
        [groups, resources, verbs_, "named", names] => {
            json!({"apiGroups": list(groups), "resources": list(resources), "resourceNames": list(names), "verbs": verbs(verbs_)})
        }
        _ => return None,
    })
}

/// Verbs in alphabetical order, the short forms spelled out.
fn verbs(text: &str) -> Vec<&str> {
    let mut verbs: Vec<&str> = Vec::new();
    for word in text.split(',') {
        match word {
            "read" => verbs.extend(READ),
            "write" => verbs.extend(WRITE),
            other => verbs.push(other),
        }
    }
    verbs.sort_unstable();
    verbs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attributes, Rbac};
    use tricorn_meta::UserInfo;

    #[test]
    fn every_line_of_the_tables_is_understood() {
        for line in [CLUSTER, CONTROLLERS, NAMESPACES].iter().flat_map(|t| t.lines()).filter(|l| l.starts_with(' ')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            assert!(rule(&words).is_some(), "{line}");
        }
        let objects = bootstrap_objects();
        let count = |kind: &str| objects.iter().filter(|o| o["kind"] == kind).count();
        assert_eq!((count("ClusterRole"), count("Role"), count("RoleBinding")), (69, 7, 7));
        let of_controllers = |o: &&Value| o["metadata"]["name"].as_str().is_some_and(|n| n.starts_with("system:controller:"));
        let controllers = objects.iter().filter(of_controllers).filter(|o| o["kind"] == "ClusterRoleBinding").count();
        assert_eq!((count("ClusterRoleBinding"), controllers), (50, 38));
        for binding in objects.iter().filter(|o| o["roleRef"].is_object()) {
            let role =
                objects.iter().find(|r| r["kind"] == binding["roleRef"]["kind"] && r["metadata"]["name"] == binding["roleRef"]["name"]);
            assert!(role.is_some(), "{binding}");
        }
    }

    #[test]
    fn the_bootstrap_roles_do_what_they_are_for() {
        let mut rbac = Rbac::new();
        for object in bootstrap_objects() {
            rbac.apply(object["kind"].as_str().unwrap_or_default(), &object);
        }
        let scheduler = UserInfo::new("system:kube-scheduler", ["system:authenticated"]);
        let deployer = UserInfo::service_account("kube-system", "deployment-controller");
        let anonymous = UserInfo::anonymous();
        let cases = [
            (Attributes { namespace: "a", subresource: "binding", ..Attributes::resource(&scheduler, "create", "", "pods") }, true),
            (Attributes { namespace: "a", ..Attributes::resource(&scheduler, "create", "", "pods") }, false),
            (Attributes { namespace: "a", ..Attributes::resource(&deployer, "create", "apps", "replicasets") }, true),
            (
                Attributes {
                    namespace: "kube-system",
                    name: "x",
                    ..Attributes::resource(&scheduler, "get", "coordination.k8s.io", "leases")
                },
                true,
            ),
            (Attributes::path(&anonymous, "get", "/healthz"), true),
            (Attributes::path(&anonymous, "get", "/api"), false),
            (Attributes::path(&scheduler, "get", "/api/v1"), true),
        ];
        for (request, want) in cases {
            assert_eq!(rbac.authorize(&request).allowed(), want, "{request:?}");
        }
    }
}

//! Roles and bindings, indexed so that a decision looks only at bindings of the user and the user's groups.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use tricorn_meta::UserInfo;

use crate::rule::rules_of;
use crate::{Attributes, Decision, Rule};

/// The RBAC evaluator. Fed with every change of roles and bindings; cheap to clone for copy-on-write use (rules are shared).
#[derive(Clone, Debug, Default)]
pub struct Rbac {
    cluster_roles: HashMap<String, Arc<[Rule]>>,
    roles: HashMap<String, HashMap<String, Arc<[Rule]>>>,
    cluster_bindings: Bindings,
    bindings: HashMap<String, Bindings>,
}

/// The bindings of one scope.
#[derive(Clone, Debug, Default)]
struct Bindings {
    by_name: HashMap<String, Arc<Binding>>,
    by_user: HashMap<String, Vec<Arc<Binding>>>,
    by_group: HashMap<String, Vec<Arc<Binding>>>,
}

#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) role: RoleRef,
    subjects: Vec<Subject>,
}

/// What a binding refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoleRef {
    pub(crate) cluster: bool,
    pub(crate) name: String,
}

#[derive(Debug)]
struct Subject {
    /// As it is told: `Group "g"`, `ServiceAccount "name/namespace"`.
    told: String,
    user: Option<String>,
    group: Option<String>,
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

impl RoleRef {
    pub(crate) fn of(binding: &Value) -> RoleRef {
        let reference = binding.get("roleRef").unwrap_or(&Value::Null);
        RoleRef { cluster: text(reference, "kind") == "ClusterRole", name: text(reference, "name").to_owned() }
    }

    pub(crate) fn kind(&self) -> &'static str {
        if self.cluster { "ClusterRole" } else { "Role" }
    }

    pub(crate) fn resource(&self) -> &'static str {
        if self.cluster { "clusterroles" } else { "roles" }
    }
}

impl Subject {
    fn of(subject: &Value, binding_namespace: &str) -> Option<Subject> {
        let (kind, name) = (text(subject, "kind"), text(subject, "name"));
        Some(match kind {
            "User" => Subject { told: format!("User {name:?}"), user: Some(name.to_owned()), group: None },
            "Group" => Subject { told: format!("Group {name:?}"), user: None, group: Some(name.to_owned()) },
            "ServiceAccount" => {
                let namespace = Some(text(subject, "namespace")).filter(|n| !n.is_empty()).unwrap_or(binding_namespace);
                if namespace.is_empty() {
                    return None;
                }
                let user = format!("system:serviceaccount:{namespace}:{name}");
                Subject { told: format!("ServiceAccount \"{name}/{namespace}\""), user: Some(user), group: None }
            }
            _ => return None,
        })
    }

    fn is(&self, user: &UserInfo) -> bool {
        self.user.as_ref().is_some_and(|u| *u == user.name) || self.group.as_ref().is_some_and(|g| user.in_group(g))
    }
}

impl Bindings {
    fn put(&mut self, binding: Binding) {
        self.remove(&binding.name);
        let binding = Arc::new(binding);
        for subject in &binding.subjects {
            for (index, key) in [(&mut self.by_user, &subject.user), (&mut self.by_group, &subject.group)] {
                let Some(key) = key else { continue };
                let list = index.entry(key.clone()).or_default();
                if !list.iter().any(|b| Arc::ptr_eq(b, &binding)) {
                    list.push(Arc::clone(&binding));
                }
            }
        }
        self.by_name.insert(binding.name.clone(), binding);
    }

    fn remove(&mut self, name: &str) {
        let Some(old) = self.by_name.remove(name) else { return };
        for subject in &old.subjects {
            for (index, key) in [(&mut self.by_user, &subject.user), (&mut self.by_group, &subject.group)] {
                let Some(key) = key else { continue };
                if let Some(list) = index.get_mut(key) {
                    list.retain(|b| !Arc::ptr_eq(b, &old));
                    if list.is_empty() {
                        index.remove(key);
                    }
                }
            }
        }
    }

    fn of_user<'a>(&'a self, user: &'a UserInfo) -> impl Iterator<Item = &'a Arc<Binding>> {
        let by_user = self.by_user.get(&user.name).into_iter().flatten();
        by_user.chain(user.groups.iter().filter_map(|g| self.by_group.get(g)).flatten())
    }
}

impl Rbac {
    /// An evaluator that knows no role.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in a `Role`, `ClusterRole`, `RoleBinding` or `ClusterRoleBinding`; other kinds are ignored.
    pub fn apply(&mut self, kind: &str, object: &Value) {
        let metadata = object.get("metadata").unwrap_or(&Value::Null);
        let (namespace, name) = (text(metadata, "namespace").to_owned(), text(metadata, "name").to_owned());
        match kind {
            "ClusterRole" => {
                self.cluster_roles.insert(name, rules_of(object).into());
            }
            "Role" => {
                self.roles.entry(namespace).or_default().insert(name, rules_of(object).into());
            }
            "ClusterRoleBinding" => self.cluster_bindings.put(binding_of(object, String::new(), name)),
            "RoleBinding" => self.bindings.entry(namespace.clone()).or_default().put(binding_of(object, namespace, name)),
            _ => {}
        }
    }

    /// Forgets one.
    pub fn remove(&mut self, kind: &str, namespace: &str, name: &str) {
        match kind {
            "ClusterRole" => {
                self.cluster_roles.remove(name);
            }
            "Role" => {
                if let Some(roles) = self.roles.get_mut(namespace) {
                    roles.remove(name);
                }
            }
            "ClusterRoleBinding" => self.cluster_bindings.remove(name),
            "RoleBinding" => {
                if let Some(bindings) = self.bindings.get_mut(namespace) {
                    bindings.remove(name);
                }
            }
            _ => {}
        }
    }

    /// Decides by roles alone.
    pub fn authorize(&self, request: &Attributes<'_>) -> Decision {
        let mut missing = Vec::new();
        let namespace = if request.resource_request { request.namespace } else { "" };
        for binding in self.bindings_of(request.user, namespace) {
            match self.rules_of_role(&binding.role, &binding.namespace) {
                Some(rules) if rules.iter().any(|rule| rule.allows(request)) => {
                    return Decision::Allow(binding.reason(request.user).into());
                }
                Some(_) => {}
                None => missing.push(not_found(&binding.role)),
            }
        }
        match missing.as_slice() {
            [] => Decision::no_opinion(),
            [only] => Decision::NoOpinion(format!("RBAC: {only}").into()),
            several => Decision::NoOpinion(format!("RBAC: [{}]", several.join(", ")).into()),
        }
    }

    /// Bindings that concern the user: of the cluster, and of the namespace if one is given.
    pub(crate) fn bindings_of<'a>(&'a self, user: &'a UserInfo, namespace: &str) -> impl Iterator<Item = &'a Arc<Binding>> {
        let local = if namespace.is_empty() { None } else { self.bindings.get(namespace) };
        self.cluster_bindings.of_user(user).chain(local.into_iter().flat_map(|b| b.of_user(user)))
    }

    /// The rules of a role; `namespace` is the binding's.
    pub(crate) fn rules_of_role(&self, role: &RoleRef, namespace: &str) -> Option<&Arc<[Rule]>> {
        if role.cluster { self.cluster_roles.get(&role.name) } else { self.roles.get(namespace)?.get(&role.name) }
    }
}

/// `clusterrole.rbac.authorization.k8s.io "x" not found`.
pub(crate) fn not_found(role: &RoleRef) -> String {
    format!("{}.rbac.authorization.k8s.io {:?} not found", role.kind().to_lowercase(), role.name)
}

fn binding_of(object: &Value, namespace: String, name: String) -> Binding {
    let subjects = object.get("subjects").and_then(Value::as_array).into_iter().flatten();
    let subjects = subjects.filter_map(|s| Subject::of(s, &namespace)).collect();
    Binding { role: RoleRef::of(object), subjects, namespace, name }
}

impl Binding {
    fn reason(&self, user: &UserInfo) -> String {
        let subject = self.subjects.iter().find(|s| s.is(user)).map(|s| s.told.as_str()).unwrap_or_default();
        let (kind, role) = (self.role.kind(), &self.role.name);
        if self.namespace.is_empty() {
            format!("RBAC: allowed by ClusterRoleBinding {:?} of {kind} {role:?} to {subject}", self.name)
        } else {
            format!("RBAC: allowed by RoleBinding \"{}/{}\" of {kind} {role:?} to {subject}", self.name, self.namespace)
        }
    }
}

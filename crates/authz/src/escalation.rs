//! Nobody grants what they do not hold: the check on writes of roles and bindings.

use std::collections::BTreeSet;

use serde_json::Value;
use tricorn_meta::{Status, UserInfo};

use crate::rbac::RoleRef;
use crate::rule::{quoted, rules_of, url_covers};
use crate::{Attributes, Rbac, Rule, SUPERUSERS};

const GROUP: &str = "rbac.authorization.k8s.io";

impl Rbac {
    /// Checks a create (`old` is `None`) or update of a `Role`, `ClusterRole`, `RoleBinding` or `ClusterRoleBinding` by `user`.
    /// Those who hold the verb `escalate` on the role, or `bind` on the role that is bound, may grant what they do not hold.
    pub fn check_escalation(&self, user: &UserInfo, kind: &str, new: &Value, old: Option<&Value>) -> Result<(), Status> {
        if user.in_group(SUPERUSERS) {
            return Ok(());
        }
        match kind {
            "Role" | "ClusterRole" => self.check_role(user, kind, new, old),
            "RoleBinding" | "ClusterRoleBinding" => self.check_binding(user, kind, new, old),
            _ => Ok(()),
        }
    }

    fn check_role(&self, user: &UserInfo, kind: &str, new: &Value, old: Option<&Value>) -> Result<(), Status> {
        let same = |key: &str| old.is_some_and(|o| o.get(key).unwrap_or(&Value::Null) == new.get(key).unwrap_or(&Value::Null));
        if same("rules") && same("aggregationRule") {
            return Ok(());
        }
        let (namespace, name) = identity(new);
        let resource = if kind == "Role" { "roles" } else { "clusterroles" };
        let escalate = Attributes { namespace, name, ..Attributes::resource(user, "escalate", GROUP, resource) };
        if self.authorize(&escalate).allowed() {
            return Ok(());
        }
        let mut wanted = rules_of(new);
        // An aggregated role may come to hold anything.
        if kind == "ClusterRole" && new.get("aggregationRule").is_some_and(|r| !r.is_null()) {
            wanted.extend(everything());
        }
        self.confirm(user, namespace, &wanted).map_err(|why| Status::forbidden(GROUP, resource, name, why))
    }

    fn check_binding(&self, user: &UserInfo, kind: &str, new: &Value, old: Option<&Value>) -> Result<(), Status> {
        let same = |key: &str| old.is_some_and(|o| o.get(key).unwrap_or(&Value::Null) == new.get(key).unwrap_or(&Value::Null));
        if same("subjects") && same("roleRef") {
            return Ok(());
        }
        let (namespace, name) = identity(new);
        let resource = if kind == "RoleBinding" { "rolebindings" } else { "clusterrolebindings" };
        let role = RoleRef::of(new);
        let bind = Attributes { namespace, name: &role.name, ..Attributes::resource(user, "bind", GROUP, role.resource()) };
        if self.authorize(&bind).allowed() {
            return Ok(());
        }
        let rules = self.rules_of_role(&role, namespace).ok_or_else(|| Status::not_found(GROUP, role.resource(), &role.name))?;
        self.confirm(user, namespace, rules).map_err(|why| Status::forbidden(GROUP, resource, name, why))
    }

    /// Whether the user holds all of `wanted`; tells what is missing.
    fn confirm(&self, user: &UserInfo, namespace: &str, wanted: &[Rule]) -> Result<(), String> {
        let held = self.rules_for(user, namespace);
        let own: Vec<&Rule> = held.resources.iter().chain(&held.paths).collect();
        let missing: Vec<Rule> = wanted.iter().flat_map(single_rules).filter(|one| !own.iter().any(|rule| covers(rule, one))).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let told: BTreeSet<String> = compact(missing).iter().map(ToString::to_string).collect();
        let told: Vec<String> = told.into_iter().collect();
        let mut text = format!(
            "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
            user.name,
            quoted(&user.groups),
            told.join("\n")
        );
        if !held.errors.is_empty() {
            text.push_str(&format!("; resolution errors: [{}]", held.errors.join(", ")));
        }
        Err(text)
    }
}

fn identity(object: &Value) -> (&str, &str) {
    let text = |key: &str| object.get("metadata").and_then(|m| m.get(key)).and_then(Value::as_str).unwrap_or_default();
    (text("namespace"), text("name"))
}

fn everything() -> [Rule; 2] {
    let star = || vec!["*".to_owned()];
    let resources = Rule { verbs: star(), api_groups: star(), resources: star(), ..Rule::default() };
    [resources, Rule { verbs: star(), non_resource_urls: star(), ..Rule::default() }]
}

/// Cuts a rule into rules with one verb, group, resource and name each.
pub(crate) fn single_rules(rule: &Rule) -> Vec<Rule> {
    let mut out = Vec::new();
    let one = |s: &String| vec![s.clone()];
    for verb in &rule.verbs {
        for group in &rule.api_groups {
            for resource in &rule.resources {
                let plain = Rule { verbs: one(verb), api_groups: one(group), resources: one(resource), ..Rule::default() };
                if rule.resource_names.is_empty() {
                    out.push(plain);
                } else {
                    out.extend(rule.resource_names.iter().map(|name| Rule { resource_names: one(name), ..plain.clone() }));
                }
            }
        }
        out.extend(rule.non_resource_urls.iter().map(|url| Rule { verbs: one(verb), non_resource_urls: one(url), ..Rule::default() }));
    }
    out
}

/// Whether `held` grants at least the single rule `wanted`.
pub(crate) fn covers(held: &Rule, wanted: &Rule) -> bool {
    let all = |held: &[String], wanted: &[String]| held.iter().any(|h| h == "*") || wanted.iter().all(|w| held.contains(w));
    if !all(&held.verbs, &wanted.verbs) {
        return false;
    }
    if let [url] = wanted.non_resource_urls.as_slice() {
        return held.non_resource_urls.iter().any(|h| url_covers(h, url));
    }
    let resource = |held: &str, wanted: &str| {
        held == "*" || held == wanted || (held.starts_with("*/") && wanted.split_once('/').is_some_and(|(_, sub)| sub == &held[2..]))
    };
    all(&held.api_groups, &wanted.api_groups)
        && wanted.resources.iter().all(|w| held.resources.iter().any(|h| resource(h, w)))
        && (held.resource_names.is_empty()
            || (!wanted.resource_names.is_empty() && wanted.resource_names.iter().all(|n| held.resource_names.contains(n))))
}

/// Joins the verbs of rules that are otherwise the same.
pub(crate) fn compact(rules: Vec<Rule>) -> Vec<Rule> {
    let mut out: Vec<Rule> = Vec::new();
    for rule in rules {
        let same = out.iter_mut().find(|o| {
            o.api_groups == rule.api_groups
                && o.resources == rule.resources
                && o.resource_names == rule.resource_names
                && o.non_resource_urls == rule.non_resource_urls
                && rule.resource_names.is_empty()
                && rule.non_resource_urls.is_empty()
        });
        match same {
            Some(same) => same.verbs.extend(rule.verbs.into_iter().filter(|v| !same.verbs.contains(v)).collect::<Vec<_>>()),
            None => out.push(rule),
        }
    }
    out
}

//! One rule of a role.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Attributes;

/// Verbs on resources, or on paths that are no resources.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Rule {
    /// Verbs; `*` is all.
    #[serde(deserialize_with = "nullable")]
    pub verbs: Vec<String>,
    /// API groups; `*` is all.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub api_groups: Vec<String>,
    /// Resources, `resource/subresource`, `*/subresource` or `*`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub resources: Vec<String>,
    /// Names that the rule is limited to; empty is no limit.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub resource_names: Vec<String>,
    /// Paths, a trailing `*` matches any rest.
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub non_resource_urls: Vec<String>,
}

fn nullable<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::<Vec<String>>::deserialize(d)?.unwrap_or_default())
}

/// The rules of a role; what is no rule is left out.
pub(crate) fn rules_of(role: &Value) -> Vec<Rule> {
    let rules = role.get("rules").and_then(Value::as_array).into_iter().flatten();
    rules.filter_map(|rule| Rule::deserialize(rule).ok()).collect()
}

fn any(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == "*" || item == wanted)
}

impl Rule {
    /// Whether the rule allows the request.
    pub fn allows(&self, request: &Attributes<'_>) -> bool {
        if !any(&self.verbs, request.verb) {
            return false;
        }
        if request.resource_request {
            any(&self.api_groups, request.api_group)
                && self.has_resource(request.resource, request.subresource)
                && (self.resource_names.is_empty() || self.resource_names.iter().any(|n| n == request.name))
        } else {
            self.non_resource_urls.iter().any(|url| url_covers(url, request.path))
        }
    }

    fn has_resource(&self, resource: &str, subresource: &str) -> bool {
        self.resources.iter().any(|of| {
            if of == "*" {
                return true;
            }
            match of.split_once('/') {
                Some((r, s)) => s == subresource && !s.is_empty() && (r == "*" || r == resource),
                None => subresource.is_empty() && of == resource,
            }
        })
    }
}

pub(crate) fn url_covers(url: &str, path: &str) -> bool {
    url == "*" || url == path || url.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix.trim_end_matches('*')))
}

impl fmt::Display for Rule {
    /// The short form that error texts use: `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let shown: Vec<String> =
            parts.iter().filter(|(_, list)| !list.is_empty()).map(|(name, list)| format!("{name}:{}", quoted(list))).collect();
        write!(f, "{{{}}}", shown.join(", "))
    }
}

/// `["a" "b"]`.
pub(crate) fn quoted(list: &[String]) -> String {
    let quoted: Vec<String> = list.iter().map(|s| format!("{s:?}")).collect();
    format!("[{}]", quoted.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tricorn_meta::UserInfo;

    fn rule(groups: &[&str], resources: &[&str], names: &[&str], verbs: &[&str]) -> Rule {
        let list = |l: &[&str]| l.iter().map(|s| (*s).to_owned()).collect();
        Rule {
            verbs: list(verbs),
            api_groups: list(groups),
            resources: list(resources),
            resource_names: list(names),
            non_resource_urls: vec![],
        }
    }

    #[test]
    fn resources_and_names() {
        let user = UserInfo::default();
        let asks = |verb, group, resource, subresource, name| Attributes {
            subresource,
            name,
            ..Attributes::resource(&user, verb, group, resource)
        };
        let cases = [
            (rule(&[""], &["pods"], &[], &["get"]), asks("get", "", "pods", "", "a"), true),
            (rule(&[""], &["pods"], &[], &["get"]), asks("get", "", "pods", "log", "a"), false),
            (rule(&[""], &["pods/log"], &[], &["get"]), asks("get", "", "pods", "log", "a"), true),
            (rule(&[""], &["pods/log"], &[], &["get"]), asks("get", "", "pods", "", "a"), false),
            (rule(&["*"], &["*/scale"], &[], &["update"]), asks("update", "apps", "deployments", "scale", "a"), true),
            (rule(&["*"], &["*/scale"], &[], &["update"]), asks("update", "apps", "deployments", "", "a"), false),
            (rule(&["*"], &["*"], &[], &["*"]), asks("delete", "x", "y", "z", ""), true),
            (rule(&[""], &["pods"], &["a"], &["get", "list"]), asks("get", "", "pods", "", "b"), false),
            (rule(&[""], &["pods"], &["a"], &["get", "list"]), asks("list", "", "pods", "", ""), false),
            (rule(&[""], &["pods"], &["a"], &["get"]), asks("get", "", "pods", "", "a"), true),
            (rule(&["apps"], &["pods"], &[], &["get"]), asks("get", "", "pods", "", "a"), false),
        ];
        for (rule, request, want) in cases {
            assert_eq!(rule.allows(&request), want, "{rule} {request:?}");
        }
    }

    #[test]
    fn paths() {
        for (url, path, want) in [
            ("*", "/x", true),
            ("/api/*", "/api/v1", true),
            ("/api/*", "/api", false),
            ("/api*", "/apis", true),
            ("/healthz", "/healthz/etcd", false),
        ] {
            assert_eq!(url_covers(url, path), want, "{url} {path}");
        }
    }

    #[test]
    fn told_as_upstream_tells_it() {
        assert_eq!(
            rule(&[""], &["pods"], &[], &["get", "list"]).to_string(),
            r#"{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}"#
        );
    }
}

//! Where objects live in the store, in upstream's layout.

use std::sync::Arc;
use std::time::Duration;

/// Every Kubernetes object lives under this prefix.
pub(crate) const ROOT: &str = "/registry/";

/// How long an Event is kept.
pub(crate) const EVENT_TIME_TO_LIVE: Duration = Duration::from_secs(3600);

/// One kind of stored thing: what it is called in errors, and under which keys its objects lie.
///
/// Two served versions of a resource share one `StoredResource`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoredResource {
    /// The API group; empty for the core group.
    pub group: Arc<str>,
    /// The plural name, as in the URL.
    pub plural: Arc<str>,
    /// Whether the objects lie in namespaces.
    pub namespaced: bool,
    /// The key prefix, with a slash at both ends.
    pub prefix: Arc<str>,
    /// Objects vanish this long after they were last written; `None`: they stay.
    pub time_to_live: Option<Duration>,
}

impl StoredResource {
    /// A resource built into the API server.
    pub fn builtin(group: &str, plural: &str, namespaced: bool) -> Self {
        let place = match (group, plural) {
            ("", "nodes") => "minions".to_owned(),
            ("", "services") => "services/specs".to_owned(),
            ("", "endpoints") => "services/endpoints".to_owned(),
            ("", "replicationcontrollers") => "controllers".to_owned(),
            ("networking.k8s.io", "ingresses") => "ingress".to_owned(),
            ("apiregistration.k8s.io" | "apiextensions.k8s.io", _) => format!("{group}/{plural}"),
            _ => plural.to_owned(),
        };
        let event = matches!((group, plural), ("" | "events.k8s.io", "events"));
        Self {
            group: group.into(),
            plural: plural.into(),
            namespaced,
            prefix: format!("{ROOT}{place}/").into(),
            time_to_live: event.then_some(EVENT_TIME_TO_LIVE),
        }
    }

    /// A resource that a CustomResourceDefinition declares.
    pub fn custom(group: &str, plural: &str, namespaced: bool) -> Self {
        Self {
            group: group.into(),
            plural: plural.into(),
            namespaced,
            prefix: format!("{ROOT}{group}/{plural}/").into(),
            time_to_live: None,
        }
    }

    /// The key of one object; `namespace` is left out for cluster-wide resources.
    pub fn key(&self, namespace: &str, name: &str) -> String {
        if self.namespaced { format!("{}{namespace}/{name}", self.prefix) } else { format!("{}{name}", self.prefix) }
    }

    /// The prefix of all objects, or of those in one namespace.
    pub fn scope(&self, namespace: Option<&str>) -> String {
        match namespace {
            Some(namespace) if self.namespaced => format!("{}{namespace}/", self.prefix),
            _ => self.prefix.to_string(),
        }
    }
}

/// The smallest key that is greater than every key with this prefix.
pub(crate) fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.last_mut() {
        if *last < 0xff {
            *last += 1;
            return end;
        }
        end.pop();
    }
    vec![0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_follow_upstreams_layout() {
        let key = |group, plural, namespaced| StoredResource::builtin(group, plural, namespaced).key("ns", "a");
        assert_eq!(key("", "pods", true), "/registry/pods/ns/a");
        assert_eq!(key("", "nodes", false), "/registry/minions/a");
        assert_eq!(key("", "services", true), "/registry/services/specs/ns/a");
        assert_eq!(key("", "endpoints", true), "/registry/services/endpoints/ns/a");
        assert_eq!(key("apps", "deployments", true), "/registry/deployments/ns/a");
        assert_eq!(key("rbac.authorization.k8s.io", "clusterroles", false), "/registry/clusterroles/a");
        assert_eq!(
            key("apiextensions.k8s.io", "customresourcedefinitions", false),
            "/registry/apiextensions.k8s.io/customresourcedefinitions/a"
        );
        assert_eq!(StoredResource::custom("x.io", "foos", true).key("ns", "a"), "/registry/x.io/foos/ns/a");
    }

    #[test]
    fn a_prefix_ends_where_the_next_begins() {
        assert_eq!(prefix_end(b"/registry/pods/"), b"/registry/pods0");
        assert_eq!(prefix_end(&[0xff, 0xff]), vec![0]);
    }
}

//! Pod affinity terms, read once and then matched often; node terms as all rooms understand them.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Pod, PodAffinityTerm};
use kube::core::{Selector, SelectorExt};
pub(crate) use tricorn_client::demands::{matches_demands, matches_term, node_labels as labels, tolerates, untolerated};

/// Labels of namespaces by name.
pub(crate) type Namespaces = BTreeMap<String, BTreeMap<String, String>>;

/// A selector that matches nothing, as an absent label selector does.
pub(crate) fn selector_of(selector: Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector>) -> Option<Selector> {
    selector.and_then(|selector| Selector::try_from(selector.clone()).ok())
}

/// One pod affinity or anti-affinity term.
#[derive(Clone, Debug)]
pub(crate) struct AffinityTerm {
    selector: Option<Selector>,
    namespaces: BTreeSet<String>,
    namespace_selector: Option<Selector>,
    pub(crate) topology_key: String,
}

impl AffinityTerm {
    /// Reads a term of `pod`.
    pub(crate) fn of(term: &PodAffinityTerm, pod: &Pod) -> Self {
        let mut selector = term.label_selector.clone();
        let empty = BTreeMap::new();
        let labels = pod.metadata.labels.as_ref().unwrap_or(&empty);
        // The server puts these keys into the selector when the pod is made; older objects may lack that.
        if let Some(selector) = &mut selector {
            let expressions = selector.match_expressions.get_or_insert_with(Vec::new);
            add_keys(expressions, labels, term.match_label_keys.as_deref(), "In");
            add_keys(expressions, labels, term.mismatch_label_keys.as_deref(), "NotIn");
        }
        let mut namespaces: BTreeSet<String> = term.namespaces.iter().flatten().cloned().collect();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.extend(pod.metadata.namespace.clone());
        }
        Self {
            selector: selector_of(selector.as_ref()),
            namespaces,
            namespace_selector: selector_of(term.namespace_selector.as_ref()),
            topology_key: term.topology_key.clone(),
        }
    }

    /// Whether the term speaks of `pod`.
    pub(crate) fn matches(&self, pod: &Pod, namespaces: &Namespaces) -> bool {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or("");
        let empty = BTreeMap::new();
        let by_label = || {
            let labels = namespaces.get(namespace).unwrap_or(&empty);
            self.namespace_selector.as_ref().is_some_and(|selector| selector.matches(labels))
        };
        let labels = pod.metadata.labels.as_ref().unwrap_or(&empty);
        self.selector.as_ref().is_some_and(|selector| selector.matches(labels)) && (self.namespaces.contains(namespace) || by_label())
    }
}

fn add_keys(
    expressions: &mut Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement>,
    labels: &BTreeMap<String, String>,
    keys: Option<&[String]>,
    operator: &str,
) {
    for key in keys.unwrap_or_default() {
        if let Some(value) = labels.get(key) {
            let requirement = k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement {
                key: key.clone(),
                operator: operator.to_owned(),
                values: Some(vec![value.clone()]),
            };
            if !expressions.contains(&requirement) {
                expressions.push(requirement);
            }
        }
    }
}

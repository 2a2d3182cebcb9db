//! ClusterRoles that are made of others: their rules are the sum of the rules of all that they select.

use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};
use serde_json::json;
use tricorn_client::{Key, Next, Objects, Queue, RequestError, Shared};

use crate::context::Context;
use crate::supervise::Failure;

/// Runs the controller until shutdown.
pub(crate) async fn run(context: Context) -> Result<(), Failure> {
    let objects = Arc::new(context.objects("clusterrole-aggregation-controller"));
    let roles = context.informers.of::<ClusterRole>();
    roles.synced().await;
    let queue = Queue::new("clusterrole-aggregation");
    let (wake, all) = (queue.clone(), roles.clone());
    roles.on_change(move |change| {
        let changed = change.latest();
        for role in all.all().iter().filter(|role| role.aggregation_rule.is_some()) {
            let before = change.old().is_some_and(|old| selects(role, old));
            if role.metadata.name == changed.metadata.name || before || selects(role, changed) {
                wake.add(Key::of(role.as_ref()));
            }
        }
    });
    queue
        .run(2, context.shutdown.clone(), move |key| {
            let (objects, roles) = (objects.clone(), roles.clone());
            async move { sync(&objects, &roles, &key).await }
        })
        .await;
    Ok(())
}

fn selects(role: &ClusterRole, other: &ClusterRole) -> bool {
    let rule = role.aggregation_rule.as_ref();
    let selectors = rule.and_then(|rule| rule.cluster_role_selectors.as_deref()).unwrap_or_default();
    let matches = |selector: &Selector| selector.matches(other.labels());
    let parsed = selectors.iter().filter_map(|selector| Selector::try_from(selector.clone()).ok());
    role.metadata.name != other.metadata.name && parsed.into_iter().any(|selector| matches(&selector))
}

/// The rules of all selected roles, in the order of their names, each rule once.
fn aggregate(role: &ClusterRole, all: &[Arc<ClusterRole>]) -> Vec<PolicyRule> {
    let mut rules: Vec<PolicyRule> = Vec::new();
    for rule in all.iter().filter(|other| selects(role, other)).flat_map(|other| other.rules.iter().flatten()) {
        if !rules.contains(rule) {
            rules.push(rule.clone());
        }
    }
    rules
}

async fn sync(objects: &Objects, roles: &Shared<ClusterRole>, key: &Key) -> Result<Next, RequestError> {
    let Some(role) = roles.get(key).filter(|role| role.aggregation_rule.is_some()) else { return Ok(Next::Done) };
    let rules = aggregate(&role, &roles.all());
    if role.rules.clone().unwrap_or_default() == rules {
        return Ok(Next::Done);
    }
    let patch = json!({"metadata": {"resourceVersion": role.metadata.resource_version}, "rules": rules});
    objects.merge::<ClusterRole>(None, &key.name, patch).await.map(|_| Next::Done)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn rules_are_summed_up_once() {
        let role = |value: serde_json::Value| -> Arc<ClusterRole> { Arc::new(serde_json::from_value(value).unwrap()) };
        let rule = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]});
        let sum =
            role(json!({"metadata": {"name": "view"}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to": "view"}}]}}));
        let all = [
            role(json!({"metadata": {"name": "a", "labels": {"to": "view"}}, "rules": [rule]})),
            role(json!({"metadata": {"name": "b", "labels": {"to": "view"}}, "rules": [rule, {"verbs": ["list"]}]})),
            role(json!({"metadata": {"name": "c"}, "rules": [{"verbs": ["delete"]}]})),
            sum.clone(),
        ];
        let verbs: Vec<_> = aggregate(&sum, &all).iter().map(|rule| rule.verbs[0].clone()).collect();
        assert_eq!(verbs, ["get", "list"]);
    }
}

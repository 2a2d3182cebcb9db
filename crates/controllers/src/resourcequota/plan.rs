//! What a quota's status should say. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Written;
use serde_json::Value;
use tricorn_meta::{Quantity, Timestamp};
use tricorn_schema::usage::{Amounts, add, counted_in, matches, overdue_at, usage};

/// The objects of one resource in the quota's namespace.
pub(super) enum Held {
    /// The objects themselves, of which each may count for something else.
    Objects(Vec<Value>),
    /// How many there are, where they all count alike.
    Number(usize),
    /// Nobody knows: the resource is not served, or could not be listed yet.
    Unknown,
}

/// A status, and what must be looked at again.
pub(super) struct Recount {
    pub(super) status: ResourceQuotaStatus,
    /// When a pod stops counting although nothing is written then.
    pub(super) next: Option<Timestamp>,
    /// Some resource is unknown.
    pub(super) incomplete: bool,
}

/// The resources (group and plural) that the quota is about.
pub(super) fn resources(quota: &ResourceQuota) -> Vec<(&str, &str)> {
    let hard = quota.spec.iter().flat_map(|spec| spec.hard.iter().flatten());
    let mut all: Vec<_> = hard.filter_map(|(name, _)| counted_in(name)).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Counts anew. What is unknown stays as it was told before; what is no longer limited is told no more.
pub(super) fn recount(quota: &ResourceQuota, held: &BTreeMap<(&str, &str), Held>, now: Timestamp) -> Recount {
    let hard = quota.spec.as_ref().and_then(|spec| spec.hard.clone()).unwrap_or_default();
    let known = quota.status.as_ref().and_then(|status| status.used.clone()).unwrap_or_default();
    let as_json = serde_json::to_value(quota).unwrap_or_default();
    let mut sums = Amounts::new();
    let mut next = None;
    for ((group, plural), held) in held {
        match held {
            Held::Objects(objects) => {
                for object in objects.iter().filter(|object| matches(&as_json, group, plural, object)) {
                    add(&mut sums, &usage(group, plural, object, Some(now)));
                    let ends = overdue_at(object).filter(|at| (*group, *plural) == ("", "pods") && *at >= now);
                    next = [next, ends].into_iter().flatten().min();
                }
            }
            // What a scope chooses has more to it than its number.
            Held::Number(number) if matches(&as_json, group, plural, &Value::Null) => {
                for name in usage(group, plural, &Value::Object(Default::default()), None).into_keys() {
                    sums.insert(name, Quantity::from_integer(i64::try_from(*number).unwrap_or(i64::MAX)));
                }
            }
            Held::Number(_) | Held::Unknown => {}
        }
    }
    let is_known =
        |name: &str| counted_in(name).and_then(|resource| held.get(&resource)).is_some_and(|held| !matches!(held, Held::Unknown));
    let mut used = BTreeMap::new();
    for name in hard.keys() {
        if is_known(name) {
            let sum = sums.get(name).copied().unwrap_or(Quantity::ZERO);
            used.insert(name.clone(), Written(sum.to_string()));
        } else if let Some(before) = known.get(name) {
            used.insert(name.clone(), before.clone());
        }
    }
    let incomplete = held.values().any(|held| matches!(held, Held::Unknown));
    Recount { status: ResourceQuotaStatus { hard: Some(hard), used: Some(used) }, next, incomplete }
}

/// Whether two statuses say the same, however they write their amounts.
pub(super) fn same(old: Option<&ResourceQuotaStatus>, new: &ResourceQuotaStatus) -> bool {
    let read = |list: Option<&BTreeMap<String, Written>>| -> Option<BTreeMap<String, Option<Quantity>>> {
        list.map(|list| list.iter().map(|(name, amount)| (name.clone(), amount.0.parse().ok())).collect())
    };
    old.is_some_and(|old| read(old.hard.as_ref()) == read(new.hard.as_ref()) && read(old.used.as_ref()) == read(new.used.as_ref()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn quota(spec: Value, used: Value) -> ResourceQuota {
        serde_json::from_value(json!({"metadata": {"name": "q"}, "spec": spec, "status": {"used": used}})).unwrap()
    }

    fn pod(cpu: &str) -> Value {
        json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}})
    }

    fn used(recount: &Recount) -> Value {
        serde_json::to_value(&recount.status.used).unwrap()
    }

    fn now() -> Timestamp {
        Timestamp::parse("2026-01-01T00:00:00Z").unwrap()
    }

    #[test]
    fn everything_that_is_limited_is_told_and_nothing_else() {
        let quota = quota(
            json!({"hard": {"pods": "5", "requests.cpu": "2", "configmaps": "3", "count/widgets.example.com": "1", "nonsense": "1"}}),
            json!({"count/widgets.example.com": "1", "secrets": "9"}),
        );
        assert_eq!(resources(&quota), [("", "configmaps"), ("", "pods"), ("example.com", "widgets")]);
        let held = [
            (("", "configmaps"), Held::Number(2)),
            (("", "pods"), Held::Objects(vec![pod("300m"), pod("1")])),
            (("example.com", "widgets"), Held::Unknown),
        ];
        let recount = recount(&quota, &held.into(), now());
        assert_eq!(used(&recount), json!({"pods": "2", "requests.cpu": "1300m", "configmaps": "2", "count/widgets.example.com": "1"}));
        assert_eq!(recount.status.hard, quota.spec.unwrap().hard);
        assert!(recount.incomplete && recount.next.is_none());
    }

    #[test]
    fn a_scope_leaves_out_what_it_does_not_choose() {
        let quota = quota(json!({"hard": {"pods": "5", "configmaps": "1"}, "scopes": ["BestEffort"]}), json!({}));
        let idle = json!({"spec": {"containers": [{"name": "c"}]}});
        let held = [(("", "pods"), Held::Objects(vec![pod("1"), idle])), (("", "configmaps"), Held::Number(7))];
        assert_eq!(used(&recount(&quota, &held.into(), now())), json!({"pods": "1", "configmaps": "0"}));
    }

    #[test]
    fn a_pod_that_will_not_go_stops_counting_in_time() {
        let quota = quota(json!({"hard": {"pods": "5"}}), json!({}));
        let mut leaving = pod("1");
        leaving["metadata"] = json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30});
        let held = || [(("", "pods"), Held::Objects(vec![leaving.clone()]))].into();
        let first = recount(&quota, &held(), now());
        assert_eq!((used(&first), first.next), (json!({"pods": "1"}), Some(now().plus_seconds(30))));
        let later = recount(&quota, &held(), now().plus_seconds(31));
        assert_eq!((used(&later), later.next), (json!({"pods": "0"}), None));
    }

    #[test]
    fn amounts_are_compared_by_what_they_are() {
        let status = |cpu: &str| ResourceQuotaStatus {
            hard: Some([("cpu".to_owned(), Written(cpu.to_owned()))].into()),
            used: Some(BTreeMap::new()),
        };
        assert!(same(Some(&status("1")), &status("1000m")));
        assert!(!same(Some(&status("1")), &status("2")));
        assert!(!same(None, &status("1")));
    }
}

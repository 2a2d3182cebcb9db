//! Priority levels and flow schemas that every cluster begins with: upstream's mandatory and suggested ones. They say how requests would be
//! told apart; nothing holds requests to them yet.

use serde_json::{Value, json};

/// Says that the object's spec follows the server's, until somebody says otherwise.
const FOLLOWS: &str = "apf.kubernetes.io/autoupdate-spec";
pub(super) const GROUP: &str = "flowcontrol.apiserver.k8s.io";

/// Everything of flow control, levels before the schemas that name them.
pub(super) fn all() -> Vec<Value> {
    levels().into_iter().chain(schemas()).collect()
}

/// Objects that flow control cannot do without: their specs are the server's, whatever their annotation says.
const MANDATORY: [&str; 2] = ["exempt", "catch-all"];

/// Whether the spec follows the server's. Where nothing is said, it does as long as nobody has changed it.
fn follows(object: &Value) -> bool {
    match object["metadata"]["annotations"][FOLLOWS].as_str() {
        Some(note) => note == "true",
        None => object["metadata"]["generation"] == 1,
    }
}

/// What brings the spec of an object that is there up to date, and says whether it is kept so; `None` where nothing is to be done.
pub(super) fn update(existing: &Value, wanted: &Value) -> Option<Value> {
    let name = wanted["metadata"]["name"].as_str().unwrap_or_default();
    let follows = follows(existing) || MANDATORY.contains(&name);
    let mut next = existing.clone();
    next["metadata"]["annotations"][FOLLOWS] = follows.to_string().into();
    if follows {
        next["spec"] = wanted["spec"].clone();
        // How much the exempt level may lend is for administrators to say.
        if let Some(shares) = existing["spec"].get("exempt").filter(|_| name == "exempt") {
            next["spec"]["exempt"] = shares.clone();
        }
    }
    (next != *existing).then_some(next)
}

/// Whether an object that is there followed the server's spec, and the server has none for it any more.
pub(super) fn is_obsolete(existing: &Value) -> bool {
    let same = |wanted: &Value| wanted["kind"] == existing["kind"] && wanted["metadata"]["name"] == existing["metadata"]["name"];
    existing["metadata"]["annotations"][FOLLOWS] == "true" && !all().iter().any(same)
}

/// Whether the object is one of those here.
pub(super) fn is_ours(wanted: &Value) -> bool {
    wanted["apiVersion"].as_str().is_some_and(|version| version.starts_with(GROUP))
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": {"name": name, "annotations": {FOLLOWS: "true"}}, "spec": spec})
}

fn levels() -> Vec<Value> {
    let exempt = json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}});
    let limited = |shares: u32, lendable: u32, response: Value| {
        json!({
            "type": "Limited",
            "limited": {"nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": response},
        })
    };
    let mut all = vec![
        object("PriorityLevelConfiguration", "exempt", exempt),
        object("PriorityLevelConfiguration", "catch-all", limited(5, 0, json!({"type": "Reject"}))),
    ];
    // Name, shares, what of them may be lent (in percent), queues, and in how many of these one flow may wait.
    for (name, shares, lendable, queues, hand) in [
        ("system", 30, 33, 64, 6),
        ("node-high", 40, 25, 64, 6),
        ("leader-election", 10, 0, 16, 4),
        ("workload-high", 40, 50, 128, 6),
        ("workload-low", 100, 90, 128, 6),
        ("global-default", 20, 50, 128, 6),
    ] {
        let queue = json!({"type": "Queue", "queuing": {"queues": queues, "handSize": hand, "queueLengthLimit": 50}});
        all.push(object("PriorityLevelConfiguration", name, limited(shares, lendable, queue)));
    }
    all
}

fn group(name: &str) -> Value {
    json!({"kind": "Group", "group": {"name": name}})
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "user": {"name": name}})
}

/// An account of `kube-system`.
fn account(name: &str) -> Value {
    json!({"kind": "ServiceAccount", "serviceAccount": {"name": name, "namespace": "kube-system"}})
}

/// Requests for these resources in all namespaces, and for those outside of namespaces where `cluster` says so.
fn resources(verbs: &[&str], groups: &[&str], plurals: &[&str], cluster: bool) -> Value {
    let mut rule = json!({"verbs": verbs, "apiGroups": groups, "resources": plurals, "namespaces": ["*"]});
    if cluster {
        rule["clusterScope"] = json!(true);
    }
    rule
}

/// One rule of a schema. Without resources it is about everything.
fn rule(subjects: Vec<Value>, of: Vec<Value>) -> Value {
    if of.is_empty() {
        return json!({
            "subjects": subjects,
            "resourceRules": [resources(&["*"], &["*"], &["*"], true)],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        });
    }
    json!({"subjects": subjects, "resourceRules": of})
}

fn schemas() -> Vec<Value> {
    const MANAGER: &str = "system:kube-controller-manager";
    const SCHEDULER: &str = "system:kube-scheduler";
    let everybody = || vec![group("system:unauthenticated"), group("system:authenticated")];
    let write = ["get", "create", "update"];
    let leases = || resources(&write, &["coordination.k8s.io"], &["leases"], false);
    let probes = json!({
        "subjects": everybody(),
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}],
    });
    let leaders = rule(vec![user(MANAGER), user(SCHEDULER), account("*")], vec![leases()]);
    let endpoints = rule(
        vec![user(MANAGER), account("endpoint-controller"), account("endpointslicemirroring-controller")],
        vec![resources(&write, &[""], &["endpoints"], false)],
    );
    let old_leaders = rule(vec![account("*")], vec![resources(&write, &[""], &["endpoints", "configmaps"], false), leases()]);
    let nodes = rule(
        vec![group("system:nodes")],
        vec![resources(&["*"], &[""], &["nodes", "nodes/status"], true), resources(&["*"], &["coordination.k8s.io"], &["leases"], false)],
    );
    let (by_user, by_namespace) = (Some("ByUser"), Some("ByNamespace"));
    // Name, level, precedence, what tells flows apart, and who asks for what.
    [
        ("exempt", "exempt", 1, None, rule(vec![group("system:masters")], vec![])),
        ("probes", "exempt", 2, None, probes),
        ("system-leader-election", "leader-election", 100, by_user, leaders),
        ("endpoint-controller", "workload-high", 150, by_user, endpoints),
        ("workload-leader-election", "leader-election", 200, by_user, old_leaders),
        ("system-node-high", "node-high", 400, by_user, nodes),
        ("system-nodes", "system", 500, by_user, rule(vec![group("system:nodes")], vec![])),
        ("kube-controller-manager", "workload-high", 800, by_namespace, rule(vec![user(MANAGER)], vec![])),
        ("kube-scheduler", "workload-high", 800, by_namespace, rule(vec![user(SCHEDULER)], vec![])),
        ("kube-system-service-accounts", "workload-high", 900, by_namespace, rule(vec![account("*")], vec![])),
        ("service-accounts", "workload-low", 9000, by_user, rule(vec![group("system:serviceaccounts")], vec![])),
        ("global-default", "global-default", 9900, by_user, rule(everybody(), vec![])),
        ("catch-all", "catch-all", 10000, by_user, rule(everybody(), vec![])),
    ]
    .into_iter()
    .map(|(name, level, precedence, distinguisher, rule)| {
        let mut spec = json!({"priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence, "rules": [rule]});
        if let Some(method) = distinguisher {
            spec["distinguisherMethod"] = json!({"type": method});
        }
        object("FlowSchema", name, spec)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::BTreeSet;
    use tricorn_schema::{defaults, kinds};

    #[test]
    fn what_every_cluster_begins_with_is_valid_and_says_all_by_itself() {
        let mut levels = BTreeSet::new();
        for object in all() {
            let (kind, name) = (object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
            assert_eq!(kinds::validate_create(GROUP, kind, false, &object), vec![], "{name}");
            let mut defaulted = object.clone();
            defaults::default(GROUP, kind, &mut defaulted);
            assert_eq!(defaulted, object, "{name}");
            if kind == "PriorityLevelConfiguration" {
                levels.insert(name.to_owned());
            } else {
                assert!(levels.contains(object["spec"]["priorityLevelConfiguration"]["name"].as_str().unwrap()), "{name}");
            }
        }
        assert_eq!((levels.len(), all().len()), (8, 21));
    }

    #[test]
    fn only_what_follows_is_brought_up_to_date() {
        let all = all();
        let named = |name: &str| all.iter().find(|object| object["metadata"]["name"] == name).unwrap();
        let changed = |name: &str, metadata: Value| {
            let mut existing = named(name).clone();
            existing["spec"]["limited"]["nominalConcurrencyShares"] = json!(1);
            existing["metadata"] = metadata;
            existing
        };
        let note = |says: &str| json!({"annotations": {FOLLOWS: says}});
        for (name, metadata, specs, says) in [
            ("system", note("true"), true, "true"),
            ("system", json!({"generation": 1}), true, "true"),
            ("system", json!({"generation": 2}), false, "false"),
            ("catch-all", note("false"), true, "true"),
        ] {
            let existing = changed(name, metadata.clone());
            let next = update(&existing, named(name)).unwrap();
            assert_eq!(
                (next["spec"] == named(name)["spec"], &next["metadata"]["annotations"][FOLLOWS]),
                (specs, &json!(says)),
                "{name}: {metadata}"
            );
            assert_eq!(update(&next, named(name)), None, "{name}: {metadata}");
        }
        assert_eq!(update(&changed("system", note("false")), named("system")), None);
        let mut exempt = named("exempt").clone();
        exempt["spec"]["exempt"]["lendablePercent"] = json!(50);
        assert_eq!(update(&exempt, named("exempt")), None);
    }

    #[test]
    fn what_followed_and_is_no_more_is_obsolete() {
        let old = |name: &str, says: &str| json!({"kind": "FlowSchema", "metadata": {"name": name, "annotations": {FOLLOWS: says}}});
        for (object, expected) in [(old("gone", "true"), true), (old("gone", "false"), false), (old("probes", "true"), false)] {
            assert_eq!(is_obsolete(&object), expected, "{object}");
        }
    }
}

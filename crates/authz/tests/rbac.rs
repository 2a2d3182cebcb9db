//! RBAC as it is seen from outside: decisions, changes, reasons, and the guard against escalation.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Value, json};
use tricorn_authz::{Attributes, Authorizer, Decision, Rbac};
use tricorn_meta::UserInfo;

fn role(namespace: &str, name: &str, rules: Value) -> Value {
    json!({"metadata": {"namespace": namespace, "name": name}, "rules": rules})
}

fn binding(namespace: &str, name: &str, role_kind: &str, role: &str, subjects: Value) -> Value {
    json!({"metadata": {"namespace": namespace, "name": name}, "roleRef": {"kind": role_kind, "name": role}, "subjects": subjects})
}

fn readers() -> Rbac {
    let mut rbac = Rbac::new();
    let read = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]);
    rbac.apply("ClusterRole", &role("", "reader", read.clone()));
    rbac.apply("Role", &role("a", "local", read));
    rbac
}

fn pods<'a>(user: &'a UserInfo, verb: &'a str, namespace: &'a str) -> Attributes<'a> {
    Attributes { namespace, ..Attributes::resource(user, verb, "", "pods") }
}

#[test]
fn given_a_binding_when_it_changes_then_decisions_follow() {
    let mut rbac = readers();
    let me = UserInfo::new("me", ["devs"]);
    assert_eq!(rbac.authorize(&pods(&me, "get", "a")), Decision::NoOpinion("".into()));

    rbac.apply("RoleBinding", &binding("a", "b", "Role", "local", json!([{"kind": "Group", "name": "devs"}])));
    assert_eq!(
        rbac.authorize(&pods(&me, "get", "a")),
        Decision::Allow(r#"RBAC: allowed by RoleBinding "b/a" of Role "local" to Group "devs""#.into())
    );
    assert!(!rbac.authorize(&pods(&me, "get", "b")).allowed(), "another namespace");
    assert!(!rbac.authorize(&pods(&me, "get", "")).allowed(), "all namespaces");
    assert!(!rbac.authorize(&pods(&me, "delete", "a")).allowed(), "another verb");

    rbac.apply("RoleBinding", &binding("a", "b", "Role", "local", json!([{"kind": "User", "name": "you"}])));
    assert!(!rbac.authorize(&pods(&me, "get", "a")).allowed(), "subject replaced");

    let account = UserInfo::service_account("x", "robot");
    rbac.apply(
        "ClusterRoleBinding",
        &binding("", "c", "ClusterRole", "reader", json!([{"kind": "ServiceAccount", "name": "robot", "namespace": "x"}])),
    );
    let allowed = rbac.authorize(&pods(&account, "list", ""));
    assert_eq!(allowed.reason(), r#"RBAC: allowed by ClusterRoleBinding "c" of ClusterRole "reader" to ServiceAccount "robot/x""#);
    rbac.remove("ClusterRole", "", "reader");
    assert_eq!(rbac.authorize(&pods(&account, "list", "")).reason(), r#"RBAC: clusterrole.rbac.authorization.k8s.io "reader" not found"#);
    rbac.remove("ClusterRoleBinding", "", "c");
    assert_eq!(rbac.authorize(&pods(&account, "list", "")), Decision::NoOpinion("".into()));
}

#[test]
fn a_refusal_reads_as_upstream() {
    let me = UserInfo::new("me", ["devs"]);
    let named = Attributes { name: "p", ..pods(&me, "get", "default") };
    assert_eq!(
        named.forbidden("").message(),
        r#"pods "p" is forbidden: User "me" cannot get resource "pods" in API group "" in the namespace "default""#
    );
    let log = Attributes { subresource: "log", ..pods(&me, "get", "") };
    assert_eq!(
        log.forbidden("why").message(),
        r#"pods is forbidden: User "me" cannot get resource "pods/log" in API group "" at the cluster scope: why"#
    );
    assert_eq!(Attributes::path(&me, "get", "/metrics").forbidden("").message(), r#"forbidden: User "me" cannot get path "/metrics""#);
}

#[test]
fn superusers_are_not_asked() {
    let root = UserInfo::new("root", ["system:masters"]);
    assert!(Authorizer::default().authorize(&Attributes::resource(&root, "delete", "any", "thing")).allowed());
}

#[test]
fn nobody_grants_more_than_they_hold() {
    let mut rbac = readers();
    rbac.apply(
        "ClusterRole",
        &role(
            "",
            "granter",
            json!([{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "resourceNames": ["local"], "verbs": ["bind"]}]),
        ),
    );
    rbac.apply("ClusterRoleBinding", &binding("", "r", "ClusterRole", "reader", json!([{"kind": "User", "name": "me"}])));
    let me = UserInfo::new("me", ["devs"]);
    let wider = role("a", "wider", json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "delete", "list", "create"]}]));
    let refused = rbac.check_escalation(&me, "Role", &wider, None).unwrap_err();
    assert_eq!(
        refused.message(),
        "roles.rbac.authorization.k8s.io \"wider\" is forbidden: user \"me\" (groups=[\"devs\"]) is attempting to grant RBAC permissions not currently held:\n\
         {APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\" \"create\"]}"
    );
    let same = role("a", "same", json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]));
    assert!(rbac.check_escalation(&me, "Role", &same, None).is_ok());
    assert!(rbac.check_escalation(&me, "Role", &wider, Some(&wider)).is_ok(), "rules unchanged");

    let bind = binding("a", "x", "Role", "local", json!([]));
    assert!(rbac.check_escalation(&me, "RoleBinding", &bind, None).is_ok(), "holds the same rules");
    let you = UserInfo::new("you", ["devs"]);
    assert!(rbac.check_escalation(&you, "RoleBinding", &bind, None).is_err());
    rbac.apply("ClusterRoleBinding", &binding("", "g", "ClusterRole", "granter", json!([{"kind": "User", "name": "you"}])));
    assert!(rbac.check_escalation(&you, "RoleBinding", &bind, None).is_ok(), "may bind it");
    assert!(
        rbac.check_escalation(&you, "ClusterRoleBinding", &binding("", "x", "ClusterRole", "nope", json!([])), None)
            .unwrap_err()
            .is_not_found()
    );
    let aggregated = json!({"metadata": {"name": "all"}, "aggregationRule": {"clusterRoleSelectors": []}, "rules": []});
    assert!(rbac.check_escalation(&you, "ClusterRole", &aggregated, None).is_err());
}

#[test]
fn all_rules_of_a_user() {
    let mut rbac = readers();
    rbac.apply("ClusterRole", &role("", "paths", json!([{"nonResourceURLs": ["/x"], "verbs": ["get"]}])));
    let devs = json!([{"kind": "Group", "name": "devs"}]);
    rbac.apply("ClusterRoleBinding", &binding("", "p", "ClusterRole", "paths", devs.clone()));
    rbac.apply("RoleBinding", &binding("a", "b", "Role", "local", devs.clone()));
    rbac.apply("RoleBinding", &binding("a", "lost", "Role", "nope", devs));
    let rules = rbac.rules_for(&UserInfo::new("me", ["devs"]), "a");
    assert_eq!(
        rules.to_status(),
        json!({"resourceRules": [{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}],
            "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}],
            "incomplete": true, "evaluationError": "role.rbac.authorization.k8s.io \"nope\" not found"})
    );
}

proptest! {
    /// Feeding objects in, over and out again leaves the evaluator as it was.
    #[test]
    fn the_index_forgets_what_is_removed(steps in prop::collection::vec((0..3usize, 0..3usize, any::<bool>()), 0..20)) {
        let mut rbac = readers();
        let users = ["u0", "u1", "u2"];
        let mut expected = [None; 3];
        for (name, user, add) in steps {
            let binding_name = format!("b{name}");
            if add {
                rbac.apply("ClusterRoleBinding", &binding("", &binding_name, "ClusterRole", "reader", json!([{"kind": "User", "name": users[user]}, {"kind": "User", "name": users[user]}])));
                expected[name] = Some(user);
            } else {
                rbac.remove("ClusterRoleBinding", "", &binding_name);
                expected[name] = None;
            }
            for (i, user) in users.iter().enumerate() {
                let user = UserInfo::new(*user, [""; 0]);
                prop_assert_eq!(rbac.authorize(&pods(&user, "get", "a")).allowed(), expected.contains(&Some(i)));
            }
        }
    }
}

/// Objects out of small parts, so that they meet.
fn any_part() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "a", "b", "*", "pods", "pods/log", "*/log"]).prop_map(str::to_owned)
}

fn any_rule() -> impl Strategy<Value = Value> {
    let list = || prop::collection::vec(any_part(), 0..3);
    (list(), list(), list(), list()).prop_map(
        |(verbs, groups, resources, names)| json!({"verbs": verbs, "apiGroups": groups, "resources": resources, "resourceNames": names}),
    )
}

proptest! {
    /// The index finds what a scan over everything finds.
    #[test]
    fn a_decision_is_that_of_a_scan(
        roles in prop::collection::vec(prop::collection::vec(any_rule(), 0..3), 3),
        bindings in prop::collection::vec((0..4usize, 0..3usize, 0..2usize, any::<bool>()), 0..8),
        (verb, group, resource, name, namespace) in (any_part(), any_part(), any_part(), any_part(), 0..2usize),
    ) {
        let mut rbac = Rbac::new();
        let spaces = ["x", "y"];
        for (i, rules) in roles.iter().enumerate() {
            rbac.apply("ClusterRole", &role("", &format!("r{i}"), json!(rules)));
        }
        let mut expected = false;
        let user = UserInfo::new("u0", ["g"]);
        let request = Attributes { namespace: spaces[namespace], name: &name, ..Attributes::resource(&user, &verb, &group, &resource) };
        for (i, (subject, bound, space, everywhere)) in bindings.iter().enumerate() {
            let subjects = if *subject == 3 { json!([{"kind": "Group", "name": "g"}]) } else { json!([{"kind": "User", "name": format!("u{subject}")}]) };
            let (kind, space) = if *everywhere { ("ClusterRoleBinding", "") } else { ("RoleBinding", spaces[*space]) };
            rbac.apply(kind, &binding(space, &format!("b{i}"), "ClusterRole", &format!("r{bound}"), subjects));
            let mine = *subject == 0 || *subject == 3;
            let here = *everywhere || space == spaces[namespace];
            let allows = roles[*bound].iter().any(|r| serde_json::from_value::<tricorn_authz::Rule>(r.clone()).unwrap().allows(&request));
            expected |= mine && here && allows;
        }
        prop_assert_eq!(rbac.authorize(&request).allowed(), expected);
    }

    /// Whoever may grant a role without the verb escalate holds all of it.
    #[test]
    fn what_passes_the_check_is_held(held in prop::collection::vec(any_rule(), 0..3), wanted in any_rule(), (verb, group, resource, name) in (any_part(), any_part(), any_part(), any_part())) {
        let mut rbac = Rbac::new();
        rbac.apply("ClusterRole", &role("", "held", json!(held)));
        rbac.apply("ClusterRoleBinding", &binding("", "b", "ClusterRole", "held", json!([{"kind": "User", "name": "me"}])));
        let me = UserInfo::new("me", [""; 0]);
        let may_escalate = Attributes { name: "new", ..Attributes::resource(&me, "escalate", "rbac.authorization.k8s.io", "clusterroles") };
        prop_assume!(!rbac.authorize(&may_escalate).allowed());
        if rbac.check_escalation(&me, "ClusterRole", &role("", "new", json!([wanted])), None).is_ok() {
            let request = Attributes { name: &name, ..Attributes::resource(&me, &verb, &group, &resource) };
            let grants = serde_json::from_value::<tricorn_authz::Rule>(wanted).unwrap().allows(&request);
            prop_assert!(!grants || rbac.authorize(&request).allowed());
        }
    }
}

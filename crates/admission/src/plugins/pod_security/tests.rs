#![allow(clippy::unwrap_used)]
use super::*;
use serde_json::json;

fn told(spec: Value, level: Level) -> Option<String> {
    violations(&json!({"spec": spec}), "", level)
}

#[test]
fn a_plain_pod_is_baseline_but_not_restricted() {
    let spec = json!({"containers": [{"name": "c", "image": "i"}]});
    assert_eq!(told(spec.clone(), Level::Privileged), None);
    assert_eq!(told(spec.clone(), Level::Baseline), None);
    assert_eq!(
        told(spec, Level::Restricted).unwrap(),
        "allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false), \
         unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), \
         runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true), \
         seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
    );
}

#[test]
fn a_hardened_pod_is_restricted() {
    let spec = json!({"securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": [{"name": "v", "emptyDir": {}}],
        "containers": [{"name": "c", "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}}]});
    assert_eq!(told(spec, Level::Restricted), None);
}

#[test]
fn every_way_out_is_named() {
    let container = |context: Value| json!({"containers": [{"name": "c", "securityContext": context}]});
    let cases = [
        (container(json!({"privileged": true})), "privileged (container \"c\" must not set securityContext.privileged=true)"),
        (json!({"hostNetwork": true, "hostPID": true, "containers": []}), "host namespaces (hostNetwork=true, hostPID=true)"),
        (json!({"volumes": [{"name": "a", "hostPath": {}}, {"name": "b", "hostPath": {}}]}), "hostPath volumes (volumes \"a\", \"b\")"),
        (json!({"containers": [{"name": "c", "ports": [{"hostPort": 80}]}]}), "hostPort (container \"c\" uses hostPort 80)"),
        (
            container(json!({"capabilities": {"add": ["NET_RAW", "CHOWN"]}})),
            "non-default capabilities (container \"c\" must not include \"NET_RAW\" in securityContext.capabilities.add)",
        ),
        (container(json!({"procMount": "Unmasked"})), "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")"),
        (
            json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}),
            "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
        (json!({"securityContext": {"sysctls": [{"name": "kernel.msgmax"}]}}), "forbidden sysctl (kernel.msgmax)"),
    ];
    for (spec, want) in cases {
        assert_eq!(told(spec, Level::Baseline).as_deref(), Some(want));
    }
}

#[test]
fn an_unreadable_level_is_the_strictest() {
    assert_eq!(Level::parse("basline"), Level::Restricted);
}

//! `auth`, `certificate`, `create token`, and whom a kubeconfig names.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tricorn_e2e::run;

use crate::client::Kubectl;

pub async fn all(k: &Kubectl) {
    k.says("create serviceaccount robot", &["created"]).await;
    k.says("create rolebinding robot --clusterrole=view --serviceaccount={ns}:robot", &["created"]).await;
    // Until roles and bindings have been heard of.
    k.until("auth can-i list pods --as=system:serviceaccount:{ns}:robot", &["yes"]).await;
    asked(k).await;
    reconciled(k).await;
    if k.knows(28, "auth whoami: it asks in a version that is served now") {
        k.says("auth whoami", &["ATTRIBUTE VALUE", "Username", "system:masters"]).await;
        k.is("auth whoami -o jsonpath={.status.userInfo.username} --as=ann --as-group=crew", "ann").await;
        k.says("auth whoami --as=ann --as-group=crew", &["Username ann", "crew", "system:authenticated"]).await;
    }
    if k.knows(24, "create token") {
        token(k).await;
    }
    certificates(k).await;
    k.says("delete serviceaccount/robot rolebinding/robot", &["\"robot\" deleted"]).await;
}

async fn asked(k: &Kubectl) {
    const ROBOT: &str = "--as=system:serviceaccount:{ns}:robot";
    for line in ["create pods", "'*' '*'", "get pods --subresource=log", "get /logs/", "delete nodes", "list deployments.apps -A"] {
        k.judge(k.run(&format!("auth can-i {line}")).await, 0, &["yes"]);
    }
    for line in ["list pods", "get configmap/shown", "watch deployments.apps", "get pods --subresource=log"] {
        k.judge(k.run(&format!("auth can-i {line} {ROBOT}")).await, 0, &["yes"]);
    }
    for line in ["list secrets", "create pods", "list pods -A", "get nodes", "create pods --subresource=exec", "'*' '*'"] {
        k.judge(k.run(&format!("auth can-i {line} {ROBOT}")).await, 1, &["no"]);
    }
    k.judge(k.run(&format!("auth can-i -q list secrets {ROBOT}")).await, 1, &["!no"]);
    let all = k
        .says(&format!("auth can-i --list {ROBOT}"), &["Resources Non-Resource URLs Resource Names Verbs", "pods [] [] [get list watch]"])
        .await;
    assert!(all.contains("selfsubjectaccessreviews.authorization.k8s.io") && !all.contains("secrets"), "{all}");
    k.says("auth can-i --list", &["*.* [] [] [*]"]).await;
    k.fails(
        "get pods --as=stranger",
        &["Error from server (Forbidden): pods is forbidden: User \"stranger\" cannot list resource \"pods\" in API group \"\""],
    )
    .await;
    k.says("get pods --as=ann --as-group=system:masters -o name", &[]).await;
    k.fails(&format!("create configmap x {ROBOT}"), &["forbidden", "cannot create resource \"configmaps\""]).await;
}

const ROLES: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reconciled, namespace: '{ns}'}
rules: [{apiGroups: [''], resources: [pods], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reconciled, namespace: '{ns}'}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reconciled}
subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: ann}]
";

async fn reconciled(k: &Kubectl) {
    k.file("roles.yaml", ROLES);
    let words = ["role.rbac.authorization.k8s.io/reconciled reconciled", "rolebinding.rbac.authorization.k8s.io/reconciled reconciled"];
    k.says("auth reconcile -f {dir}/roles.yaml --dry-run=client", &["reconciled"]).await;
    k.fails("get role reconciled", &["NotFound"]).await;
    k.says("auth reconcile -f {dir}/roles.yaml", &words).await;
    k.says("patch role reconciled --type=json -p '[{\"op\":\"replace\",\"path\":\"/rules/0/verbs\",\"value\":[\"list\"]}]'", &["patched"])
        .await;
    let rules = "get role reconciled -o jsonpath={.rules[*].verbs[*]}";
    k.says("auth reconcile -f {dir}/roles.yaml", &words).await;
    k.says(rules, &["list", "get"]).await;
    k.says("auth reconcile -f {dir}/roles.yaml --remove-extra-permissions --remove-extra-subjects", &words).await;
    k.is(rules, "get").await;
    k.says("delete -f {dir}/roles.yaml", &["\"reconciled\" deleted"]).await;
}

/// Another user in the kubeconfig, with a token.
async fn token(k: &Kubectl) {
    // kubectl writes the file anew while others read it, so this one is nobody else's.
    std::fs::copy(k.path("kubeconfig"), k.path("robots")).unwrap();
    let own = "--kubeconfig={dir}/robots";
    let token = k.says("create token robot --duration=10m", &[]).await;
    let cluster = k.says("config view --minify -o jsonpath={.contexts[0].context.cluster}", &[]).await;
    k.says(&format!("{own} config set-credentials robot --token={}", token.trim()), &["User \"robot\" set."]).await;
    k.says(&format!("{own} config set-context robot --cluster={cluster} --user=robot --namespace={{ns}}"), &["Context \"robot\" created."])
        .await;
    k.says(&format!("{own} --context=robot get pods -o name"), &[]).await;
    k.fails(
        &format!("{own} --context=robot get secrets"),
        &["Forbidden", "User \"system:serviceaccount:{ns}:robot\" cannot list resource \"secrets\""],
    )
    .await;
    if k.knows(28, "auth whoami") {
        k.says(&format!("{own} --context=robot auth whoami"), &["system:serviceaccount:{ns}:robot", "system:serviceaccounts:{ns}"]).await;
    }
    k.says(&format!("{own} config set-credentials robot --token=spoilt"), &["set."]).await;
    k.fails(&format!("{own} --context=robot get pods"), &["You must be logged in to the server"]).await;
    k.says(&format!("{own} config delete-context robot"), &["deleted context robot"]).await;
    k.says(&format!("{own} config unset users.robot"), &["Property \"users.robot\" unset."]).await;
}

async fn certificates(k: &Kubectl) {
    let file = |name: &str| k.path(name).display().to_string();
    let openssl = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=ann/O=crew"];
    run("openssl", &[&openssl[..], &["-keyout", &file("ann.key"), "-out", &file("ann.csr")]].concat(), &[]).await.ok();
    let request = BASE64_STANDARD.encode(k.read("ann.csr"));
    for name in ["good", "bad"] {
        k.apply(&format!(
            "{{apiVersion: certificates.k8s.io/v1, kind: CertificateSigningRequest, metadata: {{name: '{{ns}}-{name}'}}, spec: {{request: {request}, \
             signerName: example.com/nobody, usages: [client auth], expirationSeconds: 3600}}}}"
        ))
        .await;
    }
    k.each(&[
        ("get csr {ns}-good", &["NAME AGE SIGNERNAME REQUESTOR REQUESTEDDURATION CONDITION", "example.com/nobody", "60m Pending"]),
        ("describe csr {ns}-good", &["Common Name: ann", "Organization: crew", "Status: Pending"]),
        ("certificate approve {ns}-good", &["certificatesigningrequest.certificates.k8s.io/{ns}-good approved"]),
        ("certificate deny {ns}-bad", &["certificatesigningrequest.certificates.k8s.io/{ns}-bad denied"]),
        ("get csr {ns}-good {ns}-bad", &["Approved", "Denied"]),
        ("get csr {ns}-good -o jsonpath='{.status.conditions[0].type} {.status.conditions[0].reason}'", &["Approved KubectlApprove"]),
    ])
    .await;
    k.fails("certificate deny {ns}-good", &["Approved"]).await;
    k.fails("certificate approve nobody", &["certificatesigningrequests.certificates.k8s.io \"nobody\" not found"]).await;
    k.says("delete csr {ns}-good {ns}-bad", &["\"{ns}-good\" deleted"]).await;
}

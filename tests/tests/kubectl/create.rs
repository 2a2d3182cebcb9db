//! `create`: all its generators, and objects from files.

use tricorn_e2e::run;

use crate::client::Kubectl;

/// What kubectl makes: since which version it can, how, the object, a JSONPath, and what is there.
const GENERATORS: &[(u32, &str, &str, &str, &str)] = &[
    (20, "configmap said --from-literal=a=b --from-literal=c=d", "configmap/said", "{.data}", r#"{"a":"b","c":"d"}"#),
    (
        20,
        "configmap file --from-file={dir}/in/file --from-file=other={dir}/in/file",
        "configmap/file",
        "{.data.file}{.data.other}",
        "text\ntext",
    ),
    (20, "configmap folder --from-file={dir}/in", "configmap/folder", "{.data.file}{.data.env}", "text\nA=1\nB=two"),
    (20, "configmap env --from-env-file={dir}/in/env", "configmap/env", "{.data}", r#"{"A":"1","B":"two"}"#),
    (20, "secret generic word --from-literal=word=sesame", "secret/word", "{.type} {.data.word}", "Opaque c2VzYW1l"),
    (
        20,
        "secret generic typed --type=example.com/own --from-file={dir}/in",
        "secret/typed",
        "{.type} {.data.file}",
        "example.com/own dGV4dAo=",
    ),
    (20, "secret tls keys --cert={dir}/keys.crt --key={dir}/keys.key", "secret/keys", "{.type}", "kubernetes.io/tls"),
    (
        20,
        "secret docker-registry pull --docker-server=r.example --docker-username=ann --docker-password=sesame",
        "secret/pull",
        "{.type}",
        "kubernetes.io/dockerconfigjson",
    ),
    (
        20,
        "deployment made --image=tricorn.local/busybox:1 --replicas=0 --port=80 -- sleep 9",
        "deployment/made",
        "{.spec.replicas} {..containers[0].name} {..containers[0].command} {..containers[0].ports[0].containerPort} {.spec.selector.matchLabels.app}",
        r#"0 busybox ["sleep","9"] 80 made"#,
    ),
    (
        20,
        "job made --image=tricorn.local/busybox:1 -- true",
        "job/made",
        "{.spec.template.spec.restartPolicy} {.spec.template.spec.containers[0].command}",
        r#"Never ["true"]"#,
    ),
    (
        21,
        "cronjob made --image=tricorn.local/busybox:1 --schedule='0 0 1 1 *' -- true",
        "cronjob/made",
        "{.spec.schedule}; {.spec.jobTemplate.spec.template.spec.restartPolicy}",
        "0 0 1 1 *; OnFailure",
    ),
    (
        21,
        "job made-now --from=cronjob/made",
        "job/made-now",
        r"{.metadata.annotations.cronjob\.kubernetes\.io/instantiate} {.metadata.ownerReferences[0].kind}",
        "manual CronJob",
    ),
    (
        20,
        "role made --verb=get,list --resource=pods,pods/log,deployments.apps --resource-name=one",
        "role/made",
        "{.rules[*].resources[*]} {.rules[1].apiGroups[0]} {.rules[0].verbs} {.rules[0].resourceNames}",
        r#"pods pods/log deployments apps ["get","list"] ["one"]"#,
    ),
    (
        20,
        "clusterrole {ns}-made --verb=get --non-resource-url=/healthz --non-resource-url=/logs/*",
        "clusterrole/{ns}-made",
        "{.rules[0].nonResourceURLs}",
        r#"["/healthz","/logs/*"]"#,
    ),
    (
        20,
        "clusterrole {ns}-sum --aggregation-rule=sum={ns}",
        "clusterrole/{ns}-sum",
        "{.aggregationRule.clusterRoleSelectors[0].matchLabels.sum}",
        "{ns}",
    ),
    (
        20,
        "rolebinding made --role=made --user=ann --group=crew --serviceaccount={ns}:default",
        "rolebinding/made",
        "{.roleRef.kind} {.subjects[*].kind} {.subjects[*].name} {.subjects[2].namespace}",
        "Role User Group ServiceAccount ann crew default {ns}",
    ),
    (
        20,
        "clusterrolebinding {ns}-made --clusterrole={ns}-made --group=crew",
        "clusterrolebinding/{ns}-made",
        "{.roleRef.kind} {.roleRef.name} {.subjects[0].kind}",
        "ClusterRole {ns}-made Group",
    ),
    (20, "serviceaccount made", "serviceaccount/made", "{.metadata.name}", "made"),
    (
        20,
        "namespace {ns}-made",
        "namespace/{ns}-made",
        r"{.metadata.labels.kubernetes\.io/metadata\.name} {.status.phase}",
        "{ns}-made Active",
    ),
    (20, "quota made --hard=configmaps=200,services=30", "quota/made", "{.spec.hard}", r#"{"configmaps":"200","services":"30"}"#),
    (
        20,
        "priorityclass {ns}-made --value=1000 --description='rather much' --preemption-policy=Never",
        "priorityclass/{ns}-made",
        "{.value} {.preemptionPolicy} {.description}",
        "1000 Never rather much",
    ),
    (
        21,
        "pdb made --selector=app=none --min-available=50%",
        "pdb/made",
        "{.spec.minAvailable} {.spec.selector.matchLabels.app}",
        "50% none",
    ),
    (
        20,
        "ingress made --class=web --rule=a.example/path*=web:80,tls=keys --default-backend=web:http --annotation=k=v",
        "ingress/made",
        "{.spec.ingressClassName} {.spec.rules[0].host} {.spec.rules[0].http.paths[0].pathType} {.spec.tls[0].secretName} \
         {.spec.defaultBackend.service.port.name} {.metadata.annotations.k}",
        "web a.example Prefix keys http v",
    ),
    (
        20,
        "service clusterip inner --tcp=80:8080",
        "service/inner",
        "{.spec.type} {.spec.ports[0].port} {.spec.ports[0].targetPort}",
        "ClusterIP 80 8080",
    ),
    (20, "service clusterip headless --clusterip=None", "service/headless", "{.spec.clusterIP}", "None"),
    (
        20,
        "service nodeport outer --tcp=80:8080 --node-port=30991",
        "service/outer",
        "{.spec.type} {.spec.ports[0].nodePort}",
        "NodePort 30991",
    ),
    (
        20,
        "service externalname far --external-name=far.example",
        "service/far",
        "{.spec.type} {.spec.externalName}",
        "ExternalName far.example",
    ),
    (
        20,
        "service loadbalancer door --tcp=80",
        "service/door",
        "{.spec.type} {.spec.selector.app} {.spec.allocateLoadBalancerNodePorts}",
        "LoadBalancer door true",
    ),
];

pub async fn all(k: &Kubectl) {
    k.file("in/file", "text\n");
    k.file("in/env", "A=1\nB=two\n");
    let dir = |name: &str| k.path(name).display().to_string();
    let openssl = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=a.example"];
    let into = ["-keyout", &dir("keys.key"), "-out", &dir("keys.crt")];
    run("openssl", &[&openssl[..], &into].concat(), &[]).await.ok();
    for (since, line, object, path, wanted) in GENERATORS {
        if k.knows(*since, &format!("create {line}")) {
            k.says(&format!("create {line}"), &["created"]).await;
            k.is(&format!("get {object} -o jsonpath='{path}'"), wanted).await;
        }
    }
    k.says("wait --for=condition=Complete job/made --timeout=60s", &["job.batch/made condition met"]).await;
    k.until("describe quota made", &["configmaps", "200", "services", "30"]).await;
    from_files(k).await;
    without_doing_it(k).await;
    refused(k).await;
    k.says("delete clusterrole {ns}-made {ns}-sum", &["\"{ns}-made\" deleted", "\"{ns}-sum\" deleted"]).await;
    k.says("delete clusterrolebinding/{ns}-made priorityclass/{ns}-made namespace/{ns}-made", &["namespace \"{ns}-made\" deleted"]).await;
}

const TWO: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: first, labels: {from: file}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: second, labels: {from: file}}}
";
const UNKNOWN: &str = "{apiVersion: v1, kind: ConfigMap, metadata: {name: unknown}, dataa: {a: b}}";

async fn from_files(k: &Kubectl) {
    k.judge(k.fed("create -f -", TWO).await, 0, &["configmap/first created", "configmap/second created"]);
    k.file("two.yaml", TWO);
    k.fails("create -f {dir}/two.yaml", &["AlreadyExists", "configmaps \"first\" already exists", "\"second\" already exists"]).await;
    k.says("delete -f {dir}/two.yaml", &["configmap \"first\" deleted"]).await;
    k.is("create -f {dir}/two.yaml --save-config -o name", "configmap/first\nconfigmap/second").await;
    k.says("get configmap first -o yaml", &["kubectl.kubernetes.io/last-applied-configuration"]).await;
    k.file("made.json", r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"raw"}}"#);
    k.says("create --raw /api/v1/namespaces/{ns}/configmaps -f {dir}/made.json", &["\"uid\":"]).await;
    k.file("generated.yaml", "{apiVersion: v1, kind: ConfigMap, metadata: {generateName: some-}}");
    k.says("create -f {dir}/generated.yaml", &["configmap/some-"]).await;
    k.file("unknown.yaml", UNKNOWN);
    k.fails("create -f {dir}/unknown.yaml", &["unknown field", "dataa"]).await;
    k.says("create -f {dir}/unknown.yaml --validate=false", &["configmap/unknown created"]).await;
    if k.knows(25, "create --validate=warn") {
        k.says("delete -f {dir}/unknown.yaml", &[]).await;
        k.says("create -f {dir}/unknown.yaml --validate=warn", &["Warning: unknown field \"dataa\"", "created"]).await;
    }
    if k.knows(24, "create token") {
        let token = k.says("create token made --duration=10m --audience=a.example", &[]).await;
        assert_eq!(token.trim().split('.').count(), 3, "not a JWT: {token}");
        let bound = "create token made --bound-object-kind=Secret --bound-object-name=word -o yaml";
        k.says(bound, &["kind: TokenRequest", "boundObjectRef:", "token: "]).await;
        k.fails("create token nobody", &["serviceaccounts \"nobody\" not found"]).await;
    }
}

async fn without_doing_it(k: &Kubectl) {
    let words = ["kind: Deployment", "image: x:1", "!uid:"];
    k.says("create deployment dry --image=x:1 --dry-run=client -o yaml", &words).await;
    k.says("create deployment dry --image=x:1 --dry-run=server -o yaml", &["uid:", "progressDeadlineSeconds: 600"]).await;
    k.says("create configmap dry --dry-run=server", &["configmap/dry created (server dry run)"]).await;
    k.fails("get deployment/dry configmap/dry", &["\"dry\" not found"]).await;
}

async fn refused(k: &Kubectl) {
    k.each_fails(&[
        ("create configmap said", &["configmaps \"said\" already exists"]),
        ("create configmap Said", &["metadata.name: Invalid value: \"Said\"", "RFC 1123"]),
        ("create configmap x -n nowhere", &["namespaces \"nowhere\" not found"]),
        ("create role x --verb=get --resource=nonsense", &["the server doesn't have a resource type \"nonsense\""]),
        ("create service nodeport twice --tcp=80 --node-port=30991", &["provided port is already allocated"]),
        ("create quota x --hard=pods=many", &["quantities must match the regular expression"]),
        ("create -f {dir}/nowhere.yaml", &["does not exist"]),
    ])
    .await;
    k.says("create quota no-templates --hard=count/podtemplates=0", &["created"]).await;
    k.until("get quota no-templates", &["count/podtemplates: 0/0"]).await;
    let template = "{apiVersion: v1, kind: PodTemplate, metadata: {name: x}, template: {spec: {containers: [{name: c, image: x}]}}}";
    k.judge(k.fed("create -f -", template).await, 1, &["forbidden: exceeded quota: no-templates", "limited: count/podtemplates=0"]);
    k.says("delete quota no-templates", &["resourcequota \"no-templates\" deleted"]).await;
}

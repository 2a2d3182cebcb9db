//! `apply`, `diff`, `replace`, `patch`, `edit`, `label`, `annotate`, `set`, `kustomize`.

use crate::client::Kubectl;

pub async fn all(k: &Kubectl) {
    applied(k).await;
    applied_by_the_server(k).await;
    pruned(k).await;
    kustomized(k).await;
    replaced(k).await;
    k.file("change.yaml", &deployment("change", "x:1"));
    k.says("apply -f {dir}/change.yaml", &["created"]).await;
    patched(k).await;
    edited(k).await;
    labelled(k).await;
    set(k).await;
    k.says("delete deployment change", &["\"change\" deleted"]).await;
}

/// A status that no controller of a cluster without storage touches.
const CLAIM: &str = "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: change}, spec: {accessModes: [ReadWriteOnce], \
    storageClassName: none, resources: {requests: {storage: 1Gi}}}}";

/// A ConfigMap with data, as YAML of one line.
fn map(name: &str, data: &str) -> String {
    format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}, data: {data}}}\n")
}

/// One with a label, too.
fn labelled_map(name: &str, label: &str, data: &str) -> String {
    map(name, data).replace(&format!("name: {name}"), &format!("name: {name}, labels: {{{label}}}"))
}

fn deployment(name: &str, image: &str) -> String {
    format!(
        "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: {name}, labels: {{app: {name}}}}}, spec: {{replicas: 0, selector: \
         {{matchLabels: {{app: {name}}}}}, template: {{metadata: {{labels: {{app: {name}}}}}, spec: {{containers: [{{name: c, image: '{image}'}}, \
         {{name: side, image: 'side:1'}}]}}}}}}}}\n"
    )
}

/// Client-side, and `diff`.
async fn applied(k: &Kubectl) {
    k.file("applied.yaml", &format!("{}---\n{}", map("applied", "{a: '1', b: '2'}"), deployment("applied", "x:1")));
    let diff = k.run("diff -f {dir}/applied.yaml").await;
    k.judge(diff, 1, &["+kind: ConfigMap", "+kind: Deployment", "+ a: \"1\""]);
    k.says("apply -f {dir}/applied.yaml --dry-run=client", &["configmap/applied created (dry run)"]).await;
    k.says("apply -f {dir}/applied.yaml --dry-run=server", &["deployment.apps/applied created (server dry run)"]).await;
    k.fails("get configmap/applied", &["NotFound"]).await;
    k.each(&[
        ("apply -f {dir}/applied.yaml", &["configmap/applied created", "deployment.apps/applied created"]),
        ("apply -f {dir}/applied.yaml", &["configmap/applied unchanged", "deployment.apps/applied unchanged"]),
        ("diff -f {dir}/applied.yaml", &["!applied"]),
        // What others set stays, and what was applied once and is no longer goes.
        ("patch configmap applied -p '{\"data\":{\"c\":\"3\"}}'", &["patched"]),
        ("scale deployment applied --replicas=0", &["deployment.apps/applied scaled"]),
    ])
    .await;
    k.file("applied.yaml", &format!("{}---\n{}", map("applied", "{a: new}"), deployment("applied", "x:2")));
    k.judge(
        k.run("diff -f {dir}/applied.yaml").await,
        1,
        &["- a: \"1\"", "+ a: new", "- b: \"2\"", "- - image: x:1", "+ - image: x:2", "!+ c:"],
    );
    k.says("apply -f {dir}/applied.yaml", &["configmap/applied configured", "deployment.apps/applied configured"]).await;
    k.is("get configmap applied -o jsonpath={.data}", r#"{"a":"new","c":"3"}"#).await;
    k.is("get deployment applied -o jsonpath={..image}", "x:2 side:1").await;
    let view = "apply view-last-applied configmap/applied";
    k.says(view, &["data: a: new kind: ConfigMap", "!c:"]).await;
    k.file("last.yaml", &map("applied", "{a: new, c: '3'}"));
    k.says("apply set-last-applied -f {dir}/last.yaml", &["configmap/applied configured"]).await;
    k.says(&format!("{view} -o json"), &["\"c\": \"3\""]).await;
    k.file("edits", "s/a: new/a: edited/");
    k.says("apply edit-last-applied configmap/applied", &["configmap/applied edited"]).await;
    k.says(view, &["a: edited"]).await;
    // Since c is said to have been applied, it goes with the next.
    k.says("apply -f {dir}/applied.yaml", &["configmap/applied configured"]).await;
    k.is("get configmap applied -o jsonpath={.data}", r#"{"a":"new"}"#).await;
    // What was not applied before is taken over, with a warning.
    k.says("create configmap taken --from-literal=a=b", &["created"]).await;
    k.judge(
        k.fed("apply -f -", &map("taken", "{c: d}")).await,
        0,
        &["missing the kubectl.kubernetes.io/last-applied-configuration", "configured"],
    );
    k.is("get configmap taken -o jsonpath={.data}", r#"{"a":"b","c":"d"}"#).await;
    // What cannot change does so by force: as another object.
    let immutable = "{apiVersion: v1, kind: Secret, metadata: {name: fixed}, immutable: true, stringData: {a: b}}";
    k.apply(immutable).await;
    let other = immutable.replace("a: b", "a: c");
    k.judge(k.fed("apply -f -", &other).await, 1, &["field is immutable when `immutable` is set"]);
    let forced = k.fed("apply --force -f -", &other).await;
    k.judge(forced, 0, &["secret/fixed configured"]);
    k.is("get secret fixed -o jsonpath={.data.a}", "Yw==").await;
    k.says("delete secret/fixed configmap/taken", &["\"taken\" deleted"]).await;
    k.says("delete -f {dir}/applied.yaml", &["\"applied\" deleted"]).await;
}

async fn applied_by_the_server(k: &Kubectl) {
    k.file("server.yaml", &map("owned", "{a: '1', b: '2'}"));
    k.each(&[
        ("apply --server-side -f {dir}/server.yaml --dry-run=server", &["configmap/owned serverside-applied (server dry run)"]),
        ("apply --server-side -f {dir}/server.yaml", &["configmap/owned serverside-applied"]),
        ("diff --server-side -f {dir}/server.yaml", &["!owned"]),
        ("get configmap owned -o yaml", &["!last-applied-configuration"]),
    ])
    .await;
    k.file("server.yaml", &map("owned", "{a: other}"));
    k.judge(k.run("diff --server-side --field-manager=other -f {dir}/server.yaml").await, 2, &["conflict", ".data.a"]);
    let other = "apply --server-side --field-manager=other -f {dir}/server.yaml";
    k.fails(other, &["Apply failed with 1 conflict: conflict with \"kubectl\": .data.a", "--force-conflicts"]).await;
    k.says(&format!("{other} --force-conflicts"), &["serverside-applied"]).await;
    k.judge(k.run("diff --server-side -f {dir}/server.yaml").await, 1, &["- b: \"2\""]);
    // What an owner leaves out goes, unless another owns it too.
    k.says("apply --server-side -f {dir}/server.yaml", &["serverside-applied"]).await;
    k.is("get configmap owned -o jsonpath={.data}", r#"{"a":"other"}"#).await;
    // From the client's way to the server's, and back.
    k.file("server.yaml", &deployment("owned", "x:1"));
    k.says("apply -f {dir}/server.yaml", &["created"]).await;
    k.file("server.yaml", &deployment("owned", "x:2"));
    let migrate =
        if k.knows(26, "apply --server-side without --force-conflicts of what the client applied") { "" } else { " --force-conflicts" };
    k.says(&format!("apply --server-side -f {{dir}}/server.yaml{migrate}"), &["serverside-applied"]).await;
    k.file("server.yaml", &deployment("owned", "x:3").replace(", {name: side, image: 'side:1'}", ""));
    k.says("apply -f {dir}/server.yaml", &["configured"]).await;
    k.is("get deployment owned -o jsonpath={..image}", "x:3").await;
    k.says("delete deployment/owned configmap/owned", &["\"owned\" deleted"]).await;
}

async fn pruned(k: &Kubectl) {
    let two = format!("{}---\n{}", labelled_map("kept", "prune: yes-do", "{}"), labelled_map("pruned", "prune: yes-do", "{}"));
    k.apply(&two).await;
    k.apply(&labelled_map("aside", "prune: 'no'", "{}")).await;
    let allow = if k.knows(26, "apply --prune-allowlist") { "--prune-allowlist" } else { "--prune-whitelist" };
    let line = format!("apply -f - --prune -l prune=yes-do {allow}=core/v1/ConfigMap");
    let one = labelled_map("kept", "prune: yes-do", "{a: b}");
    k.judge(k.fed(&format!("{line} --dry-run=server"), &one).await, 0, &["configmap/pruned pruned (server dry run)"]);
    k.judge(k.fed(&line, &one).await, 0, &["configmap/kept configured", "configmap/pruned pruned", "!aside"]);
    k.is("get configmap -l prune -o name", "configmap/aside\nconfigmap/kept").await;
    k.says("delete configmap -l prune", &["\"aside\" deleted", "\"kept\" deleted"]).await;
}

async fn kustomized(k: &Kubectl) {
    k.file("kustom/map.yaml", &map("map", "{a: b}"));
    k.file(
        "kustom/kustomization.yaml",
        "resources: [map.yaml]\nnamePrefix: my-\ncommonAnnotations: {by: kustomize}\nconfigMapGenerator: [{name: made, literals: [c=d]}]\n",
    );
    k.each(&[
        ("kustomize {dir}/kustom", &["name: my-map", "name: my-made-", "by: kustomize"]),
        ("apply -k {dir}/kustom", &["configmap/my-map created", "configmap/my-made-"]),
        ("get -k {dir}/kustom -o name", &["configmap/my-map", "configmap/my-made-"]),
        ("diff -k {dir}/kustom", &["!my-map"]),
        ("delete -k {dir}/kustom", &["configmap \"my-map\" deleted"]),
    ])
    .await;
    k.fails("kustomize {dir}/nowhere", &["nowhere"]).await;
}

async fn replaced(k: &Kubectl) {
    k.file("replaced.yaml", &map("replaced", "{a: b}"));
    k.fails("replace -f {dir}/replaced.yaml", &["configmaps \"replaced\" not found"]).await;
    k.says("create configmap replaced --from-literal=c=d", &["created"]).await;
    let uid = k.says("get configmap replaced -o jsonpath={.metadata.uid}", &[]).await;
    k.says("replace -f {dir}/replaced.yaml", &["configmap/replaced replaced"]).await;
    k.says("get configmap replaced -o jsonpath='{.data} {.metadata.uid}'", &[r#"{"a":"b"}"#, &uid]).await;
    k.says("replace --force -f {dir}/replaced.yaml", &["configmap \"replaced\" deleted", "configmap/replaced replaced"]).await;
    k.says("get configmap replaced -o jsonpath={.metadata.uid}", &[&format!("!{uid}")]).await;
    let stale = k.says("get configmap replaced -o yaml", &[]).await;
    k.says("annotate configmap replaced changed=yes", &["annotate"]).await;
    k.judge(k.fed("replace -f -", &stale).await, 1, &["Conflict", "the object has been modified"]);
    k.file("raw.json", r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"replaced"},"data":{"raw":"yes"}}"#);
    k.says("replace --raw /api/v1/namespaces/{ns}/configmaps/replaced -f {dir}/raw.json", &["\"raw\":\"yes\""]).await;
    k.says("delete configmap replaced", &["deleted"]).await;
}

async fn patched(k: &Kubectl) {
    let side = r#"{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"side:2"}]}}}}"#;
    k.file("patch.yaml", "metadata: {annotations: {patched: from-a-file}}");
    // Strategic merge finds a container by its name, merge replaces the list, JSON patch counts.
    k.each(&[
        (&format!("patch deployment change -p '{side}'"), &["deployment.apps/change patched"]),
        ("get deployment change -o jsonpath={..image}", &["x:1 side:2"]),
        (&format!("patch deployment change -p '{side}'"), &["patched (no change)"]),
        (
            r#"patch deployment/change --type=json -p '[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"x:2"}]'"#,
            &["patched"],
        ),
        ("get deployment change -o jsonpath={..image}", &["x:2 side:2"]),
        (&format!("patch deployment change --type=merge -p '{side}' --dry-run=server -o jsonpath={{..image}}"), &["side:2", "!x:2"]),
        (
            &format!("patch -f {{dir}}/change.yaml --local -p '{}' -o yaml", side.replace("side:2", "side:3")),
            &["image: side:3", "image: x:1"],
        ),
        ("patch deployment change --type=merge -p '{\"spec\":{\"replicas\":null}}' --dry-run=server -o jsonpath={.spec.replicas}", &["1"]),
    ])
    .await;
    k.each_fails(&[
        (
            r#"patch deployment change --type=json -p '[{"op":"test","path":"/spec/replicas","value":5}]'"#,
            &["The request is invalid", "/spec/replicas"],
        ),
        (r#"patch deployment change --type=json -p '[{"op":"remove","path":"/spec/nonsense"}]'"#, &["nonsense"]),
        (r#"patch deployment change -p '{"spec":{"replicas":-1}}'"#, &["spec.replicas", "must be greater than or equal to 0"]),
        (r#"patch deployment change -p '{"spec":{"selector":{"matchLabels":{"app":"x"}}}}'"#, &["spec.selector", "field is immutable"]),
        ("patch deployment nowhere -p '{}'", &["deployments.apps \"nowhere\" not found"]),
    ])
    .await;
    if k.knows(21, "patch --patch-file") {
        k.says("patch deployment change --patch-file={dir}/patch.yaml", &["patched"]).await;
        k.is("get deployment change -o jsonpath={.metadata.annotations.patched}", "from-a-file").await;
    }
    if k.knows(24, "patch --subresource") {
        // The status alone changes.
        let both = r#"{"spec":{"replicas":3},"status":{"capacity":{"storage":"1Gi"},"phase":"Lost"}}"#;
        k.apply(CLAIM).await;
        k.says(&format!("patch pvc change --subresource=status --type=merge -p '{both}'"), &["persistentvolumeclaim/change patched"]).await;
        k.is("get pvc change -o jsonpath='{.status.phase} {.spec.replicas}'", "Lost").await;
        k.says("patch deployment change --subresource=scale --type=merge -p '{\"spec\":{\"replicas\":0}}'", &["patched"]).await;
        k.says("delete pvc change", &["deleted"]).await;
    }
}

async fn edited(k: &Kubectl) {
    k.file("edits", "s/side:2/side:4/");
    k.says("edit deployment change", &["deployment.apps/change edited"]).await;
    k.is("get deployment change -o jsonpath={..image}", "x:2 side:4").await;
    k.says("edit deployment change", &["Edit cancelled, no changes made."]).await;
    k.file("edits", "s/\"side:4\"/\"side:5\"/");
    k.says("edit deployment/change -o json --save-config", &["\"image\": \"side:5\""]).await;
    k.says("apply view-last-applied deployment/change", &["image: side:5"]).await;
    // What is refused is shown again; then nothing more changes.
    k.file("edits", "s/replicas: 0/replicas: -1/");
    k.fails("edit deployment change", &["Edit cancelled, no valid changes were saved"]).await;
    if k.knows(24, "edit --subresource") {
        k.file("edits", "s/^  phase: Pending/  phase: Lost/");
        k.apply(CLAIM).await;
        k.says("edit pvc change --subresource=status", &["persistentvolumeclaim/change edited"]).await;
        k.is("get pvc change -o jsonpath={.status.phase}", "Lost").await;
        k.says("delete pvc change", &["deleted"]).await;
    }
}

async fn labelled(k: &Kubectl) {
    for (verb, done, other) in [("label", "labeled", "not labeled"), ("annotate", "annotate", "annotate")] {
        let it = |rest: &str| format!("{verb} deployment change {rest}");
        k.says(&it("one=1 two=2"), &[&format!("deployment.apps/change {done}")]).await;
        k.says(&it("one=1"), &["deployment.apps/change", other]).await;
        k.fails(&it("one=3"), &["already has a value (1)"]).await;
        k.says(&it("one=3 two- --overwrite"), &["deployment.apps/change"]).await;
        k.is(
            &format!("get deployment change -o jsonpath='{{.metadata.{verb}s.one}}{{.metadata.{verb}s.two}}'")
                .replace("annotates", "annotations"),
            "3",
        )
        .await;
        k.says(&it("--list"), &["one=3", "!two="]).await;
        k.says(&it("dry=run --dry-run=server"), &["(server dry run)"]).await;
        k.fails(&it("one=4 --overwrite --resource-version=1"), &["the object has been modified"]).await;
        k.says(&format!("{verb} deployment -l app=change three=3"), &[done]).await;
        k.says(&format!("{verb} -f {{dir}}/change.yaml --local four=4 -o yaml"), &["four: \"4\""]).await;
        k.says(&it("one- three-"), &["deployment.apps/change"]).await;
    }
    k.fails("label deployment change 'one=a b'", &["a valid label must be an empty string or consist of alphanumeric characters"]).await;
    k.fails("label deployment change _x=1", &["name part must consist of alphanumeric characters"]).await;
}

async fn set(k: &Kubectl) {
    k.says("create configmap for-env --from-literal=word=hello", &["created"]).await;
    k.says("create service clusterip change --tcp=80", &["created"]).await;
    k.says("create rolebinding change --clusterrole=view --user=ann", &["created"]).await;
    let container = |path: &str| format!("get deployment change -o jsonpath='{{.spec.template.spec.containers[0].{path}}}'");
    k.each(&[
        ("set image deployment/change c=x:7 side=side:7", &["deployment.apps/change image updated"]),
        ("set image -f {dir}/change.yaml *=y:8 --local -o yaml", &["image: y:8", "!image: x:1"]),
        ("get deployment change -o jsonpath={..image}", &["x:7 side:7"]),
        ("set env deployment/change -c c A=1 B=2", &["deployment.apps/change env updated"]),
        ("set env deployment/change --list", &["# Deployment change, container c A=1 B=2"]),
        ("set env deployment/change A- --from=configmap/for-env --prefix=MAP_", &["env updated"]),
        ("set env deployment/change --list --resolve", &["!A=1", "B=2", "MAP_WORD=hello"]),
        ("set resources deployment change -c=c --limits=cpu=200m,memory=64Mi --requests=cpu=100m", &["resource requirements updated"]),
        (&container("resources.limits"), &[r#"{"cpu":"200m","memory":"64Mi"}"#]),
        (&container("resources.requests.cpu"), &["100m"]),
        ("set serviceaccount deployment change default", &["deployment.apps/change serviceaccount updated"]),
        ("get deployment change -o jsonpath={.spec.template.spec.serviceAccountName}", &["default"]),
        ("set selector service change app=other,tier=web", &["service/change selector updated"]),
        ("get service change -o jsonpath={.spec.selector}", &[r#"{"app":"other","tier":"web"}"#]),
        ("set subject rolebinding change --user=bob --group=crew --serviceaccount={ns}:default", &["subjects updated"]),
        ("get rolebinding change -o jsonpath={.subjects[*].name}", &["ann bob crew default"]),
        ("delete configmap/for-env service/change rolebinding/change", &["\"change\" deleted"]),
    ])
    .await;
    k.fails("set image deployment/change nobody=x", &["unable to find container named \"nobody\""]).await;
}

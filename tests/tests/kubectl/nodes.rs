//! `cordon`, `drain`, `uncordon`, `taint`.

use crate::client::Kubectl;
use crate::deleting::sleeper;

const LONE: &str = "
apiVersion: v1
kind: Pod
metadata: {name: lone, labels: {app: lone}}
spec:
  nodeName: w2
  terminationGracePeriodSeconds: 0
  volumes: [{name: scratch, emptyDir: {}}]
  containers: [{name: c, image: 'tricorn.local/busybox:1', command: [sleep, '3600'], volumeMounts: [{name: scratch, mountPath: /scratch}]}]
";
const DAEMON: &str = "
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: everywhere}
spec:
  selector: {matchLabels: {app: everywhere}}
  template:
    metadata: {labels: {app: everywhere}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: c, image: 'tricorn.local/busybox:1', command: [sleep, '3600']}]
";
const BUDGET: &str = "{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: lone}, spec: {minAvailable: 1, selector: {matchLabels: {app: lone}}}}";

pub async fn all(k: &Kubectl) {
    marks(k).await;
    drain(k).await;
}

async fn marks(k: &Kubectl) {
    k.each(&[
        ("label node w2 disk=slow", &["node/w2 labeled"]),
        ("annotate node w2 example.com/note=here", &["node/w2 annotate"]),
        ("get nodes -l disk=slow -L disk --no-headers", &["w2 Ready", "slow", "!w1"]),
        ("label node w2 disk-", &["node/w2 unlabeled"]),
        ("annotate node w2 example.com/note-", &["node/w2 annotate"]),
        ("taint nodes w2 dedicated=some:NoSchedule", &["node/w2 tainted"]),
        ("describe node w2", &["Taints: dedicated=some:NoSchedule"]),
        ("taint nodes w2 dedicated=others:NoSchedule --overwrite", &["node/w2 modified"]),
        ("taint nodes w2 also:PreferNoSchedule --dry-run=server", &["node/w2 tainted"]),
        ("get node w2 -o jsonpath={.spec.taints}", &[r#"[{"effect":"NoSchedule","key":"dedicated","value":"others"}]"#]),
        ("taint nodes -l kubernetes.io/hostname=w2 dedicated:NoSchedule-", &["node/w2 untainted"]),
        ("get node w2 -o jsonpath='[{.spec.taints}]'", &["[]"]),
    ])
    .await;
    k.fails("taint nodes w2 dedicated-", &["taint \"dedicated\" not found"]).await;
    k.fails("taint nodes w2 dedicated=some:Never", &["invalid taint effect: Never"]).await;
    k.says("taint nodes w2 twice=a:NoSchedule", &["tainted"]).await;
    k.fails("taint nodes w2 twice=b:NoSchedule", &["already has twice taint(s) with same effect(s) and --overwrite is false"]).await;
    k.says("taint nodes w2 twice-", &["node/w2 untainted"]).await;
}

async fn drain(k: &Kubectl) {
    k.apply(LONE).await;
    k.apply(DAEMON).await;
    k.says("rollout status daemonset/everywhere --timeout=60s", &["successfully rolled out"]).await;
    // Placed on the node that is drained, for there is no other.
    k.says("cordon w1", &["node/w1 cordoned"]).await;
    k.says("get node w1", &["w1 Ready,SchedulingDisabled"]).await;
    k.apply(&sleeper("moved")).await;
    k.says("wait --for=condition=Available deployment/moved --timeout=60s", &["met"]).await;
    k.is("get pods -l app=moved -o jsonpath={.items[*].spec.nodeName}", "w2").await;
    k.each(&[
        ("uncordon w1", &["node/w1 uncordoned"]),
        ("uncordon w1", &["node/w1 already uncordoned"]),
        ("wait --for=condition=Ready pod/lone --timeout=60s", &["met"]),
        ("cordon w2 --dry-run=server", &["node/w2 cordoned (server dry run)"]),
        ("cordon -l kubernetes.io/hostname=w2", &["node/w2 cordoned"]),
        ("cordon w2", &["node/w2 already cordoned"]),
        ("describe node w2", &["Unschedulable: true", "lone", "everywhere-"]),
    ])
    .await;
    let reasons = [
        "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore)",
        "cannot delete Pods with local storage (use --delete-emptydir-data to override)",
        "lone",
    ];
    k.fails("drain w2", &reasons).await;
    k.fails("drain w2 --ignore-daemonsets --delete-emptydir-data", &["use --force to override", "lone"]).await;
    let all = "drain w2 --ignore-daemonsets --delete-emptydir-data --force";
    if k.knows(21, "drain against a budget: it reads policy/v1beta1") {
        k.apply(BUDGET).await;
        k.fails(
            &format!("{all} --pod-selector=app=lone --timeout=2s"),
            &["error when evicting pods/\"lone\"", "disruption budget", "lone"],
        )
        .await;
        k.says("get pod lone", &["1/1 Running"]).await;
        k.says("delete pdb lone", &["\"lone\" deleted"]).await;
    }
    k.says(&format!("{all} --dry-run=server --timeout=60s"), &["node/w2 drained (server dry run)"]).await;
    k.says("get pod lone", &["Running"]).await;
    let words = ["Ignoring DaemonSet-managed Pods", "evicting pod {ns}/lone", "evicting pod {ns}/moved-", "node/w2 drained"];
    let said = k.run(&format!("{all} --timeout=60s")).await;
    k.judge(tricorn_e2e::Ran { err: said.err.replace("ignoring", "Ignoring"), ..said }, 0, &words);
    k.fails("get pod lone", &["NotFound"]).await;
    k.says("wait --for=condition=Available deployment/moved --timeout=60s", &["met"]).await;
    k.until("get pods -l app=moved -o jsonpath={.items[*].spec.nodeName}", &["w1", "!w2"]).await;
    k.says("get pods --field-selector=spec.nodeName=w2 -o name", &["pod/everywhere-", "!moved"]).await;
    // Without eviction, and only some.
    k.says("uncordon w2", &["node/w2 uncordoned"]).await;
    k.apply(LONE).await;
    k.says("wait --for=condition=Ready pod/lone --timeout=60s", &["met"]).await;
    let some =
        k.says(&format!("{all} --pod-selector=app=lone --disable-eviction --timeout=60s"), &["node/w2 drained", "pod/lone deleted"]).await;
    assert!(!some.contains("everywhere"), "{some}");
    k.says("uncordon w2", &["node/w2 uncordoned"]).await;
    k.says("delete deployment/moved daemonset/everywhere", &["deleted"]).await;
    k.fails("drain w9", &["nodes \"w9\" not found"]).await;
}

//! Servers and workers are taken away while people work.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams, ObjectMeta, PostParams};
use parking_lot::Mutex;
use tricorn_e2e::{Lab, binary, run, until};
use tricorn_testbed::{cut, heal, kill, start};

const SOON: Duration = Duration::from_secs(60);
/// Writes go on within this long after the leader is gone.
const GAP: Duration = Duration::from_secs(2);
/// How long the writing client waits for one answer before it asks again, as one does that wants to get on.
const PATIENCE: Duration = Duration::from_millis(500);

/// Creates ConfigMaps without pause, and remembers which were acknowledged, and when.
struct Writer {
    acknowledged: Arc<Mutex<Vec<(String, Instant)>>>,
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Writer {
    fn start(client: kube::Client, prefix: &str) -> Self {
        let (acknowledged, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (seen, ended, prefix) = (acknowledged.clone(), stop.clone(), prefix.to_owned());
        let task = tokio::spawn(async move {
            let api: Api<ConfigMap> = Api::namespaced(client, "default");
            for n in 0.. {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let name = format!("{prefix}-{n}");
                let object =
                    ConfigMap { metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() }, ..ConfigMap::default() };
                // A write without an answer may or may not have happened; it is not counted, and the next one has another name.
                let params = PostParams::default();
                match tokio::time::timeout(PATIENCE, api.create(&params, &object)).await {
                    Ok(Ok(_)) => seen.lock().push((name, Instant::now())),
                    Ok(Err(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
                    Err(_) => {}
                }
            }
        });
        Self { acknowledged, stop, task }
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().len()
    }

    /// When the first write after `moment` was acknowledged.
    fn first_after(&self, moment: Instant) -> Option<Instant> {
        self.acknowledged.lock().iter().map(|(_, at)| *at).find(|at| *at > moment)
    }

    async fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        self.acknowledged.lock().iter().map(|(name, _)| name.clone()).collect()
    }
}

/// A way to take a server away, and to bring it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Kill,
    Cut,
}

impl Fault {
    async fn strike(self, lab: &Lab, server: &str) {
        match self {
            Self::Kill => kill(lab.file(), server).await.unwrap(),
            Self::Cut => cut(lab.file(), server, None).await.unwrap(),
        }
    }

    async fn mend(self, lab: &Lab, server: &str) {
        match self {
            Self::Kill => start(lab.file(), server).await.unwrap(),
            Self::Cut => heal(lab.file(), Some(server), None).await.unwrap(),
        }
    }
}

/// Has `server` lead, takes it away while a client writes, and looks at everything that was promised.
async fn lose_the_leader(lab: &Lab, fault: Fault, server: &str) {
    let (leader, round) = (server.to_owned(), format!("{fault:?}-{server}").to_lowercase());
    until(&format!("{server} leads"), SOON, async || {
        if lab.leader().await == server {
            return Ok(());
        }
        // A vote may go otherwise: asked again then.
        let moved = run(binary(), &["member", "move-leader", server], &[("KUBECONFIG", &lab.cluster.kubeconfig())]).await;
        Err(format!("{}{}", moved.out, moved.err))
    })
    .await;
    let writer = Writer::start(lab.client().await, &format!("w{round}"));
    until("writes are acknowledged", SOON, async || if writer.count() > 20 { Ok(()) } else { Err(writer.count()) }).await;
    let struck = Instant::now();
    fault.strike(lab, &leader).await;
    // A write that was on its way when the leader went may still be acknowledged: what counts is after the fault was complete.
    let begun = Instant::now();
    let first = until("writes go on", SOON, async || writer.first_after(begun).ok_or("none yet")).await;
    let gap = first.duration_since(struck);
    eprintln!("{fault:?} of {leader}: first write after {gap:?}");
    assert!(gap <= GAP, "{fault:?} of {leader}: writes went on after {gap:?} only");
    // Controllers act again: a new Deployment gets its pods from the new leader.
    let name = format!("after-{round}");
    lab.kubectl(&format!("create deployment {name} --image=tricorn.local/busybox:1 --replicas=1 -- sleep 3600")).await.ok();
    lab.kubectl(&format!("wait --for=condition=Available deployment/{name} --timeout=120s")).await.ok();
    lab.kubectl(&format!("delete deployment {name} --wait=false")).await.ok();

    fault.mend(lab, &leader).await;
    lab.cluster.server_ready(&leader).await.unwrap();
    let promised = writer.end().await;
    lab.caught_up().await;
    let api: Api<ConfigMap> = Api::namespaced(lab.client().await, "default");
    let there: std::collections::HashSet<String> =
        api.list(&ListParams::default()).await.unwrap().items.into_iter().filter_map(|object| object.metadata.name).collect();
    let lost: Vec<_> = promised.iter().filter(|name| !there.contains(*name)).collect();
    assert!(lost.is_empty(), "{fault:?} of {leader}: {} of {} acknowledged writes are missing: {lost:?}", lost.len(), promised.len());
}

/// The keys below `/registry` of a member at a revision that all have, as etcdctl shows them.
async fn keys(lab: &Lab, address: &str, revision: Option<i64>) -> serde_json::Value {
    let pki = lab.cluster.dir().join("pki");
    let file = |name: &str| pki.join(name).display().to_string();
    let revision = revision.map_or(String::new(), |revision| format!(" --rev={revision}"));
    // etcdctl must stand on a host that reaches the members.
    let line = format!(
        "env ETCDCTL_API=3 etcdctl --endpoints=https://{address}:2379 --cacert={} --cert={} --key={} get --prefix --keys-only /registry -w json{revision}",
        file("ca.crt"),
        file("etcd-client.crt"),
        file("etcd-client.key"),
    );
    serde_json::from_str(&lab.on("s1", &line).await.ok()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_shrugs_when_servers_go() {
    let Some(lab) = Lab::start(|config| config.workers = 1).await else { return };
    let watch = lab.watch_over();
    for fault in [Fault::Kill, Fault::Cut] {
        for server in ["s1", "s2", "s3"] {
            lose_the_leader(&lab, fault, server).await;
        }
    }
    // Every member shows the same keys at the same revision.
    let first = keys(&lab, "172.30.0.11", None).await;
    let revision = first["header"]["revision"].as_i64().unwrap();
    let at = |answer: &serde_json::Value| {
        answer["kvs"].as_array().unwrap().iter().map(|kv| (kv["key"].clone(), kv["mod_revision"].clone())).collect::<Vec<_>>()
    };
    assert!(at(&first).len() > 100, "{first}");
    for member in ["172.30.0.11", "172.30.0.12", "172.30.0.13"] {
        let answer = keys(&lab, member, Some(revision)).await;
        assert_eq!(at(&answer), at(&first), "{member} shows other keys at revision {revision}");
    }
    drop(watch);
    lab.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_of_a_lost_worker_run_elsewhere() {
    // Nodes tell that they live every ten seconds: one that is late once is not lost.
    let start = |config: &mut tricorn_testbed::ClusterConfig| config.server_args = vec!["--node-monitor-grace-period=25".into()];
    let Some(lab) = Lab::start(start).await else { return };
    let watch = lab.watch_over();
    // A node is Ready a moment before its taint goes, and until then all pods would go to the other one.
    until("both workers take pods", SOON, async || {
        let taints = lab.kubectl("get nodes -o jsonpath={.items[*].spec.taints}").await.ok();
        if taints.trim().is_empty() { Ok(()) } else { Err(taints) }
    })
    .await;
    let manifest = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: mover}
spec:
  replicas: 2
  selector: {matchLabels: {app: mover}}
  template:
    metadata: {labels: {app: mover}}
    spec:
      terminationGracePeriodSeconds: 0
      tolerations:
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 1}
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 1}
      containers: [{name: c, image: 'tricorn.local/busybox:1', command: [sleep, '3600']}]
";
    lab.apply(manifest).await.ok();
    lab.kubectl("rollout status deployment/mover --timeout=120s").await.ok();
    let nodes = lab.kubectl("get pods -l app=mover -o jsonpath={.items[*].spec.nodeName}").await.ok();
    assert!(nodes.contains("w1") && nodes.contains("w2"), "pods should be spread: {nodes}");
    kill(lab.file(), "w1").await.unwrap();
    lab.cluster.node_ready("w1", false).await.unwrap();
    until("two pods run on w2", SOON, async || {
        let pods = lab.kubectl("get pods -l app=mover --field-selector=spec.nodeName=w2,status.phase=Running -o name").await.ok();
        if pods.lines().count() == 2 { Ok(()) } else { Err(lab.kubectl("get pods -o wide").await.out) }
    })
    .await;
    tricorn_testbed::start(lab.file(), "w1").await.unwrap();
    lab.cluster.node_ready("w1", true).await.unwrap();
    drop(watch);
    lab.down().await;
}

#[tokio::test]
async fn etcdctl_is_there() {
    // The tests above stand on it: its absence should say so, and not look like a fault of ours.
    run("etcdctl", &["version"], &[]).await.ok();
}

//! A backup brings a cluster back that has lost all of its servers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use tricorn_e2e::{Lab, run, until};
use tricorn_testbed::{kill, start};

const SOON: Duration = Duration::from_secs(120);
const SERVERS: [&str; 3] = ["s1", "s2", "s3"];

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_brings_a_lost_cluster_back() {
    let Some(lab) = Lab::start(|config| config.workers = 1).await else { return };
    let watch = lab.watch_over();
    let tricorn = async |arguments: &[&str]| run(tricorn_e2e::binary(), arguments, &[("KUBECONFIG", &lab.cluster.kubeconfig())]).await;
    lab.kubectl("create configmap before").await.ok();
    assert!(tricorn(&["quota"]).await.ok().contains("no bound"));
    tricorn(&["quota", "10737418240"]).await.ok();
    // What is said of the quota, and a snapshot, are of the server that is asked, which need not be the one that was asked before.
    lab.caught_up().await;
    assert!(tricorn(&["quota"]).await.ok().contains("of 10737418240 bytes used"));
    let file = lab.scratch("monday.snap").display().to_string();
    tricorn(&["snapshot", "save", &file]).await.ok();
    lab.kubectl("create configmap after").await.ok();
    let seen = version(&lab, "after").await;

    let data = lab.cluster.dir().join("s1").display().to_string();
    let peer = "--initial-advertise-peer-urls=https://172.30.0.11:2380";
    tricorn(&["snapshot", "restore", &file, "--data-dir", &data, peer]).await.fails(1, &["in use by another tricorn process"]);
    for server in SERVERS {
        kill(lab.file(), server).await.unwrap();
    }
    tricorn(&["snapshot", "restore", &file, "--data-dir", &data, peer]).await.ok();
    for server in ["s2", "s3"] {
        std::fs::remove_dir_all(lab.cluster.dir().join(server)).unwrap();
    }
    for server in SERVERS {
        start(lab.file(), server).await.unwrap();
        lab.cluster.server_ready(server).await.unwrap();
    }
    until("three servers vote", SOON, async || {
        let listed = tricorn(&["member", "list", "-o", "json"]).await.out;
        let members: serde_json::Value = serde_json::from_str(&listed).unwrap_or_default();
        let voting = members.as_array().into_iter().flatten().filter(|member| member["learner"] == false).count();
        if voting == 3 { Ok(()) } else { Err(listed) }
    })
    .await;
    lab.caught_up().await;
    lab.kubectl("get configmap before").await.ok();
    lab.kubectl("get configmap after").await.fails(1, &["NotFound"]);
    // What was said of the quota belongs to the state.
    assert!(tricorn(&["quota", "-o", "json"]).await.ok().contains(r#""bytes":10737418240"#));
    // No revision that somebody may have seen is given again.
    lab.kubectl("create configmap anew").await.ok();
    assert!(version(&lab, "anew").await > seen + 1_000_000);
    // Workers and controllers go on with what was restored. That the worker is ready is in the snapshot already; that it has found the
    // new cluster is seen in what it writes there.
    until("the worker renews its lease", SOON, async || {
        let ran = lab.kubectl("get lease w1 -n kube-node-lease -o jsonpath={.metadata.resourceVersion}").await;
        if ran.out.parse::<i64>().is_ok_and(|renewed| renewed > seen) { Ok(()) } else { Err(format!("{ran:?}")) }
    })
    .await;
    lab.cluster.node_ready("w1", true).await.unwrap();
    lab.kubectl("create deployment again --image=tricorn.local/busybox:1 -- sleep 3600").await.ok();
    lab.kubectl("wait --for=condition=Available deployment/again --timeout=120s").await.ok();
    drop(watch);
    lab.down().await;
}

async fn version(lab: &Lab, name: &str) -> i64 {
    lab.kubectl(&format!("get configmap {name} -o jsonpath={{.metadata.resourceVersion}}")).await.ok().parse().unwrap()
}

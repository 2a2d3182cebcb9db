//! `tricorn bench api` against a server: every load works and counts what it did.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use serde_json::Value;
use tricorn_e2e::{LoneServer, Ran, binary, run_within};

const SOON: Duration = Duration::from_secs(300);

async fn bench(server: &LoneServer, line: &str) -> Ran {
    let kubeconfig = server.kubeconfig();
    let line = format!("bench api --total 1100 --clients 4 --value-size 64 --output json {line}");
    run_within(SOON, binary(), &line.split(' ').collect::<Vec<_>>(), &[("KUBECONFIG", &kubeconfig)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_load_on_the_api_does_what_it_says() {
    let server = LoneServer::start().await;
    let own = std::process::id();
    let found = bench(&server, &format!("--lists 3 --watchers 5 --watched-writes 20 --pids {own}")).await.ok();
    let found: Value = serde_json::from_str(&found).unwrap();
    let mut seen = Vec::new();
    for load in found["measurements"].as_array().unwrap() {
        assert_eq!((&load["errors"], load["first_error"].is_null()), (&Value::from(0), true), "{load}");
        assert!(load["p50_ms"].as_f64().unwrap() > 0.0 && load["rss_bytes"].is_u64(), "{load}");
        seen.push((load["workload"].as_str().unwrap(), load["operations"].as_u64().unwrap()));
    }
    let singles = 1100;
    let wanted = [
        ("create", singles),
        ("get", singles),
        ("list", 3),
        ("list-paged", 3),
        ("list-selected", 3),
        ("update", singles),
        ("patch", singles),
        ("mixed", singles),
        ("watch", 100),
        ("delete", singles),
    ];
    assert_eq!(seen, wanted);

    // One alone is given what it needs, and leaves nothing behind.
    let found = bench(&server, "--workloads list-paged --lists 1").await.ok();
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found["measurements"].as_array().map(Vec::len), Some(1), "{found}");
    let all = http::Request::get("/api/v1/namespaces/default/configmaps").body(Vec::new()).unwrap();
    let left: Value = server.client().await.request(all).await.unwrap();
    let left: Vec<_> = left["items"].as_array().unwrap().iter().map(|object| &object["metadata"]["name"]).collect();
    assert_eq!(left, ["kube-root-ca.crt"]);
}

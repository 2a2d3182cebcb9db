//! The controllers: each looks at the cluster through shared caches and moves it, by small requests, to where its
//! objects say it should be. One folder a controller: a pure `plan.rs` that decides and a thin `mod.rs` that acts.
//! This crate must never know the registry, the store, sockets or certificates' private keys beyond what it is handed.

mod context;
mod discovery;
mod expectations;
mod history;
mod owners;
mod pods;
mod supervise;
mod templates;

mod clusterroles;
mod daemonset;
mod deployment;
mod endpointslice;
mod flowschemas;
mod garbage;
mod job;
mod namespace;
mod nodeipam;
mod nodelifecycle;
mod podgc;
mod protection;
mod replicas;
mod resourcequota;
mod rootca;
mod serviceaccount;
mod statefulset;

use futures::future::BoxFuture;

pub use context::{Config, Context};

use supervise::Supervisor;

/// Runs every controller until `context.shutdown` is cancelled. One that fails is started again after a pause.
pub fn run(context: Context) -> BoxFuture<'static, ()> {
    Box::pin(run_all(context))
}

async fn run_all(context: Context) {
    let mut all = Supervisor::new(context);
    all.start("namespace", namespace::run);
    all.start("serviceaccount", serviceaccount::run);
    all.start("root-ca-publisher", rootca::run);
    all.start("replicaset", replicas::replicaset::run);
    all.start("replicationcontroller", replicas::replicationcontroller::run);
    all.start("deployment", deployment::run);
    all.start("endpointslice", endpointslice::slices::run);
    all.start("endpoints", endpointslice::legacy::run);
    all.start("node-ipam", nodeipam::run);
    all.start("node-lifecycle", nodelifecycle::watch::run);
    all.start("taint-eviction", nodelifecycle::evict::run);
    all.start("pod-garbage-collector", podgc::run);
    all.start("garbage-collector", garbage::run);
    all.start("storage-protection", protection::run);
    all.start("daemonset", daemonset::run);
    all.start("job", job::run);
    all.start("ttl-after-finished", job::ttl::run);
    all.start("clusterrole-aggregation", clusterroles::run);
    all.start("statefulset", statefulset::run);
    all.start("resourcequota", resourcequota::run);
    all.start("flowschemas", flowschemas::run);
    all.wait().await;
}

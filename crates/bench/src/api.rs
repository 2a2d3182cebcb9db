//! `tricorn bench api`: how many objects a second a Kubernetes API server creates, reads, updates and deletes.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::measure::{Measurement, Run, Tally};
use crate::report;

/// Arguments of `tricorn bench api`.
#[derive(Clone, Debug, clap::Args)]
pub struct ApiArgs {
    /// Kubeconfig of the cluster
    #[arg(long, env = "KUBECONFIG")]
    pub kubeconfig: PathBuf,
    /// Namespace that the ConfigMaps are made in
    #[arg(long, default_value = "default")]
    pub namespace: String,
    /// Clients that each wait for their answer before they ask again
    #[arg(long, default_value_t = 32)]
    pub clients: usize,
    /// ConfigMaps to make; they are deleted in the end
    #[arg(long, default_value_t = 2_000)]
    pub total: u64,
    /// Bytes of data in each
    #[arg(long, default_value_t = 256)]
    pub value_size: usize,
    /// Process ids of the servers, to report their processor time and memory
    #[arg(long, value_delimiter = ',')]
    pub pids: Vec<u32>,
}

/// What the four loads came to: create, get, patch, delete.
#[derive(Clone, Debug, Serialize)]
pub struct ApiReport {
    /// One entry a load.
    pub measurements: Vec<Measurement>,
}

impl ApiReport {
    /// As a table for people.
    pub fn to_text(&self) -> String {
        report::table(&self.measurements)
    }
}

/// A request that takes longer has failed.
const REQUEST: Duration = Duration::from_secs(30);

#[derive(Clone, Copy)]
enum Verb {
    Create,
    Get,
    Patch,
    Delete,
}

/// Creates, gets, patches and deletes `total` ConfigMaps.
pub async fn run(args: &ApiArgs, progress: &ProgressBar) -> Result<ApiReport> {
    let kubeconfig = Kubeconfig::read_from(&args.kubeconfig).with_context(|| format!("read {}", args.kubeconfig.display()))?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.context("kubeconfig")?;
    // One connection a few clients, as separate programs would have.
    let connections = args.clients.div_ceil(4).max(1);
    let apis: Vec<Api<ConfigMap>> = (0..connections)
        .map(|_| Client::try_from(config.clone()).map(|client| Api::namespaced(client, &args.namespace)))
        .collect::<Result<_, _>>()
        .context("make a client")?;
    let prefix = format!("bench-{:08x}", rand::random::<u32>());
    let mut measurements = Vec::new();
    for (name, verb) in [("create", Verb::Create), ("get", Verb::Get), ("patch", Verb::Patch), ("delete", Verb::Delete)] {
        progress.set_message(name);
        measurements.push(run_verb(name, verb, &apis, &prefix, args).await?);
    }
    progress.finish_and_clear();
    Ok(ApiReport { measurements })
}

async fn run_verb(name: &str, verb: Verb, apis: &[Api<ConfigMap>], prefix: &str, args: &ApiArgs) -> Result<Measurement> {
    let next = Arc::new(AtomicU64::new(0));
    let run = Run::begin(&args.pids);
    let mut clients = JoinSet::new();
    for api in apis.iter().cycle().take(args.clients.max(1)) {
        let (api, next, prefix) = (api.clone(), next.clone(), prefix.to_owned());
        let (total, value_size) = (args.total, args.value_size);
        clients.spawn(async move {
            let mut tally = Tally::default();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= total {
                    return tally;
                }
                let begun = Instant::now();
                match tokio::time::timeout(REQUEST, request(verb, &api, &format!("{prefix}-{number}"), value_size)).await {
                    Ok(Ok(())) => tally.success(begun.elapsed()),
                    Ok(Err(error)) => tally.failure(error),
                    Err(_) => tally.failure("no answer within 30 s"),
                }
            }
        });
    }
    let mut tally = Tally::default();
    while let Some(done) = clients.join_next().await {
        tally.merge(done.context("a client of the load ended early")?);
    }
    Ok(run.end(name, tally))
}

async fn request(verb: Verb, api: &Api<ConfigMap>, name: &str, value_size: usize) -> kube::Result<()> {
    match verb {
        Verb::Create => {
            let data = [("data".to_owned(), "x".repeat(value_size))].into();
            let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
            api.create(&PostParams::default(), &ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }).await.map(drop)
        }
        Verb::Get => api.get(name).await.map(drop),
        Verb::Patch => {
            let patch = Patch::Merge(serde_json::json!({ "data": { "touched": "true" } }));
            api.patch(name, &PatchParams::default(), &patch).await.map(drop)
        }
        Verb::Delete => api.delete(name, &DeleteParams::default()).await.map(drop),
    }
}

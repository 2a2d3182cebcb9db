//! Starts all parts in order, and ends them in the opposite one.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Service;
use kube::runtime::{WatchStreamExt, reflector, watcher};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::KubeletConfig;
use crate::context::{Context, Machine};
use crate::cri::Cri;
use crate::error::{Error, Result};
use crate::manager::{Manager, Pods};
use crate::objects::ApiObjects;
use crate::recorder::Recorder;
use crate::runtime::Containerd;
use crate::{cgroup, images, logs, node, server};

/// The node agent.
#[derive(Debug)]
pub struct Kubelet;

impl Kubelet {
    /// Runs a node until `stop` is cancelled: starts containerd, registers the Node, runs its pods, serves its port.
    ///
    /// To be called in the network namespace that the node is to have. Pods outlive it unless
    /// [`KubeletConfig::stop_pods_on_shutdown`] is set.
    ///
    /// # Errors
    /// When containerd does not come up, or the port or the certificates cannot be used. What fails later is logged
    /// and tried again.
    pub fn run(config: KubeletConfig, client: kube::Client, stop: CancellationToken) -> BoxFuture<'static, Result<()>> {
        Box::pin(Self::work(config, client, stop))
    }

    async fn work(config: KubeletConfig, client: kube::Client, stop: CancellationToken) -> Result<()> {
        for path in [&config.root_dir, &config.pod_logs_dir] {
            std::fs::create_dir_all(path).map_err(Error::io("create", path))?;
        }
        cgroup::ensure(&config.cgroup_root(), cgroup::Limits::default())?;
        for class in ["burstable", "besteffort"] {
            let limits = cgroup::Limits { cpu_shares: (class == "besteffort").then_some(2), ..Default::default() };
            cgroup::ensure(&format!("{}/{class}", config.cgroup_root()), limits)?;
        }
        let cri = Cri::new(&config.containerd_socket());
        let containerd = Containerd::start(&config, &cri).await?;
        let result = Self::with_runtime(config.clone(), client, cri, stop).await;
        containerd.stop().await;
        if config.stop_pods_on_shutdown {
            let clean = tokio::task::spawn_blocking(move || crate::runtime::cleanup(&config)).await;
            if let Err(error) = clean {
                tracing::warn!(%error, "clean up after the node");
            }
        }
        result
    }

    async fn with_runtime(config: KubeletConfig, client: kube::Client, cri: Cri, stop: CancellationToken) -> Result<()> {
        let socket = config.containerd_socket();
        images::import_pause(&socket).await?;
        preload(&socket, &config.images_dir).await;
        let machine = Machine::probe(&config);
        let (services, writer) = reflector::store::<Service>();
        let (recorder, recording) = Recorder::start(client.clone(), config.node_name.clone());
        let context = Arc::new(Context {
            objects: ApiObjects::new(client.clone()),
            config,
            cri,
            client: client.clone(),
            recorder,
            services,
            machine,
        });
        let pods: Pods = Arc::new(Mutex::new(HashMap::new()));
        let server = server::Server::bind(context.clone(), pods.clone()).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(server.run(stop.clone()));
        tasks.spawn(node::run(context.clone(), stop.clone()));
        tasks.spawn(node::lease::run(context.clone(), stop.clone()));
        tasks.spawn(logs::rotate(context.clone(), stop.clone()));
        let ended = stop.clone();
        tasks.spawn(async move {
            let watch = watcher(kube::Api::<Service>::all(client), watcher::Config::default()).default_backoff();
            let mut changes = reflector::reflector(writer, watch).boxed();
            loop {
                tokio::select! {
                    () = ended.cancelled() => return,
                    change = changes.next() => match change {
                        Some(Err(error)) => tracing::debug!(%error, "watch services"),
                        Some(Ok(_)) => {}
                        None => return,
                    }
                }
            }
        });
        Manager::new(context.clone(), pods, stop).run().await;
        while tasks.join_next().await.is_some() {}
        drop(context);
        // The recorder ends when its last holder has; a server that is away must not keep the node from ending.
        let _ = tokio::time::timeout(std::time::Duration::from_secs(2), recording).await;
        Ok(())
    }
}

/// Imports every archive of a directory. One that cannot be imported is logged and left out.
async fn preload(socket: &Path, directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    paths.sort();
    for path in paths {
        let name = path.display().to_string();
        let imported = match std::fs::File::open(&path) {
            Ok(file) => images::import(socket, &name, file).await,
            Err(source) => Err(Error::io("open", &path)(source)),
        };
        match imported {
            Ok(images) => tracing::info!(archive = name, ?images, "imported"),
            Err(error) => tracing::warn!(archive = name, %error, "import"),
        }
    }
}

//! The node's Lease: renewed while the kubelet lives.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::PostParams;
use tokio_util::sync::CancellationToken;

use crate::context::Context;

const NAMESPACE: &str = "kube-node-lease";
const DURATION_SECONDS: i32 = 40;
const RENEW: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(1);
const _: () = assert!(RENEW.as_secs() * 2 < DURATION_SECONDS as u64, "a lease must survive a missed renewal");

/// Renews the lease until cancelled.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let api: Api<Lease> = Api::namespaced(context.client.clone(), NAMESPACE);
    let mut held: Option<Lease> = None;
    loop {
        let pause = match renew(&context, &api, held.take()).await {
            Ok(lease) => {
                held = Some(lease);
                RENEW
            }
            Err(error) => {
                tracing::debug!(%error, "renew node lease");
                RETRY
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn renew(context: &Context, api: &Api<Lease>, held: Option<Lease>) -> kube::Result<Lease> {
    let name = &context.config.node_name;
    let current = match held {
        Some(lease) => Some(lease),
        None => api.get_opt(name).await?,
    };
    let params = PostParams::default();
    match current {
        Some(mut lease) => {
            let spec = lease.spec.get_or_insert_default();
            spec.holder_identity = Some(name.clone());
            spec.lease_duration_seconds = Some(DURATION_SECONDS);
            spec.renew_time = Some(MicroTime(Timestamp::now()));
            api.replace(name, &params, &lease).await
        }
        None => {
            let nodes: Api<Node> = Api::all(context.client.clone());
            let uid = nodes.get(name).await?.metadata.uid.unwrap_or_default();
            let owner = OwnerReference { api_version: "v1".into(), kind: "Node".into(), name: name.clone(), uid, ..Default::default() };
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(name.clone()),
                    namespace: Some(NAMESPACE.into()),
                    owner_references: Some(vec![owner]),
                    ..Default::default()
                },
                spec: Some(LeaseSpec {
                    holder_identity: Some(name.clone()),
                    lease_duration_seconds: Some(DURATION_SECONDS),
                    renew_time: Some(MicroTime(Timestamp::now())),
                    ..Default::default()
                }),
            };
            api.create(&params, &lease).await
        }
    }
}

//! The servers behind the Service `kubernetes`: each announces itself under a lease of the store, and all write down who has.

use super::{context, parameters};
use crate::context::Context;
use crate::pipeline::{Target, Write};
use crate::server::Server;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use tricorn_meta::Status;
use tricorn_registry::{Object, Step, StoredResource, WriteOptions};

/// How often a server announces itself, and for how long that holds.
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(10);
const ANNOUNCEMENT_LASTS: Duration = Duration::from_secs(25);

fn announcements() -> StoredResource {
    let mut stored = StoredResource::builtin("", "masterleases", false);
    stored.time_to_live = Some(ANNOUNCEMENT_LASTS);
    stored
}

/// Announces and writes down for as long as the server runs; at its end takes the announcement back.
pub(super) async fn run(server: Arc<Server>) {
    let stored = announcements();
    let cache = server.registry.cache(&stored);
    let mut changes = cache.changes();
    let mut ticks = tokio::time::interval(ANNOUNCE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let announce = tokio::select! {
            _ = ticks.tick() => true,
            changed = changes.changed() => match changed {
                Ok(()) => false,
                Err(_) => return,
            },
            () = server.stop.cancelled() => return,
        };
        if announce && let Err(error) = announce_self(&server, &stored).await {
            tracing::debug!(%error, "this server could not announce itself");
        }
        if cache.is_ready()
            && let Err(error) = write_down(&server, &cache.all()).await
        {
            tracing::debug!(%error, "the endpoints of the Service kubernetes could not be written");
        }
        // Everything this task sees of its own doing has been seen.
        changes.mark_unchanged();
    }
}

async fn announce_self(server: &Server, stored: &StoredResource) -> Result<(), Status> {
    let name = server.config.advertise_address.to_string();
    let object = json!({
        "apiVersion": "tricorn.dev/v1", "kind": "ServerAnnouncement",
        "metadata": {"name": name}, "spec": {"port": server.config.advertise_port},
    });
    let options = WriteOptions::default();
    match server.registry.create(stored, "", &name, object.clone(), options).await {
        Err(refusal) if refusal.is_already_exists() => {
            // Written again, it comes under a new lease.
            let change = |_: Arc<Object>| {
                let object = object.clone();
                async move { Ok(Step::Put(object)) }
            };
            server.registry.update(stored, "", &name, options, change).await.map(|_| ())
        }
        other => other.map(|_| ()),
    }
}

async fn write_down(server: &Server, announced: &[Arc<Object>]) -> Result<(), Status> {
    let mut servers: Vec<(IpAddr, i64)> = announced
        .iter()
        .filter_map(|one| Some((one.name().parse().ok()?, one.value()["spec"]["port"].as_i64().unwrap_or(6443))))
        // Nobody reaches these from elsewhere, and no endpoint may have them.
        .filter(|(address, _): &(IpAddr, i64)| !address.is_loopback())
        .collect();
    servers.sort_unstable();
    let Some(&(first, port)) = servers.first() else { return Ok(()) };
    let family = if first.is_ipv6() { "IPv6" } else { "IPv4" };
    servers.retain(|(address, _)| address.is_ipv6() == first.is_ipv6());
    let context = context();
    let labels = json!({"endpointslice.kubernetes.io/skip-mirror": "true"});
    let addresses: Vec<Value> = servers.iter().map(|(ip, _)| json!({"ip": ip})).collect();
    let endpoints = json!({
        "apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
        "subsets": [{"addresses": addresses, "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}],
    });
    bring_about(server, &context, "", "v1", "endpoints", &endpoints, &["subsets"]).await?;
    let ready: Vec<Value> = servers.iter().map(|(ip, _)| json!({"addresses": [ip], "conditions": {"ready": true}})).collect();
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": family, "endpoints": ready, "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    });
    bring_about(server, &context, "discovery.k8s.io", "v1", "endpointslices", &slice, &["endpoints", "ports"]).await
}

/// Makes the object, or sets the fields of the one that is there.
async fn bring_about(
    server: &Server,
    context: &Context,
    group: &str,
    version: &str,
    plural: &str,
    wanted: &Value,
    fields: &[&str],
) -> Result<(), Status> {
    let endpoint = server.endpoint(group, version, plural).ok_or_else(|| Status::internal(format_args!("{plural} are not served")))?;
    let target = Target { endpoint: &endpoint, subresource: "", namespace: "default", name: "kubernetes" };
    let parameters = parameters();
    let write = Write::new(context, target, &parameters);
    let make = |old: &Object| {
        let mut next = old.value().clone();
        for field in fields {
            next[*field] = wanted[*field].clone();
        }
        Ok(Some(next))
    };
    match server.update_object(write, make).await {
        Err(refusal) if refusal.is_not_found() => match server.create_object(write, wanted.clone()).await {
            Err(refusal) if !refusal.is_already_exists() => Err(refusal),
            _ => Ok(()),
        },
        other => other.map(|_| ()),
    }
}

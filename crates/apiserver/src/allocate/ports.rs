//! Node ports.

use super::{ATTEMPTS, Held, OWNER, wants};
use crate::context::Context;
use crate::pipeline::Target;
use crate::server::Server;
use crate::stamp;
use rand::Rng;
use serde_json::{Value, json};
use std::ops::RangeInclusive;
use tricorn_meta::{FieldError, FieldPath, Status};

/// The ports that nodes open for Services.
const PORTS: RangeInclusive<i64> = 30000..=32767;
/// Random ports come from here on; below are those that people choose.
const FIRST_RANDOM: i64 = 30086;

impl Server {
    pub(super) async fn allocate_ports(
        &self,
        context: &Context,
        target: Target<'_>,
        old: Option<&Value>,
        new: &mut Value,
        dry_run: bool,
        held: &mut Held,
    ) -> Result<(), Status> {
        let mut mine = old.map(wants::used_ports).unwrap_or_default();
        let count = new["spec"]["ports"].as_array().map_or(0, Vec::len);
        // Those that were chosen first, so that no random one takes them.
        for index in 0..count {
            let wanted = new["spec"]["ports"][index]["nodePort"].as_i64().unwrap_or(0);
            if wanted != 0 && !mine.contains(&wanted) {
                let path = FieldPath::new("spec.ports").index(index).child("nodePort");
                self.take_port(context, target, new, wanted, &path, dry_run, held).await?;
                mine.push(wanted);
            }
        }
        if wants::needs_ports(new) {
            let mut by_port: Vec<(i64, i64)> = Vec::new();
            for index in 0..count {
                let port = &new["spec"]["ports"][index];
                let (number, current) = (port["port"].as_i64().unwrap_or(0), port["nodePort"].as_i64().unwrap_or(0));
                if current != 0 {
                    by_port.push((number, current));
                    continue;
                }
                // The same port over TCP and UDP has the same node port.
                let shared = by_port.iter().find(|(other, _)| *other == number).map(|(_, node_port)| *node_port);
                let node_port = match shared {
                    Some(node_port) => node_port,
                    None => self.random_port(context, target, new, dry_run, held).await?,
                };
                new["spec"]["ports"][index]["nodePort"] = json!(node_port);
                by_port.push((number, node_port));
            }
        }
        if wants::needs_health_port(new) {
            let wanted = new["spec"]["healthCheckNodePort"].as_i64().unwrap_or(0);
            if wanted == 0 {
                new["spec"]["healthCheckNodePort"] = json!(self.random_port(context, target, new, dry_run, held).await?);
            } else if !mine.contains(&wanted) {
                self.take_port(context, target, new, wanted, &FieldPath::new("spec.healthCheckNodePort"), dry_run, held).await?;
            }
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "one allocation and where its complaint goes")]
    async fn take_port(
        &self,
        context: &Context,
        target: Target<'_>,
        service: &Value,
        port: i64,
        path: &FieldPath,
        dry_run: bool,
        held: &mut Held,
    ) -> Result<(), Status> {
        let invalid = |detail: &str| Status::invalid("", "Service", target.name, vec![FieldError::invalid(path, port, detail)]);
        if !PORTS.contains(&port) {
            return Err(invalid(&format!(
                "provided port is not in the valid range. The range of valid ports is {}-{}",
                PORTS.start(),
                PORTS.end()
            )));
        }
        match self.take(context, &self.allocator.ports, &port.to_string(), allocation(target, service, port), dry_run, held).await {
            Err(refusal) if refusal.is_already_exists() => Err(invalid("provided port is already allocated")),
            other => other,
        }
    }

    async fn random_port(
        &self,
        context: &Context,
        target: Target<'_>,
        service: &Value,
        dry_run: bool,
        held: &mut Held,
    ) -> Result<i64, Status> {
        for _ in 0..ATTEMPTS {
            let port = rand::rng().random_range(FIRST_RANDOM..=*PORTS.end());
            match self.take(context, &self.allocator.ports, &port.to_string(), allocation(target, service, port), dry_run, held).await {
                Ok(()) => return Ok(port),
                Err(refusal) if refusal.is_already_exists() => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Err(Status::internal("failed to allocate a nodePort: range is full"))
    }
}

/// The object that holds a node port. It is not served; it has metadata so that whoever reads the store understands it.
fn allocation(target: Target<'_>, service: &Value, port: i64) -> Value {
    json!({
        "apiVersion": "tricorn.dev/v1", "kind": "NodePortAllocation",
        "metadata": {"name": port.to_string(), "creationTimestamp": stamp::now().rfc3339(), "labels": {OWNER: stamp::text(service, "uid")}},
        "spec": {"parentRef": {"group": "", "resource": "services", "namespace": target.namespace, "name": target.name}},
    })
}

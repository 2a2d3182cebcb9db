//! Node ports.

use super::{ATTEMPTS, Held, OWNER, wants};
use crate::pipeline::{Target, Write};
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
        write: Write<'_>,
        old: Option<&Value>,
        new: &mut Value,
        held: &mut Held,
    ) -> Result<(), Status> {
        let mine = old.map(wants::used_ports).unwrap_or_default();
        // Those that were chosen first, so that no random one takes them.
        self.take_chosen_ports(write, new, mine, held).await?;
        if wants::needs_ports(new) {
            self.fill_in_ports(write, new, held).await?;
        }
        if wants::needs_health_port(new) && new["spec"]["healthCheckNodePort"].as_i64().unwrap_or(0) == 0 {
            new["spec"]["healthCheckNodePort"] = json!(self.random_port(write, new, held).await?);
        }
        Ok(())
    }

    async fn take_chosen_ports(&self, write: Write<'_>, new: &Value, mut mine: Vec<i64>, held: &mut Held) -> Result<(), Status> {
        let ports = new["spec"]["ports"].as_array().into_iter().flatten().enumerate();
        let mut chosen: Vec<(FieldPath, i64)> = ports
            .map(|(index, port)| (FieldPath::new("spec.ports").index(index).child("nodePort"), port["nodePort"].as_i64().unwrap_or(0)))
            .collect();
        if wants::needs_health_port(new) {
            chosen.push((FieldPath::new("spec.healthCheckNodePort"), new["spec"]["healthCheckNodePort"].as_i64().unwrap_or(0)));
        }
        for (path, wanted) in chosen {
            if wanted != 0 && !mine.contains(&wanted) {
                self.take_port(write, new, wanted, &path, held).await?;
                mine.push(wanted);
            }
        }
        Ok(())
    }

    async fn fill_in_ports(&self, write: Write<'_>, new: &mut Value, held: &mut Held) -> Result<(), Status> {
        let count = new["spec"]["ports"].as_array().map_or(0, Vec::len);
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
                None => self.random_port(write, new, held).await?,
            };
            new["spec"]["ports"][index]["nodePort"] = json!(node_port);
            by_port.push((number, node_port));
        }
        Ok(())
    }

    async fn take_port(&self, write: Write<'_>, service: &Value, port: i64, path: &FieldPath, held: &mut Held) -> Result<(), Status> {
        let target = write.target;
        let invalid = |detail: &str| Status::invalid("", "Service", target.name, vec![FieldError::invalid(path, port, detail)]);
        if !PORTS.contains(&port) {
            return Err(invalid(&format!(
                "provided port is not in the valid range. The range of valid ports is {}-{}",
                PORTS.start(),
                PORTS.end()
            )));
        }
        match self.take(write, &self.allocator.ports, &port.to_string(), allocation(target, service, port), held).await {
            Err(refusal) if refusal.is_already_exists() => Err(invalid("provided port is already allocated")),
            other => other,
        }
    }

    async fn random_port(&self, write: Write<'_>, service: &Value, held: &mut Held) -> Result<i64, Status> {
        let used: Vec<String> = wants::used_ports(service).iter().map(i64::to_string).collect();
        if let Some(spare) = held.spare(&self.allocator.ports, &used).and_then(|name| name.parse().ok()) {
            return Ok(spare);
        }
        for _ in 0..ATTEMPTS {
            let port = rand::rng().random_range(FIRST_RANDOM..=*PORTS.end());
            match self.take(write, &self.allocator.ports, &port.to_string(), allocation(write.target, service, port), held).await {
                Ok(()) => return Ok(port),
                Err(refusal) if refusal.is_already_exists() => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Err(Status::internal("failed to allocate a nodePort: range is full"))
    }
}

/// The object that holds a node port. It is not served; it has metadata so that whoever reads the store understands it.
pub(super) fn allocation(target: Target<'_>, service: &Value, port: i64) -> Value {
    json!({
        "apiVersion": "tricorn.dev/v1", "kind": "NodePortAllocation",
        "metadata": {"name": port.to_string(), "creationTimestamp": stamp::now().rfc3339(), "labels": {OWNER: stamp::text(service, "uid")}},
        "spec": {"parentRef": {"group": "", "resource": "services", "namespace": target.namespace, "name": target.name}},
    })
}

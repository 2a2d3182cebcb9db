//! Addresses and node ports of Services. Each is an object of its own in the store, and making it is the allocation: two servers cannot both
//! make the same one. Addresses are IPAddress objects, as upstream has them; node ports are objects that are not served.

mod held;
mod ports;
mod release;
mod wants;

use crate::pipeline::{Target, Write};
use crate::server::Server;
use crate::stamp;
use held::Allocation;
use rand::Rng;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use tricorn_meta::{FieldError, FieldPath, Status};
use tricorn_registry::StoredResource;

pub(crate) use held::Held;
pub(crate) use release::repair;

/// Random addresses are tried this often before the range counts as full.
const ATTEMPTS: usize = 256;
/// Names the Service that holds an allocation, beside its parentRef, so that a new Service of the same name does not inherit it.
const OWNER: &str = "tricorn.dev/service-uid";

/// The ranges.
pub(crate) struct Allocator {
    network: u32,
    size: u32,
    addresses: StoredResource,
    ports: StoredResource,
}

impl Allocator {
    pub(crate) fn new(network: Ipv4Addr, prefix_bits: u8) -> Self {
        let bits = 32 - u32::from(prefix_bits.clamp(8, 30));
        let size = 1_u32 << bits;
        Self {
            network: u32::from(network) & !(size - 1),
            size,
            addresses: StoredResource::builtin("networking.k8s.io", "ipaddresses", false),
            ports: StoredResource::builtin("", "ranges/servicenodeports", false),
        }
    }

    /// The first address: the API's own.
    pub(crate) fn first(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.network + 1)
    }

    fn contains(&self, address: Ipv4Addr) -> bool {
        let offset = u32::from(address).wrapping_sub(self.network);
        offset > 0 && offset < self.size - 1
    }

    /// An address from the upper part of the range: the lower part is for those who choose theirs.
    fn random(&self) -> Ipv4Addr {
        let reserved = (self.size / 16).clamp(16, 256).min(self.size / 2);
        Ipv4Addr::from(self.network + rand::rng().random_range(reserved..self.size - 1))
    }

    /// The allocations behind what a Service says that it uses.
    fn of(&self, service: &Value) -> Vec<Allocation> {
        let addresses = wants::used_addresses(service).into_iter().map(|name| Allocation::new(&self.addresses, name));
        let ports = wants::used_ports(service).into_iter().map(|port| Allocation::new(&self.ports, port.to_string()));
        addresses.chain(ports).collect()
    }
}

fn is_service(target: Target<'_>) -> bool {
    target.endpoint.group.is_empty() && target.endpoint.plural == "services" && target.subresource.is_empty()
}

impl Server {
    /// Gives a Service the address and ports that it needs and does not have. What is in `held` was made by an earlier attempt of the same request and
    /// is used again. What is made stays in `held`, after a refusal too: giving it back is for whoever knows the end of the request.
    pub(crate) async fn allocate(&self, write: Write<'_>, old: Option<&Value>, new: &mut Value, held: &mut Held) -> Result<(), Status> {
        if !is_service(write.target) {
            return Ok(());
        }
        held.begin(stamp::text(new, "uid"), old.map(|old| self.allocator.of(old)).unwrap_or_default());
        wants::carry_over(old, new);
        self.allocate_address(write, old, new, held).await?;
        self.allocate_ports(write, old, new, held).await
    }

    async fn allocate_address(&self, write: Write<'_>, old: Option<&Value>, new: &mut Value, held: &mut Held) -> Result<(), Status> {
        if !wants::needs_address(new) {
            return Ok(());
        }
        let wanted = new["spec"]["clusterIP"].as_str().unwrap_or_default().to_owned();
        if wanted.is_empty() {
            let address = self.random_address(write, new, held).await?;
            wants::set_address(new, &address);
            return Ok(());
        }
        if wanted != "None" && old.is_none_or(|old| old["spec"]["clusterIP"] != wanted.as_str()) {
            self.take_address(write, new, &wanted, held).await?;
        }
        wants::set_address(new, &wanted);
        Ok(())
    }

    async fn random_address(&self, write: Write<'_>, new: &Value, held: &mut Held) -> Result<String, Status> {
        if let Some(spare) = held.spare(&self.allocator.addresses, &[]) {
            return Ok(spare);
        }
        for _ in 0..ATTEMPTS {
            let candidate = self.allocator.random().to_string();
            match self.take(write, &self.allocator.addresses, &candidate, ip_address(write.target, new, &candidate), held).await {
                Ok(()) => return Ok(candidate),
                Err(refusal) if refusal.is_already_exists() => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Err(Status::internal("failed to allocate a serviceIP: range is full"))
    }

    async fn take_address(&self, write: Write<'_>, new: &Value, wanted: &str, held: &mut Held) -> Result<(), Status> {
        let target = write.target;
        let invalid = |why: &str| {
            let error =
                FieldError::invalid(&FieldPath::new("spec.clusterIPs"), json!([wanted]), format!("failed to allocate IP {wanted}: {why}"));
            Status::invalid("", "Service", target.name, vec![error])
        };
        match wanted.parse::<Ipv4Addr>() {
            Ok(address) if self.allocator.contains(address) => {}
            Ok(_) => return Err(invalid("the provided IP is not in the valid range")),
            Err(_) => return Err(invalid("not a valid IPv4 address")),
        }
        match self.take(write, &self.allocator.addresses, wanted, ip_address(target, new, wanted), held).await {
            Err(refusal) if refusal.is_already_exists() => Err(invalid("provided IP is already allocated")),
            other => other,
        }
    }

    /// Makes one allocation, unless an earlier attempt of the request has made it; "already exists" when somebody else has it.
    async fn take(&self, write: Write<'_>, resource: &StoredResource, name: &str, object: Value, held: &mut Held) -> Result<(), Status> {
        let allocation = Allocation::new(resource, name);
        if held.has(&allocation) {
            return Ok(());
        }
        self.registry.create(resource, "", name, object, write.options()).await?;
        if !write.parameters.dry_run {
            held.add(allocation);
        }
        Ok(())
    }
}

fn ip_address(target: Target<'_>, service: &Value, address: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
        "metadata": {
            "name": address, "uid": uuid::Uuid::new_v4().to_string(), "creationTimestamp": stamp::now().rfc3339(), "generation": 1,
            "labels": {
                "ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
                OWNER: stamp::text(service, "uid"),
            },
        },
        "spec": {"parentRef": {"group": "", "resource": "services", "namespace": target.namespace, "name": target.name}},
    })
}

#[cfg(test)]
mod tests;

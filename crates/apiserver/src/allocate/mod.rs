//! Addresses and node ports of Services. Each is an object of its own in the store, and making it is the allocation: two servers cannot both
//! make the same one. Addresses are IPAddress objects, as upstream has them; node ports are objects that are not served.

mod ports;
mod release;
mod wants;

use crate::context::Context;
use crate::pipeline::Target;
use crate::server::Server;
use crate::stamp;
use rand::Rng;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use tricorn_meta::{FieldError, FieldPath, Status};
use tricorn_registry::{Object, StoredResource};

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

/// What has been allocated for a write that is not done yet.
#[derive(Default)]
pub(crate) struct Held(Vec<(StoredResource, String)>);

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
}

fn is_service(target: Target<'_>) -> bool {
    target.endpoint.group.is_empty() && target.endpoint.plural == "services" && target.subresource.is_empty()
}

impl Server {
    /// Gives a Service the address and ports that it needs and does not have.
    pub(crate) async fn allocate(
        &self,
        context: &Context,
        target: Target<'_>,
        old: Option<&Value>,
        new: &mut Value,
        dry_run: bool,
    ) -> Result<Held, Status> {
        let mut held = Held::default();
        if !is_service(target) {
            return Ok(held);
        }
        wants::carry_over(old, new);
        let done = async {
            self.allocate_address(context, target, old, new, dry_run, &mut held).await?;
            self.allocate_ports(context, target, old, new, dry_run, &mut held).await
        }
        .await;
        match done {
            Ok(()) => Ok(held),
            Err(refusal) => {
                self.release(held).await;
                Err(refusal)
            }
        }
    }

    async fn allocate_address(
        &self,
        context: &Context,
        target: Target<'_>,
        old: Option<&Value>,
        new: &mut Value,
        dry_run: bool,
        held: &mut Held,
    ) -> Result<(), Status> {
        if !wants::needs_address(new) {
            return Ok(());
        }
        let wanted = new["spec"]["clusterIP"].as_str().unwrap_or_default().to_owned();
        if wanted == "None" || (!wanted.is_empty() && old.is_some_and(|old| old["spec"]["clusterIP"] == wanted.as_str())) {
            wants::set_address(new, &wanted);
            return Ok(());
        }
        if !wanted.is_empty() {
            self.take_address(context, target, new, &wanted, dry_run, held).await?;
            wants::set_address(new, &wanted);
            return Ok(());
        }
        for _ in 0..ATTEMPTS {
            let candidate = self.allocator.random().to_string();
            match self.take(context, &self.allocator.addresses, &candidate, ip_address(target, new, &candidate), dry_run, held).await {
                Ok(()) => {
                    wants::set_address(new, &candidate);
                    return Ok(());
                }
                Err(refusal) if refusal.is_already_exists() => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Err(Status::internal("failed to allocate a serviceIP: range is full"))
    }

    async fn take_address(
        &self,
        context: &Context,
        target: Target<'_>,
        new: &Value,
        wanted: &str,
        dry_run: bool,
        held: &mut Held,
    ) -> Result<(), Status> {
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
        match self.take(context, &self.allocator.addresses, wanted, ip_address(target, new, wanted), dry_run, held).await {
            Err(refusal) if refusal.is_already_exists() => Err(invalid("provided IP is already allocated")),
            other => other,
        }
    }

    /// Makes one allocation; "already exists" when somebody else has it.
    async fn take(
        &self,
        context: &Context,
        resource: &StoredResource,
        name: &str,
        object: Value,
        dry_run: bool,
        held: &mut Held,
    ) -> Result<(), Status> {
        self.registry.create(resource, "", name, object, context.write_options(dry_run)).await?;
        if !dry_run {
            held.0.push((resource.clone(), name.to_owned()));
        }
        Ok(())
    }

    /// Gives back what was allocated for a write that did not happen.
    pub(crate) async fn release(&self, held: Held) {
        for (resource, name) in held.0 {
            self.drop_allocation(&resource, &name).await;
        }
    }

    /// After a write: gives back what the Service no longer uses.
    pub(crate) async fn settle_update(&self, target: Target<'_>, object: &Object) {
        if is_service(target) {
            self.release_unused(object).await;
        }
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

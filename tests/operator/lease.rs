//! A lease that one of many holds, as leader elections of Kubernetes' clients have it.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, ResourceExt};

use super::MANAGER;

/// Who has not renewed the lease for so long has lost it.
const LEASE: Duration = Duration::from_secs(15);
const RENEW: Duration = Duration::from_millis(500);
/// An answer about the lease that takes longer is none.
const ANSWER: Duration = Duration::from_secs(2);

/// One of those who want the lease.
pub struct Candidate {
    leases: Api<Lease>,
    name: &'static str,
    /// The version that another's lease was seen in, and since when. Clocks of other machines are not trusted.
    seen: Option<(String, Instant)>,
}

impl Candidate {
    pub fn new(client: &Client, name: &'static str) -> Self {
        Self { leases: Api::namespaced(client.clone(), "default"), name, seen: None }
    }

    /// Waits until the lease is its own.
    pub async fn elected(&mut self) {
        while !matches!(tokio::time::timeout(ANSWER, self.take()).await, Ok(Ok(true))) {
            tokio::time::sleep(RENEW).await;
        }
    }

    /// Renews the lease until another has it, or nobody answers any more.
    pub async fn deposed(&mut self) {
        let mut renewed = Instant::now();
        while renewed.elapsed() < LEASE {
            match tokio::time::timeout(ANSWER, self.take()).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => return,
                Ok(Err(_)) | Err(_) => {}
            }
            tokio::time::sleep(RENEW).await;
        }
    }

    /// Takes the lease if it is free, or renews it. Whether it is its own then.
    async fn take(&mut self) -> kube::Result<bool> {
        let found = self.leases.get_opt(MANAGER).await?;
        let spec = found.as_ref().and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let version = found.as_ref().and_then(ResourceExt::resource_version);
        let own = spec.holder_identity.as_deref() == Some(self.name);
        if let Some(version) = version.clone().filter(|_| !own) {
            match &self.seen {
                Some((seen, since)) if *seen == version && since.elapsed() > LEASE => {}
                Some((seen, _)) if *seen == version => return Ok(false),
                _ => {
                    self.seen = Some((version, Instant::now()));
                    return Ok(false);
                }
            }
        }
        let now = MicroTime(Timestamp::now());
        let transitions = spec.lease_transitions.unwrap_or(0);
        let spec = LeaseSpec {
            holder_identity: Some(self.name.to_owned()),
            lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
            acquire_time: if own { spec.acquire_time } else { Some(now.clone()) },
            renew_time: Some(now),
            lease_transitions: Some(if own || version.is_none() { transitions } else { transitions + 1 }),
            ..LeaseSpec::default()
        };
        let metadata = ObjectMeta { name: Some(MANAGER.to_owned()), resource_version: version.clone(), ..ObjectMeta::default() };
        let lease = Lease { metadata, spec: Some(spec) };
        let params = PostParams::default();
        let written = match version {
            Some(_) => self.leases.replace(MANAGER, &params, &lease).await,
            None => self.leases.create(&params, &lease).await,
        };
        match written {
            Ok(_) => Ok(true),
            // Another was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }
}

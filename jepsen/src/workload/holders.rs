//! Leader election on a Lease, as client-go does it: whoever sees the same record for as long as it lasts takes it; the holder renews it and
//! stops leading when it could not for a while.

use super::{Actor, Needs, Workload};
use crate::check::holders::{HeldAt, Hold, RENEW, TAKE, YIELD};
use crate::target::{ApiClient, Failure, of_read, version, within};
use async_trait::async_trait;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::Api;
use kube::api::PostParams;
use parking_lot::Mutex;
use rand::Rng;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

const LEASE: &str = "leader";
/// client-go's three times, shorter: how long a record is good for the others, how long for its holder, and the pause between renewals.
const LASTS: Duration = Duration::from_secs(3);
const LEADS: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(400);

static NEXT: AtomicU64 = AtomicU64::new(1);

/// A record, and since when somebody has seen it.
type Observed = (i64, Instant);

/// See above.
#[derive(Default)]
pub struct Holders {
    seen: Mutex<HashMap<u64, Observed>>,
}

fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

fn transitions(lease: &Lease) -> i32 {
    lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or(0)
}

/// The record that `holder` writes over `lease`.
fn record(lease: Option<&Lease>, identity: &str) -> Lease {
    let mut next = lease.cloned().unwrap_or_default();
    next.metadata.name = Some(LEASE.to_owned());
    // In the place of renewTime: what changes nothing is not written, and makes no version.
    let renewal = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
    next.metadata.annotations.get_or_insert_default().insert("jepsen.test/renewal".into(), renewal);
    let spec = next.spec.get_or_insert_with(LeaseSpec::default);
    if lease.is_some_and(|lease| holder(lease) != identity) && !identity.is_empty() {
        spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0) + 1);
    }
    spec.holder_identity = Some(identity.to_owned());
    spec.lease_duration_seconds = i32::try_from(LASTS.as_secs()).ok();
    next
}

fn held(lease: &Lease) -> HeldAt {
    HeldAt { version: version(lease), transitions: transitions(lease).into() }
}

async fn write(api: &ApiClient, next: &Lease) -> Result<Lease, Failure> {
    let leases: Api<Lease> = api.of();
    match next.metadata.resource_version {
        Some(_) => within(leases.replace(LEASE, &PostParams::default(), next)).await,
        None => within(leases.create(&PostParams::default(), next)).await,
    }
}

impl Holders {
    /// The record, if it may be taken: nobody holds it, or whoever does has not renewed it for as long as it lasts.
    async fn free(&self, actor: &mut Actor) -> Option<Option<Lease>> {
        let mut found = None;
        let looked = actor.noted_api("look-at-lease", &LEASE, async |api| {
            found = of_read(within(api.of::<Lease>().get_opt(LEASE)).await)?;
            Ok(found.as_ref().map(held))
        });
        looked.await?;
        let Some(lease) = &found else { return Some(None) };
        let mut seen = self.seen.lock();
        // It counts from when the answer came, which is later than it was true.
        let (known, since) = seen.entry(actor.number).or_insert((0, Instant::now()));
        if *known != version(lease) {
            (*known, *since) = (version(lease), Instant::now());
        }
        (holder(lease).is_empty() || since.elapsed() > LASTS).then_some(found)
    }

    /// Renews until it has had enough, or cannot.
    async fn lead(&self, actor: &mut Actor, mut lease: Lease, hold: &Hold, mut until: Instant) {
        for _ in 0..actor.rng.random_range(0..8) {
            tokio::time::sleep(AGAIN).await;
            if Instant::now() > until {
                return;
            }
            let (next, asked) = (record(Some(&lease), &hold.holder), Instant::now());
            let mut renewed = None;
            let renew = actor.noted_api(RENEW, hold, async |api| {
                let made = write(api, &next).await?;
                let at = held(&made);
                renewed = Some(made);
                Ok(at)
            });
            if renew.await.is_none() {
                // As client-go: what is there is read again, and tried again until the time is over.
                let Some(found) = self.own(actor, hold).await else { continue };
                lease = found;
                continue;
            }
            until = asked + LEADS;
            lease = renewed.unwrap_or(lease);
        }
        if Instant::now() < until && actor.rng.random_bool(0.5) {
            let next = record(Some(&lease), "");
            actor.noted_api(YIELD, hold, async |api| write(api, &next).await.map(|made| held(&made))).await;
        }
    }

    /// The record, if it is still this holder's.
    async fn own(&self, actor: &mut Actor, hold: &Hold) -> Option<Lease> {
        let mut found = None;
        let looked = actor.noted_api("look-at-lease", &LEASE, async |api| {
            found = of_read(within(api.of::<Lease>().get_opt(LEASE)).await)?;
            Ok(found.as_ref().map(held))
        });
        looked.await?;
        found.filter(|lease| holder(lease) == hold.holder)
    }
}

#[async_trait]
impl Workload for Holders {
    fn name(&self) -> &'static str {
        "leader-election"
    }

    fn needs(&self) -> Needs {
        Needs::Api
    }

    async fn prepare(&self, _actor: &mut Actor) -> anyhow::Result<()> {
        self.seen.lock().clear();
        Ok(())
    }

    async fn step(&self, actor: &mut Actor) {
        let Some(lease) = self.free(actor).await else {
            return tokio::time::sleep(AGAIN / 4).await;
        };
        let identity = format!("p{}-{}", actor.number, NEXT.fetch_add(1, Ordering::Relaxed));
        let hold = Hold { lease: LEASE.into(), holder: identity, seconds: LEADS.as_secs_f64() };
        let (next, asked) = (record(lease.as_ref(), &hold.holder), Instant::now());
        let mut taken = None;
        let take = actor.noted_api(TAKE, &hold, async |api| {
            let made = write(api, &next).await?;
            let at = held(&made);
            taken = Some(made);
            Ok(at)
        });
        if take.await.is_some()
            && let Some(lease) = taken
        {
            self.lead(actor, lease, &hold, asked + LEADS).await;
        }
    }
}

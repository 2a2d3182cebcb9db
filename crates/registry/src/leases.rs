//! Leases for objects that vanish by themselves. Objects written within the same minute share one, so that a storm of Events does not become
//! a storm of leases.

use crate::error::store_error;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tricorn_meta::Status;
use tricorn_proto::etcdserverpb::LeaseGrantRequest;
use tricorn_store::Store;

/// A lease is handed out for this long, or for a fifth of its time if that is shorter; it lives that much longer than asked, so that no object
/// vanishes early.
const SHARED_FOR: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(crate) struct Leases(Mutex<HashMap<Duration, (i64, Instant)>>);

impl Leases {
    /// A lease with at least `time_to_live` left.
    pub(crate) async fn get(&self, store: &Store, time_to_live: Duration) -> Result<i64, Status> {
        let shared_for = SHARED_FOR.min(time_to_live / 5);
        let mut known = self.0.lock().await;
        if let Some((lease, granted)) = known.get(&time_to_live)
            && granted.elapsed() < shared_for
        {
            return Ok(*lease);
        }
        let seconds = i64::try_from((time_to_live + shared_for).as_secs()).unwrap_or(i64::MAX);
        let request = LeaseGrantRequest { ttl: seconds, id: 0 };
        let answer = store.lease_grant(request).await.map_err(|error| store_error("grant a lease for", "events", &error))?;
        known.insert(time_to_live, (answer.id, Instant::now()));
        Ok(answer.id)
    }

    /// The lease turned out to be gone: the next one asks anew.
    pub(crate) async fn forget(&self) {
        self.0.lock().await.clear();
    }
}

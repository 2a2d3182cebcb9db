//! Disks that are slow, full or broken.

use super::processes::{heal_shims, no_shim, well};
use super::{Fault, leader, majority, some};
use crate::shim::DiskError;
use crate::target::System;
use anyhow::Result;
use async_trait::async_trait;
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

enum Disk {
    /// Each sync takes long, on a majority of the members.
    Slow,
    /// No byte can be written on one member.
    Full,
    /// Syncs fail on one member: what was written since the last one may be gone.
    BrokenSync,
}

#[async_trait]
impl Fault for Disk {
    fn name(&self) -> &'static str {
        match self {
            Self::Slow => "slow-disk",
            Self::Full => "full-disk",
            Self::BrokenSync => "broken-sync",
        }
    }

    fn unfit(&self, group: &dyn System) -> Option<String> {
        no_shim(group)
    }

    async fn begin(&self, group: &dyn System, rng: &mut StdRng) -> Result<Value> {
        let one = if rng.random_bool(0.5) { leader(group, rng).await } else { some(group, rng, 1).remove(0) };
        let shims = |names: &[String]| names.iter().filter_map(|name| group.shim(name)).collect::<Vec<_>>();
        match self {
            Self::Slow => {
                let (names, millis) = (some(group, rng, majority(group)), rng.random_range(50..500));
                shims(&names).into_iter().try_for_each(|shim| shim.slow_sync(Duration::from_millis(millis)))?;
                Ok(json!({ "members": names, "milliseconds": millis }))
            }
            Self::Full => {
                shims(std::slice::from_ref(&one)).into_iter().try_for_each(|shim| shim.fail_write(DiskError::Full))?;
                Ok(json!({ "members": [one] }))
            }
            Self::BrokenSync => {
                shims(std::slice::from_ref(&one)).into_iter().try_for_each(|shim| shim.fail_sync(DiskError::Broken))?;
                Ok(json!({ "members": [one] }))
            }
        }
    }

    async fn end(&self, group: &dyn System) -> Result<()> {
        heal_shims(group)?;
        if !matches!(self, Self::Slow) {
            // A member whose disk failed says so and ends, perhaps only now: a person would start it again. Whether it comes back in time
            // is for the judges to say.
            if let Err(late) = well(group).await {
                tracing::info!(%late, "a member whose disk failed");
            }
        }
        Ok(())
    }
}

pub(super) fn all() -> Vec<Arc<dyn Fault>> {
    vec![Arc::new(Disk::Slow), Arc::new(Disk::Full), Arc::new(Disk::BrokenSync)]
}

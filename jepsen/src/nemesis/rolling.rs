//! Members that are ended and started one after the other, in good order: what an upgrade does.

use super::{Fault, some};
use crate::target::System;
use anyhow::{Result, bail};
use async_trait::async_trait;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a member may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(10);
/// How long all may take to be well before the next one is ended.
const WELL: Duration = Duration::from_secs(45);

struct Rolling;

#[async_trait]
impl Fault for Rolling {
    fn name(&self) -> &'static str {
        "rolling-restart"
    }

    async fn begin(&self, group: &dyn System, rng: &mut StdRng) -> Result<Value> {
        let mut seconds = serde_json::Map::new();
        for name in some(group, rng, group.names().len()) {
            // Whoever upgrades waits until all are there before the next one goes.
            group.ready(WELL).await?;
            let asked = Instant::now();
            tricorn_testbed::stop(group.file(), &name, GRACE).await?;
            if asked.elapsed() >= GRACE {
                bail!("{name} was asked to end and had not after {GRACE:?}: see {}", group.log(&name).display());
            }
            seconds.insert(name.clone(), json!(asked.elapsed().as_secs_f64()));
            group.restart(std::slice::from_ref(&name)).await?;
        }
        Ok(json!({ "seconds-to-end": seconds }))
    }

    async fn end(&self, _group: &dyn System) -> Result<()> {
        Ok(())
    }
}

pub(super) fn all() -> Vec<Arc<dyn Fault>> {
    vec![Arc::new(Rolling)]
}

//! Members that are killed, sleep, or have a wrong clock.

use super::{Fault, leader, majority, some};
use crate::target::System;
use anyhow::Result;
use async_trait::async_trait;
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

#[derive(Clone, Copy)]
enum Who {
    One,
    Leader,
    Majority,
    All,
}

impl Who {
    async fn drawn(self, group: &dyn System, rng: &mut StdRng) -> Vec<String> {
        match self {
            Self::One => some(group, rng, 1),
            Self::Leader => vec![leader(group, rng).await],
            Self::Majority => some(group, rng, majority(group)),
            Self::All => group.names(),
        }
    }
}

/// Nothing is told to anybody: as when the power goes, but for what the kernel still writes.
struct Kill(Who);

#[async_trait]
impl Fault for Kill {
    fn name(&self) -> &'static str {
        match self.0 {
            Who::One => "kill-one",
            Who::Leader => "kill-leader",
            Who::Majority => "kill-majority",
            Who::All => "kill-all",
        }
    }

    async fn begin(&self, group: &dyn System, rng: &mut StdRng) -> Result<Value> {
        let names = self.0.drawn(group, rng).await;
        group.kill(&names).await?;
        Ok(json!({ "members": names }))
    }

    async fn end(&self, group: &dyn System) -> Result<()> {
        restart_ended(group).await
    }
}

/// How long all members may take to be well: an earlier fault may just be over.
const WELL: Duration = Duration::from_secs(45);

/// Waits until all members are well. One whose disk failed just before may end only now, and is started again.
pub(super) async fn well(group: &dyn System) -> Result<()> {
    let deadline = Instant::now() + WELL;
    loop {
        restart_ended(group).await?;
        match group.ready(WELL).await {
            Err(_) if Instant::now() < deadline => {}
            done => return done,
        }
    }
}

/// Starts every member that does not run.
pub(super) async fn restart_ended(group: &dyn System) -> Result<()> {
    for name in group.names() {
        let state = group.file().read()?.host(&name)?.state();
        if state == "off" || state == "failed" {
            group.restart(std::slice::from_ref(&name)).await?;
        }
    }
    Ok(())
}

/// Stopped in their tracks: a leader that wakes up does not know what it has missed.
struct Pause(Who);

#[async_trait]
impl Fault for Pause {
    fn name(&self) -> &'static str {
        match self.0 {
            Who::One => "pause-one",
            Who::Leader => "pause-leader",
            Who::Majority => "pause-majority",
            Who::All => "pause-all",
        }
    }

    async fn begin(&self, group: &dyn System, rng: &mut StdRng) -> Result<Value> {
        let names = self.0.drawn(group, rng).await;
        for name in &names {
            tricorn_testbed::pause(group.file(), name)?;
        }
        Ok(json!({ "members": names }))
    }

    async fn end(&self, group: &dyn System) -> Result<()> {
        for name in group.names() {
            if group.file().read()?.host(&name)?.paused {
                tricorn_testbed::resume(group.file(), &name)?;
            }
        }
        Ok(())
    }
}

/// Wall clocks that are off, or jump to and fro.
struct Clock;

/// Milliseconds that a clock may be off.
const SKEW: i64 = 600_000;

#[async_trait]
impl Fault for Clock {
    fn name(&self) -> &'static str {
        "clock-skew"
    }

    fn unfit(&self, group: &dyn System) -> Option<String> {
        no_shim(group)
    }

    async fn begin(&self, group: &dyn System, rng: &mut StdRng) -> Result<Value> {
        let mut skews = serde_json::Map::new();
        for name in group.names() {
            let millis = rng.random_range(-SKEW..=SKEW);
            if let Some(shim) = group.shim(&name) {
                shim.skew_clock(millis)?;
            }
            skews.insert(name, json!(millis));
        }
        Ok(json!({ "milliseconds": skews }))
    }

    async fn end(&self, group: &dyn System) -> Result<()> {
        heal_shims(group)
    }
}

pub(super) fn no_shim(group: &dyn System) -> Option<String> {
    group
        .names()
        .iter()
        .any(|name| group.shim(name).is_none())
        .then(|| format!("{} makes no calls of the C library that could be tampered with", group.program()))
}

pub(super) fn heal_shims(group: &dyn System) -> Result<()> {
    group.hosts().iter().filter_map(|name| group.shim(name)).try_for_each(crate::shim::Shim::heal)
}

pub(super) fn all() -> Vec<Arc<dyn Fault>> {
    let mut all: Vec<Arc<dyn Fault>> = Vec::new();
    for who in [Who::One, Who::Leader, Who::Majority, Who::All] {
        all.push(Arc::new(Kill(who)));
        all.push(Arc::new(Pause(who)));
    }
    all.push(Arc::new(Clock));
    all
}

//! What breaks things. A fault is begun, lasts, and is ended; what was done is noted in the history, for the reports to shade and for the
//! checkers that want to know when all was well.

mod damage;
mod disk;
mod links;
mod members;
mod membership;
mod processes;
mod rolling;

pub use rolling::UPGRADE;

use crate::check::available::{Fault as Note, HEAL};
use crate::history::Recorder;
use crate::target::System;
use anyhow::{Context, Result};
use async_trait::async_trait;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long all is well between two faults, in milliseconds.
const CALM: std::ops::Range<u64> = 1000..4000;
/// How long a fault lasts, in milliseconds.
const STORM: std::ops::Range<u64> = 1500..6000;
/// How long the group may take to answer when everything is healed.
const RECOVERY: Duration = Duration::from_secs(60);

/// A way to break things.
#[async_trait]
pub trait Fault: Send + Sync {
    /// Its name on the command line, in histories and in reports.
    fn name(&self) -> &'static str;

    /// Why it cannot be done to this group, if so.
    fn unfit(&self, _group: &dyn System) -> Option<String> {
        None
    }

    /// Does it; what was done.
    async fn begin(&self, group: &dyn System, rng: &mut StdRng) -> Result<Value>;

    /// Ends it; whatever it was. Ending what was not begun does nothing.
    async fn end(&self, group: &dyn System) -> Result<()>;
}

/// All faults.
pub fn all() -> Vec<Arc<dyn Fault>> {
    let mut all: Vec<Arc<dyn Fault>> = Vec::new();
    all.extend(links::all());
    all.extend(processes::all());
    all.extend(disk::all());
    all.extend(members::all());
    all.extend(membership::all());
    all.extend(rolling::all());
    all.extend(damage::all());
    all
}

/// Some of the members, drawn.
fn some(group: &dyn System, rng: &mut StdRng, count: usize) -> Vec<String> {
    let mut names = group.names();
    names.shuffle(rng);
    names.truncate(count);
    names
}

/// The leader, or anybody if nobody leads.
async fn leader(group: &dyn System, rng: &mut StdRng) -> String {
    match group.leader().await {
        Some(name) => name,
        None => some(group, rng, 1).remove(0),
    }
}

/// More than half of them.
fn majority(group: &dyn System) -> usize {
    group.names().len() / 2 + 1
}

/// Breaks things, one fault after the other, until `stop`; then makes everything whole.
pub async fn run(
    group: &dyn System,
    faults: &[Arc<dyn Fault>],
    recorder: Recorder,
    mut rng: StdRng,
    stop: CancellationToken,
) -> Result<()> {
    let lasts = async |rng: &mut StdRng, range: std::ops::Range<u64>| {
        let pause = Duration::from_millis(rng.random_range(range));
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    };
    while !stop.is_cancelled() {
        lasts(&mut rng, CALM).await;
        if stop.is_cancelled() {
            break;
        }
        let Some(fault) = faults.choose(&mut rng) else { continue };
        // Noted before and after: what is asked meanwhile may already be in the storm.
        recorder.nemesis(fault.name(), &Note::Begin(json!({})));
        let done = fault.begin(group, &mut rng).await.with_context(|| format!("begin {}", fault.name()))?;
        recorder.nemesis(fault.name(), &Note::Begin(done));
        lasts(&mut rng, STORM).await;
        fault.end(group).await.with_context(|| format!("end {}", fault.name()))?;
        recorder.nemesis(fault.name(), &Note::End(Value::Null));
    }
    // Every fault has been ended. Who was a member once and is none any more is asked for nothing.
    recorder.nemesis(HEAL, &Note::End(json!({ "members": group.names() })));
    if group.ready(RECOVERY).await.is_ok() {
        return Ok(());
    }
    // A member may notice only afterwards that its disk had failed, and end itself: a person would start it again.
    processes::restart_ended(group).await?;
    group.ready(RECOVERY).await
}

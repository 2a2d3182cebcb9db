//! The watch load: every write of some objects goes to many watches of their namespace.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use futures::StreamExt;

use super::ApiArgs;
use super::objects::{Numbers, Objects};
use crate::fan_out;
use crate::measure::Measurement;

/// Clients that write at once: enough to keep the servers busy, few enough that the watches are the load.
const WRITERS: usize = 8;

/// Runs the load: one operation is one event that has arrived at one watch.
pub(super) async fn run(clients: &[Objects], args: &ApiArgs) -> Result<Measurement> {
    let version = clients.first().context("there is no client")?.version().await?;
    let mut watches = Vec::with_capacity(args.watchers);
    for objects in clients.iter().cycle().take(args.watchers) {
        watches.push(objects.watch(&version).await?.boxed());
    }
    let epoch = Instant::now();
    let numbers = Arc::new(Numbers::up_to(args.watched_writes));
    let writers = clients.iter().cycle().take(WRITERS).map(|objects| write(objects.clone(), numbers.clone(), args.total.max(1), epoch));
    fan_out::run(&args.pids, epoch, watches, writers).await
}

/// Writes the moment of the writing into one object after the other, and says how often.
async fn write(objects: Objects, numbers: Arc<Numbers>, count: u64, epoch: Instant) -> Result<u64> {
    let mut written = 0;
    while let Some(number) = numbers.next() {
        objects.patch(number % count, &epoch.elapsed().as_micros().to_string()).await?;
        written += 1;
    }
    Ok(written)
}

//! What is written reaches many watches: one operation is one event that has arrived at one watch, and its time is from the write's
//! beginning to that arrival.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::{Stream, StreamExt};
use tokio::sync::watch::{Receiver, channel};
use tokio::task::JoinSet;

use crate::measure::{Measurement, Run, Tally};

/// Watches that have not had everything this long after the last write have failed.
const PATIENCE: Duration = Duration::from_secs(15);

/// Runs writers, which say how much they have written, and counts what arrives. A watch gives the moment of each event's writing,
/// counted from `epoch`.
pub(crate) async fn run<S, W>(pids: &[u32], epoch: Instant, watches: Vec<S>, writers: impl Iterator<Item = W>) -> Result<Measurement>
where
    S: Stream<Item = Result<Duration>> + Unpin + Send + 'static,
    W: Future<Output = Result<u64>> + Send + 'static,
{
    let run = Run::begin(pids);
    let mut writers: JoinSet<_> = writers.collect();
    let (told, wanted) = channel(None);
    let mut readers: JoinSet<_> = watches.into_iter().map(|watch| read(watch, epoch, wanted.clone())).collect();
    let mut written = 0;
    while let Some(done) = writers.join_next().await {
        written += done.context("a writer ended early")?.context("write what is watched")?;
    }
    told.send_replace(Some(written));
    let mut tally = Tally::default();
    while let Some(done) = readers.join_next().await {
        tally.merge(done.context("a watch ended early")?);
    }
    Ok(run.end("watch", tally))
}

/// Takes events until there were as many as were written.
async fn read(mut events: impl Stream<Item = Result<Duration>> + Unpin, epoch: Instant, mut wanted: Receiver<Option<u64>>) -> Tally {
    let mut tally = Tally::default();
    let mut seen = 0;
    let mut deadline: Option<Instant> = None;
    loop {
        if deadline.is_none() && wanted.borrow_and_update().is_some() {
            deadline = Some(Instant::now() + PATIENCE);
        }
        if wanted.borrow().is_some_and(|wanted| seen >= wanted) {
            return tally;
        }
        let late = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(written)) => {
                    tally.success(epoch.elapsed().saturating_sub(written));
                    seen += 1;
                }
                Some(Err(error)) => {
                    tally.failure(format!("{error:#}"));
                    return tally;
                }
                None => {
                    tally.failure("a watch stream ended");
                    return tally;
                }
            },
            changed = wanted.changed(), if deadline.is_none() => {
                if changed.is_err() && wanted.borrow().is_none() {
                    tally.failure("the writers failed");
                    return tally;
                }
            }
            () = late => {
                tally.failure("events are missing");
                return tally;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use anyhow::anyhow;
    use futures::stream;

    use super::*;

    #[tokio::test]
    async fn every_watch_has_to_see_every_write() {
        let epoch = Instant::now();
        let all = || stream::iter([Ok(Duration::ZERO), Ok(Duration::ZERO)]).chain(stream::pending()).boxed();
        let ended = stream::iter([Ok(Duration::ZERO)]).boxed();
        let refused = stream::iter([Err(anyhow!("refused"))]).boxed();
        let writers = [1, 1].map(|written| async move { Ok(written) });
        let found = run(&[], epoch, vec![all(), all(), ended, refused], writers.into_iter()).await.unwrap();
        assert_eq!((found.operations, found.errors), (5, 2), "{found:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_lacks_events_is_not_waited_for_without_end() {
        let found = run(&[], Instant::now(), vec![stream::pending().boxed()], [async { Ok(1) }].into_iter()).await.unwrap();
        assert_eq!(found.first_error.as_deref(), Some("events are missing"));
    }
}

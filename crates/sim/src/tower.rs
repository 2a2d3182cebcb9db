//! The onlooker: is told everything that happens, keeps the ledger, asks every invariant, and stops the run at the first one
//! that does not hold.

use crate::event::Event;
use crate::invariants::{self, Invariant};
use crate::ledger::Ledger;
use crate::trace::Trace;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::Notify;

/// A law that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which one.
    pub invariant: String,
    /// How.
    pub how: String,
}

/// Sees everything.
pub struct Tower {
    /// What happened.
    pub trace: Arc<Trace>,
    /// What has been decided.
    pub ledger: Mutex<Ledger>,
    invariants: Mutex<Vec<Box<dyn Invariant>>>,
    broken: Mutex<Option<Broken>>,
    failed: Notify,
}

impl Tower {
    /// Sees nothing yet.
    pub fn new(trace: Arc<Trace>) -> Result<Self, String> {
        Ok(Self {
            trace,
            ledger: Mutex::new(Ledger::new()?),
            invariants: Mutex::new(invariants::all()),
            broken: Mutex::default(),
            failed: Notify::new(),
        })
    }

    /// Takes note of an event.
    pub fn see(&self, event: &Event) {
        if self.broken.lock().is_some() {
            return;
        }
        let now_ms = self.trace.now_ms();
        let mut ledger = self.ledger.lock();
        self.note(event);
        let mut found = None;
        for invariant in self.invariants.lock().iter_mut() {
            if let Err(how) = invariant.before(event, &ledger, now_ms) {
                found.get_or_insert(Broken { invariant: invariant.name().into(), how });
            }
        }
        let committed = match event {
            Event::Logged { rows, .. } => {
                for row in rows {
                    ledger.remember(row);
                }
                Ok(())
            }
            Event::Applied { meta, .. } => meta.last.map_or(Ok(()), |last| ledger.commit(last.index, last.term, now_ms)),
            // What a snapshot holds was applied by whoever sent it.
            _ => Ok(()),
        };
        for news in std::mem::take(&mut ledger.news) {
            self.trace.note(&news);
        }
        if let Err(how) = committed {
            found.get_or_insert(Broken { invariant: "state machine safety".into(), how });
        }
        for invariant in self.invariants.lock().iter_mut() {
            if let Err(how) = invariant.after(event, &ledger, now_ms) {
                found.get_or_insert(Broken { invariant: invariant.name().into(), how });
            }
        }
        drop(ledger);
        if let Some(broken) = found {
            self.fail(broken);
        }
    }

    /// Asks what can be asked only at the end.
    pub fn close(&self) {
        let ledger = self.ledger.lock();
        let mut found = None;
        for invariant in self.invariants.lock().iter_mut() {
            if let Err(how) = invariant.at_end(&ledger) {
                found.get_or_insert(Broken { invariant: invariant.name().into(), how });
            }
        }
        drop(ledger);
        if let Some(broken) = found {
            self.fail(broken);
        }
    }

    /// Stops the run.
    pub fn fail(&self, broken: Broken) {
        self.trace.note(&format!("BROKEN {}: {}", broken.invariant, broken.how));
        self.broken.lock().get_or_insert(broken);
        self.failed.notify_waiters();
    }

    /// Stops the run unless it holds.
    pub fn check(&self, holds: bool, invariant: &str, how: impl FnOnce() -> String) {
        if !holds {
            self.fail(Broken { invariant: invariant.into(), how: how() });
        }
    }

    /// Returns once something is broken.
    pub async fn failed(&self) {
        loop {
            let failed = self.failed.notified();
            if self.broken.lock().is_some() {
                return;
            }
            failed.await;
        }
    }

    /// What is broken.
    #[must_use]
    pub fn broken(&self) -> Option<Broken> {
        self.broken.lock().clone()
    }

    fn note(&self, event: &Event) {
        let line = match event {
            Event::Voted { member, vote } => format!("s{member} vote {}", short(vote)),
            Event::Logged { member, rows } => {
                let ends = rows.first().zip(rows.last());
                ends.map_or_else(String::new, |(first, last)| format!("s{member} log {}..{} term {}", first.index, last.index, last.term))
            }
            Event::Applied { member, meta, revision } => {
                let last = meta.last.unwrap_or_default();
                format!("s{member} applied {} term {} revision {}", last.index, last.term, revision.unwrap_or(0))
            }
            Event::Installed { member, meta } => format!("s{member} snapshot up to {}", meta.last.unwrap_or_default().index),
            Event::Started { member, log } => format!("s{member} started, its log ends at {}", log.last().map_or(0, |last| last.0)),
            Event::Wrote { value, told, revision, .. } => {
                format!("wrote {} {told:?} revision {revision}", String::from_utf8_lossy(value))
            }
            Event::Read { floor, revision, kvs, .. } => format!("read {} keys at {revision}, no less than {floor}", kvs.len()),
            Event::Renewed { lease, asked_ms, ttl_ms } => format!("lease {lease:x} renewed for {ttl_ms} ms from {asked_ms}"),
            Event::Watched { watch, revision, .. } => format!("watch {watch} saw {revision}"),
            Event::Progressed { watch, revision } => format!("watch {watch} is at {revision}"),
            Event::WatchBegan { watch, seen, .. } => format!("watch {watch} begins behind {seen}"),
            Event::WatchCompacted { watch, compacted } => format!("watch {watch} is compacted up to {compacted}"),
        };
        self.trace.note(&line);
    }
}

fn short(vote: &tricorn_proto::peer::Vote) -> String {
    format!("term {} for {:x}{}", vote.term, vote.candidate, if vote.committed { ", leads" } else { "" })
}

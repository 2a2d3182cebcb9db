//! Slow links: what is on its way to a host waits, each packet for its own time, so that some overtake others.
//!
//! It needs nothing of the kernel but NFQUEUE, which goes with iptables everywhere; netem (`sch_netem`) is missing from many small kernels.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::queue::Queue;

/// How much later packets come to a host; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delay {
    /// Milliseconds by which each is late.
    pub ms: u64,
    /// Milliseconds more, at most, drawn for each.
    pub jitter_ms: u64,
}

impl Delay {
    /// Whether nothing is late.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    fn drawn(&self) -> Duration {
        Duration::from_millis(self.ms) + Duration::from_millis(self.jitter_ms).mul_f64(rand::random())
    }
}

/// The slow link of one host. When it is dropped, what still waits goes on at once, and the link is as it was.
#[derive(Debug)]
pub(crate) struct SlowLink {
    delay: watch::Sender<Delay>,
    task: JoinHandle<()>,
}

impl SlowLink {
    /// Has what the rule of [`Network::hold`](crate::network::Network::hold) catches in the namespace at `netns` be late by `delay`.
    pub(crate) fn start(netns: PathBuf, delay: Delay) -> io::Result<Self> {
        let queue = Queue::open(netns)?;
        let (delay, asked) = watch::channel(delay);
        Ok(Self { delay, task: tokio::spawn(hold(queue, asked)) })
    }

    /// Whether it still does what it should.
    pub(crate) fn works(&self) -> bool {
        !self.task.is_finished()
    }

    /// Changes by how much packets are late that come from now on.
    pub(crate) fn set(&self, delay: Delay) {
        self.delay.send_replace(delay);
    }
}

async fn hold(queue: Queue, mut delay: watch::Receiver<Delay>) {
    // Those that wait, the next one to go on top; the kernel bounds how many there are.
    let mut waiting: BinaryHeap<Reverse<(Instant, u32)>> = BinaryHeap::new();
    let mut newest = 0;
    let held = loop {
        let next = waiting.peek().map(|Reverse((due, _))| *due);
        tokio::select! {
            came = queue.next() => match came {
                Ok(ids) => for id in ids {
                    waiting.push(Reverse((Instant::now() + delay.borrow().drawn(), id)));
                    newest = id;
                },
                Err(error) => break Err(error),
            },
            () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                if let Err(error) = let_go(&queue, &mut waiting) {
                    break Err(error);
                }
            }
            changed = delay.changed() => if changed.is_err() {
                break queue.accept_up_to(newest);
            },
        }
    };
    if let Err(error) = held {
        tracing::warn!(%error, "hold packets back");
    }
}

/// Lets those go whose time has come.
fn let_go(queue: &Queue, waiting: &mut BinaryHeap<Reverse<(Instant, u32)>>) -> io::Result<()> {
    let now = Instant::now();
    while let Some(Reverse((_, id))) = waiting.peek().filter(|Reverse((due, _))| *due <= now).copied() {
        queue.accept(id)?;
        waiting.pop();
    }
    Ok(())
}

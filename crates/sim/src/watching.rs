//! Clients that watch: each goes from member to member, and begins again where it was.

use crate::dice::Dice;
use crate::event::Event;
use crate::world::World;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tricorn_store::{WatchMessage, WatchOptions};

/// How far a watch has come.
pub struct Watch {
    number: usize,
    range: (Bytes, Bytes),
    /// Everything up to here has been seen.
    pub seen: Arc<AtomicI64>,
}

impl Watch {
    /// A watch over all keys, or over one.
    #[must_use]
    pub fn new(world: &World, number: usize) -> Self {
        let mut dice = Dice::new(world.plan.seed, &format!("watch {number}"));
        let range = match number % 3 {
            0 => (Bytes::from_static(b"k"), Bytes::from_static(b"m")),
            1 => (Bytes::from_static(b"l"), Bytes::from_static(b"m")),
            _ => (Bytes::from(format!("k{}", dice.below(world.plan.keys))), Bytes::new()),
        };
        Self { number, range, seen: Arc::new(AtomicI64::new(1)) }
    }

    /// Watches for ever.
    pub async fn run(self, world: Arc<World>) {
        let mut dice = Dice::new(world.plan.seed, &format!("watching {}", self.number));
        loop {
            sleep(dice.ms(1, 300)).await;
            let Some(member) = dice.pick(&world.ready()) else { continue };
            let (Some(store), Some(host)) = (world.store(member), world.host(member)) else { continue };
            let seen = self.seen.load(Ordering::Relaxed);
            world.tower.see(&Event::WatchBegan { watch: self.number, range: self.range.clone(), seen });
            let options = WatchOptions {
                key: self.range.0.clone(),
                range_end: self.range.1.clone(),
                start_revision: seen + 1,
                progress: Some(Duration::from_millis(700)),
                ..WatchOptions::default()
            };
            // The watch runs on the member; messages are lost with it.
            let (sent, mut messages) = mpsc::unbounded_channel();
            let lazy = dice.often(300);
            drop(host.spawn(async move {
                let mut watcher = store.watch(options);
                drop(store);
                while let Some(message) = watcher.next().await {
                    if sent.send(message).is_err() {
                        return;
                    }
                    if lazy {
                        sleep(Duration::from_millis(30)).await;
                    }
                }
            }));
            let life = dice.ms(200, 12_000);
            // Somebody else is asked after a while, or when the member is gone or silent.
            let _over = tokio::time::timeout(life, self.follow(&world, &mut messages)).await;
        }
    }

    async fn follow(&self, world: &World, messages: &mut mpsc::UnboundedReceiver<WatchMessage>) {
        let watch = self.number;
        while let Some(message) = messages.recv().await {
            match message {
                WatchMessage::Events { revision, events } => {
                    world.tower.see(&Event::Watched { watch, revision, changes: events.to_vec() });
                    self.seen.store(revision, Ordering::Relaxed);
                }
                WatchMessage::Progress { revision } => {
                    world.tower.see(&Event::Progressed { watch, revision });
                    self.seen.fetch_max(revision, Ordering::Relaxed);
                }
                WatchMessage::Canceled { compact_revision, .. } => {
                    if compact_revision > 0 {
                        world.tower.see(&Event::WatchCompacted { watch, compacted: compact_revision });
                        self.seen.fetch_max(compact_revision - 1, Ordering::Relaxed);
                    }
                    return;
                }
            }
        }
    }
}

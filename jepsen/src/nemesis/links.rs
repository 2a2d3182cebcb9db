//! Links between members that lose packets: some, or all, one way or both.

use super::{Fault, leader, majority, some};
use crate::target::System;
use anyhow::Result;
use async_trait::async_trait;
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use std::sync::Arc;
use tricorn_testbed::{Cut, Delay};

/// Percent of packets that a lossy link loses.
const LOSS: u8 = 30;
/// How much later things come over a slow link, at least; each packet is late by up to half as much more, and so may overtake others.
const DELAY_MILLIS: std::ops::Range<u64> = 20..200;

enum Partition {
    /// A minority on one side.
    Halves,
    /// The leader alone on one side.
    Leader,
    /// Each member sees a majority, and no two see the same one.
    Ring,
    /// What one member sends is lost; it hears the others.
    OneWay,
    /// Two halves that do not see each other, and one member that sees all.
    Bridge,
}

fn cut(host: &str, peer: &str, one_way: bool) -> Cut {
    Cut { host: host.to_owned(), peer: Some(peer.to_owned()), one_way }
}

/// Cuts every link between the two sides.
fn between(some: &[String], others: &[String]) -> Vec<Cut> {
    some.iter().flat_map(|a| others.iter().map(|b| cut(a, b, false))).collect()
}

/// Each member loses the links to those farthest from it on a ring, as many as leave it a majority.
fn ring(names: &[String], majority: usize) -> Vec<Cut> {
    let count = names.len();
    let near = majority / 2;
    let far = |a: usize, b: usize| {
        let steps = (b + count - a) % count;
        steps.min(count - steps) > near
    };
    let pairs = (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b)));
    // Of three members each sees a majority already when a single link is cut.
    if count == 3 {
        return vec![cut(&names[0], &names[1], false)];
    }
    pairs.filter(|(a, b)| far(*a, *b)).map(|(a, b)| cut(&names[a], &names[b], false)).collect()
}

#[async_trait]
impl Fault for Partition {
    fn name(&self) -> &'static str {
        match self {
            Self::Halves => "partition-halves",
            Self::Leader => "partition-leader",
            Self::Ring => "partition-ring",
            Self::OneWay => "partition-one-way",
            Self::Bridge => "partition-bridge",
        }
    }

    fn unfit(&self, group: &dyn System) -> Option<String> {
        match self {
            Self::Bridge if group.names().len() < 5 => Some("a bridge needs five members".into()),
            _ if group.names().len() < 3 => Some("a partition needs three members".into()),
            _ => None,
        }
    }

    async fn begin(&self, group: &dyn System, rng: &mut StdRng) -> Result<Value> {
        let drawn = some(group, rng, group.names().len());
        let split = |alone: &[String]| {
            let rest: Vec<String> = drawn.iter().filter(|name| !alone.contains(name)).cloned().collect();
            (between(alone, &rest), json!({ "minority": alone, "majority": rest }))
        };
        let (cuts, what) = match self {
            Self::Halves => split(&drawn[majority(group)..]),
            Self::Leader => split(&[leader(group, rng).await]),
            Self::Ring => {
                let cuts = ring(&drawn, majority(group));
                let what = json!({ "ring": drawn });
                (cuts, what)
            }
            Self::OneWay => {
                let mute = leader(group, rng).await;
                let cuts = drawn.iter().filter(|name| **name != mute).map(|name| cut(&mute, name, true)).collect();
                (cuts, json!({ "mute": mute }))
            }
            Self::Bridge => {
                let half = drawn.len() / 2;
                let (first, second) = (&drawn[1..=half], &drawn[half + 1..]);
                (between(first, second), json!({ "bridge": drawn[0], "sides": [first, second] }))
            }
        };
        group.partition(cuts).await?;
        Ok(what)
    }

    async fn end(&self, group: &dyn System) -> Result<()> {
        group.partition(Vec::new()).await
    }
}

/// Every member loses some of what it is sent, and TCP sends it again: slow, uneven links.
struct Lossy;

#[async_trait]
impl Fault for Lossy {
    fn name(&self) -> &'static str {
        "lossy-links"
    }

    async fn begin(&self, group: &dyn System, _rng: &mut StdRng) -> Result<Value> {
        for name in group.names() {
            tricorn_testbed::lose(group.file(), &name, LOSS).await?;
        }
        Ok(json!({ "percent": LOSS }))
    }

    async fn end(&self, group: &dyn System) -> Result<()> {
        for name in group.names() {
            tricorn_testbed::lose(group.file(), &name, 0).await?;
        }
        Ok(())
    }
}

/// Everything that a member is sent takes its time.
struct Slow;

#[async_trait]
impl Fault for Slow {
    fn name(&self) -> &'static str {
        "slow-links"
    }

    async fn begin(&self, group: &dyn System, rng: &mut StdRng) -> Result<Value> {
        let mut millis = serde_json::Map::new();
        for name in group.names() {
            let ms = rng.random_range(DELAY_MILLIS);
            tricorn_testbed::delay(group.file(), &name, Delay { ms, jitter_ms: ms / 2 }).await?;
            millis.insert(name, json!(ms));
        }
        Ok(json!({ "milliseconds": millis }))
    }

    async fn end(&self, group: &dyn System) -> Result<()> {
        for host in group.file().read()?.hosts.iter().filter(|host| !host.delay.is_none()) {
            tricorn_testbed::delay(group.file(), &host.name, Delay::default()).await?;
        }
        Ok(())
    }
}

pub(super) fn all() -> Vec<Arc<dyn Fault>> {
    let partitions = [Partition::Halves, Partition::Leader, Partition::Ring, Partition::OneWay, Partition::Bridge];
    let mut all: Vec<Arc<dyn Fault>> = Vec::new();
    for partition in partitions {
        all.push(Arc::new(partition));
    }
    all.push(Arc::new(Lossy));
    all.push(Arc::new(Slow));
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("n{number}")).collect()
    }

    #[test]
    fn on_a_ring_each_sees_a_majority_and_no_two_the_same() {
        for (count, majority) in [(5, 3), (7, 4)] {
            let names = names(count);
            let cuts = ring(&names, majority);
            let sees = |name: &String| -> Vec<String> {
                let cut = |other: &String| {
                    cuts.iter().any(|cut| {
                        [&cut.host, cut.peer.as_ref().unwrap()] == [name, other] || [&cut.host, cut.peer.as_ref().unwrap()] == [other, name]
                    })
                };
                names.iter().filter(|other| !cut(other)).cloned().collect()
            };
            let mut views: Vec<_> = names.iter().map(sees).collect();
            assert!(views.iter().all(|view| view.len() >= majority && view.len() < count), "{views:?}");
            views.sort();
            views.dedup();
            assert_eq!(views.len(), count);
        }
    }
}

//! Members of `tricorn etcd` are killed with SIGKILL at any moment of a load, one, two or all of them, again and again: nothing that was
//! acknowledged is lost, nothing is there that nobody wrote, and all members end up with the same data.
//!
//! `TRICORN_KILLS` says how many rounds are played; by itself it is a number that takes a minute.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use etcd_client::{Client, GetOptions};
use tokio::task::JoinSet;
use tricorn_e2e::{Members, until};

const ROUNDS: usize = 60;
const WRITERS: usize = 8;
/// A request that takes longer has an unknown outcome.
const REQUEST: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_secs(60);

/// What one writer knows of its key: every write has the next number as its value.
#[derive(Debug, Default, Clone, Copy)]
struct Known {
    /// The last number that was acknowledged.
    acknowledged: u64,
    /// The last number that was sent.
    sent: u64,
}

/// Counts up in its own key, through whichever member answers, until it is told to stop.
async fn count(endpoints: Vec<String>, writer: usize, stop: Arc<AtomicBool>) -> Known {
    let mut known = Known::default();
    let mut turn = writer;
    while !stop.load(Ordering::Relaxed) {
        turn += 1;
        let Ok(mut client) = Client::connect([&endpoints[turn % endpoints.len()]], None).await else { continue };
        while !stop.load(Ordering::Relaxed) {
            known.sent += 1;
            let put = client.put(format!("w/{writer}"), known.sent.to_string(), None);
            match tokio::time::timeout(REQUEST, put).await {
                Ok(Ok(_)) => known.acknowledged = known.sent,
                _ => break,
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    known
}

/// A stream of numbers that needs no library: the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_to_kills() {
    let rounds = std::env::var("TRICORN_KILLS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let mut group = Members::start();
    for member in 0..3 {
        group.healthy(member).await;
    }
    let endpoints: Vec<String> = (0..3).map(|member| group.endpoint(member).to_owned()).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (endpoints, stop) = (endpoints.clone(), stop.clone());
        writers.spawn(async move { (writer, count(endpoints, writer, stop).await) });
    }
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    for _ in 0..rounds {
        tokio::time::sleep(Duration::from_millis(dice.below(700))).await;
        let first = usize::try_from(dice.below(3)).unwrap();
        // Mostly one; now and then a majority, or all at once.
        let victims = match dice.below(8) {
            0 => 3,
            1 => 2,
            _ => 1,
        };
        let victims: Vec<usize> = (0..victims).map(|n| (first + n) % 3).collect();
        for victim in &victims {
            group.kill(*victim).await;
        }
        tokio::time::sleep(Duration::from_millis(dice.below(300))).await;
        for victim in victims {
            group.start_again(victim);
        }
    }
    for member in 0..3 {
        group.healthy(member).await;
    }
    // The last word: every writer gets some more of its own through.
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.store(true, Ordering::Relaxed);
    let known: BTreeMap<usize, Known> = writers.join_all().await.into_iter().collect();
    let written: u64 = known.values().map(|known| known.acknowledged).sum();
    assert!(written > 50 * rounds as u64 / 10, "hardly anything was written: {known:?}");

    for endpoint in &endpoints {
        let mut client = Client::connect([endpoint], None).await.unwrap();
        let found = client.get("w/", Some(GetOptions::new().with_prefix())).await.unwrap();
        let found: BTreeMap<&str, u64> =
            found.kvs().iter().map(|kv| (kv.key_str().unwrap(), kv.value_str().unwrap().parse().unwrap())).collect();
        for (writer, known) in &known {
            let value = found.get(format!("w/{writer}").as_str()).copied().unwrap_or_default();
            assert!((known.acknowledged..=known.sent).contains(&value), "{endpoint}: writer {writer} finds {value}, knows {known:?}");
        }
    }
    until("all members have the same data", SOON, async || {
        let mut hashes = Vec::new();
        for endpoint in &endpoints {
            let hashed = async { Client::connect([endpoint], None).await?.hash_kv(0).await };
            hashes.push(hashed.await.map(|hash| hash.hash()).map_err(|error| error.to_string())?);
        }
        if hashes.iter().all(|hash| *hash == hashes[0]) { Ok(()) } else { Err(format!("{hashes:?}")) }
    })
    .await;
}

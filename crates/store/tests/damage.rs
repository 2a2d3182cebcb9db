//! Files of a stopped member are damaged: whatever is served afterwards is right, or the member says what is wrong and serves nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod group;

use group::{get, put, within};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tricorn_store::{Store, StoreConfig};

/// One blow to one file.
#[derive(Debug, Clone, Copy)]
enum Blow {
    /// One bit is turned.
    Flip,
    /// What comes behind a point is gone.
    Cut,
    /// A page holds nothing.
    Blank,
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if fs::metadata(&path).unwrap().len() > 0 && !is_note(&path) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// What RocksDB writes for people, and never reads.
fn is_note(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_string_lossy();
    name.starts_with("LOG") || name == "LOCK" || name == "IDENTITY"
}

fn strike(path: &Path, blow: Blow, dice: &mut impl Rng) {
    let mut bytes = fs::read(path).unwrap();
    // A log file is mostly room for what is to come.
    let held = bytes.iter().rposition(|byte| *byte != 0).map_or(bytes.len(), |last| last + 1);
    let at = dice.random_range(0..held);
    match blow {
        Blow::Flip => bytes[at] ^= 1 << dice.random_range(0..8),
        Blow::Cut => bytes.truncate(at),
        Blow::Blank => {
            let end = (at + 512).min(bytes.len());
            bytes[at..end].fill(0);
        }
    }
    fs::write(path, bytes).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

const KEYS: usize = 200;

/// A member's directory, with writes in files of its state and of its log.
async fn written(dir: &Path) {
    let store = Store::start(StoreConfig::new("a", dir)).await.unwrap();
    for round in 0..3 {
        for n in 0..KEYS {
            within(store.put(put(&format!("k{n}"), &format!("{round}/{}", "x".repeat(n))), None)).await.unwrap();
        }
        if round == 0 {
            within(store.defragment()).await.unwrap();
        }
    }
    store.shutdown().await.unwrap();
}

/// Starts on what is there. Right answers, or errors: the count of those that were right.
async fn serves(dir: &Path, what: &str) -> usize {
    let store = match within(Store::start(StoreConfig::new("a", dir))).await {
        Ok(store) => store,
        Err(error) => {
            // Whoever reads it must find out where, and what is wrong.
            assert!(error.to_string().len() > 20, "{what}: {error}");
            return 0;
        }
    };
    let mut led = store.leadership();
    let decided = async {
        tokio::select! {
            led = led.wait_for(|now| now.is_leader) => led.is_ok(),
            _ = store.failure() => false,
        }
    };
    let decided = tokio::time::timeout(Duration::from_secs(30), decided).await;
    let led = decided.unwrap_or_else(|_| panic!("{what}: it neither leads nor fails"));
    let mut right = 0;
    for n in 0..if led { KEYS } else { 0 } {
        match within(store.range(get(&format!("k{n}")))).await {
            // What was acknowledged, and nothing older.
            Ok(answer) => {
                let shown = answer.kvs.first().map(|kv| String::from_utf8_lossy(&kv.value).into_owned());
                assert_eq!(shown, Some(format!("2/{}", "x".repeat(n))), "{what}: k{n}");
                right += 1;
            }
            Err(error) => assert!(!error.to_string().is_empty(), "{what}"),
        }
    }
    if right < KEYS {
        // A member that finds damage says so to whoever runs it.
        let reason = within(store.failure()).await;
        assert!(reason.len() > 20, "{what}: {reason}");
    }
    // It may have failed already.
    let _failed = within(store.shutdown()).await;
    right
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_refused_or_does_not_matter() {
    let origin = tempfile::tempdir().unwrap();
    written(origin.path()).await;
    // Others may be tried: TRICORN_SEED=7.
    let seed = std::env::var("TRICORN_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(5);
    let mut dice = StdRng::seed_from_u64(seed);
    let (mut whole, mut refused) = (0, 0);
    for round in 0..90 {
        let place = tempfile::tempdir().unwrap();
        copy(origin.path(), place.path());
        let all = files(place.path());
        let path = &all[dice.random_range(0..all.len())];
        let blow = [Blow::Flip, Blow::Cut, Blow::Blank][round % 3];
        strike(path, blow, &mut dice);
        let what = format!("round {round}: {blow:?} of {}", path.strip_prefix(place.path()).unwrap().display());
        match serves(place.path(), &what).await {
            KEYS => whole += 1,
            _ => refused += 1,
        }
    }
    assert!(whole > 0 && refused > 0, "{whole} did not matter, {refused} were refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_undamaged_directory_serves_everything() {
    let origin = tempfile::tempdir().unwrap();
    written(origin.path()).await;
    assert_eq!(serves(origin.path(), "undamaged").await, KEYS);
}

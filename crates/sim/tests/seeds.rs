//! The simulation itself, and the store under it: it plays the same for the same seed, what it has found stays mended, planted bugs
//! are caught, and new seeds hold.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::path::PathBuf;
use std::time::{Duration, Instant};
use tricorn_sim::runner::{Job, Played};
use tricorn_store::MUTATIONS;

/// Seeds that a planted bug is given to be found by.
const MOST: u64 = 1000;

fn job(mutation: Option<&str>) -> Job {
    Job { program: PathBuf::from(env!("CARGO_BIN_EXE_tricorn-sim")), mutation: mutation.map(ToOwned::to_owned), faults: None, at_once: 0 }
}

/// Plays all of them, and expects that each holds, and that something happened.
fn all_hold(seeds: impl IntoIterator<Item = u64>) -> u64 {
    let (job, mut count) = (job(None), 0);
    let mut failed = None;
    let mut committed = 0;
    job.play(seeds, |played| {
        count += 1;
        committed += played.field("committed").and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        if !played.held {
            failed = Some(format!("{}again: {}", played.said, job.again(played.seed)));
        }
        played.held
    })
    .unwrap();
    assert!(failed.is_none(), "{}", failed.unwrap_or_default());
    assert!(committed >= count * 20, "only {committed} entries in {count} seeds");
    count
}

#[test]
fn a_seed_plays_the_same_in_every_process() {
    let mut said: Vec<(u64, String)> = Vec::new();
    let seeds = (1..=8).chain(1..=8).chain(1..=8);
    job(None)
        .play(seeds, |Played { seed, said: now, .. }| {
            said.push((*seed, now.clone()));
            true
        })
        .unwrap();
    assert_eq!(said.len(), 24);
    said.sort();
    for same in said.chunks(3) {
        assert!(same[0].1.contains("hash="), "{}", same[0].1);
        assert!(same[0] == same[1] && same[1] == same[2], "{same:?}");
    }
}

#[test]
fn what_was_found_stays_mended() {
    let seeds = include_str!("../regressions.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let seeds: Vec<u64> = seeds.map(|line| line.split(' ').next().unwrap().parse().expect(line)).collect();
    assert_eq!(all_hold(seeds.iter().copied()), seeds.len() as u64);
}

#[test]
fn seeds_hold() {
    // As many as there is time for; `make sim SEEDS=100000` for more.
    let until = Instant::now() + Duration::from_secs(60);
    let count = all_hold((10_000..).take_while(|_| Instant::now() < until));
    println!("{count} seeds held");
    assert!(count > 20, "only {count} seeds in a minute");
}

#[test]
fn planted_bugs_are_caught() {
    for mutation in MUTATIONS {
        let name = format!("{mutation:?}");
        let (began, mut tried, mut caught) = (Instant::now(), 0, None);
        job(Some(&name))
            .play(1..=MOST, |played| {
                tried += 1;
                if let Some(by) = played.broken() {
                    caught.get_or_insert(by.to_owned());
                }
                played.held
            })
            .unwrap();
        let by = caught.unwrap_or_else(|| panic!("{name} was not caught by {tried} seeds"));
        println!("{name}: by \"{by}\", after {tried} seeds and {:.1} s", began.elapsed().as_secs_f64());
    }
}

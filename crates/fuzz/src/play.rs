//! Playing inputs against a target.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::mutate::mutate;
use crate::targets::Target;

/// An input of at most 64 KiB that takes longer is a hang.
const SLOW: Duration = Duration::from_secs(2);

/// What became of a game.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Inputs that were played.
    pub inputs: u64,
    /// Those that the target took for good.
    pub taken: u64,
    /// The first defect: what it was, and the input.
    pub defect: Option<(String, Vec<u8>)>,
}

/// Plays the kept inputs, the seeds, and then random changes of them until `time` is up or `inputs` have been played. Ends at the first
/// defect.
///
/// # Errors
/// When kept inputs cannot be read, or the seeds cannot be made.
pub fn play(target: &Target, seed: u64, inputs: u64, time: Duration) -> Result<Outcome> {
    let seeds = (target.seeds)()?;
    let mut dice = StdRng::seed_from_u64(seed);
    let mut outcome = Outcome::default();
    let begun = Instant::now();
    for input in kept(target)?.into_iter().chain(seeds.clone()) {
        if one(target, input, &mut outcome) {
            return Ok(outcome);
        }
    }
    while outcome.inputs < inputs && begun.elapsed() < time {
        if one(target, mutate(&seeds, &mut dice), &mut outcome) {
            break;
        }
    }
    Ok(outcome)
}

/// Whether it was a defect.
fn one(target: &Target, input: Vec<u8>, outcome: &mut Outcome) -> bool {
    let begun = Instant::now();
    let done = catch_unwind(AssertUnwindSafe(|| (target.read)(&input)));
    outcome.inputs += 1;
    let defect = match done {
        Ok(taken) => {
            outcome.taken += u64::from(taken);
            let took = begun.elapsed();
            (took > SLOW).then(|| format!("it takes {took:?}"))
        }
        Err(panic) => {
            let words = panic.downcast_ref::<String>().cloned();
            let words = words.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            Some(format!("a panic: {}", words.unwrap_or_default()))
        }
    };
    outcome.defect = defect.map(|defect| (defect, input));
    outcome.defect.is_some()
}

/// Inputs that were defects once.
fn kept(target: &Target) -> Result<Vec<Vec<u8>>> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let Ok(entries) = fs::read_dir(&dir) else { return Ok(Vec::new()) };
    let mut inputs = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("list {}", dir.display()))?.path();
        inputs.push(fs::read(&path).with_context(|| format!("read {}", path.display()))?);
    }
    Ok(inputs)
}

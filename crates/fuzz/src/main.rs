//! `cargo run --release -p tricorn-fuzz -- [TARGET...] --seconds 60`: plays random inputs, and keeps the one that is a defect.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use tricorn_fuzz::{TARGETS, play};

/// Gives readers of bytes what nobody meant them to read.
#[derive(Parser)]
#[command(after_help = "Examples:\n  tricorn-fuzz --seconds 60\n  tricorn-fuzz snapshot --seed 7 --seconds 3600")]
struct Args {
    /// Which readers [default: all]
    targets: Vec<String>,
    /// What decides over the inputs
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long each reader is given inputs
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Where the input of a defect is left
    #[arg(long, default_value = ".")]
    keep: PathBuf,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("tricorn-fuzz: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// The number of readers with a defect.
#[allow(clippy::print_stdout)]
fn run(args: &Args) -> Result<usize> {
    if let Some(unknown) = args.targets.iter().find(|name| TARGETS.iter().all(|target| target.name != **name)) {
        let known: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        anyhow::bail!("there is no target {unknown}: there are {}", known.join(", "));
    }
    let mut defects = 0;
    for target in TARGETS.iter().filter(|target| args.targets.is_empty() || args.targets.iter().any(|name| name == target.name)) {
        let outcome = play(target, args.seed, u64::MAX, Duration::from_secs(args.seconds))?;
        println!("{:<24} {:>10} inputs, {:>8} taken", target.name, outcome.inputs, outcome.taken);
        if let Some((defect, input)) = outcome.defect {
            let path = args.keep.join(format!("{}-{}.input", target.name, args.seed));
            std::fs::write(&path, input).with_context(|| format!("write {}", path.display()))?;
            println!("  {defect}\n  the input is {}; keep it in crates/fuzz/corpus/{}/", path.display(), target.name);
            defects += 1;
        }
    }
    Ok(defects)
}

//! `tricorn-sim`: plays one seed, or many.

use clap::Parser;
use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;
use tricorn_sim::plan::{FAULTS, Fault, Plan};
use tricorn_sim::run::{Report, run};
use tricorn_sim::runner::Job;
use tricorn_store::{MUTATIONS, Mutation};

/// Plays the store under simulation: one seed with --seed, many with --seeds.
#[derive(Parser)]
struct Arguments {
    /// Play so many seeds, from --seed (or 1) on.
    #[arg(long)]
    seeds: Option<u64>,
    /// The seed to play, or the first of many.
    #[arg(long)]
    seed: Option<u64>,
    /// Only these kinds of trouble, instead of those that the seed stands for: names with commas between.
    #[arg(long)]
    faults: Option<String>,
    /// Plant this bug first.
    #[arg(long)]
    mutation: Option<String>,
    /// Print everything that happens.
    #[arg(long)]
    trace: bool,
    /// Print what the members log, at this level.
    #[arg(long)]
    log: Option<tracing::Level>,
    /// Seeds at once; as many as there are processors without it.
    #[arg(long, default_value_t = 0)]
    at_once: usize,
    /// Go on after a seed that fails.
    #[arg(long)]
    keep_going: bool,
}

fn say(text: &str) {
    // Nobody may be listening.
    let _closed = std::io::stdout().write_all(text.as_bytes());
}

fn faults(names: &str) -> Result<Vec<Fault>, String> {
    let one = |name: &str| {
        let known = FAULTS.into_iter().find(|fault| format!("{fault:?}").eq_ignore_ascii_case(name));
        known.ok_or_else(|| format!("no such fault: {name}; there are {FAULTS:?}"))
    };
    names.split(',').filter(|name| !name.is_empty()).map(one).collect()
}

fn mutation(name: &str) -> Result<Mutation, String> {
    let known = MUTATIONS.into_iter().find(|mutation| format!("{mutation:?}").eq_ignore_ascii_case(name));
    known.ok_or_else(|| format!("no such mutation: {name}; there are {MUTATIONS:?}"))
}

fn show(report: &Report) {
    let Report { seed, plan, hash, seconds, committed, .. } = report;
    let verdict = if report.broken.is_some() { "FAILED" } else { "held" };
    say(&format!("seed={seed} {verdict} hash={:016x} events={} seconds={seconds} committed={committed} ({plan})\n", hash.0, hash.1));
    if let Some(broken) = &report.broken {
        say(&format!("broken: {}: {}\n", broken.invariant, broken.how));
        for line in &report.tail {
            say(&format!("  {line}\n"));
        }
    }
}

fn one(arguments: &Arguments, seed: u64) -> Result<bool, String> {
    let only = arguments.faults.as_deref().map(faults).transpose()?;
    tricorn_store::choose(arguments.mutation.as_deref().map(mutation).transpose()?);
    if let Some(level) = arguments.log {
        tracing_subscriber::fmt().with_max_level(level).without_time().with_ansi(false).with_writer(std::io::stderr).init();
    }
    let report = run(&Plan::new(seed, only.as_deref()), arguments.trace)?;
    show(&report);
    Ok(report.broken.is_none())
}

fn many(arguments: &Arguments, count: u64) -> Result<bool, String> {
    let job = Job {
        program: std::env::current_exe().map_err(|error| error.to_string())?,
        mutation: arguments.mutation.clone(),
        faults: arguments.faults.clone(),
        at_once: arguments.at_once,
    };
    let (began, first) = (Instant::now(), arguments.seed.unwrap_or(1));
    let (mut played, mut failed, mut simulated) = (0_u64, 0_u64, 0_u64);
    let result = job.play(first..first.saturating_add(count), |one| {
        played += 1;
        simulated += one.field("seconds").and_then(|seconds| seconds.parse::<u64>().ok()).unwrap_or(0);
        if !one.held {
            failed += 1;
            say(&format!("{}again: {}\n\n", one.said, job.again(one.seed)));
        }
        if played.is_multiple_of(1000) {
            say(&format!("{played} seeds, {failed} failed, {:.0} a second\n", f64_of(played) / began.elapsed().as_secs_f64()));
        }
        one.held || arguments.keep_going
    });
    result.map_err(|error| format!("play seeds: {error}"))?;
    let took = began.elapsed().as_secs_f64();
    say(&format!(
        "{played} seeds from {first} on, {failed} failed, {:.1} h of simulated time in {took:.1} s, {:.1} seeds a second\n",
        f64_of(simulated) / 3600.0,
        f64_of(played) / took
    ));
    Ok(failed == 0)
}

fn f64_of(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let held = match (arguments.seeds, arguments.seed) {
        (Some(count), _) => many(&arguments, count),
        (None, seed) => one(&arguments, seed.unwrap_or(1)),
    };
    match held {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("error: {error}\n"));
            ExitCode::from(2)
        }
    }
}

//! `jepsen`: runs workloads against groups on testbed hosts while it breaks them, and says whether they kept their word.
#![allow(clippy::print_stdout)]

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tricorn_jepsen::check;
use tricorn_jepsen::nemesis::{self, Fault};
use tricorn_jepsen::report;
use tricorn_jepsen::run::{Plan, run};
use tricorn_jepsen::target::{GroupOptions, Program};
use tricorn_jepsen::workload::{self, Workload};

/// Drives a group of etcd members on hosts of its own, breaks the hosts, and checks that the group kept its word.
///
/// Needs root: hosts are network namespaces.
#[derive(Parser)]
#[command(name = "jepsen", after_help = EXAMPLES)]
struct Jepsen {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  jepsen run --workload register --nemesis partition-halves,kill-leader --seconds 60
  jepsen soak --minutes 60                     every workload with every fault in turn
  jepsen run --target etcd --workload append   the same against etcd itself
  jepsen run --workload kv --nemesis rolling-upgrade --upgrade-to OTHER
  jepsen check jepsen-store/RUN                judge again what was written down
  jepsen list                                  the workloads and the faults there are";

#[derive(Subcommand)]
enum Command {
    /// One workload with some faults, once.
    Run {
        #[command(flatten)]
        common: Common,
        /// What clients do; see `jepsen list`.
        #[arg(long)]
        workload: String,
        /// Faults, separated by commas; `all`, or `none`.
        #[arg(long, default_value = "all")]
        nemesis: String,
        /// How long, in seconds.
        #[arg(long, default_value_t = 30)]
        seconds: u64,
        /// What the dice are thrown with; drawn when it is not given.
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Runs until the time is up, each with another workload and other faults.
    Soak {
        #[command(flatten)]
        common: Common,
        /// How long altogether, in minutes.
        #[arg(long, default_value_t = 60)]
        minutes: u64,
        /// How long each run takes, in seconds.
        #[arg(long, default_value_t = 40)]
        seconds: u64,
        /// Workloads, separated by commas; all when not given.
        #[arg(long)]
        workload: Option<String>,
        /// What the dice are thrown with; drawn when it is not given.
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Judges a history that was written down.
    Check {
        /// The folder of a run.
        folder: PathBuf,
    },
    /// Lists workloads and faults.
    List,
}

#[derive(Args, Clone)]
struct Common {
    /// What the members run: tricorn or etcd.
    #[arg(long, default_value = "tricorn")]
    target: String,
    /// The binary; by default `tricorn` beside this program, or Debian's etcd.
    #[arg(long, env = "TRICORN_BINARY")]
    binary: Option<PathBuf>,
    /// Another build of the binary: `rolling-upgrade` changes members to it, and back; without it that fault is left out.
    #[arg(long)]
    upgrade_to: Option<PathBuf>,
    /// How many members.
    #[arg(long, default_value_t = 3)]
    members: u8,
    /// How many processes.
    #[arg(long, default_value_t = 6)]
    processes: u64,
    /// Where runs are written down, each in a folder of its own.
    #[arg(long, default_value = "jepsen-store")]
    store: PathBuf,
    /// The hosts' network, A.B.C.0: another for each of several at once.
    #[arg(long, default_value = "172.31.0.0")]
    subnet: Ipv4Addr,
}

impl Common {
    fn group(&self) -> Result<GroupOptions> {
        let beside = || std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join("tricorn")));
        let program = match self.target.as_str() {
            "tricorn" => {
                let binary = self.binary.clone().or_else(beside).context("find the tricorn binary: give it with --binary")?;
                let binary =
                    binary.canonicalize().with_context(|| format!("find {}: build it, or give it with --binary", binary.display()))?;
                Program::tricorn(&binary)
            }
            "etcd" => Program::etcd(Path::new("/usr/bin/etcd")),
            other => bail!("no target is called {other}: there are tricorn and etcd"),
        };
        let upgrade_to = self.upgrade_to.clone();
        Ok(GroupOptions { program, members: self.members, subnet: self.subnet, flags: Vec::new(), upgrade_to })
    }

    fn plan(&self, workload: Arc<dyn Workload>, faults: Vec<Arc<dyn Fault>>, seconds: u64, seed: u64) -> Result<Plan> {
        let time = Duration::from_secs(seconds);
        Ok(Plan { group: self.group()?, workload, faults, time, processes: self.processes, seed })
    }
}

/// Those of `all` that are named, separated by commas.
fn named<T: ?Sized>(names: &str, what: &str, all: Vec<Arc<T>>, name_of: impl Fn(&T) -> &'static str) -> Result<Vec<Arc<T>>> {
    let known = all.iter().map(|one| name_of(one)).collect::<Vec<_>>().join(", ");
    let find = |name: &str| all.iter().find(|one| name_of(one) == name).cloned();
    names.split(',').map(|name| find(name).with_context(|| format!("no {what} is called {name}: there are {known}"))).collect()
}

fn workloads(names: &str) -> Result<Vec<Arc<dyn Workload>>> {
    named(names, "workload", workload::all(), |workload| workload.name())
}

fn faults(names: &str) -> Result<Vec<Arc<dyn Fault>>> {
    match names {
        "all" => Ok(nemesis::all()),
        "none" => Ok(Vec::new()),
        names => named(names, "fault", nemesis::all(), |fault| fault.name()),
    }
}

/// A folder that is not there yet, named after what is run.
fn folder(store: &Path, plan: &Plan) -> PathBuf {
    let stamp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    store.join(format!("{stamp}-{}-{}-{:x}", plan.group.program.name, plan.workload.name(), plan.seed))
}

async fn once(store: &Path, plan: Plan) -> Result<bool> {
    let folder = folder(store, &plan);
    let outcome = run(plan, &folder).await?;
    println!("{}", outcome.summary);
    for verdict in outcome.verdicts.iter().filter(|verdict| !verdict.valid.passes()) {
        println!("{verdict}");
    }
    if !outcome.passed() {
        println!("See {}", outcome.folder.join("index.html").display());
    }
    Ok(outcome.passed())
}

async fn soak(common: &Common, minutes: u64, seconds: u64, chosen: &[Arc<dyn Workload>], seed: u64) -> Result<bool> {
    let end = Instant::now() + Duration::from_secs(minutes * 60);
    let mut rng = StdRng::seed_from_u64(seed);
    let all = nemesis::all();
    let (mut good, mut bad) = (0, 0);
    for turn in 0.. {
        if Instant::now() >= end {
            break;
        }
        // Three kinds of fault a run: few enough that a cause can be found, and all pairs meet sooner or later.
        let faults: Vec<_> = all.choose_multiple(&mut rng, 3).cloned().collect();
        let workload = chosen[turn % chosen.len()].clone();
        match once(&common.store, common.plan(workload, faults, seconds, rng.random())?).await {
            Ok(true) => good += 1,
            Ok(false) => bad += 1,
            Err(error) => {
                bad += 1;
                println!("a run did not come to its end: {error:#}");
            }
        }
    }
    println!("{good} runs passed, {bad} did not (seed {seed})");
    Ok(bad == 0)
}

fn judge_again(folder: &Path) -> Result<bool> {
    let (_, history) = report::read(folder).with_context(|| format!("read {}", folder.display()))?;
    let verdicts = check::all(&history, &check::Options::default());
    verdicts.iter().for_each(|verdict| println!("{verdict}"));
    Ok(verdicts.iter().all(|verdict| verdict.valid.passes()))
}

fn list() {
    println!("Workloads:");
    workload::all().iter().for_each(|workload| println!("  {}", workload.name()));
    println!("Faults:");
    nemesis::all().iter().for_each(|fault| println!("  {}", fault.name()));
}

fn need_root() -> Result<()> {
    if !tricorn_testbed::is_root() {
        bail!("hosts are network namespaces, which only root can make: run this as root; without it, the simulation still runs (make sim)");
    }
    Ok(())
}

async fn command(jepsen: Jepsen) -> Result<bool> {
    let draw = |seed: Option<u64>| seed.unwrap_or_else(rand::random);
    match jepsen.command {
        Command::Run { common, workload, nemesis, seconds, seed } => {
            need_root()?;
            let mut passed = true;
            for workload in workloads(&workload)? {
                passed &= once(&common.store, common.plan(workload, faults(&nemesis)?, seconds, draw(seed))?).await?;
            }
            Ok(passed)
        }
        Command::Soak { common, minutes, seconds, workload, seed } => {
            need_root()?;
            let chosen = workload.as_deref().map_or_else(|| Ok(workload::all()), workloads)?;
            soak(&common, minutes, seconds, &chosen, draw(seed)).await
        }
        Command::Check { folder } => judge_again(&folder),
        Command::List => {
            list();
            Ok(true)
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match command(Jepsen::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("jepsen: {error:#}");
            ExitCode::FAILURE
        }
    }
}

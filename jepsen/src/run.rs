//! One run: a group, a workload, faults, a seed; what came of it, in a folder.

use crate::check::{self, Verdict};
use crate::end;
use crate::history::Recorder;
use crate::logs;
use crate::nemesis::{self, Fault};
use crate::report::{self, RunInfo};
use crate::target::{ApiGroup, Group, GroupOptions, System};
use crate::workload::{Actor, Needs, Workload};
use anyhow::{Context, Result};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Between two things that a process does: enough is asked to meet every fault, and not more than can be checked.
const PACE: Duration = Duration::from_millis(20);
/// How long processes go on when all is well again, so that every member is asked for everything.
const CALM: Duration = Duration::from_secs(5);

/// What to run.
pub struct Plan {
    /// What the members are.
    pub group: GroupOptions,
    /// What clients do.
    pub workload: Arc<dyn Workload>,
    /// What is broken meanwhile.
    pub faults: Vec<Arc<dyn Fault>>,
    /// How long.
    pub time: Duration,
    /// How many processes.
    pub processes: u64,
    /// What the dice of all are thrown with.
    pub seed: u64,
}

/// What came of it.
pub struct Outcome {
    /// Where it is written down.
    pub folder: PathBuf,
    /// One line for people.
    pub summary: String,
    /// What the checkers said.
    pub verdicts: Vec<Verdict>,
}

impl Outcome {
    /// Whether nothing was found that cannot have happened, and nothing was left unsaid.
    pub fn passed(&self) -> bool {
        self.verdicts.iter().all(|verdict| verdict.valid.passes())
    }
}

/// Runs a plan, in `folder`; the hosts and their data are below it and stay for people to look at when something is wrong.
pub async fn run(plan: Plan, folder: &Path) -> Result<Outcome> {
    let started = SystemTime::now();
    std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    let hosts = folder.join("hosts");
    let group = start(&plan, &hosts).await?;
    let recorder = Recorder::default();
    let fits = |fault: &&Arc<dyn Fault>| fault.unfit(group.as_ref()).is_none() && plan.workload.unfit(fault.name()).is_none();
    let faults: Vec<Arc<dyn Fault>> = plan.faults.iter().filter(fits).cloned().collect();
    let worked = work(&plan, &group, &faults, &recorder).await;
    let history = recorder.history();
    // Whoever reads the summary should know whether an upgrade led to anything new.
    let upgraded = group.builds().filter(|_| faults.iter().any(|fault| fault.name() == nemesis::UPGRADE));
    let target = upgraded.map_or_else(|| group.program().to_owned(), |builds| format!("{} and {builds}", group.program()));
    let logs: Vec<(String, PathBuf)> = group.hosts().into_iter().map(|name| (name.clone(), group.log(&name))).collect();
    group.down().await?;
    drop(group);
    worked?;
    let mut verdicts = check::all(&history, &check::Options::default());
    verdicts.push(logs::check(&logs));
    let info = RunInfo {
        name: folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        target,
        workload: plan.workload.name().to_owned(),
        nemesis: faults.iter().map(|fault| fault.name().to_owned()).collect::<Vec<_>>().join(","),
        seed: plan.seed,
        started: started.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        seconds: started.elapsed().unwrap_or_default().as_secs_f64(),
    };
    keep_logs(&logs, folder)?;
    let summary = report::write(folder, &info, &history, &verdicts).with_context(|| format!("write the report in {}", folder.display()))?;
    let outcome = Outcome { folder: folder.to_owned(), summary: summary.line, verdicts };
    if outcome.passed() {
        // The members' data is worth its room only to somebody who looks for a cause.
        let _gone = std::fs::remove_dir_all(&hosts);
    }
    Ok(outcome)
}

/// Starts what the workload works on.
async fn start(plan: &Plan, hosts: &Path) -> Result<Arc<dyn System>> {
    let group = &plan.group;
    match plan.workload.needs() {
        Needs::Store => {
            let mut options = group.clone();
            options.flags.extend(plan.workload.flags());
            Ok(Arc::new(Group::start(hosts, options).await?))
        }
        Needs::Api => {
            let started = ApiGroup::start(hosts, group).await;
            Ok(Arc::new(started.with_context(|| format!("start servers for workload {}", plan.workload.name()))?))
        }
    }
}

async fn work(plan: &Plan, group: &Arc<dyn System>, faults: &[Arc<dyn Fault>], recorder: &Recorder) -> Result<()> {
    let mut first = Actor::new(group.clone(), recorder.clone(), plan.seed, end::LAST, plan.processes);
    plan.workload.prepare(&mut first).await.context("prepare the workload")?;
    let (stop, still) = (CancellationToken::new(), CancellationToken::new());
    let mut actors = JoinSet::new();
    for number in 0..plan.processes {
        let mut actor = Actor::new(group.clone(), recorder.clone(), plan.seed, number, plan.processes);
        let (workload, stop) = (plan.workload.clone(), stop.clone());
        actors.spawn(async move {
            while !stop.is_cancelled() {
                workload.step(&mut actor).await;
                tokio::time::sleep(PACE).await;
            }
        });
    }
    let beside = tokio::spawn({
        let (workload, group, recorder, still) = (plan.workload.clone(), group.clone(), recorder.clone(), still.clone());
        async move { workload.beside(group, recorder, still).await }
    });
    let storm = CancellationToken::new();
    let rng = StdRng::seed_from_u64(plan.seed);
    let breaking = nemesis::run(group.as_ref(), faults, recorder.clone(), rng, storm.clone());
    tokio::pin!(breaking);
    let broken = tokio::select! {
        broken = &mut breaking => broken,
        () = tokio::time::sleep(plan.time) => {
            storm.cancel();
            breaking.await
        }
    };
    // Whatever went wrong, processes are ended; and while they still work, everybody shows that all is well again.
    if broken.is_ok() {
        tokio::time::sleep(CALM).await;
    }
    stop.cancel();
    while let Some(ended) = actors.join_next().await {
        ended.context("a process")?;
    }
    if broken.is_ok() {
        plan.workload.finish(&mut first).await;
        end::look(group.as_ref(), recorder).await;
    }
    still.cancel();
    beside.await.context("what runs beside the processes")?;
    broken
}

fn keep_logs(logs: &[(String, PathBuf)], folder: &Path) -> Result<()> {
    let kept = folder.join("logs");
    std::fs::create_dir_all(&kept).with_context(|| format!("make {}", kept.display()))?;
    for (name, log) in logs {
        if log.is_file() {
            let to = kept.join(format!("{name}.log"));
            std::fs::copy(log, &to).with_context(|| format!("copy {} to {}", log.display(), to.display()))?;
        }
    }
    Ok(())
}

//! One task a pod: observe, plan, report, act, wait for something to change.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::backoff::Backoff;
use super::observed::{Failure, Observed, ProbeResults, State};
use super::plan::{self, Action, Plan};
use super::spec::{self, Member, Role};
use super::status;
use super::{exec, observed::Memory};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::probe::{Kind, Prober, Report};
use crate::recorder::pod_reference;

/// How long after an error the next attempt is made.
const RETRY: Duration = Duration::from_secs(2);
/// How often contents of volumes are compared with the API.
const REFRESH: Duration = Duration::from_secs(60);
/// Without any sign of change, the runtime is looked at this often.
const LOOK: Duration = Duration::from_secs(60);
/// After containerd has told of a container's end, CRI is asked this often until it says the same, and no longer than that.
const LAG: Duration = Duration::from_millis(25);
const LAG_LIMIT: Duration = Duration::from_secs(5);
const REPORTS_LIMIT: usize = 64;
/// Actions that follow each other without waiting for a change.
const STEPS_AT_ONCE: usize = 32;

/// A pod's worker, from outside.
pub struct Handle {
    pods: watch::Sender<Arc<Pod>>,
    wake: Arc<Notify>,
    ended: Ended,
    forgotten: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

/// Containers whose end was told of, and when: until the runtime's list shows it.
type Ended = Arc<Mutex<HashMap<String, Instant>>>;

impl Handle {
    /// Starts a worker.
    pub fn start(context: Arc<Context>, pod: Arc<Pod>, stop: CancellationToken) -> Self {
        let (pods, receiver) = watch::channel(pod);
        let (wake, ended) = (Arc::new(Notify::new()), Ended::default());
        let forgotten = CancellationToken::new();
        let worker = Worker::new(context, receiver, wake.clone(), ended.clone(), forgotten.clone());
        let task = tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = worker.run() => {}
            }
        });
        Self { pods, wake, ended, forgotten, task }
    }

    /// The pod changed in the API.
    pub fn update(&self, pod: Arc<Pod>) {
        self.pods.send_replace(pod);
    }

    /// The pod as last seen.
    pub fn pod(&self) -> Arc<Pod> {
        self.pods.borrow().clone()
    }

    /// The pod is gone from the API.
    pub fn forget(&self) {
        self.forgotten.cancel();
    }

    /// Something changed in the runtime.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// A container of the pod has ended, or one of its sandboxes.
    pub fn ended(&self, id: &str) {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), Instant::now());
        self.wake.notify_one();
    }

    /// Whether the worker has ended.
    pub fn finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits for the worker's end.
    pub async fn join(self) {
        let _ = self.task.await;
    }
}

struct Worker {
    context: Arc<Context>,
    pods: watch::Receiver<Arc<Pod>>,
    wake: Arc<Notify>,
    ended: Ended,
    forgotten: CancellationToken,
    memory: Memory,
    observed: Observed,
    looked: Instant,
    first: bool,
    probes: HashMap<(String, Kind), AbortOnDropHandle<()>>,
    reports: (mpsc::Sender<Report>, mpsc::Receiver<Report>),
    kills: JoinSet<String>,
    graces: HashMap<String, Duration>,
    hooks: JoinSet<(String, String, bool)>,
    posted: Option<PodStatus>,
    told: HashSet<(String, String)>,
    refreshed: Option<Instant>,
}

/// What to do after a step.
enum Next {
    /// Look again at once.
    Again,
    /// Wait for a change, or until then.
    Wait(Instant),
    /// Nothing is left.
    Done,
}

impl Worker {
    fn new(context: Arc<Context>, pods: watch::Receiver<Arc<Pod>>, wake: Arc<Notify>, ended: Ended, forgotten: CancellationToken) -> Self {
        Self {
            context,
            pods,
            wake,
            ended,
            forgotten,
            memory: Memory::default(),
            observed: Observed::default(),
            looked: Instant::now(),
            first: true,
            probes: HashMap::new(),
            reports: mpsc::channel(REPORTS_LIMIT),
            kills: JoinSet::new(),
            graces: HashMap::new(),
            hooks: JoinSet::new(),
            posted: None,
            told: HashSet::new(),
            refreshed: None,
        }
    }

    async fn run(mut self) {
        let mut steps = 0;
        loop {
            let pod = self.pods.borrow_and_update().clone();
            self.memory.forgotten = self.forgotten.is_cancelled();
            let until = match Box::pin(self.step(&pod)).await {
                Ok(Next::Done) => return,
                Ok(Next::Again) if steps < STEPS_AT_ONCE => {
                    steps += 1;
                    continue;
                }
                Ok(Next::Again) => Instant::now() + RETRY,
                Ok(Next::Wait(until)) => until,
                Err(error) => {
                    tracing::warn!(pod = spec::display(&pod), %error, "pod step failed");
                    Instant::now() + RETRY
                }
            };
            steps = 0;
            self.wait(until).await;
        }
    }

    async fn wait(&mut self, until: Instant) {
        tokio::select! {
            // A closed channel means that the manager is going: the task is stopped from outside.
            changed = self.pods.changed() => if changed.is_err() { std::future::pending::<()>().await },
            () = self.forgotten.cancelled(), if !self.memory.forgotten => {}
            () = self.wake.notified() => {}
            Some(report) = self.reports.1.recv() => self.take(report),
            Some(killed) = self.kills.join_next() => {
                if let Ok(id) = killed {
                    self.memory.stopping.remove(&id);
                    self.graces.remove(&id);
                }
            }
            Some(hooked) = self.hooks.join_next() => {
                if let Ok((id, name, well)) = hooked {
                    self.after_hook(id, name, well);
                }
            }
            () = tokio::time::sleep_until(until) => {}
        }
    }

    fn after_hook(&mut self, id: String, name: String, well: bool) {
        if well {
            self.memory.hooked.insert(id);
        } else {
            let pod = self.pods.borrow().clone();
            let grace = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30);
            self.kill(&pod, &id, &name, Duration::from_secs(grace.max(2) as u64), "FailedPostStartHook");
        }
    }

    fn take(&mut self, report: Report) {
        let pod = self.pods.borrow().clone();
        if let Some(failure) = &report.failure {
            let message = format!("{} probe failed: {failure}", report.kind.title());
            let field = Some(format!("spec.containers{{{}}}", report.container));
            self.context.recorder.warning(pod_reference(&pod, field), "Unhealthy", message);
        }
        if let Some(decision) = report.decision {
            let results = self.memory.probes.entry(report.container_id).or_default();
            match report.kind {
                Kind::Startup => results.startup = Some(decision),
                Kind::Liveness => results.liveness = Some(decision),
                Kind::Readiness => results.readiness = Some(decision),
            }
        }
    }

    async fn step(&mut self, pod: &Arc<Pod>) -> Result<Next> {
        self.looked = Instant::now();
        self.observed = exec::observe(&self.context, spec::uid(pod), &self.observed).await?;
        let members = spec::members(pod);
        if std::mem::take(&mut self.first) {
            self.adopt(pod, &members);
        }
        let mut plan = self.plan(pod, &members);
        if let Some(ending) = plan.ending.take() {
            if !ending.reason.is_empty() {
                self.context.recorder.normal(pod_reference(pod, None), &ending.reason, ending.message.clone());
            }
            self.memory.ending = Some(ending);
            plan = self.plan(pod, &members);
        }
        self.sync_probes(pod, &members);
        self.tell(pod, &plan);
        if !self.memory.forgotten {
            self.report(pod, &members, &plan).await?;
        }
        let mut changed = false;
        for action in &plan.actions {
            tracing::debug!(pod = spec::display(pod), %action, "act");
            match self.act(pod, &members, action).await? {
                Next::Done => return Ok(Next::Done),
                Next::Again => changed = true,
                Next::Wait(_) => {}
            }
        }
        if changed {
            return Ok(Next::Again);
        }
        self.refresh(pod, &plan).await;
        Ok(Next::Wait(self.next_look(&plan)))
    }

    fn plan(&self, pod: &Pod, members: &[Member]) -> Plan {
        plan::plan(plan::Input { pod, members, observed: &self.observed, memory: &self.memory, now: Timestamp::now() })
    }

    fn next_look(&self, plan: &Plan) -> Instant {
        let now = Instant::now();
        let mut next = now + LOOK;
        if let Some(wake) = plan.wake {
            let left = Duration::try_from(wake.duration_since(Timestamp::now())).unwrap_or_default();
            next = next.min(now + left + Duration::from_millis(5));
        }
        if let Some(refreshed) = self.refreshed {
            next = next.min((refreshed + REFRESH).max(now));
        }
        if self.is_behind(now) { next.min(now + LAG) } else { next }
    }

    /// Whether a container is still listed as running whose end was told of.
    fn is_behind(&self, now: Instant) -> bool {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let running = |id: &String| self.observed.containers.iter().any(|instance| instance.id == *id && instance.running());
        // What was told after the runtime was looked at is not known to be there yet.
        ended.retain(|id, told| now.duration_since(*told) < LAG_LIMIT && (*told > self.looked || running(id)));
        !ended.is_empty()
    }

    /// Containers that were running before this worker was have had their hooks, and their probes' results are in the
    /// pod's status.
    fn adopt(&mut self, pod: &Pod, members: &[Member]) {
        let status = pod.status.clone().unwrap_or_default();
        let known = || status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
        for instance in self.observed.containers.iter().filter(|instance| instance.running()) {
            self.memory.hooked.insert(instance.id.clone());
            let Some(member) = members.iter().find(|member| member.container.name == instance.name) else { continue };
            let id = format!("containerd://{}", instance.id);
            let Some(before) = known().find(|status| status.container_id.as_deref() == Some(&id)) else { continue };
            let results = ProbeResults {
                startup: (member.container.startup_probe.is_some() && before.started == Some(true)).then_some(true),
                readiness: member.container.readiness_probe.is_some().then_some(before.ready),
                liveness: None,
            };
            self.memory.probes.insert(instance.id.clone(), results);
        }
        self.posted = pod.status.clone();
    }

    fn address(&self, pod: &Pod) -> Option<IpAddr> {
        if spec::host_network(pod) {
            return Some(self.context.config.node_ip);
        }
        self.observed.addresses().first().and_then(|address| address.parse().ok())
    }

    /// Starts the probes that running containers need and ends those of others.
    fn sync_probes(&mut self, pod: &Pod, members: &[Member]) {
        let ending = pod.metadata.deletion_timestamp.is_some() || self.memory.forgotten || self.memory.ending.is_some();
        let mut wanted = HashSet::new();
        for member in members.iter().filter(|member| matches!(member.role, Role::Main | Role::Sidecar)) {
            let Some(instance) = self.observed.latest(&member.container.name) else { continue };
            let State::Running { started } = instance.state else { continue };
            let up = plan::started(&self.memory, member, instance);
            let undecided = self.memory.probes.get(&instance.id).is_none_or(|results| results.startup.is_none());
            let container = &member.container;
            for (kind, probe, now) in [
                (Kind::Startup, &container.startup_probe, !ending && undecided && self.memory.hooked.contains(&instance.id)),
                (Kind::Liveness, &container.liveness_probe, !ending && up),
                (Kind::Readiness, &container.readiness_probe, up),
            ] {
                let (Some(probe), true, Some(address)) = (probe, now, self.address(pod)) else { continue };
                let key = (instance.id.clone(), kind);
                wanted.insert(key.clone());
                self.probes.entry(key).or_insert_with(|| {
                    let prober = Prober {
                        cri: self.context.cri.clone(),
                        container_id: instance.id.clone(),
                        container: container.clone(),
                        kind,
                        probe: probe.clone(),
                        address,
                        started,
                        reports: self.reports.0.clone(),
                    };
                    AbortOnDropHandle::new(tokio::spawn(prober.run()))
                });
            }
        }
        self.probes.retain(|key, _| wanted.contains(key));
        let there = |id: &String| self.observed.containers.iter().any(|instance| instance.id == *id);
        self.memory.probes.retain(|id, _| there(id));
        self.memory.hooked.retain(there);
    }

    /// Events for what waits, once for each message.
    fn tell(&mut self, pod: &Pod, plan: &Plan) {
        for (name, waiting) in &plan.waiting {
            let message = match waiting.reason.as_str() {
                "CrashLoopBackOff" => format!("Back-off restarting failed container {name} in pod {}", spec::display(pod)),
                "ImagePullBackOff" => waiting.message.split(": ").next().unwrap_or_default().to_owned(),
                _ => continue,
            };
            if self.told.insert((name.clone(), waiting.message.clone())) {
                let reference = pod_reference(pod, Some(format!("spec.containers{{{name}}}")));
                if waiting.reason == "CrashLoopBackOff" {
                    self.context.recorder.warning(reference, "BackOff", message);
                } else {
                    self.context.recorder.normal(reference, "BackOff", message);
                }
            }
        }
    }

    /// Tells the API what there is, when that is news.
    async fn report(&mut self, pod: &Pod, members: &[Member], plan: &Plan) -> Result<()> {
        let node_ip = self.context.config.node_ip.to_string();
        let made = status::status(status::Input {
            pod,
            members,
            observed: &self.observed,
            memory: &self.memory,
            waiting: &plan.waiting,
            node_ip: &node_ip,
            over: plan.over,
            now: Timestamp::now(),
        });
        if self.posted.as_ref().is_some_and(|posted| same(posted, &made)) {
            return Ok(());
        }
        let object = format!("status of pod {}", spec::display(pod));
        let mut fields = serde_json::to_value(&made).map_err(|error| Error::Invalid(format!("encode {object}: {error}")))?;
        // What is no longer there has to be said.
        let before = serde_json::to_value(self.posted.as_ref().or(pod.status.as_ref())).unwrap_or_default();
        if let (Some(fields), Some(before)) = (fields.as_object_mut(), before.as_object()) {
            for key in before.keys() {
                fields.entry(key.clone()).or_insert(Value::Null);
            }
        }
        let patch = json!({"metadata": {"uid": spec::uid(pod)}, "status": fields});
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), spec::namespace(pod));
        match api.patch_status(spec::name(pod), &PatchParams::default(), &Patch::Strategic(patch)).await {
            Ok(_) => {
                self.posted = Some(made);
                Ok(())
            }
            // Gone, or another pod of that name: the watch will say so.
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
            Err(error) => Err(Error::api("patch", object)(error)),
        }
    }

    async fn act(&mut self, pod: &Arc<Pod>, members: &[Member], action: &Action) -> Result<Next> {
        let context = self.context.clone();
        match action {
            Action::CreateSandbox { attempt } => {
                match exec::create_sandbox(&context, pod, *attempt).await {
                    Ok(()) => {
                        self.memory.pod_failure = None;
                        self.refreshed = Some(Instant::now());
                    }
                    Err(failed) => {
                        tracing::warn!(pod = spec::display(pod), error = failed.waiting.message, "prepare pod");
                        let retry_at = Timestamp::now().checked_add(RETRY).unwrap_or(Timestamp::MAX);
                        self.memory.pod_failure = Some(Failure { waiting: failed.waiting, retry_at });
                    }
                }
                Ok(Next::Again)
            }
            Action::Start { name, attempt } => {
                if let Some(member) = members.iter().find(|member| member.container.name == *name) {
                    self.start(pod, member, *attempt).await;
                }
                Ok(Next::Again)
            }
            Action::Kill { id, name, grace, message } => {
                self.kill(pod, id, name, *grace, message);
                Ok(Next::Wait(Instant::now()))
            }
            Action::StopSandbox { id } => {
                let request = tricorn_proto::cri::StopPodSandboxRequest { pod_sandbox_id: id.clone() };
                context.cri.stop_pod_sandbox(id, request).await?;
                Ok(Next::Again)
            }
            Action::RemoveContainer { id } => {
                let request = tricorn_proto::cri::RemoveContainerRequest { container_id: id.clone() };
                context.cri.remove_container(id, request).await?;
                Ok(Next::Again)
            }
            Action::RemoveSandbox { id } => {
                let request = tricorn_proto::cri::RemovePodSandboxRequest { pod_sandbox_id: id.clone() };
                context.cri.remove_pod_sandbox(id, request).await?;
                Ok(Next::Again)
            }
            Action::Finish { deleted } => self.finish(pod, *deleted).await,
        }
    }

    async fn start(&mut self, pod: &Arc<Pod>, member: &Member, attempt: u32) {
        let name = &member.container.name;
        let now = Timestamp::now();
        if self.observed.latest(name).is_some_and(|last| last.exit_code().is_some()) {
            let next = Backoff::next(self.memory.restarts.get(name).copied(), now);
            self.memory.restarts.insert(name.clone(), next);
        }
        let mut pods = self.pods.clone();
        let deleted = pods.wait_for(|pod| pod.metadata.deletion_timestamp.is_some());
        let start = exec::Start { context: &self.context, pod, member, attempt, observed: &self.observed };
        // A pod that is deleted meanwhile does not wait for a pull.
        let result = tokio::select! {
            result = Box::pin(start.run()) => result,
            _ = deleted => return,
            () = self.forgotten.cancelled() => return,
        };
        match result {
            Ok(id) => {
                self.memory.failures.remove(name);
                self.memory.pulls.remove(name);
                if member.container.lifecycle.as_ref().is_none_or(|lifecycle| lifecycle.post_start.is_none()) {
                    self.memory.hooked.insert(id);
                    return;
                }
                let (context, pod, member, address) = (self.context.clone(), pod.clone(), member.clone(), self.address(pod));
                self.hooks.spawn(async move {
                    let well = exec::post_start(&context, &pod, &member, &id, address).await;
                    (id, member.container.name, well)
                });
            }
            Err(failed) => {
                let image = member.container.image.clone().unwrap_or_default();
                tracing::info!(pod = spec::display(pod), container = name, error = failed.waiting.message, "start container");
                exec::remember_failure(&mut self.memory, name, &image, failed, now);
            }
        }
    }

    fn kill(&mut self, pod: &Arc<Pod>, id: &str, name: &str, grace: Duration, message: &str) {
        let again = match self.graces.get(id) {
            Some(before) if *before <= grace => return,
            before => before.is_some(),
        };
        if !again {
            let reference = pod_reference(pod, Some(format!("spec.containers{{{name}}}")));
            self.context.recorder.normal(reference, "Killing", message);
        }
        self.graces.insert(id.to_owned(), grace);
        self.memory.stopping.insert(id.to_owned());
        // When the grace period was cut short, the hook is under way already.
        let member = spec::members(pod).into_iter().find(|member| member.container.name == name && !again);
        let (context, pod, id, address) = (self.context.clone(), pod.clone(), id.to_owned(), self.address(pod));
        self.kills.spawn(async move {
            if let Err(error) = exec::kill(&context, &pod, member.as_ref(), &id, grace, address).await {
                tracing::warn!(pod = spec::display(&pod), %error, "kill container");
                tokio::time::sleep(RETRY).await;
            }
            id
        });
    }

    async fn finish(&mut self, pod: &Arc<Pod>, deleted: bool) -> Result<Next> {
        if !deleted {
            let directory = self.context.config.pod_dir(spec::uid(pod)).join("volumes");
            crate::volumes::tear_down(&directory)?;
            self.memory.cleaned = true;
            self.refreshed = None;
            return Ok(Next::Wait(Instant::now()));
        }
        exec::remove(&self.context, pod, &self.observed).await?;
        if self.memory.forgotten {
            return Ok(Next::Done);
        }
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), spec::namespace(pod));
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: Some(spec::uid(pod).to_owned()), resource_version: None }),
            ..Default::default()
        };
        match api.delete(spec::name(pod), &params).await {
            Ok(_) => Ok(Next::Done),
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(Next::Done),
            Err(error) => Err(Error::api("delete", format!("pod {}", spec::display(pod)))(error)),
        }
    }

    /// Brings volumes that show API objects up to date now and then.
    async fn refresh(&mut self, pod: &Pod, plan: &Plan) {
        let due = self.refreshed.is_none_or(|refreshed| refreshed.elapsed() >= REFRESH);
        let quiet = plan.over || self.memory.forgotten || pod.metadata.deletion_timestamp.is_some();
        if !due || quiet || !self.observed.containers.iter().any(super::observed::Instance::running) {
            return;
        }
        self.refreshed = Some(Instant::now());
        if let Err(failed) = exec::set_up_volumes(&self.context, pod, self.observed.addresses()).await {
            tracing::warn!(pod = spec::display(pod), error = failed.waiting.message, "refresh volumes");
        }
    }
}

/// Whether two statuses say the same, whatever the order of their conditions.
fn same(one: &PodStatus, other: &PodStatus) -> bool {
    let sorted = |status: &PodStatus| {
        let mut status = status.clone();
        if let Some(conditions) = &mut status.conditions {
            conditions.sort_by(|one, other| one.type_.cmp(&other.type_));
        }
        serde_json::to_value(status).unwrap_or_default()
    };
    sorted(one) == sorted(other)
}

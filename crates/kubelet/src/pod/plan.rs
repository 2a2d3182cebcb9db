//! The pod state machine: from what is wanted, what is observed and what is remembered, to what to do now. Pure.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;

use super::backoff::go_duration;
use super::observed::{Instance, Memory, Observed, State, Waiting};
use super::spec::{self, Member, RestartPolicy, Role};

/// Shortest time between SIGTERM and SIGKILL, seconds.
const GRACE_LEAST_SECONDS: i64 = 2;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make directories, volumes and cgroup, and run a sandbox.
    CreateSandbox {
        /// Which one of the pod it is.
        attempt: u32,
    },
    /// Create and start a container.
    Start {
        /// Its name.
        name: String,
        /// How many of its name were before it.
        attempt: u32,
    },
    /// Stop a container.
    Kill {
        /// The runtime's id.
        id: String,
        /// Its name.
        name: String,
        /// Time from SIGTERM to SIGKILL, with the preStop hook in it.
        grace: Duration,
        /// For the Killing event.
        message: String,
    },
    /// Stop a sandbox.
    StopSandbox {
        /// The runtime's id.
        id: String,
    },
    /// Remove a dead container that nobody will ask for.
    RemoveContainer {
        /// The runtime's id.
        id: String,
    },
    /// Remove a sandbox that was replaced.
    RemoveSandbox {
        /// The runtime's id.
        id: String,
    },
    /// Everything has ended: take volumes down; when the pod is being deleted, remove all of it and tell the API.
    Finish {
        /// Whether the pod is being deleted.
        deleted: bool,
    },
}

impl std::fmt::Display for Action {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::CreateSandbox { attempt } => write!(formatter, "create sandbox {attempt}"),
            Self::Start { name, attempt } => write!(formatter, "start {name} ({attempt})"),
            Self::Kill { name, grace, .. } => write!(formatter, "kill {name} within {}", go_duration(*grace)),
            Self::StopSandbox { .. } => formatter.write_str("stop sandbox"),
            Self::RemoveContainer { id } => write!(formatter, "remove container {id}"),
            Self::RemoveSandbox { id } => write!(formatter, "remove sandbox {id}"),
            Self::Finish { deleted: true } => formatter.write_str("finish and delete"),
            Self::Finish { deleted: false } => formatter.write_str("finish"),
        }
    }
}

/// What to do now, what to show, and when to look again at the latest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// In this order.
    pub actions: Vec<Action>,
    /// Containers that wait for something worth showing, by name.
    pub waiting: Vec<(String, Waiting)>,
    /// When time alone will change the plan.
    pub wake: Option<Timestamp>,
    /// No container runs and none will be started again.
    pub over: bool,
    /// The pod is to end: its reason and message.
    pub ending: Option<Waiting>,
}

/// What a plan is made from.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// What is wanted.
    pub pod: &'a Pod,
    /// Its containers with their places.
    pub members: &'a [Member],
    /// What is there.
    pub observed: &'a Observed,
    /// What happened before.
    pub memory: &'a Memory,
    /// The time.
    pub now: Timestamp,
}

/// Makes the plan.
pub fn plan(input: Input<'_>) -> Plan {
    let mut planner = Planner { input, plan: Plan::default() };
    planner.make();
    planner.plan
}

struct Planner<'a> {
    input: Input<'a>,
    plan: Plan,
}

impl<'a> Planner<'a> {
    fn make(&mut self) {
        let pod = self.input.pod;
        if pod.metadata.deletion_timestamp.is_some() || self.input.memory.forgotten {
            let grace = if self.input.memory.forgotten { GRACE_LEAST_SECONDS } else { spec::deletion_grace_seconds(pod) };
            return self.terminate(grace, true);
        }
        if self.input.memory.ending.is_some() {
            return self.terminate(self.own_grace(), false);
        }
        if let Some(deadline) = spec::deadline(pod) {
            if self.input.now >= deadline && !spec::ended(pod) {
                self.plan.ending = Some(Waiting {
                    reason: "DeadlineExceeded".into(),
                    message: "Pod was active on the node longer than the specified deadline".into(),
                });
                return self.terminate(self.own_grace(), false);
            }
            self.wake_at(deadline);
        }
        if spec::ended(pod) || self.all_done() {
            return self.terminate(self.own_grace(), false);
        }
        match self.input.observed.sandbox() {
            Some(sandbox) if sandbox.ready && (spec::host_network(pod) || !sandbox.addresses.is_empty()) => {
                let id = sandbox.id.clone();
                self.run(&id);
                self.prune();
            }
            _ => self.new_sandbox(),
        }
    }

    fn own_grace(&self) -> i64 {
        self.input.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30)
    }

    fn wake_at(&mut self, time: Timestamp) {
        self.plan.wake = Some(self.plan.wake.map_or(time, |earlier| earlier.min(time)));
    }

    /// Whether no container will ever run again: the pod has succeeded or failed.
    fn all_done(&self) -> bool {
        let done = |member: &Member| match self.input.observed.latest(&member.container.name) {
            Some(instance) => self.over(instance).is_some_and(|code| !spec::restarts(self.input.pod, member, code)),
            None => false,
        };
        let failed_init = self.with_role(Role::Init).any(|member| {
            self.input
                .observed
                .latest(&member.container.name)
                .and_then(|instance| self.over(instance))
                .is_some_and(|code| code != 0 && !spec::restarts(self.input.pod, member, code))
        });
        failed_init || self.with_role(Role::Main).all(done)
    }

    fn with_role(&self, role: Role) -> impl Iterator<Item = &'a Member> {
        self.input.members.iter().filter(move |member| member.role == role)
    }

    /// The exit code of a container that has ended. One that the runtime lost, or that was left in a dead sandbox before
    /// it started, counts as killed.
    fn over(&self, instance: &Instance) -> Option<i32> {
        match &instance.state {
            State::Exited { code, .. } => Some(*code),
            State::Unknown => Some(137),
            _ => None,
        }
    }

    fn terminate(&mut self, grace: i64, deleted: bool) {
        let observed = self.input.observed;
        let alive: Vec<&Instance> = observed.containers.iter().filter(|container| container.alive()).collect();
        let sidecar = |instance: &Instance| self.with_role(Role::Sidecar).any(|member| member.container.name == instance.name);
        let mains_alive = alive.iter().any(|instance| !sidecar(instance));
        let grace = Duration::from_secs(grace.max(GRACE_LEAST_SECONDS) as u64);
        let kills: Vec<Action> = alive
            .iter()
            .filter(|instance| !mains_alive || !sidecar(instance))
            .map(|instance| self.kill(instance, grace, format!("Stopping container {}", instance.name)))
            .collect();
        if !kills.is_empty() {
            self.plan.actions = kills;
            return;
        }
        self.plan.over = true;
        let ready: Vec<Action> = observed
            .sandboxes
            .iter()
            .filter(|sandbox| sandbox.ready)
            .map(|sandbox| Action::StopSandbox { id: sandbox.id.clone() })
            .collect();
        if !ready.is_empty() {
            self.plan.actions = ready;
        } else if deleted || !self.input.memory.cleaned {
            self.plan.actions = vec![Action::Finish { deleted }];
        }
    }

    fn kill(&self, instance: &Instance, grace: Duration, message: String) -> Action {
        Action::Kill { id: instance.id.clone(), name: instance.name.clone(), grace, message }
    }

    fn new_sandbox(&mut self) {
        let observed = self.input.observed;
        // Containers of a sandbox that went away go with it.
        let alive: Vec<Action> = observed
            .containers
            .iter()
            .filter(|container| container.running())
            .map(|instance| {
                self.kill(
                    instance,
                    Duration::from_secs(GRACE_LEAST_SECONDS as u64),
                    "Pod sandbox changed, it will be killed and re-created.".into(),
                )
            })
            .collect();
        if !alive.is_empty() {
            self.plan.actions = alive;
            return;
        }
        let ready: Vec<Action> = observed
            .sandboxes
            .iter()
            .filter(|sandbox| sandbox.ready)
            .map(|sandbox| Action::StopSandbox { id: sandbox.id.clone() })
            .collect();
        if !ready.is_empty() {
            self.plan.actions = ready;
            return;
        }
        if let Some(failure) = &self.input.memory.pod_failure
            && self.input.now < failure.retry_at
        {
            let at = failure.retry_at;
            return self.wake_at(at);
        }
        let attempt = observed.sandbox().map_or(0, |sandbox| sandbox.attempt + 1);
        if attempt > 0 && spec::restart_policy(self.input.pod) == RestartPolicy::Never && !observed.containers.is_empty() {
            self.plan.ending = Some(Waiting { reason: String::new(), message: String::new() });
            return;
        }
        self.plan.actions = vec![Action::CreateSandbox { attempt }];
    }

    /// The sandbox is up: init containers in order, then all others.
    fn run(&mut self, sandbox: &str) {
        let observed = self.input.observed;
        let initialized = self.with_role(Role::Main).any(|member| observed.latest_in(&member.container.name, sandbox).is_some());
        let mut blocked = false;
        for member in self.input.members {
            match member.role {
                Role::Init if !initialized && !blocked => blocked = !self.init(member, sandbox),
                Role::Sidecar if !blocked => {
                    self.keep(member, sandbox);
                    blocked = !initialized && !self.started(member, sandbox);
                }
                Role::Main | Role::Ephemeral if !blocked => self.keep(member, sandbox),
                _ => {}
            }
        }
    }

    fn started(&self, member: &Member, sandbox: &str) -> bool {
        let Some(instance) = self.input.observed.latest_in(&member.container.name, sandbox) else { return false };
        started(self.input.memory, member, instance)
    }

    /// Drives one init container; true when it is done.
    fn init(&mut self, member: &'a Member, sandbox: &str) -> bool {
        let name = &member.container.name;
        match self.input.observed.latest_in(name, sandbox) {
            None => self.start(member, None),
            Some(instance) => match self.over(instance) {
                Some(0) => return true,
                Some(code) if spec::restarts(self.input.pod, member, code) => self.start(member, Some(instance)),
                _ if matches!(instance.state, State::Created) => self.stale(instance),
                _ => {}
            },
        }
        false
    }

    /// Keeps a container running as its policy says.
    fn keep(&mut self, member: &'a Member, sandbox: &str) {
        let name = &member.container.name;
        let Some(instance) = self.input.observed.latest_in(name, sandbox) else { return self.start(member, None) };
        match &instance.state {
            State::Running { .. } => self.supervise(member, instance),
            State::Created => self.stale(instance),
            State::Exited { .. } | State::Unknown => {
                let code = self.over(instance).unwrap_or(137);
                if spec::restarts(self.input.pod, member, code) {
                    self.start(member, Some(instance));
                }
            }
        }
    }

    /// A container that was created and never started is left from a start that failed or was cut short.
    fn stale(&mut self, instance: &Instance) {
        self.plan.actions.push(Action::RemoveContainer { id: instance.id.clone() });
    }

    fn supervise(&mut self, member: &Member, instance: &Instance) {
        let name = &member.container.name;
        let probes = self.input.memory.probes.get(&instance.id).copied().unwrap_or_default();
        let (message, probe) = if member.role != Role::Ephemeral && instance.hash != spec::container_hash(&member.container) {
            (format!("Container {name} definition changed, will be restarted"), None)
        } else if probes.startup == Some(false) {
            (format!("Container {name} failed startup probe, will be restarted"), member.container.startup_probe.as_ref())
        } else if probes.liveness == Some(false) {
            (format!("Container {name} failed liveness probe, will be restarted"), member.container.liveness_probe.as_ref())
        } else {
            return;
        };
        let grace = probe.and_then(|probe| probe.termination_grace_period_seconds).unwrap_or(self.own_grace());
        let action = self.kill(instance, Duration::from_secs(grace.max(GRACE_LEAST_SECONDS) as u64), message);
        self.plan.actions.push(action);
    }

    /// Starts a container unless a back-off says to wait.
    fn start(&mut self, member: &'a Member, last: Option<&Instance>) {
        let name = &member.container.name;
        let now = self.input.now;
        if let Some(instance) = last
            && let Some(backoff) = self.input.memory.restarts.get(name)
        {
            let finished = match &instance.state {
                State::Exited { finished, .. } => *finished,
                _ => instance.created,
            };
            if let Some(until) = backoff.until(finished, now) {
                let message = format!(
                    "back-off {} restarting failed container={name} pod={}",
                    go_duration(backoff.delay),
                    spec::display(self.input.pod)
                );
                self.plan.waiting.push((name.clone(), Waiting { reason: "CrashLoopBackOff".into(), message }));
                return self.wake_at(until);
            }
        }
        if let Some(failure) = self.input.memory.failures.get(name) {
            self.plan.waiting.push((name.clone(), failure.waiting.clone()));
            if now < failure.retry_at {
                let at = failure.retry_at;
                return self.wake_at(at);
            }
        }
        let attempt = self.input.observed.latest(name).map_or(0, |instance| instance.attempt + 1);
        self.plan.actions.push(Action::Start { name: name.clone(), attempt });
    }

    /// Of each name the newest container and the one before it are kept; of sandboxes the newest.
    fn prune(&mut self) {
        let observed = self.input.observed;
        for member in self.input.members {
            let dead = observed.containers.iter().filter(|instance| instance.name == member.container.name).skip(2);
            for instance in dead.filter(|instance| !instance.running()) {
                self.plan.actions.push(Action::RemoveContainer { id: instance.id.clone() });
            }
        }
        for sandbox in observed.sandboxes.iter().skip(1).filter(|sandbox| !sandbox.ready) {
            if !observed.containers.iter().any(|instance| instance.sandbox == sandbox.id) {
                self.plan.actions.push(Action::RemoveSandbox { id: sandbox.id.clone() });
            }
        }
    }
}

/// Whether a container has passed its postStart hook and its startup probe.
pub fn started(memory: &Memory, member: &Member, instance: &Instance) -> bool {
    instance.running()
        && memory.hooked.contains(&instance.id)
        && (member.container.startup_probe.is_none() || memory.probes.get(&instance.id).is_some_and(|probes| probes.startup == Some(true)))
}

/// Whether a container counts as ready.
pub fn ready(memory: &Memory, member: &Member, instance: &Instance) -> bool {
    started(memory, member, instance)
        && (member.container.readiness_probe.is_none()
            || memory.probes.get(&instance.id).is_some_and(|probes| probes.readiness == Some(true)))
}

//! The pod's status, from what is wanted, observed and remembered. Pure.

use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, HostIP, Pod,
    PodCondition, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::observed::{Instance, Memory, Observed, State, Waiting};
use super::phase::{self, names};
use super::plan::{ready, started};
use super::resources;
use super::spec::{self, Member, Role};

/// What a status is made from.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The pod as the API has it.
    pub pod: &'a Pod,
    /// Its containers with their places.
    pub members: &'a [Member],
    /// What is there.
    pub observed: &'a Observed,
    /// What happened before.
    pub memory: &'a Memory,
    /// What waits for what, from the plan.
    pub waiting: &'a [(String, Waiting)],
    /// The node's address.
    pub node_ip: &'a str,
    /// No container will be started again.
    pub over: bool,
    /// The time.
    pub now: Timestamp,
}

/// Makes the status.
pub fn status(input: Input<'_>) -> PodStatus {
    let old = input.pod.status.clone().unwrap_or_default();
    let of = |role: &[Role]| -> Vec<ContainerStatus> {
        input.members.iter().filter(|member| role.contains(&member.role)).map(|member| container_status(&input, member, &old)).collect()
    };
    let init = of(&[Role::Init, Role::Sidecar]);
    let main = of(&[Role::Main]);
    let ephemeral = of(&[Role::Ephemeral]);
    let mut phase = phase::phase(input.pod, &init, &main, input.over);
    if let Some(old @ ("Succeeded" | "Failed")) = old.phase.as_deref() {
        phase = if old == "Succeeded" { names::SUCCEEDED } else { names::FAILED };
    }
    let ending = input.memory.ending.as_ref().filter(|ending| !ending.reason.is_empty());
    if ending.is_some() && input.over {
        phase = names::FAILED;
    }
    let addresses = addresses(&input, &old);
    let mut status = PodStatus {
        phase: Some(phase.to_owned()),
        reason: ending.map(|ending| ending.reason.clone()).or(old.reason.clone()),
        message: ending.map(|ending| ending.message.clone()).or(old.message.clone()),
        host_ip: Some(input.node_ip.to_owned()),
        host_ips: Some(vec![HostIP { ip: input.node_ip.to_owned() }]),
        pod_ip: addresses.first().cloned(),
        pod_ips: (!addresses.is_empty()).then(|| addresses.iter().map(|ip| PodIP { ip: ip.clone() }).collect()),
        start_time: Some(old.start_time.clone().unwrap_or(Time(input.now))),
        qos_class: Some(old.qos_class.clone().unwrap_or_else(|| resources::qos_class(input.pod).to_owned())),
        observed_generation: input.pod.metadata.generation,
        init_container_statuses: (!init.is_empty()).then_some(init),
        container_statuses: Some(main),
        ephemeral_container_statuses: (!ephemeral.is_empty()).then_some(ephemeral),
        ..old.clone()
    };
    status.conditions = Some(conditions(&input, &status, &old, phase));
    status
}

fn addresses(input: &Input<'_>, old: &PodStatus) -> Vec<String> {
    if spec::host_network(input.pod) && input.observed.sandbox().is_some() {
        return vec![input.node_ip.to_owned()];
    }
    let current = input.observed.addresses();
    if !current.is_empty() {
        return current.to_vec();
    }
    // A pod that ends keeps the address it had.
    old.pod_ips.iter().flatten().map(|ip| ip.ip.clone()).collect()
}

fn runtime_id(id: &str) -> String {
    format!("containerd://{id}")
}

fn time(at: Timestamp) -> Option<Time> {
    Some(Time(at))
}

fn terminated(instance: &Instance) -> Option<ContainerStateTerminated> {
    match &instance.state {
        State::Exited { started, finished, code, reason, message } => Some(ContainerStateTerminated {
            container_id: Some(runtime_id(&instance.id)),
            exit_code: *code,
            reason: Some(if !reason.is_empty() {
                reason.clone()
            } else if *code == 0 {
                "Completed".into()
            } else {
                "Error".into()
            }),
            message: (!message.is_empty()).then(|| message.clone()),
            started_at: time(*started),
            finished_at: time(*finished),
            signal: None,
        }),
        State::Unknown => Some(ContainerStateTerminated {
            container_id: Some(runtime_id(&instance.id)),
            exit_code: 137,
            reason: Some("ContainerStatusUnknown".into()),
            message: Some("The container could not be located when the pod was terminated".into()),
            ..Default::default()
        }),
        _ => None,
    }
}

fn container_status(input: &Input<'_>, member: &Member, old: &PodStatus) -> ContainerStatus {
    let container = &member.container;
    let waiting = input.waiting.iter().find(|(name, _)| *name == container.name).map(|(_, waiting)| waiting);
    let latest = input.observed.latest(&container.name).filter(|instance| instance.state != State::Created || waiting.is_none());
    let mut status = ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        started: Some(false),
        ..Default::default()
    };
    let Some(instance) = latest else {
        return never_started(input, member, old, status, waiting);
    };
    status.image.clone_from(&instance.image);
    status.image_id.clone_from(&instance.image_ref);
    status.container_id = Some(runtime_id(&instance.id));
    status.restart_count = instance.attempt as i32;
    let previous = input.observed.previous(&container.name).and_then(terminated);
    match &instance.state {
        State::Running { started: since } => {
            status.state = Some(ContainerState { running: Some(ContainerStateRunning { started_at: time(*since) }), ..Default::default() });
            status.last_state = previous.map(|terminated| ContainerState { terminated: Some(terminated), ..Default::default() });
            status.started = Some(started(input.memory, member, instance));
            status.ready = match member.role {
                Role::Init => false,
                Role::Ephemeral => false,
                _ => ready(input.memory, member, instance),
            };
        }
        State::Created => {
            status.state = Some(waiting_state("ContainerCreating", ""));
            status.last_state = previous.map(|terminated| ContainerState { terminated: Some(terminated), ..Default::default() });
        }
        State::Exited { .. } | State::Unknown => {
            let ended = terminated(instance);
            let exit_code = ended.as_ref().map_or(137, |ended| ended.exit_code);
            let ended = ContainerState { terminated: ended, ..Default::default() };
            status.ready = member.role == Role::Init && exit_code == 0;
            match waiting {
                Some(waiting) if !input.over => {
                    status.state = Some(waiting_state(&waiting.reason, &waiting.message));
                    status.last_state = Some(ended);
                }
                _ => {
                    status.state = Some(ended);
                    status.last_state = previous.map(|terminated| ContainerState { terminated: Some(terminated), ..Default::default() });
                }
            }
        }
    }
    status
}

fn never_started(
    input: &Input<'_>,
    member: &Member,
    old: &PodStatus,
    mut status: ContainerStatus,
    waiting: Option<&Waiting>,
) -> ContainerStatus {
    let known = old
        .container_statuses
        .iter()
        .chain(&old.init_container_statuses)
        .chain(&old.ephemeral_container_statuses)
        .flatten()
        .find(|known| known.name == member.container.name);
    // What was reported as ended stays so after the runtime has forgotten it.
    if let Some(known) = known
        && (spec::ended(input.pod) || input.over || member.role == Role::Init)
        && known.state.as_ref().is_some_and(|state| state.terminated.is_some())
    {
        return ContainerStatus { started: Some(false), ready: member.role == Role::Init && known.ready, ..known.clone() };
    }
    let has_init = input.members.iter().any(|other| matches!(other.role, Role::Init | Role::Sidecar));
    let (reason, message) = match waiting {
        Some(waiting) => (waiting.reason.as_str(), waiting.message.as_str()),
        None if has_init && matches!(member.role, Role::Main | Role::Init | Role::Sidecar) => ("PodInitializing", ""),
        None => ("ContainerCreating", ""),
    };
    status.state = Some(waiting_state(reason, message));
    status
}

fn waiting_state(reason: &str, message: &str) -> ContainerState {
    ContainerState {
        waiting: Some(ContainerStateWaiting {
            reason: Some(reason.to_owned()),
            message: (!message.is_empty()).then(|| message.to_owned()),
        }),
        ..Default::default()
    }
}

fn conditions(input: &Input<'_>, status: &PodStatus, old: &PodStatus, phase: &str) -> Vec<PodCondition> {
    let mut made = Vec::new();
    let sandboxed =
        input.observed.sandbox().is_some_and(|sandbox| sandbox.ready && (spec::host_network(input.pod) || !sandbox.addresses.is_empty()));
    made.push(condition("PodReadyToStartContainers", sandboxed, None));
    made.push(initialized(input, status, phase));
    let containers_ready = containers_ready(input, status, phase);
    let ready = match (&containers_ready, missing_gates(input.pod, old)) {
        (not_ready, _) if not_ready.status != "True" => PodCondition { type_: "Ready".into(), ..not_ready.clone() },
        (_, missing) if !missing.is_empty() => condition("Ready", false, Some(("ReadinessGatesNotReady", missing))),
        _ => condition("Ready", true, None),
    };
    made.push(ready);
    made.push(containers_ready);
    made.push(condition("PodScheduled", true, None));
    for condition in &mut made {
        let before = old.conditions.iter().flatten().find(|before| before.type_ == condition.type_);
        condition.last_transition_time = match before {
            Some(before) if before.status == condition.status => before.last_transition_time.clone(),
            _ => time(input.now),
        };
        condition.observed_generation = input.pod.metadata.generation;
    }
    // Conditions of others (readiness gates, DisruptionTarget) stay as they are.
    for other in old.conditions.iter().flatten() {
        if !made.iter().any(|condition| condition.type_ == other.type_) {
            made.push(other.clone());
        }
    }
    made
}

fn condition(kind: &str, holds: bool, why: Option<(&str, String)>) -> PodCondition {
    PodCondition {
        type_: kind.into(),
        status: if holds { "True" } else { "False" }.into(),
        reason: why.as_ref().map(|(reason, _)| (*reason).to_owned()),
        message: why.and_then(|(_, message)| (!message.is_empty()).then_some(message)),
        ..Default::default()
    }
}

fn initialized(input: &Input<'_>, status: &PodStatus, phase: &str) -> PodCondition {
    if phase == names::SUCCEEDED {
        return condition("Initialized", true, Some(("PodCompleted", String::new())));
    }
    let begun = status.container_statuses.iter().flatten().any(|status| {
        status.state.as_ref().is_some_and(|state| state.running.is_some() || state.terminated.is_some()) || status.last_state.is_some()
    });
    let incomplete: Vec<&str> = input
        .members
        .iter()
        .filter(|member| !begun && matches!(member.role, Role::Init | Role::Sidecar))
        .filter(|member| {
            let found = status.init_container_statuses.iter().flatten().find(|status| status.name == member.container.name);
            !found.is_some_and(|status| if member.role == Role::Sidecar { status.started == Some(true) } else { status.ready })
        })
        .map(|member| member.container.name.as_str())
        .collect();
    if incomplete.is_empty() {
        condition("Initialized", true, None)
    } else {
        let message = format!("containers with incomplete status: [{}]", incomplete.join(" "));
        condition("Initialized", false, Some(("ContainersNotInitialized", message)))
    }
}

fn containers_ready(input: &Input<'_>, status: &PodStatus, phase: &str) -> PodCondition {
    match phase {
        names::SUCCEEDED => return condition("ContainersReady", false, Some(("PodCompleted", String::new()))),
        names::FAILED => return condition("ContainersReady", false, Some(("PodFailed", String::new()))),
        _ => {}
    }
    let unready: Vec<&str> = input
        .members
        .iter()
        .filter(|member| matches!(member.role, Role::Main | Role::Sidecar))
        .filter(|member| {
            let mut all = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
            !all.any(|status| status.name == member.container.name && status.ready)
        })
        .map(|member| member.container.name.as_str())
        .collect();
    if unready.is_empty() {
        condition("ContainersReady", true, None)
    } else {
        let message = format!("containers with unready status: [{}]", unready.join(" "));
        condition("ContainersReady", false, Some(("ContainersNotReady", message)))
    }
}

fn missing_gates(pod: &Pod, old: &PodStatus) -> String {
    let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    let missing: Vec<String> = gates
        .filter_map(|gate| {
            let kind = &gate.condition_type;
            match old.conditions.iter().flatten().find(|condition| condition.type_ == *kind) {
                None => Some(format!("corresponding condition of pod readiness gate \"{kind}\" does not exist.")),
                Some(condition) if condition.status != "True" => {
                    Some(format!("the status of pod readiness gate \"{kind}\" is not \"True\", but {}", condition.status))
                }
                Some(_) => None,
            }
        })
        .collect();
    missing.join(", ")
}

/// The ports by which a container's probes and hooks name its numbers.
pub fn named_port(container: &Container, name: &str) -> Option<i32> {
    container.ports.iter().flatten().find(|port| port.name.as_deref() == Some(name)).map(|port| port.container_port)
}

//! Carries out a plan's actions: the thin, impure side of a pod's worker.

use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use tricorn_proto::cri;

use super::backoff::Backoff;
use super::container::{self, Ingredients};
use super::env::{self, Sources};
use super::observed::{Instance, Memory, Observed, Sandbox, State, Waiting};
use super::spec::{self, Member, Role};
use super::{labels, resources};
use crate::cgroup;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::probe::action::Action as HookAction;
use crate::recorder::pod_reference;
use crate::volumes::payload::Objects;
use crate::volumes::{self, Paths};

/// Longest termination message, bytes.
const TERMINATION_MESSAGE_LIMIT_BYTES: usize = 4096;
/// Termination message taken from the log: lines and bytes.
const FALLBACK_LINES: usize = 80;
const FALLBACK_LIMIT_BYTES: usize = 2048;

/// A failed start, with what its status shows.
pub struct StartFailure {
    /// Reason and message.
    pub waiting: Waiting,
    /// Whether the image is what failed: its back-off is its own.
    pub image: bool,
}

fn failure(reason: &str, message: impl std::fmt::Display) -> StartFailure {
    StartFailure { waiting: Waiting { reason: reason.into(), message: message.to_string() }, image: false }
}

fn event_field(member: &Member) -> Option<String> {
    let list = match member.role {
        Role::Main => "containers",
        Role::Ephemeral => "ephemeralContainers",
        Role::Init | Role::Sidecar => "initContainers",
    };
    Some(format!("spec.{list}{{{}}}", member.container.name))
}

/// Nanoseconds since the epoch as a time; zero is the epoch.
pub fn timestamp(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// What the runtime has of the pod. Statuses of containers that have ended are taken from `known`.
pub async fn observe(context: &Context, uid: &str, known: &Observed) -> Result<Observed> {
    let selector = std::collections::HashMap::from([(labels::POD_UID.to_owned(), uid.to_owned())]);
    let filter = cri::PodSandboxFilter { label_selector: selector.clone(), ..Default::default() };
    let sandboxes = context.cri.list_pod_sandbox(uid, cri::ListPodSandboxRequest { filter: Some(filter) }).await?.items;
    let filter = cri::ContainerFilter { label_selector: selector, ..Default::default() };
    let containers = context.cri.list_containers(uid, cri::ListContainersRequest { filter: Some(filter) }).await?.containers;
    let mut observed = Observed::default();
    for sandbox in sandboxes {
        let ready = sandbox.state == cri::PodSandboxState::SandboxReady as i32;
        let before = known.sandboxes.iter().find(|before| before.id == sandbox.id && before.ready == ready);
        observed.sandboxes.push(match before {
            Some(before) => before.clone(),
            None => describe_sandbox(context, sandbox, ready).await?,
        });
    }
    for found in containers {
        let before = known.containers.iter().find(|before| before.id == found.id && same_state(&before.state, found.state));
        match before {
            Some(before) => observed.containers.push(before.clone()),
            None => observed.containers.extend(describe_container(context, uid, &found).await?),
        }
    }
    observed.sort();
    Ok(observed)
}

fn same_state(known: &State, now: i32) -> bool {
    matches!(
        (known, cri::ContainerState::try_from(now)),
        (State::Running { .. }, Ok(cri::ContainerState::ContainerRunning))
            | (State::Exited { .. }, Ok(cri::ContainerState::ContainerExited))
    )
}

async fn describe_sandbox(context: &Context, sandbox: cri::PodSandbox, ready: bool) -> Result<Sandbox> {
    let mut addresses = Vec::new();
    if ready {
        let request = cri::PodSandboxStatusRequest { pod_sandbox_id: sandbox.id.clone(), verbose: false };
        let status = context.cri.pod_sandbox_status(&sandbox.id, request).await?;
        if let Some(network) = status.status.and_then(|status| status.network).filter(|network| !network.ip.is_empty()) {
            addresses.push(network.ip);
            addresses.extend(network.additional_ips.into_iter().map(|ip| ip.ip));
        }
    }
    let attempt = sandbox.metadata.map_or(0, |metadata| metadata.attempt);
    Ok(Sandbox { id: sandbox.id, attempt, ready, created: timestamp(sandbox.created_at), addresses })
}

async fn describe_container(context: &Context, uid: &str, found: &cri::Container) -> Result<Option<Instance>> {
    let request = cri::ContainerStatusRequest { container_id: found.id.clone(), verbose: false };
    let status = match context.cri.container_status(&found.id, request).await {
        Ok(answer) => answer.status,
        Err(error) if error.is_runtime_not_found() => None,
        Err(error) => return Err(error),
    };
    let Some(status) = status else { return Ok(None) };
    let metadata = status.metadata.clone().unwrap_or_default();
    let state = match cri::ContainerState::try_from(status.state) {
        Ok(cri::ContainerState::ContainerCreated) => State::Created,
        Ok(cri::ContainerState::ContainerRunning) => State::Running { started: timestamp(status.started_at) },
        Ok(cri::ContainerState::ContainerExited) => State::Exited {
            started: timestamp(status.started_at),
            finished: timestamp(status.finished_at),
            code: status.exit_code,
            reason: status.reason.clone(),
            message: termination_message(context, uid, &status, &metadata).await,
        },
        _ => State::Unknown,
    };
    Ok(Some(Instance {
        id: status.id,
        name: metadata.name,
        sandbox: found.pod_sandbox_id.clone(),
        attempt: metadata.attempt,
        created: timestamp(status.created_at),
        state,
        image: status.image.map(|image| image.image).unwrap_or_default(),
        image_ref: status.image_ref,
        hash: status.annotations.get(labels::CONTAINER_HASH).cloned().unwrap_or_default(),
        log_path: status.log_path,
    }))
}

/// What the container left as its last words, or what the runtime says about its end.
async fn termination_message(context: &Context, uid: &str, status: &cri::ContainerStatus, metadata: &cri::ContainerMetadata) -> String {
    let file = container::termination_file(&context.config, uid, &metadata.name, metadata.attempt);
    let mut message = std::fs::read(&file).map(|bytes| tail(&bytes, TERMINATION_MESSAGE_LIMIT_BYTES)).unwrap_or_default();
    let policy = status.annotations.get(labels::TERMINATION_POLICY).map(String::as_str);
    if message.is_empty() && policy == Some("FallbackToLogsOnError") && status.exit_code != 0 {
        let lines = crate::logs::last_lines(std::path::Path::new(&status.log_path), FALLBACK_LINES).unwrap_or_default();
        message = tail(&lines, FALLBACK_LIMIT_BYTES);
    }
    if message.is_empty() { status.message.clone() } else { message }
}

fn tail(bytes: &[u8], limit: usize) -> String {
    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(limit)..]).into_owned()
}

/// Directories, volumes, cgroup, sandbox.
pub async fn create_sandbox(context: &Context, pod: &Pod, attempt: u32) -> Result<(), StartFailure> {
    let uid = spec::uid(pod);
    let pod_dir = context.config.pod_dir(uid);
    let log_dir = context.config.pod_log_dir(spec::namespace(pod), spec::name(pod), uid);
    for path in [&pod_dir, &log_dir] {
        std::fs::create_dir_all(path).map_err(|error| failure("FailedCreatePodSandBox", Error::io("create", path)(error)))?;
    }
    set_up_volumes(context, pod, &[]).await?;
    let group = resources::pod_cgroup(&context.config.cgroup_root(), pod);
    cgroup::ensure(&group, resources::pod_limits(pod)).map_err(|error| failure("FailedCreatePodContainer", error))?;
    let request = cri::RunPodSandboxRequest {
        config: Some(container::sandbox_config(&context.config, pod, attempt)),
        runtime_handler: String::new(),
    };
    if pod.spec.as_ref().and_then(|spec| spec.runtime_class_name.as_deref()).is_some_and(|class| !class.is_empty() && class != "runc") {
        return Err(failure("FailedCreatePodSandBox", "runtimeClassName: not implemented"));
    }
    match context.cri.run_pod_sandbox(&spec::display(pod), request).await {
        Ok(_) => Ok(()),
        Err(error) => {
            let message = format!("Failed to create pod sandbox: {error}");
            context.recorder.warning(pod_reference(pod, None), "FailedCreatePodSandBox", message.clone());
            Err(failure("FailedCreatePodSandBox", message))
        }
    }
}

/// Makes the volumes or refreshes them; a failure is an event.
pub async fn set_up_volumes(context: &Context, pod: &Pod, addresses: &[String]) -> Result<Paths, StartFailure> {
    let facts = context.facts(addresses, pod);
    let pod_dir = context.config.pod_dir(spec::uid(pod));
    volumes::set_up(pod, &pod_dir, &context.objects, &facts).await.map_err(|error| {
        context.recorder.warning(pod_reference(pod, None), "FailedMount", error.to_string());
        failure("FailedMount", error)
    })
}

/// Everything that a container start needs to know.
pub struct Start<'a> {
    /// The node.
    pub context: &'a Context,
    /// The pod.
    pub pod: &'a Pod,
    /// The container and its place.
    pub member: &'a Member,
    /// How many of its name were before it.
    pub attempt: u32,
    /// What is there.
    pub observed: &'a Observed,
}

impl Start<'_> {
    /// Image, volumes, environment, container, start. Answers with the container's id.
    pub async fn run(&self) -> Result<String, StartFailure> {
        let context = self.context;
        let Some(sandbox) = self.observed.sandbox() else { return Err(failure("RunContainerError", "the pod has no sandbox")) };
        let image = self.image().await?;
        let volumes = set_up_volumes(context, self.pod, &sandbox.addresses)
            .await
            .map_err(|failed| failure("CreateContainerConfigError", failed.waiting.message))?;
        let config = self.config(&image, &volumes, sandbox).await.map_err(|message| {
            self.warning("Failed", format!("Error: {message}"));
            failure("CreateContainerConfigError", message)
        })?;
        let request = cri::CreateContainerRequest {
            pod_sandbox_id: sandbox.id.clone(),
            config: Some(config),
            sandbox_config: Some(container::sandbox_config(&context.config, self.pod, sandbox.attempt)),
        };
        let name = &self.member.container.name;
        let created = context.cri.create_container(name, request).await.map_err(|error| {
            self.warning("Failed", format!("Error: {error}"));
            failure("CreateContainerError", error)
        })?;
        self.normal("Created", "Container created".into());
        let start = cri::StartContainerRequest { container_id: created.container_id.clone() };
        context.cri.start_container(name, start).await.map_err(|error| {
            self.warning("Failed", format!("Error: {error}"));
            failure("RunContainerError", error)
        })?;
        self.normal("Started", "Container started".into());
        Ok(created.container_id)
    }

    fn normal(&self, reason: &str, message: String) {
        self.context.recorder.normal(pod_reference(self.pod, event_field(self.member)), reason, message);
    }

    fn warning(&self, reason: &str, message: String) {
        self.context.recorder.warning(pod_reference(self.pod, event_field(self.member)), reason, message);
    }

    async fn image(&self) -> Result<cri::Image, StartFailure> {
        let name = self.member.container.image.clone().unwrap_or_default();
        let policy = self.member.container.image_pull_policy.as_deref().unwrap_or("IfNotPresent");
        let present = self.context.cri.image(&name).await.map_err(|error| failure("ImageInspectError", error))?;
        match (present, policy) {
            (Some(image), policy) if policy != "Always" => {
                self.normal("Pulled", format!("Container image \"{name}\" already present on machine and can be accessed by the pod"));
                Ok(image)
            }
            (None, "Never") => {
                let message = format!("Container image \"{name}\" is not present with pull policy of Never");
                self.warning("ErrImageNeverPull", message.clone());
                Err(StartFailure { waiting: Waiting { reason: "ErrImageNeverPull".into(), message }, image: true })
            }
            _ => self.pull(&name).await,
        }
    }

    async fn pull(&self, name: &str) -> Result<cri::Image, StartFailure> {
        self.normal("Pulling", format!("Pulling image \"{name}\""));
        let request = cri::PullImageRequest {
            image: Some(cri::ImageSpec { image: name.to_owned(), ..Default::default() }),
            sandbox_config: Some(container::sandbox_config(&self.context.config, self.pod, 0)),
            ..Default::default()
        };
        let started = std::time::Instant::now();
        let pulled = async {
            self.context.cri.pull_image(name, request).await?;
            self.context.cri.image(name).await
        };
        let failed = |message: String| StartFailure { waiting: Waiting { reason: "ErrImagePull".into(), message }, image: true };
        match pulled.await {
            Ok(Some(image)) => {
                self.normal(
                    "Pulled",
                    format!("Successfully pulled image \"{name}\" in {:?}. Image size: {} bytes.", started.elapsed(), image.size),
                );
                Ok(image)
            }
            Ok(None) => Err(failed(format!("image \"{name}\" is not there after pulling it"))),
            Err(error) => {
                // Whoever has no registry finds out here what to do instead.
                let remedy = "without a registry, bring it with `tricorn image import`";
                self.warning("Failed", format!("Failed to pull image \"{name}\": {error}; {remedy}"));
                self.warning("Failed", "Error: ErrImagePull".into());
                Err(failed(error.to_string()))
            }
        }
    }

    async fn config(&self, image: &cri::Image, volumes: &Paths, sandbox: &Sandbox) -> Result<cri::ContainerConfig, String> {
        let context = self.context;
        let container = &self.member.container;
        let sources = self.sources().await?;
        let links = self.pod.spec.as_ref().and_then(|spec| spec.enable_service_links).unwrap_or(true);
        let services = context.services.state();
        let services = env::service_variables(services.iter().map(|service| &**service), spec::namespace(self.pod), links);
        let facts = context.facts(&sandbox.addresses, self.pod);
        let environment = env::environment(self.pod, container, &sources, &facts, &services)?;
        let target = self.target();
        container::container_config(&Ingredients {
            config: &context.config,
            pod: self.pod,
            member: self.member,
            attempt: self.attempt,
            image,
            environment,
            volumes,
            addresses: &sandbox.addresses,
            target,
            node_memory_bytes: context.machine.memory_bytes,
        })
        .map_err(|error| error.to_string())
    }

    /// The container whose processes an ephemeral container is to see.
    fn target(&self) -> Option<String> {
        if self.member.role != Role::Ephemeral {
            return None;
        }
        let ephemeral = self.pod.spec.as_ref()?.ephemeral_containers.as_ref()?;
        let target = ephemeral.iter().find(|other| other.name == self.member.container.name)?.target_container_name.as_ref()?;
        self.observed.latest(target).map(|instance| instance.id.clone())
    }

    async fn sources(&self) -> Result<Sources, String> {
        let namespace = spec::namespace(self.pod);
        let (config_maps, secrets) = env::references(&self.member.container);
        let mut sources = Sources::default();
        let text = |data: std::collections::BTreeMap<String, Vec<u8>>| {
            data.into_iter().map(|(key, bytes)| (key, String::from_utf8_lossy(&bytes).into_owned())).collect()
        };
        for name in config_maps {
            let found = self.context.objects.config_map(namespace, &name).await?;
            sources.config_maps.insert(name, found.and_then(|found| found.data));
        }
        for name in secrets {
            let found = self.context.objects.secret(namespace, &name).await?;
            sources.secrets.insert(name, found.map(volumes::payload::secret_data).map(text));
        }
        Ok(sources)
    }
}

/// Runs a postStart hook. An error is an event and the container's end.
pub async fn post_start(context: &Context, pod: &Pod, member: &Member, id: &str, address: Option<IpAddr>) -> bool {
    let Some(hook) = member.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref()) else { return true };
    let limit = Duration::from_secs(600);
    let result = match HookAction::of_hook(hook, &member.container, address.unwrap_or(context.config.node_ip)) {
        Ok(action) => action.run(&context.cri, id, limit).await,
        Err(error) => Err(error),
    };
    if let Err(error) = result {
        context.recorder.warning(pod_reference(pod, event_field(member)), "FailedPostStartHook", format!("PostStartHook failed: {error}"));
        return false;
    }
    true
}

/// Ends a container: its preStop hook, its stop signal, SIGKILL when the grace period is over.
pub async fn kill(context: &Context, pod: &Pod, member: Option<&Member>, id: &str, grace: Duration, address: Option<IpAddr>) -> Result<()> {
    let started = tokio::time::Instant::now();
    let hook = member.and_then(|member| member.container.lifecycle.as_ref()?.pre_stop.as_ref());
    if let (Some(hook), Some(member)) = (hook, member) {
        let result = match HookAction::of_hook(hook, &member.container, address.unwrap_or(context.config.node_ip)) {
            Ok(action) => match tokio::time::timeout(grace, action.run(&context.cri, id, grace)).await {
                Ok(result) => result,
                Err(_) => Err("PreStopHook did not finish within the grace period".into()),
            },
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            context.recorder.warning(pod_reference(pod, event_field(member)), "FailedPreStopHook", format!("PreStopHook failed: {error}"));
        }
    }
    // However long the hook took, the container's own signal gets a moment.
    let left = grace.saturating_sub(started.elapsed()).max(Duration::from_secs(2));
    match context.cri.stop_container(id, left).await {
        Err(error) if !error.is_runtime_not_found() => Err(error),
        _ => Ok(()),
    }
}

/// Removes everything the pod has on the node: containers, sandboxes, logs, volumes, cgroup.
pub async fn remove(context: &Context, pod: &Pod, observed: &Observed) -> Result<()> {
    for instance in &observed.containers {
        let request = cri::RemoveContainerRequest { container_id: instance.id.clone() };
        context.cri.remove_container(&instance.id, request).await?;
    }
    for sandbox in &observed.sandboxes {
        let request = cri::RemovePodSandboxRequest { pod_sandbox_id: sandbox.id.clone() };
        context.cri.remove_pod_sandbox(&sandbox.id, request).await?;
    }
    let uid = spec::uid(pod);
    volumes::tear_down(&context.config.pod_dir(uid))?;
    let logs = context.config.pod_log_dir(spec::namespace(pod), spec::name(pod), uid);
    let _ = std::fs::remove_dir_all(&logs);
    cgroup::remove(&resources::pod_cgroup(&context.config.cgroup_root(), pod));
    Ok(())
}

/// Remembers a failed start and when to try again.
pub fn remember_failure(memory: &mut Memory, name: &str, image_name: &str, failed: StartFailure, now: Timestamp) {
    let retry = |delay: Duration| now.checked_add(delay).unwrap_or(now);
    if failed.image {
        let backoff = Backoff::next(memory.pulls.get(name).copied(), now);
        memory.pulls.insert(name.to_owned(), backoff);
        let mut waiting = failed.waiting;
        if waiting.reason == "ErrImagePull" && memory.failures.contains_key(name) {
            waiting = Waiting {
                reason: "ImagePullBackOff".into(),
                message: format!("Back-off pulling image \"{image_name}\": ErrImagePull: {}", waiting.message),
            };
        }
        memory.failures.insert(name.to_owned(), super::observed::Failure { waiting, retry_at: retry(backoff.delay) });
    } else {
        let backoff = Backoff::next(memory.restarts.get(name).copied(), now);
        memory.restarts.insert(name.to_owned(), backoff);
        memory.failures.insert(name.to_owned(), super::observed::Failure { waiting: failed.waiting, retry_at: retry(backoff.delay) });
    }
}

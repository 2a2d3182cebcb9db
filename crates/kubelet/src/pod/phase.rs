//! The pod's phase from its containers, by upstream's rules.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::spec::{self, RestartPolicy};

/// Phase names.
pub mod names {
    /// Not all containers were started yet.
    pub const PENDING: &str = "Pending";
    /// Running, or about to be restarted.
    pub const RUNNING: &str = "Running";
    /// All ended well.
    pub const SUCCEEDED: &str = "Succeeded";
    /// All ended, not all well.
    pub const FAILED: &str = "Failed";
}

/// How many containers are in which state.
#[derive(Debug, Default, Clone, Copy)]
struct Count {
    unknown: usize,
    waiting: usize,
    running: usize,
    stopped: usize,
    succeeded: usize,
}

impl Count {
    fn add(&mut self, status: Option<&ContainerStatus>) {
        let Some(state) = status.and_then(|status| status.state.as_ref()) else {
            self.unknown += 1;
            return;
        };
        if state.running.is_some() {
            self.running += 1;
        } else if let Some(terminated) = &state.terminated {
            self.stopped += 1;
            self.succeeded += usize::from(terminated.exit_code == 0);
        } else if status.and_then(|status| status.last_state.as_ref()).is_some_and(|last| last.terminated.is_some()) {
            self.stopped += 1;
        } else {
            self.waiting += 1;
        }
    }
}

/// The phase. `over` says that no container will be started again.
pub fn phase(pod: &Pod, init: &[ContainerStatus], main: &[ContainerStatus], over: bool) -> &'static str {
    let find = |statuses: &[ContainerStatus], name: &str| statuses.iter().find(|status| status.name == name).cloned();
    let Some(pod_spec) = &pod.spec else { return names::PENDING };
    let mut pending_init = false;
    let mut failed_init = false;
    for container in pod_spec.init_containers.iter().flatten() {
        let status = find(init, &container.name);
        let sidecar = container.restart_policy.as_deref() == Some("Always");
        let state = status.as_ref().and_then(|status| status.state.as_ref());
        let terminated = state.and_then(|state| state.terminated.as_ref());
        match (sidecar, terminated) {
            (true, _) => {
                pending_init |= !status
                    .as_ref()
                    .is_some_and(|status| status.started == Some(true) || status.last_state.is_some() || terminated.is_some())
            }
            (false, Some(terminated)) if terminated.exit_code == 0 => {}
            (false, Some(_)) => failed_init = true,
            (false, None) => pending_init = true,
        }
    }
    let mut count = Count::default();
    for container in &pod_spec.containers {
        count.add(find(main, &container.name).as_ref());
    }
    let policy = spec::restart_policy(pod);
    if failed_init && policy == RestartPolicy::Never {
        return names::FAILED;
    }
    let begun = count.running + count.stopped > 0;
    if (pending_init || failed_init) && !begun && !over {
        return names::PENDING;
    }
    if over && count.running == 0 && count.waiting + count.unknown == 0 {
        return if count.stopped == count.succeeded { names::SUCCEEDED } else { names::FAILED };
    }
    if over && count.running == 0 && count.waiting + count.unknown > 0 {
        return names::FAILED;
    }
    if count.waiting > 0 {
        names::PENDING
    } else if count.running > 0 && count.unknown == 0 {
        names::RUNNING
    } else if count.stopped > 0 && count.unknown == 0 {
        match policy {
            RestartPolicy::Always => names::RUNNING,
            _ if count.stopped == count.succeeded => names::SUCCEEDED,
            RestartPolicy::Never => names::FAILED,
            RestartPolicy::OnFailure => names::RUNNING,
        }
    } else {
        names::PENDING
    }
}

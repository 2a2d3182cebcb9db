//! What a Job does next. A pod that has ended is first noted in the status, then loses its finalizer, then counts: so
//! each is counted once, whatever is lost in between.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::indexes;
use crate::pods;

/// Finalizer of pods that are not counted yet.
pub(super) const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
/// Annotation and label: the index of a pod of an Indexed Job.
pub(super) const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// Most pods made in one round.
const BURST_PODS: i32 = 500;
/// Most pods noted as ended in one status.
const NOTED_PODS: usize = 500;
/// First pause after a failed pod, in seconds; it doubles.
const BACKOFF_FIRST_SECONDS: i64 = 10;
/// Longest pause, in seconds.
const BACKOFF_MAX_SECONDS: i64 = 600;

/// What to do.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) status: JobStatus,
    /// Indexes of pods to make; -1 for Jobs without indexes.
    pub(super) create: Vec<i32>,
    pub(super) delete: Vec<Arc<Pod>>,
    /// Pods that the status (as it is stored) has noted: their finalizer may go.
    pub(super) release: Vec<Arc<Pod>>,
    pub(super) look_again: Option<Duration>,
    /// Kind, reason and message of an event.
    pub(super) events: Vec<(bool, &'static str, String)>,
}

/// Whether a Job has ended, and when.
pub(super) fn finished(job: &Job) -> Option<Option<Timestamp>> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let end =
        conditions.iter().find(|condition| matches!(condition.type_.as_str(), "Complete" | "Failed") && condition.status == "True")?;
    Some(end.last_transition_time.as_ref().map(|time| time.0))
}

fn tracked(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

pub(super) fn index_of(pod: &Pod) -> Option<i32> {
    pod.metadata.annotations.as_ref()?.get(INDEX)?.parse().ok()
}

fn condition<'a>(status: &'a JobStatus, kind: &str) -> Option<&'a JobCondition> {
    status.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

fn set_condition(status: &mut JobStatus, kind: &str, value: &str, reason: &str, message: &str, now: Timestamp) {
    if condition(status, kind).is_some_and(|condition| condition.status == value) {
        return;
    }
    let all = status.conditions.get_or_insert_with(Vec::new);
    all.retain(|condition| condition.type_ != kind);
    all.push(JobCondition {
        type_: kind.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    });
}

/// What to do about a Job that has `owned` pods. `settled` is whether all pods made or removed before have been seen.
pub(super) fn plan(job: &Job, owned: &[Arc<Pod>], settled: bool, now: Timestamp) -> Plan {
    let mut planner = Planner::new(job, owned, now);
    planner.count();
    planner.note();
    planner.measure();
    if finished(job).is_none() {
        planner.judge();
        if settled {
            planner.staff();
        }
    }
    planner.plan
}

struct Planner<'a> {
    job: &'a Job,
    owned: &'a [Arc<Pod>],
    active: Vec<Arc<Pod>>,
    now: Timestamp,
    completed: BTreeSet<i32>,
    indexed: bool,
    plan: Plan,
}

impl<'a> Planner<'a> {
    fn new(job: &'a Job, owned: &'a [Arc<Pod>], now: Timestamp) -> Self {
        let spec = job.spec.clone().unwrap_or_default();
        let status = job.status.clone().unwrap_or_default();
        let completed = indexes::parse(status.completed_indexes.as_deref().unwrap_or(""));
        let active = owned.iter().filter(|pod| pods::is_active(pod)).cloned().collect();
        let indexed = spec.completion_mode.as_deref() == Some("Indexed");
        Self { job, owned, active, now, completed, indexed, plan: Plan { status, ..Plan::default() } }
    }

    fn spec(&self) -> &k8s_openapi::api::batch::v1::JobSpec {
        static EMPTY: std::sync::LazyLock<k8s_openapi::api::batch::v1::JobSpec> = std::sync::LazyLock::new(Default::default);
        self.job.spec.as_ref().unwrap_or(&EMPTY)
    }

    /// Pods that were noted and have lost their finalizer (or are gone altogether) count now.
    fn count(&mut self) {
        let mut noted = self.plan.status.uncounted_terminated_pods.take().unwrap_or_default();
        let held: BTreeSet<&str> = self.owned.iter().filter(|pod| tracked(pod)).map(|pod| pods::uid(pod)).collect();
        let settle = |list: &mut Option<Vec<String>>| {
            let before = list.as_ref().map_or(0, Vec::len);
            if let Some(list) = list {
                list.retain(|uid| held.contains(uid.as_str()));
            }
            *list = list.take().filter(|list| !list.is_empty());
            i32::try_from(before - list.as_ref().map_or(0, Vec::len)).unwrap_or(0)
        };
        let (succeeded, failed) = (settle(&mut noted.succeeded), settle(&mut noted.failed));
        let add = |count: &mut Option<i32>, more: i32| {
            if more > 0 {
                *count = Some(count.unwrap_or(0) + more);
            }
        };
        if !self.indexed {
            add(&mut self.plan.status.succeeded, succeeded);
        }
        add(&mut self.plan.status.failed, failed);
        let noted_uids: BTreeSet<String> = noted.succeeded.iter().chain(&noted.failed).flatten().cloned().collect();
        self.plan.release = self.owned.iter().filter(|pod| tracked(pod) && noted_uids.contains(pods::uid(pod))).cloned().collect();
        self.plan.status.uncounted_terminated_pods = Some(noted);
    }

    /// Notes pods that have ended since.
    fn note(&mut self) {
        let waits_for_failed = self.spec().pod_replacement_policy.as_deref() == Some("Failed");
        let completions = self.spec().completions.unwrap_or(i32::MAX);
        let mut noted = self.plan.status.uncounted_terminated_pods.take().unwrap_or_default();
        let mut room = NOTED_PODS.saturating_sub(noted.succeeded.iter().chain(&noted.failed).flatten().count());
        let is_noted =
            |noted: &UncountedTerminatedPods, uid: &str| noted.succeeded.iter().chain(&noted.failed).flatten().any(|own| own == uid);
        for pod in self.owned.iter().filter(|pod| tracked(pod)) {
            let uid = pods::uid(pod).to_owned();
            let phase = pods::phase(pod);
            let failed = phase == "Failed" || (pods::is_deleting(pod) && phase != "Succeeded" && !waits_for_failed);
            if room == 0 || is_noted(&noted, &uid) || !(failed || phase == "Succeeded") {
                continue;
            }
            room -= 1;
            if failed {
                noted.failed.get_or_insert_with(Vec::new).push(uid);
            } else if !self.indexed {
                noted.succeeded.get_or_insert_with(Vec::new).push(uid);
            } else {
                if let Some(index) = index_of(pod).filter(|index| *index < completions) {
                    self.completed.insert(index);
                }
                noted.succeeded.get_or_insert_with(Vec::new).push(uid);
            }
        }
        self.plan.status.uncounted_terminated_pods = Some(noted);
        if self.indexed {
            self.plan.status.completed_indexes = Some(indexes::format(&self.completed)).filter(|text| !text.is_empty());
            let count = i32::try_from(self.completed.len()).unwrap_or(i32::MAX);
            self.plan.status.succeeded = Some(count).filter(|count| *count > 0);
        }
    }

    fn measure(&mut self) {
        let count = |filter: fn(&Pod) -> bool| i32::try_from(self.owned.iter().filter(|pod| filter(pod)).count()).unwrap_or(i32::MAX);
        let some = |count: i32| Some(count).filter(|count| *count > 0);
        let (active, terminating) = (count(pods::is_active), count(pods::is_terminating));
        let ready = count(|pod| pods::is_active(pod) && pods::is_ready(pod));
        self.plan.status.active = some(active);
        self.plan.status.terminating = Some(terminating);
        self.plan.status.ready = Some(ready);
    }

    /// Counted and noted failures.
    fn failures(&self) -> i32 {
        let noted = self.plan.status.uncounted_terminated_pods.as_ref().and_then(|noted| noted.failed.as_ref()).map_or(0, Vec::len);
        self.plan.status.failed.unwrap_or(0) + i32::try_from(noted).unwrap_or(i32::MAX)
    }

    fn successes(&self) -> i32 {
        let noted = self.plan.status.uncounted_terminated_pods.as_ref().and_then(|noted| noted.succeeded.as_ref()).map_or(0, Vec::len);
        let noted = if self.indexed { 0 } else { i32::try_from(noted).unwrap_or(i32::MAX) };
        self.plan.status.succeeded.unwrap_or(0) + noted
    }

    /// Why the Job has failed, if it has.
    fn failure(&self) -> Option<(&'static str, &'static str)> {
        let spec = self.spec();
        let limit = spec.backoff_limit.unwrap_or(6);
        let in_place = spec.template.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()) == Some("OnFailure");
        let restarts: i32 = self.active.iter().map(|pod| pods::restarts(pod)).sum();
        let too_many_restarts = in_place && restarts > 0 && restarts >= limit;
        if self.failures() > limit || too_many_restarts {
            return Some(("BackoffLimitExceeded", "Job has reached the specified backoff limit"));
        }
        let started = self.plan.status.start_time.as_ref().map(|time| time.0);
        let end = started
            .zip(spec.active_deadline_seconds)
            .and_then(|(start, seconds)| start.checked_add(SignedDuration::from_secs(seconds)).ok());
        let late = end.is_some_and(|end| end <= self.now) && spec.suspend != Some(true);
        late.then_some(("DeadlineExceeded", "Job was active longer than specified deadline"))
    }

    fn is_complete(&self) -> bool {
        match self.spec().completions {
            Some(completions) => self.successes() >= completions,
            None => self.successes() > 0 && self.active.is_empty(),
        }
    }

    /// Starts, suspends, completes or fails the Job.
    fn judge(&mut self) {
        let suspended = self.spec().suspend == Some(true);
        if self.plan.status.start_time.is_none() && !suspended {
            self.plan.status.start_time = Some(Time(self.now));
        }
        let known = condition(&self.plan.status, "FailureTarget").map(|target| (target.reason.clone(), target.message.clone()));
        let failing = match known {
            Some((reason, message)) => Some((reason.unwrap_or_default(), message.unwrap_or_default())),
            None => self.failure().map(|(reason, message)| (reason.to_owned(), message.to_owned())),
        };
        if let Some((reason, message)) = failing {
            return self.end("FailureTarget", "Failed", &reason, &message);
        }
        if self.is_complete() || condition(&self.plan.status, "SuccessCriteriaMet").is_some() {
            return self.end("SuccessCriteriaMet", "Complete", "CompletionsReached", "Reached expected number of succeeded pods");
        }
        self.suspend_or_resume(suspended);
        if let Some((start, seconds)) = self.plan.status.start_time.clone().zip(self.spec().active_deadline_seconds) {
            let end = start.0.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX);
            self.look_again(end);
        }
    }

    fn look_again(&mut self, at: Timestamp) {
        let left = Duration::try_from(at.duration_since(self.now)).unwrap_or_default().max(Duration::from_millis(100));
        self.plan.look_again = Some(self.plan.look_again.map_or(left, |other| other.min(left)));
    }

    fn suspend_or_resume(&mut self, suspended: bool) {
        let was = condition(&self.plan.status, "Suspended").map(|condition| condition.status == "True");
        if suspended && was != Some(true) {
            set_condition(&mut self.plan.status, "Suspended", "True", "JobSuspended", "Job suspended", self.now);
            self.plan.status.start_time = None;
            self.plan.events.push((true, "Suspended", "Job suspended".to_owned()));
        } else if !suspended && was == Some(true) {
            set_condition(&mut self.plan.status, "Suspended", "False", "JobResumed", "Job resumed", self.now);
            self.plan.status.start_time = Some(Time(self.now));
            self.plan.events.push((true, "Resumed", "Job resumed".to_owned()));
        }
    }

    /// Names the outcome, stops what still runs, and ends the Job once nothing is left to count.
    fn end(&mut self, first: &str, last: &str, reason: &str, message: &str) {
        set_condition(&mut self.plan.status, first, "True", reason, message, self.now);
        self.plan.delete = self.active.clone();
        let uncounted = self.plan.status.uncounted_terminated_pods.clone().unwrap_or_default();
        let all_counted = uncounted.succeeded.iter().chain(&uncounted.failed).flatten().next().is_none();
        let gone = self.active.is_empty() && self.plan.status.terminating.unwrap_or(0) == 0;
        if !(all_counted && gone) {
            return;
        }
        set_condition(&mut self.plan.status, last, "True", reason, message, self.now);
        if last == "Complete" {
            self.plan.status.completion_time = Some(Time(self.now));
            self.plan.events.push((true, "Completed", "Job completed".to_owned()));
        } else {
            self.plan.events.push((
                false,
                if reason == "DeadlineExceeded" { "DeadlineExceeded" } else { "BackoffLimitExceeded" },
                message.to_owned(),
            ));
        }
    }

    /// Makes or removes pods so that as many run as should.
    fn staff(&mut self) {
        if condition(&self.plan.status, "FailureTarget").is_some() || condition(&self.plan.status, "SuccessCriteriaMet").is_some() {
            return;
        }
        let spec = self.spec();
        let parallelism = if spec.suspend == Some(true) { 0 } else { spec.parallelism.unwrap_or(1) };
        let active = i32::try_from(self.active.len()).unwrap_or(i32::MAX);
        let wanted = match spec.completions {
            Some(completions) => (completions - self.successes()).min(parallelism).max(0),
            None if self.successes() > 0 => active.min(parallelism),
            None => parallelism,
        };
        if active > wanted {
            let mut surplus = self.active.clone();
            surplus.sort_by_key(|pod| (pods::is_ready(pod), pods::node(pod).is_some(), pods::phase(pod) == "Running"));
            surplus.truncate(usize::try_from(active - wanted).unwrap_or(0));
            self.plan.delete = surplus;
            return;
        }
        // Pods on their way out take their place until they are gone, if the Job says so.
        let waits = spec.pod_replacement_policy.as_deref() == Some("Failed");
        let leaving = if waits { self.plan.status.terminating.unwrap_or(0) } else { 0 };
        let missing = (wanted - active - leaving).min(BURST_PODS);
        if missing <= 0 {
            return;
        }
        if let Some(at) = self.backoff_until().filter(|at| *at > self.now) {
            return self.look_again(at);
        }
        self.plan.create = if self.indexed { self.free_indexes(missing) } else { vec![-1; usize::try_from(missing).unwrap_or(0)] };
    }

    fn free_indexes(&self, count: i32) -> Vec<i32> {
        let taken: BTreeSet<i32> = self.active.iter().filter_map(|pod| index_of(pod)).collect();
        let all = 0..self.spec().completions.unwrap_or(0);
        let free = all.filter(|index| !taken.contains(index) && !self.completed.contains(index));
        free.take(usize::try_from(count).unwrap_or(0)).collect()
    }

    /// After failures in a row, the next pod waits.
    fn backoff_until(&self) -> Option<Timestamp> {
        let ended = |phase: &'static str| self.owned.iter().filter(move |pod| pods::phase(pod) == phase).map(|pod| finish_time(pod));
        let last_success = ended("Succeeded").max().flatten();
        let failures: Vec<Timestamp> = ended("Failed").flatten().filter(|at| last_success.is_none_or(|success| *at > success)).collect();
        let last = failures.iter().max()?;
        let doublings = u32::try_from(failures.len() - 1).unwrap_or(0).min(10);
        let pause = (BACKOFF_FIRST_SECONDS << doublings).min(BACKOFF_MAX_SECONDS);
        last.checked_add(SignedDuration::from_secs(pause)).ok()
    }
}

fn finish_time(pod: &Pod) -> Option<Timestamp> {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
    let ended = statuses.iter().filter_map(|status| status.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref());
    let last = ended.map(|time| time.0).max();
    last.or_else(|| pod.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;

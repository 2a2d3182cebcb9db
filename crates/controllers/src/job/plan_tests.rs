#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use crate::pods::build::{deleting, pod};
use serde_json::{Value, json};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn job(spec: Value) -> Job {
    let mut spec = spec;
    spec["template"] = json!({"spec": {"containers": [], "restartPolicy": "Never"}});
    serde_json::from_value(json!({"metadata": {"name": "j", "namespace": "default"}, "spec": spec})).unwrap()
}

fn held(pod: Pod) -> Pod {
    let mut pod = pod;
    pod.metadata.finalizers = Some(vec![FINALIZER.into()]);
    pod
}

fn indexed(pod: Pod, index: i32) -> Pod {
    let mut pod = pod;
    pod.metadata.annotations = Some([(INDEX.to_owned(), index.to_string())].into());
    pod
}

/// Plays the rounds that follow: the status is stored, finalizers are removed, pods that are asked to go are gone, and what
/// is left of the wishes is returned with the last status.
fn play(job: &mut Job, pods: &mut [Pod], now: i64, rounds: usize) -> Plan {
    let mut last = Plan::default();
    for _ in 0..rounds {
        let owned: Vec<Arc<Pod>> = pods.iter().cloned().map(Arc::new).collect();
        let plan = plan(job, &owned, true, at(now));
        job.status = Some(plan.status.clone());
        for released in &plan.release {
            let pod = pods.iter_mut().find(|pod| pod.metadata.uid == released.metadata.uid).unwrap();
            pod.metadata.finalizers = None;
        }
        for doomed in &plan.delete {
            let pod = pods.iter_mut().find(|pod| pod.metadata.uid == doomed.metadata.uid).unwrap();
            pod.status.as_mut().unwrap().phase = Some("Failed".into());
        }
        last = plan;
    }
    last
}

fn ends_with(job: &Job, kind: &str) -> bool {
    condition(job.status.as_ref().unwrap(), kind).is_some_and(|condition| condition.status == "True")
}

#[test]
fn as_many_pods_as_fit_are_started() {
    for (spec, expected) in [
        (json!({"completions": 5, "parallelism": 2}), 2),
        (json!({"completions": 1, "parallelism": 9}), 1),
        (json!({"parallelism": 3}), 3),
        (json!({"completions": 5, "parallelism": 2, "suspend": true}), 0),
    ] {
        let plan = plan(&job(spec.clone()), &[], true, at(0));
        assert_eq!(plan.create.len(), expected, "{spec}");
    }
    assert!(plan(&job(json!({"completions": 5})), &[], false, at(0)).create.is_empty());
}

#[test]
fn each_ended_pod_counts_once() {
    let mut job = job(json!({"completions": 2, "parallelism": 2}));
    let mut pods = vec![held(pod("a", "Succeeded")), held(pod("b", "Running"))];
    let first = play(&mut job, &mut pods, 10, 1);
    assert_eq!(first.status.succeeded, None, "noted, not counted");
    assert_eq!(first.status.uncounted_terminated_pods.as_ref().unwrap().succeeded.as_ref().unwrap().len(), 1);
    assert!(first.release.is_empty(), "the note is not stored yet");
    let second = play(&mut job, &mut pods, 10, 3);
    assert_eq!(second.status.succeeded, Some(1));
    pods[1].status.as_mut().unwrap().phase = Some("Succeeded".into());
    let done = play(&mut job, &mut pods, 20, 4);
    assert_eq!((done.status.succeeded, done.status.active), (Some(2), None));
    assert!(ends_with(&job, "Complete") && ends_with(&job, "SuccessCriteriaMet"));
    assert_eq!(done.status.completion_time.as_ref().unwrap().0, at(20));
}

#[test]
fn too_many_failures_end_the_job_and_stop_the_rest() {
    let mut job = job(json!({"completions": 3, "parallelism": 2, "backoffLimit": 0}));
    let mut pods = vec![held(pod("a", "Failed")), held(pod("b", "Running"))];
    let first = play(&mut job, &mut pods, 10, 1);
    assert_eq!(first.delete.len(), 1);
    assert!(!ends_with(&job, "Failed"));
    let last = play(&mut job, &mut pods, 10, 4);
    assert!(ends_with(&job, "Failed"));
    assert_eq!(last.status.failed, Some(2));
    let failed = condition(job.status.as_ref().unwrap(), "Failed").unwrap();
    assert_eq!(failed.reason.as_deref(), Some("BackoffLimitExceeded"));
}

#[test]
fn a_failed_pod_is_replaced_after_a_pause() {
    let mut job = job(json!({"completions": 1}));
    let mut pods = vec![held(pod("a", "Failed"))];
    let soon = play(&mut job, &mut pods, 3, 3);
    assert!(soon.create.is_empty());
    assert_eq!(soon.look_again, Some(Duration::from_secs(7)));
    let later = play(&mut job, &mut pods, 10, 1);
    assert_eq!(later.create, [-1]);
}

#[test]
fn indexes_that_are_done_are_not_done_again() {
    let mut job = job(json!({"completions": 4, "parallelism": 4, "completionMode": "Indexed"}));
    let mut pods = vec![indexed(held(pod("a", "Succeeded")), 1), indexed(held(pod("b", "Running")), 2)];
    let plan = play(&mut job, &mut pods, 10, 3);
    assert_eq!(plan.create, [0, 3]);
    assert_eq!(plan.status.completed_indexes.as_deref(), Some("1"));
    assert_eq!(plan.status.succeeded, Some(1));
}

#[test]
fn the_deadline_ends_the_job() {
    let mut job = job(json!({"completions": 1, "activeDeadlineSeconds": 30}));
    let mut pods = vec![held(pod("a", "Running"))];
    let running = play(&mut job, &mut pods, 100, 1);
    assert_eq!(running.look_again, Some(Duration::from_secs(30)));
    play(&mut job, &mut pods, 130, 5);
    assert_eq!(condition(job.status.as_ref().unwrap(), "Failed").unwrap().reason.as_deref(), Some("DeadlineExceeded"));
}

#[test]
fn suspending_stops_and_resuming_starts_again() {
    let mut job = job(json!({"completions": 1, "suspend": true}));
    let mut pods = vec![held(pod("a", "Running"))];
    let plan = play(&mut job, &mut pods, 10, 1);
    assert_eq!(plan.delete.len(), 1);
    assert!(ends_with(&job, "Suspended") && plan.status.start_time.is_none());
    job.spec.as_mut().unwrap().suspend = Some(false);
    let mut none = Vec::new();
    let plan = play(&mut job, &mut none, 50, 1);
    assert_eq!(plan.create, [-1]);
    assert_eq!(plan.status.start_time.as_ref().unwrap().0, at(50));
}

#[test]
fn a_pod_that_is_being_deleted_has_failed() {
    let mut job = job(json!({"completions": 1}));
    let mut pods = vec![held(deleting(pod("a", "Running")))];
    let plan = play(&mut job, &mut pods, 100, 3);
    assert_eq!(plan.status.failed, Some(1));
    assert_eq!(plan.create, [-1]);
}

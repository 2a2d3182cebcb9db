//! Deletes Jobs some time after they have ended, if they ask for it.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::api::PropagationPolicy;
use tricorn_client::{Change, Deletion, Key, Next, Objects, Queue, RequestError, Shared};

use super::plan::finished;
use crate::context::{Context, now};
use crate::supervise::Failure;

/// Runs the controller until shutdown.
pub(crate) async fn run(context: Context) -> Result<(), Failure> {
    let objects = Arc::new(context.objects("ttl-after-finished-controller"));
    let jobs = context.informers.of::<Job>();
    jobs.synced().await;
    let queue = Queue::new("ttl-after-finished");
    let wake = queue.clone();
    jobs.on_change(move |change| {
        if !matches!(change, Change::Deleted(_)) && expiry(change.latest()).is_some() {
            wake.add(Key::of(change.latest().as_ref()));
        }
    });
    queue
        .run(2, context.shutdown.clone(), move |key| {
            let (objects, jobs) = (objects.clone(), jobs.clone());
            async move { sync(&objects, &jobs, &key).await }
        })
        .await;
    Ok(())
}

/// When an ended Job goes, if it does.
fn expiry(job: &Job) -> Option<Timestamp> {
    let seconds = job.spec.as_ref()?.ttl_seconds_after_finished?;
    let end = finished(job)??;
    end.checked_add(SignedDuration::from_secs(i64::from(seconds))).ok()
}

async fn sync(objects: &Objects, jobs: &Shared<Job>, key: &Key) -> Result<Next, RequestError> {
    let Some(job) = jobs.get(key).filter(|job| job.metadata.deletion_timestamp.is_none()) else { return Ok(Next::Done) };
    let Some(at) = expiry(&job) else { return Ok(Next::Done) };
    let left = Duration::try_from(at.duration_since(now())).unwrap_or_default();
    if !left.is_zero() {
        return Ok(Next::After(left));
    }
    let mut deletion = Deletion::of_uid(job.uid().unwrap_or_default()).propagation(PropagationPolicy::Foreground);
    deletion.resource_version = job.resource_version();
    objects.delete::<Job>(key.namespace(), &key.name, &deletion).await.map(|()| Next::Done)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn only_ended_jobs_expire() {
        let job = |spec: serde_json::Value, conditions: serde_json::Value| -> Job {
            serde_json::from_value(json!({"metadata": {}, "spec": spec, "status": {"conditions": conditions}})).unwrap()
        };
        let done = json!([{"type": "Complete", "status": "True", "lastTransitionTime": "1970-01-01T00:01:40Z"}]);
        let ttl = json!({"ttlSecondsAfterFinished": 20, "template": {}});
        assert_eq!(expiry(&job(ttl.clone(), done.clone())), Some(Timestamp::from_second(120).unwrap()));
        assert_eq!(expiry(&job(ttl, json!([]))), None);
        assert_eq!(expiry(&job(json!({"template": {}}), done)), None);
    }
}

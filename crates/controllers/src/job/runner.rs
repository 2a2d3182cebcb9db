//! Carries out the plan of a Job.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector, Pod};
use kube::ResourceExt;
use serde_json::json;
use tricorn_client::{Change, Deletion, EventKind, Key, Next, Objects, Queue, Recorder, RequestError, Shared};

use super::plan::{FINALIZER, INDEX, Plan, finished, plan};
use crate::context::{Context, now};
use crate::expectations::Expectations;
use crate::owners::{controller_of, controller_reference};
use crate::supervise::Failure;
use crate::{pods, templates};

/// Jobs that are worked on at a time.
const WORKERS: usize = 8;
/// Variable that tells a container its index.
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";

struct Controller {
    objects: Objects,
    recorder: Recorder,
    jobs: Shared<Job>,
    pods: Shared<Pod>,
    expectations: Expectations,
}

/// Runs the controller until shutdown.
pub(crate) async fn run(context: Context) -> Result<(), Failure> {
    let controller = Arc::new(Controller {
        objects: context.objects("job-controller"),
        recorder: context.recorder.named("job-controller"),
        jobs: context.informers.of(),
        pods: context.informers.of(),
        expectations: Expectations::default(),
    });
    controller.jobs.synced().await;
    controller.pods.synced().await;
    let queue = Queue::new("job");
    let (wake, own) = (queue.clone(), controller.clone());
    controller.jobs.on_change(move |change| {
        let key = Key::of(change.latest().as_ref());
        if matches!(change, Change::Deleted(_)) {
            own.expectations.forget(&key);
        }
        wake.add(key);
    });
    let (wake, own) = (queue.clone(), controller.clone());
    controller.pods.on_change(move |change| {
        let pod = change.latest();
        let Some(owner) = controller_of(&pod.metadata).filter(|owner| owner.kind == "Job") else { return };
        let owner = Key::new(pod.namespace().unwrap_or_default(), owner.name.clone());
        match change {
            Change::Added(_) => own.expectations.created(&owner),
            Change::Deleted(_) => own.expectations.deleted(&owner, pods::uid(pod)),
            Change::Updated { .. } if pods::is_deleting(pod) => own.expectations.deleted(&owner, pods::uid(pod)),
            Change::Updated { .. } => {}
        }
        wake.add(owner);
    });
    queue
        .run(WORKERS, context.shutdown.clone(), move |key| {
            let controller = controller.clone();
            async move { controller.sync(&key).await }
        })
        .await;
    Ok(())
}

impl Controller {
    async fn sync(&self, key: &Key) -> Result<Next, RequestError> {
        let Some(job) = self.jobs.get(key) else { return self.release_orphans(key).await };
        let managed_elsewhere =
            job.spec.as_ref().and_then(|spec| spec.managed_by.as_deref()).is_some_and(|by| by != "kubernetes.io/job-controller");
        if managed_elsewhere {
            return Ok(Next::Done);
        }
        let settled = self.expectations.satisfied(key);
        let owned = self.pods.controlled_by(&job.uid().unwrap_or_default());
        let deleting = job.metadata.deletion_timestamp.is_some();
        let plan = plan(&job, &owned, settled && !deleting, now());
        if job.status.as_ref() != Some(&plan.status) {
            let mut updated = job.as_ref().clone();
            updated.status = Some(plan.status.clone());
            self.objects.update_status(&updated).await?;
            for (normal, reason, text) in &plan.events {
                let kind = if *normal { EventKind::Normal } else { EventKind::Warning };
                self.recorder.event(job.as_ref(), kind, reason, text.clone());
            }
        }
        for pod in &plan.release {
            self.release(pod).await?;
        }
        if settled && !deleting {
            self.staff(key, &job, &plan).await?;
        }
        if finished(&job).is_some() {
            // Pods that ended after the Job did still hold a finalizer.
            for pod in owned.iter().filter(|pod| pods::is_terminal(pod) || pods::is_deleting(pod)) {
                self.release(pod).await?;
            }
        }
        Ok(plan.look_again.map_or(Next::Done, Next::After))
    }

    /// The Job is gone: nobody will count its pods any more.
    async fn release_orphans(&self, key: &Key) -> Result<Next, RequestError> {
        let is_of_job = |pod: &Pod| controller_of(&pod.metadata).is_some_and(|owner| owner.kind == "Job" && owner.name == key.name);
        for pod in self.pods.in_namespace(&key.namespace).iter().filter(|pod| is_of_job(pod)) {
            self.release(pod).await?;
        }
        Ok(Next::Done)
    }

    async fn release(&self, pod: &Pod) -> Result<(), RequestError> {
        let left: Vec<_> = pod.metadata.finalizers.iter().flatten().filter(|finalizer| *finalizer != FINALIZER).collect();
        if left.len() == pod.metadata.finalizers.as_ref().map_or(0, Vec::len) {
            return Ok(());
        }
        let patch = json!({"metadata": {"uid": pod.metadata.uid, "resourceVersion": pod.metadata.resource_version, "finalizers": left}});
        match self.objects.merge::<Pod>(pod.metadata.namespace.as_deref(), pods::name(pod), patch).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    async fn staff(&self, key: &Key, job: &Job, plan: &Plan) -> Result<(), RequestError> {
        if plan.create.is_empty() && plan.delete.is_empty() {
            return Ok(());
        }
        self.expectations.expect(key, plan.create.len(), plan.delete.iter().map(|pod| pods::uid(pod).to_owned()));
        let creations = plan.create.iter().map(|index| {
            let pod = new_pod(job, *index);
            async move { self.objects.create(&pod).await }
        });
        let mut failure = None;
        for made in futures::future::join_all(creations).await {
            match made {
                Ok(pod) => {
                    let text = format!("Created pod: {}", pods::name(&pod));
                    self.recorder.event(job, EventKind::Normal, "SuccessfulCreate", text);
                }
                Err(error) => {
                    self.expectations.created(key);
                    if !error.is_namespace_terminating() {
                        self.recorder.event(job, EventKind::Warning, "FailedCreate", format!("Error creating: {error}"));
                        failure = Some(error);
                    }
                }
            }
        }
        for pod in &plan.delete {
            let deletion = Deletion::of_uid(pods::uid(pod));
            match self.objects.delete::<Pod>(key.namespace(), pods::name(pod), &deletion).await {
                Ok(()) => {
                    let text = format!("Deleted pod: {}", pods::name(pod));
                    self.recorder.event(job, EventKind::Normal, "SuccessfulDelete", text);
                }
                Err(error) => {
                    self.expectations.deleted(key, pods::uid(pod));
                    failure = Some(error);
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }
}

fn new_pod(job: &Job, index: i32) -> Pod {
    let template = job.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let mut pod = templates::pod_from(&template, &job.namespace().unwrap_or_default(), controller_reference(job));
    pod.metadata.finalizers.get_or_insert_with(Vec::new).push(FINALIZER.to_owned());
    let labels = pod.metadata.labels.get_or_insert_with(Default::default);
    let (uid, name) = (job.uid().unwrap_or_default(), job.name_any());
    for (key, value) in [
        ("controller-uid", &uid),
        ("batch.kubernetes.io/controller-uid", &uid),
        ("job-name", &name),
        ("batch.kubernetes.io/job-name", &name),
    ] {
        labels.entry(key.to_owned()).or_insert_with(|| value.clone());
    }
    if index < 0 {
        return pod;
    }
    labels.insert(INDEX.to_owned(), index.to_string());
    pod.metadata.annotations.get_or_insert_with(Default::default).insert(INDEX.to_owned(), index.to_string());
    pod.metadata.generate_name = Some(format!("{name}-{index}-"));
    let source = EnvVarSource {
        field_ref: Some(ObjectFieldSelector { api_version: None, field_path: format!("metadata.annotations['{INDEX}']") }),
        ..EnvVarSource::default()
    };
    let variable = EnvVar { name: INDEX_VARIABLE.to_owned(), value_from: Some(source), value: None };
    if let Some(spec) = &mut pod.spec {
        spec.hostname.get_or_insert_with(|| format!("{name}-{index}"));
        for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
            let env = container.env.get_or_insert_with(Vec::new);
            if !env.iter().any(|known| known.name == INDEX_VARIABLE) {
                env.push(variable.clone());
            }
        }
    }
    pod
}

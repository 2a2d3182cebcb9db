//! What a Deployment does next, as a list of steps. Scaling is one step at a time: what it brings about is seen first.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;

use super::conditions::{PROGRESSING, condition, get, set};
use super::numbers::{self, DESIRED, MAXIMUM, available, size, total, wanted};
use super::revisions::{self, HASH, REVISION, Sets, next_revision};
use super::status;
use crate::owners::controller_reference;
use crate::{pods, templates};

/// One request to make.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Make the ReplicaSet of the current template.
    Create(Box<ReplicaSet>),
    /// Give a ReplicaSet this size, and these annotations.
    Scale { set: Arc<ReplicaSet>, to: i32, annotations: BTreeMap<String, String> },
    /// Give the newest ReplicaSet what the Deployment hands down.
    Hand { set: Arc<ReplicaSet>, annotations: BTreeMap<String, String>, min_ready_seconds: Option<i32> },
    /// Note the revision on the Deployment.
    NoteRevision(String),
    /// Remove a ReplicaSet that nobody will roll back to.
    Delete(Arc<ReplicaSet>),
    /// Write the status.
    Status(Box<DeploymentStatus>),
}

/// What to do about a Deployment, given its ReplicaSets and all their pods.
pub(super) fn plan(deployment: &Deployment, sets: &Sets, all_pods: &[Arc<Pod>], now: Timestamp) -> Vec<Step> {
    if deployment.metadata.deletion_timestamp.is_some() {
        return status_step(deployment, status::calculate(deployment, sets, now));
    }
    let mut noted = deployment.clone();
    let conditions = noted.status.get_or_insert_with(Default::default).conditions.get_or_insert_with(Vec::new);
    status::note_pause(deployment, conditions, now);
    let planner = Planner { was: deployment, deployment: &noted, sets, now };
    let paused = deployment.spec.as_ref().and_then(|spec| spec.paused).unwrap_or(false);
    if paused || planner.was_scaled() {
        return planner.scale_only();
    }
    if numbers::is_recreate(deployment) { planner.recreate(all_pods) } else { planner.roll() }
}

fn status_step(deployment: &Deployment, status: DeploymentStatus) -> Vec<Step> {
    if deployment.status.as_ref() == Some(&status) { Vec::new() } else { vec![Step::Status(Box::new(status))] }
}

struct Planner<'a> {
    /// As it is stored, to tell whether the status must be written.
    was: &'a Deployment,
    deployment: &'a Deployment,
    sets: &'a Sets,
    now: Timestamp,
}

impl Planner<'_> {
    /// Whether somebody changed `spec.replicas` since the active ReplicaSets were last scaled.
    fn was_scaled(&self) -> bool {
        let wanted = wanted(self.deployment);
        self.sets.all().filter(|set| size(set) > 0).any(|set| numbers::desired_annotation(set).is_some_and(|seen| seen != wanted))
    }

    fn finish(&self, mut steps: Vec<Step>, status: DeploymentStatus) -> Vec<Step> {
        steps.extend(status_step(self.was, status));
        steps
    }

    /// The status of a rollout, with a note about the newest ReplicaSet.
    fn with_rollout_status(&self, steps: Vec<Step>) -> Vec<Step> {
        let mut deployment = self.deployment.clone();
        if status::deadline(self.deployment).is_some() {
            let conditions = deployment.status.get_or_insert_with(Default::default).conditions.get_or_insert_with(Vec::new);
            let created = steps.iter().find_map(|step| match step {
                Step::Create(set) => set.metadata.name.clone(),
                _ => None,
            });
            let found = self.sets.new.as_ref().and_then(|set| set.metadata.name.clone());
            if let Some(name) = created {
                let text = format!("Created new replica set \"{name}\"");
                set(conditions, condition(PROGRESSING, "True", "NewReplicaSetCreated", text, self.now));
            } else if let Some(name) = found.filter(|_| get(conditions, PROGRESSING).is_none()) {
                let text = format!("Found new replica set \"{name}\"");
                set(conditions, condition(PROGRESSING, "True", "FoundNewReplicaSet", text, self.now));
            }
        }
        let status = status::of_rollout(&deployment, self.sets, self.now);
        self.finish(steps, status)
    }

    fn rolling(&self) -> Option<Vec<Step>> {
        let scaled_up = self.resize_new().into_iter().collect::<Vec<_>>();
        if !scaled_up.is_empty() {
            return Some(scaled_up);
        }
        let scaled_down = self.shrink_old();
        (!scaled_down.is_empty()).then_some(scaled_down)
    }

    fn roll(&self) -> Vec<Step> {
        let mut steps = self.settle_new(true);
        if steps.iter().any(|step| matches!(step, Step::Create(_) | Step::Hand { .. })) {
            return self.with_rollout_status(steps);
        }
        match self.rolling() {
            Some(scaling) => steps.extend(scaling),
            None => steps.extend(self.clean_up_if_complete()),
        }
        self.with_rollout_status(steps)
    }

    fn recreate(&self, all_pods: &[Arc<Pod>]) -> Vec<Step> {
        let mut steps = self.settle_new(false);
        let shrinking: Vec<Step> = self.sets.old.iter().filter(|set| size(set) > 0).map(|set| self.scale(set, 0)).collect();
        if !shrinking.is_empty() {
            steps.extend(shrinking);
            return self.with_rollout_status(steps);
        }
        if self.old_pods_run(all_pods) {
            return self.with_rollout_status(steps);
        }
        if self.sets.new.is_none() {
            return self.with_rollout_status(self.settle_new(true));
        }
        match self.resize_new() {
            Some(step) => steps.push(step),
            None => steps.extend(self.clean_up_if_complete()),
        }
        self.with_rollout_status(steps)
    }

    fn old_pods_run(&self, all_pods: &[Arc<Pod>]) -> bool {
        let new_uid = self.sets.new.as_ref().and_then(|set| set.metadata.uid.as_deref());
        all_pods.iter().any(|pod| {
            let owner = crate::owners::controller_of(&pod.metadata).map(|owner| owner.uid.as_str());
            owner != new_uid && !pods::is_terminal(pod)
        })
    }

    /// Makes the newest ReplicaSet if `create`, or hands down what changed, and notes the revision.
    fn settle_new(&self, create: bool) -> Vec<Step> {
        let next = next_revision(&self.sets.old);
        let mut steps = Vec::new();
        let min_ready = self.deployment.spec.as_ref().and_then(|spec| spec.min_ready_seconds);
        let revision = match &self.sets.new {
            Some(set) => {
                let annotations = revisions::annotations(self.deployment, Some(set), next);
                let revision = annotations.get(REVISION).cloned();
                let same_annotations = set.metadata.annotations.as_ref() == Some(&annotations);
                let same_wait = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0) == min_ready.unwrap_or(0);
                if !same_annotations || !same_wait {
                    steps.push(Step::Hand { set: set.clone(), annotations, min_ready_seconds: min_ready });
                }
                revision
            }
            None if create => {
                steps.push(Step::Create(Box::new(self.new_set(next))));
                Some(next.to_string())
            }
            None => None,
        };
        let noted = self.deployment.metadata.annotations.as_ref().and_then(|all| all.get(REVISION));
        if let Some(revision) = revision.filter(|revision| noted != Some(revision)) {
            steps.push(Step::NoteRevision(revision));
        }
        steps
    }

    fn new_set(&self, revision: i64) -> ReplicaSet {
        let spec = self.deployment.spec.clone().unwrap_or_default();
        let collisions = self.deployment.status.as_ref().and_then(|status| status.collision_count);
        let hash = templates::hash(&spec.template, collisions);
        let mut template = spec.template;
        let mut labels = template.metadata.as_ref().and_then(|meta| meta.labels.clone()).unwrap_or_default();
        labels.insert(HASH.to_owned(), hash.clone());
        template.metadata.get_or_insert_with(Default::default).labels = Some(labels.clone());
        let mut selector = spec.selector;
        selector.match_labels.get_or_insert_with(BTreeMap::new).insert(HASH.to_owned(), hash.clone());
        let replicas = numbers::new_set_size(self.deployment, 0, total(self.sets.all()));
        let mut set = ReplicaSet::default();
        set.metadata.name = Some(format!("{}-{hash}", self.deployment.metadata.name.as_deref().unwrap_or("")));
        set.metadata.namespace.clone_from(&self.deployment.metadata.namespace);
        set.metadata.labels = Some(labels);
        set.metadata.owner_references = Some(vec![controller_reference(self.deployment)]);
        let mut annotations = revisions::annotations(self.deployment, None, revision);
        annotations.extend(self.scale_annotations());
        set.metadata.annotations = Some(annotations);
        set.spec = Some(ReplicaSetSpec {
            replicas: Some(replicas),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        });
        set
    }

    fn scale_annotations(&self) -> [(String, String); 2] {
        let wanted = wanted(self.deployment);
        let maximum = wanted + numbers::margins(self.deployment).0;
        [(DESIRED.to_owned(), wanted.to_string()), (MAXIMUM.to_owned(), maximum.to_string())]
    }

    fn scale(&self, set: &Arc<ReplicaSet>, to: i32) -> Step {
        let mut annotations = set.metadata.annotations.clone().unwrap_or_default();
        annotations.extend(self.scale_annotations());
        Step::Scale { set: set.clone(), to, annotations }
    }

    /// As [`Planner::scale`], but nothing if size and annotations are right already.
    fn scale_if_needed(&self, set: &Arc<ReplicaSet>, to: i32) -> Option<Step> {
        let step = self.scale(set, to);
        let Step::Scale { annotations, .. } = &step else { return None };
        let same = size(set) == to && set.metadata.annotations.as_ref() == Some(annotations);
        (!same).then_some(step)
    }

    fn resize_new(&self) -> Option<Step> {
        let new = self.sets.new.as_ref()?;
        let (present, wanted) = (size(new), wanted(self.deployment));
        let to = if present > wanted { wanted } else { numbers::new_set_size(self.deployment, present, total(self.sets.all())) };
        (to != present).then(|| self.scale(new, to))
    }

    /// Takes pods from old ReplicaSets: first ones that are not available anyway, then as many as may be missing.
    fn shrink_old(&self) -> Vec<Step> {
        let Some(new) = self.sets.new.as_ref() else { return Vec::new() };
        if total(&self.sets.old) == 0 {
            return Vec::new();
        }
        let minimum = wanted(self.deployment) - numbers::max_unavailable(self.deployment);
        let missing_new = size(new) - available(new);
        let may_go = total(self.sets.all()) - minimum - missing_new;
        if may_go <= 0 {
            return Vec::new();
        }
        let mut sizes: Vec<i32> = self.sets.old.iter().map(|set| size(set)).collect();
        let mut gone = 0;
        for (set, size) in self.sets.old.iter().zip(&mut sizes) {
            let unhealthy = (*size - available(set)).max(0).min(may_go - gone);
            *size -= unhealthy;
            gone += unhealthy;
        }
        // Pods that never were available have gone now; available ones may go down to the minimum.
        let mut spare = self.sets.all().map(|set| available(set)).sum::<i32>() - minimum;
        for size in &mut sizes {
            let taken = (*size).min(spare).max(0);
            *size -= taken;
            spare -= taken;
        }
        let changed = self.sets.old.iter().zip(sizes).filter(|(set, to)| size(set) != *to);
        changed.map(|(set, to)| self.scale(set, to)).collect()
    }

    /// Scaling without a rollout: while paused, or when only `spec.replicas` changed.
    fn scale_only(&self) -> Vec<Step> {
        let mut steps = self.settle_new(false);
        steps.extend(self.spread());
        let paused = self.deployment.spec.as_ref().and_then(|spec| spec.paused).unwrap_or(false);
        if paused {
            steps.extend(self.clean_up());
        }
        let status = status::calculate(self.deployment, self.sets, self.now);
        self.finish(steps, status)
    }

    fn spread(&self) -> Vec<Step> {
        let mut active: Vec<&Arc<ReplicaSet>> = self.sets.all().filter(|set| size(set) > 0).collect();
        let wanted = wanted(self.deployment);
        let only = match active.as_slice() {
            [] => self.sets.new.as_ref().or(self.sets.old.last()),
            [one] => Some(*one),
            _ => None,
        };
        if let Some(only) = only {
            return self.scale_if_needed(only, wanted).into_iter().collect();
        }
        if numbers::is_saturated(self.deployment, self.sets.new.as_ref()) {
            return self.sets.old.iter().filter(|set| size(set) > 0).map(|set| self.scale(set, 0)).collect();
        }
        if numbers::is_recreate(self.deployment) || active.is_empty() {
            return Vec::new();
        }
        let allowed = if wanted > 0 { wanted + numbers::margins(self.deployment).0 } else { 0 };
        let to_add = allowed - total(active.iter().copied());
        // Growth goes to the larger and newer first, shrinking hits the larger and older first.
        active.sort_by_key(|set| Reverse(size(set)));
        if to_add > 0 {
            active.sort_by(|a, b| size(b).cmp(&size(a)).then_with(|| revisions::created(b).cmp(&revisions::created(a))));
        }
        let mut added = 0;
        let mut sizes = Vec::with_capacity(active.len());
        for set in &active {
            let share = numbers::proportion(self.deployment, set, to_add, added);
            added += share;
            sizes.push(size(set) + share);
        }
        if let Some(first) = sizes.first_mut().filter(|_| to_add != 0) {
            *first = (*first + to_add - added).max(0);
        }
        active.iter().zip(sizes).filter_map(|(set, to)| self.scale_if_needed(set, to)).collect()
    }

    fn clean_up_if_complete(&self) -> Vec<Step> {
        let status = status::calculate(self.deployment, self.sets, self.now);
        if status::is_complete(self.deployment, &status) { self.clean_up() } else { Vec::new() }
    }

    /// Removes empty old ReplicaSets beyond the history limit, the lowest revisions first.
    fn clean_up(&self) -> Vec<Step> {
        let limit = self.deployment.spec.as_ref().and_then(|spec| spec.revision_history_limit);
        let Some(limit) = limit.filter(|limit| *limit != i32::MAX) else { return Vec::new() };
        let mut old: Vec<&Arc<ReplicaSet>> = self.sets.old.iter().filter(|set| set.metadata.deletion_timestamp.is_none()).collect();
        let surplus = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        old.sort_by_key(|set| revisions::revision(set));
        let is_idle = |set: &ReplicaSet| {
            let status = set.status.clone().unwrap_or_default();
            status.replicas == 0 && size(set) == 0 && status.observed_generation >= set.metadata.generation
        };
        old.into_iter().take(surplus).filter(|set| is_idle(set)).map(|set| Step::Delete(set.clone())).collect()
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;

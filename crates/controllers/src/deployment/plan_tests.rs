#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use k8s_openapi::api::apps::v1::{DeploymentSpec, DeploymentStrategy, ReplicaSetStatus, RollingUpdateDeployment};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn deployment(replicas: i32, surge: i32, unavailable: i32) -> Deployment {
    let mut deployment = Deployment::default();
    deployment.metadata.name = Some("web".into());
    deployment.metadata.namespace = Some("default".into());
    deployment.metadata.uid = Some("uid-web".into());
    deployment.metadata.generation = Some(1);
    let rolling =
        RollingUpdateDeployment { max_surge: Some(IntOrString::Int(surge)), max_unavailable: Some(IntOrString::Int(unavailable)) };
    let mut spec = DeploymentSpec {
        replicas: Some(replicas),
        strategy: Some(DeploymentStrategy { type_: Some("RollingUpdate".into()), rolling_update: Some(rolling) }),
        revision_history_limit: Some(2),
        progress_deadline_seconds: Some(600),
        ..Default::default()
    };
    spec.selector.match_labels = Some([("app".to_owned(), "web".to_owned())].into());
    spec.template.metadata.get_or_insert_with(Default::default).labels = Some([("app".to_owned(), "web".to_owned())].into());
    deployment.spec = Some(spec);
    deployment
}

fn with_image(mut deployment: Deployment, image: &str) -> Deployment {
    let spec = deployment.spec.as_mut().unwrap();
    spec.template.metadata.get_or_insert_with(Default::default).annotations = Some([("image".to_owned(), image.to_owned())].into());
    deployment
}

/// The ReplicaSet that `deployment` would make, with a size, an available count and an age.
fn made_by(deployment: &Deployment, revision: i64, size: i32, available: i32, created: i64) -> Arc<ReplicaSet> {
    let sets = Sets::default();
    let planner = Planner { was: deployment, deployment, sets: &sets, now: at(0) };
    let mut set = planner.new_set(revision);
    set.metadata.uid = set.metadata.name.clone();
    set.metadata.creation_timestamp = Some(Time(at(created)));
    set.metadata.generation = Some(1);
    set.spec.as_mut().unwrap().replicas = Some(size);
    set.status = Some(ReplicaSetStatus {
        replicas: size,
        available_replicas: Some(available),
        ready_replicas: Some(available),
        observed_generation: Some(1),
        ..Default::default()
    });
    Arc::new(set)
}

/// Steps in words, statuses left out.
fn words(steps: &[Step]) -> Vec<String> {
    let word = |step: &Step| match step {
        Step::Create(set) => Some(format!("create {}", size(set))),
        Step::Scale { set, to, .. } => Some(format!("scale r{} {}->{to}", revisions::revision(set), size(set))),
        Step::Hand { set, .. } => Some(format!("hand r{}", revisions::revision(set))),
        Step::NoteRevision(revision) => Some(format!("note {revision}")),
        Step::Delete(set) => Some(format!("delete r{}", revisions::revision(set))),
        Step::Status(_) => None,
    };
    steps.iter().filter_map(word).collect()
}

fn status_of(steps: &[Step]) -> DeploymentStatus {
    let found = steps.iter().find_map(|step| match step {
        Step::Status(status) => Some(status.as_ref().clone()),
        _ => None,
    });
    found.expect("a status step")
}

fn noted(mut deployment: Deployment, revision: &str) -> Deployment {
    deployment.metadata.annotations = Some([(REVISION.to_owned(), revision.to_owned())].into());
    deployment
}

#[test]
fn the_first_replica_set_gets_all_pods_at_once() {
    let deployment = deployment(3, 1, 0);
    let steps = plan(&deployment, &Sets::default(), &[], at(10));
    assert_eq!(words(&steps), ["create 3", "note 1"]);
    let Step::Create(set) = &steps[0] else { panic!("{steps:?}") };
    let hash = set.metadata.labels.as_ref().unwrap()[HASH].clone();
    assert_eq!(set.metadata.name.as_deref(), Some(format!("web-{hash}").as_str()));
    assert_eq!(set.spec.as_ref().unwrap().selector.match_labels.as_ref().unwrap()[HASH], hash);
    assert_eq!(set.metadata.annotations.as_ref().unwrap()[MAXIMUM], "4");
    let status = status_of(&steps);
    let progressing = get(status.conditions.as_deref().unwrap(), PROGRESSING).unwrap();
    assert_eq!(progressing.reason.as_deref(), Some("NewReplicaSetCreated"));
}

/// Rolls from one template to another, each round as the ReplicaSet controller would answer.
#[test]
fn a_rolling_update_stays_within_its_margins() {
    for (replicas, surge, unavailable) in [(3, 1, 0), (3, 0, 1), (10, 3, 2), (1, 1, 0), (4, 4, 4)] {
        let old = deployment(replicas, surge, unavailable);
        let new = noted(with_image(old.clone(), "v2"), "1");
        let mut sets = vec![made_by(&old, 1, replicas, replicas, 1)];
        let mut deployment = new;
        for round in 0..100 {
            let sorted = Sets::of(&deployment, sets.clone());
            let steps = plan(&deployment, &sorted, &[], at(round));
            for step in steps {
                match step {
                    Step::Create(set) => {
                        let mut set = *set;
                        set.metadata.uid = set.metadata.name.clone();
                        set.metadata.creation_timestamp = Some(Time(at(100)));
                        sets.push(Arc::new(set));
                    }
                    Step::Scale { set, to, annotations } => {
                        let target = sets.iter_mut().find(|s| s.metadata.name == set.metadata.name).unwrap();
                        let target = Arc::make_mut(target);
                        target.spec.as_mut().unwrap().replicas = Some(to);
                        target.metadata.annotations = Some(annotations);
                    }
                    Step::Status(status) => deployment.status = Some(*status),
                    Step::NoteRevision(revision) => deployment = noted(deployment, &revision),
                    Step::Hand { .. } | Step::Delete(_) => {}
                }
            }
            let pods: i32 = sets.iter().map(|set| size(set)).sum();
            assert!(pods <= replicas + surge, "too many pods: {pods}");
            let still: i32 = sets.iter().map(|set| size(set).min(available(set))).sum();
            assert!(still >= replicas - unavailable, "too few available: {still} in round {round}");
            // All pods that are wanted come up, surplus ones go.
            for set in &mut sets {
                let set = Arc::make_mut(set);
                let size = set.spec.as_ref().unwrap().replicas;
                let status = set.status.get_or_insert_with(Default::default);
                status.replicas = size.unwrap();
                status.available_replicas = size;
                status.ready_replicas = size;
            }
        }
        let last = Sets::of(&deployment, sets);
        assert_eq!((size(last.new.as_ref().unwrap()), total(&last.old)), (replicas, 0));
        let status = deployment.status.unwrap();
        assert_eq!((status.updated_replicas, status.available_replicas), (Some(replicas), Some(replicas)));
        let progressing = get(status.conditions.as_deref().unwrap(), PROGRESSING).unwrap().clone();
        assert_eq!(progressing.reason.as_deref(), Some("NewReplicaSetAvailable"));
        assert_eq!(deployment.metadata.annotations.unwrap()[REVISION], "2");
    }
}

#[test]
fn broken_old_pods_go_first() {
    let old = deployment(3, 1, 1);
    let new = noted(with_image(old.clone(), "v2"), "2");
    let sets = Sets::of(&new, vec![made_by(&old, 1, 3, 0, 1), made_by(&new, 2, 1, 0, 2)]);
    let steps = plan(&new, &sets, &[], at(10));
    assert_eq!(words(&steps), ["scale r1 3->2"]);
}

#[test]
fn going_back_takes_the_old_set_and_a_new_revision() {
    let old = deployment(2, 1, 0);
    let new = with_image(old.clone(), "v2");
    let back = noted(old.clone(), "2");
    let sets = Sets::of(&back, vec![made_by(&old, 1, 0, 0, 1), made_by(&new, 2, 2, 2, 2)]);
    let steps = plan(&back, &sets, &[], at(10));
    assert_eq!(words(&steps), ["hand r1", "note 3"]);
    let Step::Hand { annotations, .. } = &steps[0] else { panic!("{steps:?}") };
    assert_eq!(annotations[REVISION], "3");
    assert_eq!(annotations["deployment.kubernetes.io/revision-history"], "1");
}

#[test]
fn recreate_waits_for_the_last_old_pod() {
    let mut old = deployment(2, 0, 0);
    old.spec.as_mut().unwrap().strategy = Some(DeploymentStrategy { type_: Some("Recreate".into()), rolling_update: None });
    let new = noted(with_image(old.clone(), "v2"), "1");
    let sets = Sets::of(&new, vec![made_by(&old, 1, 2, 2, 1)]);
    assert_eq!(words(&plan(&new, &sets, &[], at(10))), ["scale r1 2->0"]);
    let sets = Sets::of(&new, vec![made_by(&old, 1, 0, 0, 1)]);
    let mut leftover = crate::pods::build::deleting(crate::pods::build::pod("web-1", "Running"));
    leftover.metadata.owner_references = Some(vec![controller_reference(sets.old[0].as_ref())]);
    assert!(words(&plan(&new, &sets, &[Arc::new(leftover)], at(10))).is_empty());
    assert_eq!(words(&plan(&new, &sets, &[], at(10))), ["create 2", "note 2"]);
}

#[test]
fn scaling_in_the_middle_of_a_rollout_keeps_the_proportions() {
    let old = deployment(10, 3, 2);
    let new = with_image(old.clone(), "v2");
    let mut bigger = noted(new.clone(), "2");
    bigger.spec.as_mut().unwrap().replicas = Some(20);
    let sets = Sets::of(&bigger, vec![made_by(&old, 1, 8, 8, 1), made_by(&new, 2, 5, 0, 2)]);
    let steps = plan(&bigger, &sets, &[], at(10));
    assert_eq!(words(&steps), ["scale r1 8->14", "scale r2 5->9"]);
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let old = deployment(2, 1, 0);
    let mut paused = noted(with_image(old.clone(), "v2"), "1");
    paused.spec.as_mut().unwrap().paused = Some(true);
    paused.spec.as_mut().unwrap().replicas = Some(4);
    let sets = Sets::of(&paused, vec![made_by(&old, 1, 2, 2, 1)]);
    let steps = plan(&paused, &sets, &[], at(10));
    assert_eq!(words(&steps), ["scale r1 2->4"]);
    let status = status_of(&steps);
    let progressing = get(status.conditions.as_deref().unwrap(), PROGRESSING).unwrap();
    assert_eq!(progressing.reason.as_deref(), Some("DeploymentPaused"));
}

#[test]
fn a_rollout_that_stands_still_times_out() {
    let old = deployment(2, 1, 0);
    let new = noted(with_image(old.clone(), "v2"), "2");
    let sets = Sets::of(&new, vec![made_by(&old, 1, 2, 2, 1), made_by(&new, 2, 1, 0, 2)]);
    let mut deployment = new;
    let first = plan(&deployment, &sets, &[], at(10));
    deployment.status = Some(status_of(&first));
    assert!(plan(&deployment, &sets, &[], at(600)).is_empty());
    let late = status_of(&plan(&deployment, &sets, &[], at(611)));
    let progressing = get(late.conditions.as_deref().unwrap(), PROGRESSING).unwrap();
    assert_eq!((progressing.status.as_str(), progressing.reason.as_deref()), ("False", Some("ProgressDeadlineExceeded")));
}

#[test]
fn history_is_kept_up_to_its_limit() {
    let current = noted(deployment(1, 1, 0), "5");
    let mut sets = vec![made_by(&current, 5, 1, 1, 5)];
    for revision in 1..5 {
        let old = with_image(current.clone(), &format!("v{revision}"));
        sets.push(made_by(&old, revision, 0, 0, revision));
    }
    let steps = plan(&current, &Sets::of(&current, sets), &[], at(10));
    assert_eq!(words(&steps), ["delete r1", "delete r2"]);
}

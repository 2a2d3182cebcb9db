//! How many pods which ReplicaSet may have.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Annotation on a ReplicaSet: the replicas that its Deployment wanted when it was last scaled.
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// Annotation on a ReplicaSet: the most pods that its Deployment allowed then.
pub(super) const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";

/// Replicas that the Deployment wants.
pub(super) fn wanted(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// Whether old pods go before new ones come.
pub(super) fn is_recreate(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
}

/// A number, or a percentage of `total`, rounded up or down.
pub(crate) fn scaled(value: Option<&IntOrString>, total: i32, round_up: bool, default: &IntOrString) -> i32 {
    match value.unwrap_or(default) {
        IntOrString::Int(number) => *number,
        IntOrString::String(text) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
            let product = percent * i64::from(total);
            let rounded = if round_up { (product + 99).div_euclid(100) } else { product.div_euclid(100) };
            i32::try_from(rounded).unwrap_or(i32::MAX)
        }
    }
}

/// How far the Deployment may go above and below what it wants: (maxSurge, maxUnavailable).
pub(super) fn margins(deployment: &Deployment) -> (i32, i32) {
    if is_recreate(deployment) {
        return (0, 0);
    }
    let wanted = wanted(deployment);
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let quarter = IntOrString::String("25%".to_owned());
    let surge = scaled(rolling.and_then(|r| r.max_surge.as_ref()), wanted, true, &quarter);
    let unavailable = scaled(rolling.and_then(|r| r.max_unavailable.as_ref()), wanted, false, &quarter);
    // Both zero would mean standing still.
    let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
    (surge, unavailable)
}

/// Pods that may be missing while a rollout goes on.
pub(super) fn max_unavailable(deployment: &Deployment) -> i32 {
    let wanted = wanted(deployment);
    if is_recreate(deployment) || wanted == 0 { 0 } else { margins(deployment).1.min(wanted) }
}

/// Replicas in a ReplicaSet's spec.
pub(super) fn size(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// Sum of the sizes.
pub(super) fn total<'a>(sets: impl IntoIterator<Item = &'a Arc<ReplicaSet>>) -> i32 {
    sets.into_iter().map(|set| size(set)).sum()
}

/// Available pods in a ReplicaSet's status.
pub(super) fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

fn annotation(set: &ReplicaSet, name: &str) -> Option<i32> {
    set.metadata.annotations.as_ref()?.get(name)?.parse().ok()
}

/// The replicas that were wanted when the set was last scaled.
pub(super) fn desired_annotation(set: &ReplicaSet) -> Option<i32> {
    annotation(set, DESIRED)
}

/// The size that the newest ReplicaSet may take now. `new_size` is its present size, 0 if it does not exist yet;
/// `all` is the size of all ReplicaSets together.
pub(super) fn new_set_size(deployment: &Deployment, new_size: i32, all: i32) -> i32 {
    let wanted = wanted(deployment);
    if is_recreate(deployment) {
        return wanted;
    }
    let allowed = wanted + margins(deployment).0;
    if all >= allowed {
        return new_size;
    }
    new_size + (allowed - all).min(wanted - new_size)
}

/// Whether the ReplicaSet holds all that the Deployment wants, and all of it is available.
pub(super) fn is_saturated(deployment: &Deployment, set: Option<&Arc<ReplicaSet>>) -> bool {
    let wanted = wanted(deployment);
    set.is_some_and(|set| desired_annotation(set) == Some(wanted) && size(set) == wanted && available(set) == wanted)
}

/// How much of `to_add` (negative when scaling down) the ReplicaSet takes, in proportion to its size; `added` is what
/// others have taken.
pub(super) fn proportion(deployment: &Deployment, set: &ReplicaSet, to_add: i32, added: i32) -> i32 {
    if size(set) == 0 || to_add == 0 || to_add == added {
        return 0;
    }
    let share = share(deployment, set);
    let left = to_add - added;
    if to_add > 0 { share.min(left) } else { share.max(left) }
}

fn share(deployment: &Deployment, set: &ReplicaSet) -> i32 {
    let wanted = wanted(deployment);
    let size = size(set);
    if wanted == 0 {
        return -size;
    }
    let maximum = wanted + margins(deployment).0;
    let before = annotation(set, MAXIMUM)
        .filter(|before| *before > 0)
        .or_else(|| deployment.status.as_ref().and_then(|status| status.replicas).filter(|before| *before > 0))
        .unwrap_or(maximum);
    let grown = (f64::from(size) * f64::from(maximum) / f64::from(before)).round();
    // Sizes are far below 2^31.
    #[allow(clippy::cast_possible_truncation)]
    let grown = grown as i32;
    grown - size
}

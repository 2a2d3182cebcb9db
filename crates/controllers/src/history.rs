//! The revisions of a pod template that DaemonSets and StatefulSets keep, as ControllerRevision objects.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::ResourceExt;
use serde_json::{Value, json};
use tricorn_client::{Deletion, Objects, RequestError, Shared};

use crate::templates;

/// Label: the revision that a pod was made from.
pub(crate) const HASH: &str = "controller-revision-hash";

/// Whose history it is.
pub(crate) struct Owner<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) reference: OwnerReference,
    pub(crate) template: &'a PodTemplateSpec,
    pub(crate) collisions: Option<i32>,
}

/// The part of the owner that a revision brings back when it is applied.
fn data(template: &PodTemplateSpec) -> Value {
    let mut template = serde_json::to_value(template).unwrap_or_default();
    template["$patch"] = json!("replace");
    json!({"spec": {"template": template}})
}

/// The hash of the present template.
pub(crate) fn hash(owner: &Owner<'_>) -> String {
    templates::hash(owner.template, owner.collisions)
}

/// The name of the revision of the present template.
pub(crate) fn name(owner: &Owner<'_>) -> String {
    format!("{}-{}", owner.reference.name, hash(owner))
}

/// The template that a revision holds.
pub(crate) fn template(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let data = &revision.data.as_ref()?.0;
    serde_json::from_value(data.pointer("/spec/template")?.clone()).ok()
}

/// The owned revisions, oldest first.
pub(crate) fn owned(revisions: &Shared<ControllerRevision>, uid: &str) -> Vec<Arc<ControllerRevision>> {
    let mut all = revisions.controlled_by(uid);
    all.sort_by_key(|revision| revision.revision);
    all
}

/// Makes sure that the present template has a revision, the highest one.
pub(crate) async fn record(objects: &Objects, owner: &Owner<'_>, known: &[Arc<ControllerRevision>]) -> Result<(), RequestError> {
    let hash = hash(owner);
    let name = format!("{}-{hash}", owner.reference.name);
    let highest = known.last().map_or(0, |revision| revision.revision);
    if let Some(present) = known.iter().find(|revision| revision.name_any() == name) {
        if present.revision < highest {
            let patch = json!({"metadata": {"resourceVersion": present.metadata.resource_version}, "revision": highest + 1});
            objects.merge::<ControllerRevision>(Some(owner.namespace), &name, patch).await?;
        }
        return Ok(());
    }
    let mut revision = ControllerRevision { data: Some(RawExtension(data(owner.template))), revision: highest + 1, ..Default::default() };
    revision.metadata.name = Some(name);
    revision.metadata.namespace = Some(owner.namespace.to_owned());
    revision.metadata.owner_references = Some(vec![owner.reference.clone()]);
    let mut labels = owner.template.metadata.as_ref().and_then(|meta| meta.labels.clone()).unwrap_or_default();
    labels.insert(HASH.to_owned(), hash);
    revision.metadata.labels = Some(labels);
    match objects.create(&revision).await {
        Err(error) if !error.is_already_exists() && !error.is_namespace_terminating() => Err(error),
        _ => Ok(()),
    }
}

/// Removes the oldest revisions beyond `limit` that no pod is of. `in_use` are hashes or names.
pub(crate) async fn trim(objects: &Objects, known: &[Arc<ControllerRevision>], in_use: &[String], limit: i32) -> Result<(), RequestError> {
    let hash_of = |revision: &ControllerRevision| revision.labels().get(HASH).cloned().unwrap_or_default();
    let idle: Vec<_> =
        known.iter().filter(|revision| !in_use.contains(&hash_of(revision)) && !in_use.contains(&revision.name_any())).collect();
    let surplus = idle.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    for revision in idle.into_iter().take(surplus) {
        let deletion = Deletion::of_uid(revision.uid().unwrap_or_default());
        objects.delete::<ControllerRevision>(revision.metadata.namespace.as_deref(), &revision.name_any(), &deletion).await?;
    }
    Ok(())
}

//! Which resources the server has, in their preferred versions: for controllers that treat all kinds alike.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource;
use kube::Client;
use kube::core::{ApiResource, GroupVersionKind};
use tracing::debug;
use tricorn_client::{Context as _, RequestError};

/// One resource that can be listed and deleted.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) resource: ApiResource,
    pub(crate) namespaced: bool,
    verbs: Vec<String>,
}

impl Found {
    /// Whether all of `verbs` are offered.
    pub(crate) fn offers(&self, verbs: &[&str]) -> bool {
        verbs.iter().all(|verb| self.verbs.iter().any(|offered| offered == verb))
    }

    /// "pods", or "deployments.apps".
    pub(crate) fn label(&self) -> String {
        let ApiResource { group, plural, .. } = &self.resource;
        if group.is_empty() { plural.clone() } else { format!("{plural}.{group}") }
    }
}

/// All resources, subresources left out, and whether every group could be asked.
pub(crate) async fn resources(client: &Client) -> Result<(Vec<Found>, bool), RequestError> {
    let mut all = Vec::new();
    let core = client.list_core_api_resources("v1").await.context("discover", || "the core group".to_owned())?;
    all.extend(core.resources.iter().filter_map(|resource| found("", "v1", resource)));
    let groups = client.list_api_groups().await.context("discover", || "the API groups".to_owned())?;
    let mut complete = true;
    for group in groups.groups {
        let preferred = group.preferred_version.as_ref().or(group.versions.first());
        let Some(version) = preferred.map(|version| version.version.clone()) else { continue };
        match client.list_api_group_resources(&format!("{}/{version}", group.name)).await {
            Ok(list) => all.extend(list.resources.iter().filter_map(|resource| found(&group.name, &version, resource))),
            Err(error) => {
                debug!(group = %group.name, %error, "an API group could not be discovered");
                complete = false;
            }
        }
    }
    Ok((all, complete))
}

fn found(group: &str, version: &str, resource: &APIResource) -> Option<Found> {
    if resource.name.contains('/') {
        return None;
    }
    let kind = GroupVersionKind::gvk(group, version, &resource.kind);
    Some(Found {
        resource: ApiResource::from_gvk_with_plural(&kind, &resource.name),
        namespaced: resource.namespaced,
        verbs: resource.verbs.clone(),
    })
}

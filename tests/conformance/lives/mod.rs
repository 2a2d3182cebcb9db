//! The areas of the API that need no kubelet, each with a life of its own.

mod applying;
mod budgets;
mod chunks;
mod classes;
pub mod custom;
mod deletions;
mod described;
mod events;
mod flow;
pub mod forgotten;
mod immutable;
mod namespaces;
mod policies;
mod quotas;
mod requests;
mod services;
mod spoken;
mod tables;
mod tokens;
mod validation;
mod versions;
mod workloads;

use futures::future::LocalBoxFuture;
use serde_json::{Value, json};

use crate::api::{Answer, Api};
use crate::case::Case;

macro_rules! lives {
    ($api:ident; $($name:literal => $life:path,)*) => {
        vec![$(($name, Box::pin(async move {
            let case = Case::new($name);
            Box::pin($life($api, &case)).await;
            case
        }) as LocalBoxFuture<'_, Case>)),*]
    };
}

/// All lives, by name.
pub fn all(api: &Api) -> Vec<(&'static str, LocalBoxFuture<'_, Case>)> {
    lives! { api;
        "a list in chunks" => chunks::pages,
        "versions of lists" => versions::lists,
        "versions of watches" => versions::watches,
        "validation of fields" => validation::life,
        "server-side apply" => applying::life,
        "lists and apply" => applying::lists,
        "tables" => tables::life,
        "discovery" => described::discovery,
        "OpenAPI" => described::openapi,
        "health and version" => described::health,
        "custom resource definitions" => custom::definitions,
        "custom resources" => custom::objects,
        "custom resource versions" => custom::versions,
        "garbage collection" => deletions::owners,
        "finalizers" => deletions::finalizers,
        "namespaces" => namespaces::life,
        "what is in a namespace that goes" => namespaces::contents,
        "flow schemas" => flow::life,
        "resource quotas" => quotas::quota,
        "quotas of all sorts" => quotas::sorts,
        "limit ranges" => quotas::limits,
        "events" => events::life,
        "immutable data" => immutable::life,
        "service account tokens" => tokens::life,
        "certificate signing requests" => requests::life,
        "services" => services::life,
        "endpoint slices" => services::slices,
        "stateful sets" => workloads::stateful,
        "disruption budgets" => budgets::life,
        "priority classes" => classes::priority,
        "runtime classes" => classes::runtime,
        "ingress classes" => classes::ingress,
        "warnings" => spoken::warnings,
        "definitions that change" => spoken::custom,
        "admission policies" => policies::life,
    }
}

/// A namespace for a life, with its account.
async fn home(api: &Api, case: &Case, name: &str) -> String {
    crate::namespaced(api, case, name).await;
    name.to_owned()
}

/// `/api/v1/namespaces/NAMESPACE/PLURAL`.
fn core(namespace: &str, plural: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/{plural}")
}

/// `/apis/GROUP/v1/namespaces/NAMESPACE/PLURAL`.
fn group(group: &str, namespace: &str, plural: &str) -> String {
    format!("/apis/{group}/v1/namespaces/{namespace}/{plural}")
}

/// Creates what must not be refused.
async fn create(api: &Api, case: &Case, all: &str, object: &Value) -> Answer {
    let answer = api.post(all, object).await;
    case.code("it is created", &answer, 201);
    answer
}

/// Waits until a path is not found.
async fn gone(api: &Api, case: &Case, path: &str) -> bool {
    case.soon(&format!("{path} is gone"), async || match api.get(path).await {
        answer if answer.code == 404 => Ok(()),
        answer => Err(answer.body),
    })
    .await
}

/// A config map with labels.
fn config_map(name: &str, labels: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": {"a": "1"}})
}

/// A pod that nobody schedules.
fn pod(name: &str, labels: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
        "spec": {"schedulerName": "nobody", "containers": [{"name": "c", "image": "i"}]},
    })
}

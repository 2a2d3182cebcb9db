//! pods/eviction: a deletion that respects disruption budgets.

use crate::Answer;
use crate::body;
use crate::context::Context;
use crate::endpoint::Endpoint;
use crate::options::{DeleteParameters, WriteParameters};
use crate::pipeline::Target;
use crate::respond;
use crate::server::Server;
use crate::stamp;
use crate::verbs::delete_object;
use http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;
use tricorn_meta::{LabelSelector, Status};
use tricorn_registry::{ListQuery, Object, Paged, Step};

/// A client whose eviction would break a budget may come back after this many seconds.
const RETRY_AFTER_SECONDS: u32 = 10;

pub(crate) async fn serve(server: &Server, context: &Context, endpoint: &Endpoint, bytes: &[u8]) -> Answer {
    let mut parameters = WriteParameters::parse(context)?;
    let eviction = body::object(&context.headers, bytes)?;
    let options = eviction.get("deleteOptions").cloned().unwrap_or(Value::Null);
    let mut deletion = DeleteParameters::parse(&context.query, &options)?;
    parameters.dry_run |= deletion.dry_run;
    deletion.dry_run = parameters.dry_run;
    let target = Target::new(endpoint, context);
    let pod = server.registry.read(&endpoint.stored, target.namespace, target.name).await?;
    if deletion.uid.is_none() {
        deletion.uid = Some(pod.uid().to_owned());
    }
    if needs_budget(pod.value()) {
        charge(server, context, &pod, parameters.dry_run).await?;
    }
    let target = Target { subresource: "", ..target };
    delete_object(server, context, target, &deletion).await?;
    respond::status(context, StatusCode::CREATED, &Status::success(None))
}

/// A pod that does not run, or is going already, disturbs nobody by leaving.
fn needs_budget(pod: &Value) -> bool {
    !stamp::is_terminating(pod) && !matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed" | "Pending"))
}

/// Takes one disruption from the budget that covers the pod.
async fn charge(server: &Server, context: &Context, pod: &Object, dry_run: bool) -> Result<(), Status> {
    let Some(budgets) = server.any_version("policy", "poddisruptionbudgets") else { return Ok(()) };
    let query = ListQuery { namespace: Some(pod.namespace().to_owned()), ..ListQuery::default() };
    let Paged::Page(listing) = server.registry.list(&budgets.stored, &query).await? else { return Ok(()) };
    let covers = |budget: &&Arc<Object>| {
        let selector = &budget.value()["spec"]["selector"];
        !selector.is_null() && LabelSelector::from_json(selector).is_ok_and(|selector| selector.matches_object(pod.value()))
    };
    let mut covering = listing.objects.iter().filter(covers);
    let Some(budget) = covering.next() else { return Ok(()) };
    if covering.next().is_some() {
        return Err(Status::internal("This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."));
    }
    let (name, pod_name) = (budget.name(), pod.name());
    let change = |current: Arc<Object>| async move { disrupted(&current, pod_name) };
    server.registry.update(&budgets.stored, pod.namespace(), name, context.write_options(dry_run), change).await.map(|_| ())
}

fn disrupted(budget: &Object, pod: &str) -> Result<Step, Status> {
    let refuse = |why: &str| {
        Err(Status::too_many_requests(
            format!("Cannot evict pod as it would violate the pod's disruption budget.{why}"),
            RETRY_AFTER_SECONDS,
        ))
    };
    let mut new = budget.value().clone();
    let generation = new["metadata"]["generation"].as_i64().unwrap_or(0);
    if new["status"]["observedGeneration"].as_i64().unwrap_or(0) < generation {
        return refuse(" The disruption budget is still being processed by the server.");
    }
    let allowed = new["status"]["disruptionsAllowed"].as_i64().unwrap_or(0);
    if allowed <= 0 {
        return refuse("");
    }
    new["status"]["disruptionsAllowed"] = json!(allowed - 1);
    new["status"]["disruptedPods"][pod] = json!(stamp::now().rfc3339());
    Ok(Step::Put(new))
}

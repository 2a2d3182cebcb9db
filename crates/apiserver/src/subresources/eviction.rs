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
use tricorn_meta::{LabelSelector, Reason, Status, StatusCause, StatusDetails};
use tricorn_registry::{ListQuery, Object, Paged, Step};

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

/// The refusal of an eviction that would break a budget. It names no time: nobody knows when pods are well again, and clients would wait for it
/// where nobody sees them wait.
fn refuse(why: String) -> Status {
    let cause = StatusCause { reason: "DisruptionBudget".to_owned(), message: why, ..StatusCause::default() };
    let details = StatusDetails { causes: vec![cause], ..StatusDetails::default() };
    let message = "Cannot evict pod as it would violate the pod's disruption budget.";
    Status::custom(429, Reason::TooManyRequests, message, Some(details))
}

fn disrupted(budget: &Object, pod: &str) -> Result<Step, Status> {
    let (mut new, name) = (budget.value().clone(), budget.name());
    let number = |value: &Value| value.as_i64().unwrap_or(0);
    let status = &new["status"];
    if number(&status["observedGeneration"]) < number(&new["metadata"]["generation"]) {
        return Err(refuse(format!("The disruption budget {name} is still being processed by the server.")));
    }
    let allowed = number(&status["disruptionsAllowed"]);
    if allowed < 0 {
        return Err(Status::forbidden("policy", "poddisruptionbudgets", name, "pdb disruptions allowed is negative"));
    }
    if allowed == 0 {
        let (desired, current) = (number(&status["desiredHealthy"]), number(&status["currentHealthy"]));
        return Err(refuse(format!("The disruption budget {name} needs {desired} healthy pods and has {current} currently")));
    }
    new["status"]["disruptionsAllowed"] = json!(allowed - 1);
    new["status"]["disruptedPods"][pod] = json!(stamp::now().rfc3339());
    Ok(Step::Put(new))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_budget_is_charged_once_it_has_been_counted_and_while_it_lasts() {
        let budget = |status: Value| {
            let metadata = json!({"name": "b", "namespace": "n", "generation": 2});
            disrupted(&Object::unstored(json!({"metadata": metadata, "status": status})).unwrap(), "a")
        };
        let refused = |status: Value| {
            let refusal = budget(status).unwrap_err();
            let cause = refusal.to_json()["details"]["causes"][0].clone();
            (refusal.code(), refusal.retry_after(), cause["reason"].clone(), cause["message"].clone())
        };
        let reason = json!("DisruptionBudget");
        let why = json!("The disruption budget b is still being processed by the server.");
        assert_eq!(refused(json!({"observedGeneration": 1, "disruptionsAllowed": 5})), (429, None, reason.clone(), why));
        let why = json!("The disruption budget b needs 3 healthy pods and has 2 currently");
        let counted = json!({"observedGeneration": 2, "disruptionsAllowed": 0, "desiredHealthy": 3, "currentHealthy": 2});
        assert_eq!(refused(counted), (429, None, reason, why));
        assert_eq!(refused(json!({"observedGeneration": 2, "disruptionsAllowed": -1})).0, 403);
        let Step::Put(charged) = budget(json!({"observedGeneration": 2, "disruptionsAllowed": 2})).unwrap() else {
            panic!("the budget is written")
        };
        assert_eq!(charged["status"]["disruptionsAllowed"], 1);
        assert!(charged["status"]["disruptedPods"]["a"].is_string());
    }
}

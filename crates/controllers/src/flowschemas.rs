//! Tells in the status of each FlowSchema whether the priority level that it names is there.

use std::sync::Arc;

use k8s_openapi::api::flowcontrol::v1::{FlowSchema, FlowSchemaCondition, PriorityLevelConfiguration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;
use tricorn_client::{Change, Key, Next, Objects, Queue, RequestError, Shared};

use crate::context::{Context, now};
use crate::supervise::Failure;

const WORKERS: usize = 2;
const CONDITION: &str = "Dangling";

/// Runs the controller until shutdown.
pub(crate) async fn run(context: Context) -> Result<(), Failure> {
    let objects = Arc::new(context.objects("api-priority-and-fairness-config-consumer-v1"));
    let (schemas, levels) = (context.informers.of::<FlowSchema>(), context.informers.of::<PriorityLevelConfiguration>());
    schemas.synced().await;
    levels.synced().await;
    let queue = Queue::new("flowschemas");
    let wake = queue.clone();
    schemas.on_change(move |change| {
        if !matches!(change, Change::Deleted(_)) {
            wake.add(Key::of(change.latest().as_ref()));
        }
    });
    let (wake, all) = (queue.clone(), schemas.clone());
    levels.on_change(move |change| {
        if !matches!(change, Change::Updated { .. }) {
            let name = change.latest().metadata.name.as_deref();
            all.all().iter().filter(|schema| level(schema) == name).for_each(|schema| wake.add(Key::of(schema.as_ref())));
        }
    });
    queue
        .run(WORKERS, context.shutdown.clone(), move |key| {
            let (objects, schemas, levels) = (objects.clone(), schemas.clone(), levels.clone());
            async move { sync(&objects, &schemas, &levels, &key).await }
        })
        .await;
    Ok(())
}

fn level(schema: &FlowSchema) -> Option<&str> {
    schema.spec.as_ref().map(|spec| spec.priority_level_configuration.name.as_str())
}

async fn sync(
    objects: &Objects,
    schemas: &Shared<FlowSchema>,
    levels: &Shared<PriorityLevelConfiguration>,
    key: &Key,
) -> Result<Next, RequestError> {
    let Some(schema) = schemas.get(key) else { return Ok(Next::Done) };
    let Some(level) = level(&schema) else { return Ok(Next::Done) };
    let Some(condition) = plan(&schema, level, levels.named(level).is_some()) else { return Ok(Next::Done) };
    let condition = FlowSchemaCondition { last_transition_time: Some(Time(now())), ..condition };
    match objects.strategic_status::<FlowSchema>(None, &key.name, json!({"status": {"conditions": [condition]}})).await {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(Next::Done),
    }
}

/// What the status should say, without a time; `None` if it does.
fn plan(schema: &FlowSchema, level: &str, is_there: bool) -> Option<FlowSchemaCondition> {
    let (status, reason, words) =
        if is_there { ("False", "Found", "and it exists") } else { ("True", "NotFound", "but there is no such object") };
    let message = format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?} {words}");
    let conditions = schema.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let told = conditions.into_iter().find(|condition| condition.type_.as_deref() == Some(CONDITION));
    let says_so = told.is_some_and(|told| told.status.as_deref() == Some(status) && told.message.as_ref() == Some(&message));
    (!says_so).then(|| FlowSchemaCondition {
        type_: Some(CONDITION.to_owned()),
        status: Some(status.to_owned()),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_transition_time: None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use k8s_openapi::api::flowcontrol::v1::FlowSchemaStatus;

    #[test]
    fn a_schema_is_told_once_that_its_level_came_or_went() {
        let mut schema = FlowSchema::default();
        let found = plan(&schema, "exempt", true).unwrap();
        assert_eq!(
            (found.status.as_deref(), found.message.as_deref()),
            (Some("False"), Some("This FlowSchema references the PriorityLevelConfiguration object named \"exempt\" and it exists"))
        );
        schema.status = Some(FlowSchemaStatus { conditions: Some(vec![found]) });
        assert_eq!(plan(&schema, "exempt", true), None);
        assert_eq!(plan(&schema, "exempt", false).unwrap().reason.as_deref(), Some("NotFound"));
    }
}

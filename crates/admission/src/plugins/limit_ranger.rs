//! LimitRanger: containers get a namespace's default requests and limits, and stay within its bounds.

use async_trait::async_trait;
use serde_json::{Map, Value};
use tricorn_meta::Status;
use tricorn_schema::usage::{Amounts, amounts, pod_total};

use crate::{Objects, Operation, Plugin, Request};

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// See the module.
pub struct LimitRanger;

fn is_pod(request: &Request<'_>) -> bool {
    request.is("", "pods", "")
}

fn is_claim(request: &Request<'_>) -> bool {
    request.is("", "persistentvolumeclaims", "")
}

fn items(range: &Value) -> impl Iterator<Item = &Value> {
    range.pointer("/spec/limits").and_then(Value::as_array).into_iter().flatten()
}

fn kind(item: &Value) -> &str {
    item.get("type").and_then(Value::as_str).unwrap_or_default()
}

#[async_trait]
impl Plugin for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    fn mutates(&self, request: &Request<'_>) -> bool {
        request.operation == Operation::Create && is_pod(request)
    }

    fn validates(&self, request: &Request<'_>) -> bool {
        match request.operation {
            Operation::Create => is_pod(request) || is_claim(request),
            Operation::Update => is_claim(request),
            _ => false,
        }
    }

    async fn mutate(&self, request: &mut Request<'_>, objects: &dyn Objects) -> Result<(), Status> {
        let mut notes = Vec::new();
        for range in objects.list("", "limitranges", request.namespace).await? {
            let Some(pod) = request.object.as_mut() else { return Ok(()) };
            complete(pod, &range, &mut notes);
        }
        if let (false, Some(pod)) = (notes.is_empty(), request.object.as_mut())
            && let Some(annotations) = tricorn_meta::json::ensure_object(pod, "metadata.annotations")
        {
            annotations.insert(ANNOTATION.into(), format!("LimitRanger plugin set: {}", notes.join("; ")).into());
        }
        Ok(())
    }

    async fn validate(&self, request: &mut Request<'_>, objects: &dyn Objects) -> Result<(), Status> {
        for range in objects.list("", "limitranges", request.namespace).await? {
            let mut errors = Vec::new();
            for item in items(&range) {
                match (kind(item), is_pod(request)) {
                    ("Container", true) => {
                        containers(request.new_object()).for_each(|(_, c)| check(item, &requests(c), &limits(c), &mut errors))
                    }
                    ("Pod", true) => {
                        check(item, &pod_total(request.new_object(), "requests"), &pod_total(request.new_object(), "limits"), &mut errors)
                    }
                    ("PersistentVolumeClaim", false) => check_claim(item, request.new_object(), &mut errors),
                    _ => {}
                }
            }
            match errors.as_slice() {
                [] => {}
                [only] => return Err(request.forbidden(only)),
                several => return Err(request.forbidden(format!("[{}]", several.join(", ")))),
            }
        }
        Ok(())
    }
}

/// Containers with the words that tell their kind. Ephemeral ones have no resources.
fn containers(pod: &Value) -> impl Iterator<Item = (&'static str, &Value)> {
    [("container", "/spec/containers"), ("init container", "/spec/initContainers")]
        .into_iter()
        .flat_map(move |(words, path)| pod.pointer(path).and_then(Value::as_array).into_iter().flatten().map(move |c| (words, c)))
}

fn requests(container: &Value) -> Amounts {
    amounts(container.pointer("/resources/requests"))
}

fn limits(container: &Value) -> Amounts {
    amounts(container.pointer("/resources/limits"))
}

/// The defaults of an item: what is not said follows from what is, as the kind's own defaulting has it.
fn defaults(item: &Value) -> (Map<String, Value>, Map<String, Value>) {
    let get = |key: &str| item.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
    let fill = |into: &mut Map<String, Value>, from: &Map<String, Value>| {
        for (name, amount) in from {
            into.entry(name.as_str()).or_insert_with(|| amount.clone());
        }
    };
    let mut limits = get("default");
    fill(&mut limits, &get("max"));
    let mut requests = get("defaultRequest");
    fill(&mut requests, &limits);
    fill(&mut requests, &get("min"));
    (requests, limits)
}

fn complete(pod: &mut Value, range: &Value, notes: &mut Vec<String>) {
    for item in items(range).filter(|i| kind(i) == "Container") {
        let (default_requests, default_limits) = defaults(item);
        for (words, list) in [("container", "containers"), ("init container", "initContainers")] {
            let containers = pod.get_mut("spec").and_then(|s| s.get_mut(list)).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                let name = container.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
                for (part, one, defaults) in [("requests", "request", &default_requests), ("limits", "limit", &default_limits)] {
                    let set = fill_in(container, part, defaults);
                    if !set.is_empty() {
                        notes.push(format!("{} {one} for {words} {name}", set.join(", ")));
                    }
                }
            }
        }
    }
}

/// Sets what a container leaves open; answers the names, sorted.
fn fill_in(container: &mut Value, part: &str, defaults: &Map<String, Value>) -> Vec<String> {
    if defaults.is_empty() {
        return Vec::new();
    }
    let Some(own) = tricorn_meta::json::ensure_object(container, &format!("resources.{part}")) else { return Vec::new() };
    let mut set: Vec<String> = defaults.keys().filter(|name| !own.contains_key(*name)).cloned().collect();
    for name in &set {
        own.insert(name.clone(), defaults.get(name).cloned().unwrap_or_default());
    }
    set.sort();
    set
}

fn check(item: &Value, requests: &Amounts, limits: &Amounts, errors: &mut Vec<String>) {
    let what = kind(item);
    for (name, min) in amounts(item.get("min")) {
        match (requests.get(&name), limits.get(&name)) {
            (None, _) => errors.push(format!("minimum {name} usage per {what} is {min}.  No request is specified")),
            (Some(request), _) if *request < min => {
                errors.push(format!("minimum {name} usage per {what} is {min}, but request is {request}"))
            }
            (_, Some(limit)) if *limit < min => errors.push(format!("minimum {name} usage per {what} is {min}, but limit is {limit}")),
            _ => {}
        }
    }
    for (name, max) in amounts(item.get("max")) {
        match (requests.get(&name), limits.get(&name)) {
            (_, None) => errors.push(format!("maximum {name} usage per {what} is {max}.  No limit is specified")),
            (_, Some(limit)) if *limit > max => errors.push(format!("maximum {name} usage per {what} is {max}, but limit is {limit}")),
            (Some(request), _) if *request > max => {
                errors.push(format!("maximum {name} usage per {what} is {max}, but request is {request}"))
            }
            _ => {}
        }
    }
    for (name, ratio) in amounts(item.get("maxLimitRequestRatio")) {
        let told = format!("{name} max limit to request ratio per {what} is {ratio}");
        match (requests.get(&name).filter(|r| !r.is_zero()), limits.get(&name).filter(|l| !l.is_zero())) {
            (None, _) => errors.push(format!("{told}, but no request is specified or request is 0")),
            (_, None) => errors.push(format!("{told}, but no limit is specified or limit is 0")),
            (Some(request), Some(limit)) => {
                let actual = limit.milli_value() as f64 / request.milli_value() as f64;
                if actual > ratio.milli_value() as f64 / 1000.0 {
                    errors.push(format!("{told}, but provided ratio is {actual:.6}"));
                }
            }
        }
    }
}

fn check_claim(item: &Value, claim: &Value, errors: &mut Vec<String>) {
    let asked = amounts(claim.pointer("/spec/resources/requests"));
    for (name, min) in amounts(item.get("min")) {
        match asked.get(&name) {
            None => errors.push(format!("minimum {name} usage per PersistentVolumeClaim is {min}.  No request is specified")),
            Some(request) if *request < min => {
                errors.push(format!("minimum {name} usage per PersistentVolumeClaim is {min}, but request is {request}"))
            }
            Some(_) => {}
        }
    }
    for (name, max) in amounts(item.get("max")) {
        match asked.get(&name) {
            None => errors.push(format!("maximum {name} usage per PersistentVolumeClaim is {max}.  No request is specified")),
            Some(request) if *request > max => {
                errors.push(format!("maximum {name} usage per PersistentVolumeClaim is {max}, but request is {request}"))
            }
            Some(_) => {}
        }
    }
}

//! ResourceQuota: what a namespace may use altogether. A request is charged to the quota's status when it is admitted;
//! the quota controller corrects the number where the write then fails, or when something goes away.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tricorn_meta::{Quantity, Status};
use tricorn_schema::usage::{self, Amounts, amounts};

use crate::{Objects, Operation, Plugin, Request};

/// Resources that each container must name once a quota does.
const CONSTRAINED: &[&str] = &["cpu", "limits.cpu", "limits.memory", "memory", "requests.cpu", "requests.memory"];

/// Tries to charge one quota while other servers charge it too.
const MAX_TRIES: usize = 10;

/// How long a request waits for those before it in its namespace.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Requests of one namespace are charged one after another; namespaces share these many places to queue.
const QUEUES: usize = 64;

/// See the module.
pub struct ResourceQuota {
    queues: [Mutex<()>; QUEUES],
}

impl Default for ResourceQuota {
    fn default() -> Self {
        Self { queues: std::array::from_fn(|_| Mutex::new(())) }
    }
}

impl ResourceQuota {
    fn queue(&self, namespace: &str) -> &Mutex<()> {
        let mut hasher = DefaultHasher::new();
        namespace.hash(&mut hasher);
        let at = hasher.finish() % QUEUES as u64;
        &self.queues[usize::try_from(at).unwrap_or(0)]
    }
}

fn name(quota: &Value) -> &str {
    quota.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

#[async_trait]
impl Plugin for ResourceQuota {
    fn name(&self) -> &'static str {
        "ResourceQuota"
    }

    fn validates(&self, request: &Request<'_>) -> bool {
        let charged = request.subresource.is_empty() || request.is("", "pods", "resize");
        charged
            && !request.namespace.is_empty()
            && !matches!(request.resource.resource.as_str(), "namespaces" | "events")
            && match request.operation {
                Operation::Create => request.subresource.is_empty(),
                Operation::Update => matches!(request.resource.resource.as_str(), "pods" | "services" | "persistentvolumeclaims"),
                _ => false,
            }
    }

    async fn validate(&self, request: &mut Request<'_>, objects: &dyn Objects) -> Result<(), Status> {
        let quotas = objects.list("", "resourcequotas", request.namespace).await?;
        if quotas.is_empty() {
            return Ok(());
        }
        let concerned: Vec<&str> = quotas.iter().filter(|quota| concerns(quota, request)).map(|quota| name(quota)).collect();
        if concerned.is_empty() {
            return Ok(());
        }
        let timed_out = |_| Status::internal("resource quota evaluation timed out");
        let _turn = timeout(MAX_WAIT, self.queue(request.namespace).lock()).await.map_err(timed_out)?;
        let wanted = wanted(request);
        for quota in concerned {
            // Whoever was before in the queue has charged it meanwhile.
            if let Some(quota) = objects.get("", "resourcequotas", request.namespace, quota).await? {
                charge(request, objects, quota.as_ref().clone(), &wanted).await?;
            }
        }
        Ok(())
    }
}

fn concerns(quota: &Value, request: &Request<'_>) -> bool {
    usage::matches(quota, &request.resource.group, &request.resource.resource, request.new_object())
}

/// What the request uses more than before.
fn wanted(request: &Request<'_>) -> Amounts {
    let used = |object: &Value| usage::usage(&request.resource.group, &request.resource.resource, object, None);
    let mut wanted = used(request.new_object());
    if request.operation == Operation::Update {
        for (name, before) in used(request.stored()) {
            let now = wanted.get(&name).copied().unwrap_or(Quantity::ZERO);
            wanted.insert(name, now - before);
        }
    }
    wanted
}

/// Checks one quota and stores what it has been charged; starts over where somebody else did so meanwhile.
async fn charge(request: &Request<'_>, objects: &dyn Objects, mut quota: Value, wanted: &Amounts) -> Result<(), Status> {
    for _ in 0..MAX_TRIES {
        let Some(charged) = check(request, &quota, wanted)? else { return Ok(()) };
        if request.dry_run {
            return Ok(());
        }
        match objects.update_quota_status(charged).await {
            Ok(_) => return Ok(()),
            Err(status) if status.is_conflict() => {}
            Err(status) => return Err(status),
        }
        match objects.get_fresh("", "resourcequotas", request.namespace, name(&quota)).await? {
            Some(fresh) => quota = fresh.as_ref().clone(),
            None => return Ok(()),
        }
    }
    Err(Status::conflict(
        "",
        "resourcequotas",
        name(&quota),
        "the object has been modified; please apply your changes to the latest version and try again",
    ))
}

/// The quota with its new usage; `None` if the request does not concern it.
fn check(request: &Request<'_>, quota: &Value, wanted: &Amounts) -> Result<Option<Value>, Status> {
    let hard = amounts(quota.pointer("/status/hard"));
    let used = amounts(quota.pointer("/status/used"));
    if request.operation == Operation::Create
        && let Err(missing) = constraints(request, &hard)
    {
        return Err(request.forbidden(format!("failed quota: {}: {missing}", name(quota))));
    }
    let concerned: Amounts =
        wanted.iter().filter(|(name, amount)| hard.contains_key(*name) && !amount.is_zero()).map(|(n, a)| (n.clone(), *a)).collect();
    if concerned.is_empty() {
        return Ok(None);
    }
    let unknown: Vec<&str> = concerned.keys().filter(|name| !used.contains_key(*name)).map(String::as_str).collect();
    if !unknown.is_empty() {
        return Err(request.forbidden(format!("status unknown for quota: {}, resources: {}", name(quota), unknown.join(","))));
    }
    let mut new_used: Map<String, Value> = quota.pointer("/status/used").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut exceeded = Vec::new();
    for (name, amount) in &concerned {
        let sum = used.get(name).map_or(*amount, |used| *used + *amount);
        let over = hard.get(name).is_some_and(|hard| sum > *hard);
        if over && *amount > Quantity::ZERO {
            exceeded.push(name.as_str());
        }
        new_used.insert(name.clone(), sum.to_string().into());
    }
    if !exceeded.is_empty() {
        let told = |of: &Amounts| told(of, &exceeded);
        let why =
            format!("exceeded quota: {}, requested: {}, used: {}, limited: {}", name(quota), told(&concerned), told(&used), told(&hard));
        return Err(request.forbidden(why));
    }
    let mut charged = quota.clone();
    tricorn_meta::json::set(&mut charged, "status.used", Value::Object(new_used));
    Ok(Some(charged))
}

/// `cpu=1,memory=1Gi` of the named ones.
fn told(amounts: &Amounts, names: &[&str]) -> String {
    let told: Vec<String> = names.iter().map(|name| format!("{name}={}", amounts.get(*name).copied().unwrap_or(Quantity::ZERO))).collect();
    told.join(",")
}

/// Fails if a container leaves open what the quota limits: it could not be counted. A pod that says what it needs as a whole may.
fn constraints(request: &Request<'_>, hard: &Amounts) -> Result<(), String> {
    if !request.is("", "pods", "") {
        return Ok(());
    }
    let required: Vec<&str> = CONSTRAINED.iter().copied().filter(|name| hard.contains_key(*name)).collect();
    let pod = request.new_object();
    if required.is_empty() || says_what_it_needs(pod) {
        return Ok(());
    }
    let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for container in
        ["/spec/containers", "/spec/initContainers"].into_iter().filter_map(|p| pod.pointer(p).and_then(Value::as_array)).flatten()
    {
        let own = usage::computed(container);
        let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
        for resource in required.iter().filter(|resource| !own.contains_key(**resource)) {
            missing.entry(resource).or_default().push(name);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let told: Vec<String> = missing.into_iter().map(|(resource, names)| format!("{resource} for: {}", names.join(","))).collect();
    Err(format!("must specify {}", told.join("; ")))
}

/// Whether the pod names resources for all its containers together.
fn says_what_it_needs(pod: &Value) -> bool {
    let parts = ["/spec/resources/requests", "/spec/resources/limits"];
    parts
        .iter()
        .flat_map(|part| amounts(pod.pointer(part)))
        .any(|(name, _)| matches!(name.as_str(), "cpu" | "memory") || name.starts_with("hugepages-"))
}

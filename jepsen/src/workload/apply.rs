//! Server-side apply by several owners to the same objects: each owns a field of its own, and nobody's is lost.

use super::{Actor, Needs, Workload};
use crate::check::apply::{APPLIED, APPLY, Applied, Apply as Request, Look};
use crate::history::Process;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::ConfigMap;
use rand::Rng;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};

const OBJECTS: u32 = 3;

static NEXT: AtomicI64 = AtomicI64::new(1);

/// See above.
pub struct Apply;

fn owned(name: &str, manager: &str, value: i64) -> ConfigMap {
    let mut object = ConfigMap::default();
    object.metadata.name = Some(name.to_owned());
    object.data = Some(BTreeMap::from([(manager.to_owned(), value.to_string())]));
    object
}

async fn look(actor: &mut Actor, name: &str) {
    let request = Look { name: name.to_owned() };
    let looked = actor.noted_api(APPLIED, &request, async |api| {
        let data = api.get(name).await?.and_then(|object| object.data).unwrap_or_default();
        let values = data.into_iter().filter_map(|(manager, value)| Some((manager, value.parse().ok()?))).collect();
        Ok(Applied { values })
    });
    looked.await;
}

#[async_trait]
impl Workload for Apply {
    fn name(&self) -> &'static str {
        "apply"
    }

    fn needs(&self) -> Needs {
        Needs::Api
    }

    async fn step(&self, actor: &mut Actor) {
        let name = format!("a{}", actor.rng.random_range(0..OBJECTS));
        if actor.rng.random_bool(0.4) {
            return look(actor, &name).await;
        }
        // A process that does not know whether it wrote is another one afterwards, and another owner.
        let manager = match actor.process() {
            Process::Client(number) => format!("m{number}"),
            Process::Nemesis => return,
        };
        let request = Request { name: name.clone(), manager: manager.clone(), value: NEXT.fetch_add(1, Ordering::Relaxed) };
        let object = owned(&name, &manager, request.value);
        actor.noted_api(APPLY, &request, async |api| api.apply(&name, &manager, &object).await.map(|_| ())).await;
    }

    async fn finish(&self, actor: &mut Actor) {
        for number in 0..OBJECTS {
            look(actor, &format!("a{number}")).await;
        }
    }
}

//! What clients do. A workload has as many processes as a run wants; each does one thing at a time and notes it.

mod append;
mod apply;
mod auth;
mod controllers;
mod election;
mod finalizers;
mod holders;
mod ids;
mod kv;
mod lease;
mod lock;
mod objects;
mod quota;
mod register;
mod set;
mod stream;
mod watcher;

use crate::history::{Pending, Process, Recorder};
use crate::kv::{Answer, Request};
use crate::target::{ApiClient, Client, Failure, System};
use async_trait::async_trait;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What a workload works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Members that speak etcd's API.
    Store,
    /// Servers that speak the Kubernetes API.
    Api,
}

/// What clients do.
#[async_trait]
pub trait Workload: Send + Sync {
    /// Its name on the command line and in reports.
    fn name(&self) -> &'static str;

    /// What it works on.
    fn needs(&self) -> Needs {
        Needs::Store
    }

    /// Flags that its members are started with.
    fn flags(&self) -> Vec<String> {
        Vec::new()
    }

    /// Why a fault cannot be done while it runs, if so.
    fn unfit(&self, _fault: &str) -> Option<String> {
        None
    }

    /// Before anything else, while all is well.
    async fn prepare(&self, _actor: &mut Actor) -> anyhow::Result<()> {
        Ok(())
    }

    /// One process does one thing.
    async fn step(&self, actor: &mut Actor);

    /// Runs beside the processes until `stop`.
    async fn beside(&self, _system: Arc<dyn System>, _recorder: Recorder, _stop: CancellationToken) {}

    /// What is looked at in the end, when everything is healed.
    async fn finish(&self, _actor: &mut Actor) {}
}

/// All workloads.
pub fn all() -> Vec<Arc<dyn Workload>> {
    vec![
        Arc::new(kv::Kv),
        Arc::new(register::Registers),
        Arc::new(append::Append),
        Arc::new(set::Set),
        Arc::new(ids::Ids),
        Arc::new(lock::Locks),
        Arc::new(election::Elections),
        Arc::new(lease::Leases),
        Arc::new(stream::Streams),
        Arc::new(quota::Quota),
        Arc::new(auth::Auth::default()),
        Arc::new(objects::Objects),
        Arc::new(apply::Apply),
        Arc::new(finalizers::Finalizers),
        Arc::new(holders::Holders::default()),
        Arc::new(controllers::Controllers),
    ]
}

/// A process: who it is, whom it asks, and its dice.
pub struct Actor {
    /// What it works on.
    pub system: Arc<dyn System>,
    /// Where everything is noted.
    pub recorder: Recorder,
    /// Its dice.
    pub rng: StdRng,
    /// Which of the processes it is, from 0.
    pub number: u64,
    life: u64,
    processes: u64,
    node: String,
    client: Option<Client>,
    api: Option<ApiClient>,
}

/// How often a process turns to another member though it need not.
const ROAM: f64 = 0.1;
/// After so long a process that got no answer tries another member.
const PAUSE: Duration = Duration::from_millis(100);

impl Actor {
    /// Process `number` of so many.
    pub fn new(system: Arc<dyn System>, recorder: Recorder, seed: u64, number: u64, processes: u64) -> Self {
        let names = system.names();
        let node = names[usize::try_from(number).unwrap_or(0) % names.len()].clone();
        let rng = StdRng::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(number));
        Self { system, recorder, rng, number, life: 0, processes, node, client: None, api: None }
    }

    /// Its name in the history: another one after each thing of which nobody knows whether it happened, since a process does one thing at
    /// a time.
    pub fn process(&self) -> Process {
        Process::Client(self.number + self.life * self.processes)
    }

    /// Turns to a member.
    pub fn turn_to(&mut self, node: &str) {
        if self.node != node {
            (self.node, self.client, self.api) = (node.to_owned(), None, None);
        }
    }

    fn turn_away(&mut self) {
        let names = self.system.names();
        let next = names[self.rng.random_range(0..names.len())].clone();
        self.turn_to(&next);
    }

    fn begin(&mut self, f: &str, request: &impl Serialize) -> Pending {
        if self.rng.random_bool(ROAM) || !self.system.names().contains(&self.node) {
            self.turn_away();
        }
        self.recorder.invoke(self.process(), Some(&self.node), f, request)
    }

    async fn end<A: Serialize>(&mut self, pending: Pending, result: Result<A, Failure>) -> Option<A> {
        match result {
            Ok(answer) => {
                pending.ok(&answer);
                return Some(answer);
            }
            Err(Failure::Not(why)) => pending.fail(why),
            Err(Failure::Unknown(why)) => {
                pending.info(why);
                self.life += 1;
            }
        }
        tokio::time::sleep(PAUSE).await;
        self.turn_away();
        None
    }

    /// Does something with a member that speaks etcd's API, and notes it.
    pub async fn noted<Q: Serialize, A: Serialize>(
        &mut self,
        f: &str,
        request: &Q,
        work: impl AsyncFnOnce(&Client) -> Result<A, Failure>,
    ) -> Option<A> {
        let pending = self.begin(f, request);
        if self.client.is_none() {
            self.client = self.system.store().map(|group| group.client(&self.node));
        }
        let result = match &self.client {
            Some(client) => work(client).await,
            None => Err(Failure::Not("there is no member that speaks etcd's API".into())),
        };
        self.end(pending, result).await
    }

    /// Does something with a server that speaks the Kubernetes API, and notes it.
    pub async fn noted_api<Q: Serialize, A: Serialize>(
        &mut self,
        f: &str,
        request: &Q,
        work: impl AsyncFnOnce(&ApiClient) -> Result<A, Failure>,
    ) -> Option<A> {
        let pending = self.begin(f, request);
        if self.api.is_none()
            && let Some(group) = self.system.api()
        {
            self.api = group.client(&self.node).await.ok();
        }
        let result = match &self.api {
            Some(api) => work(api).await,
            None => Err(Failure::Not("there is no client of the server".into())),
        };
        self.end(pending, result).await
    }

    /// Asks the store for something and notes it as a `kv` operation.
    pub async fn kv(&mut self, request: Request) -> Option<Answer> {
        self.noted("kv", &request, async |client| client.ask(&request).await).await
    }
}

/// An answer that is not of the kind that was asked for: nobody knows what happened.
pub(crate) fn strange(what: &impl std::fmt::Debug) -> Failure {
    Failure::Unknown(format!("not an answer to what was asked: {what:?}"))
}

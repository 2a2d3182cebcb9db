//! Controllers and scheduler, where the store leads and nowhere else.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tricorn_apiserver::ApiServer;
use tricorn_client::leader::{self, Leadership};
use tricorn_client::{Informers, Recorder, in_process};
use tricorn_meta::UserInfo;
use tricorn_store::Store;

/// How often the Leases that name the leader are renewed, and how long they claim to hold. Nothing depends on them: the leader is who
/// Raft says. They are there for people to see.
const LEASE_RENEWAL: Duration = Duration::from_secs(10);
const LEASE_SECONDS: i32 = 30;
/// The Leases, named as upstream's components name theirs.
const LEASES: [&str; 2] = ["kube-controller-manager", "kube-scheduler"];

/// What the leader's work is made from.
#[derive(Clone)]
pub struct Lead {
    /// This server's name.
    pub name: String,
    /// The API in this process.
    pub api: ApiServer,
    /// Settings of the controllers.
    pub controllers: Arc<tricorn_controllers::Config>,
}

/// Runs controllers and scheduler whenever this server leads, until `stop`.
pub async fn run(lead: Lead, store: Store, stop: CancellationToken) {
    let (told, leadership) = watch::channel(Leadership::default());
    let mut seen = store.leadership();
    let follow = async {
        loop {
            let now = seen.borrow_and_update().clone();
            told.send_replace(Leadership { is_leader: now.is_leader, term: now.term });
            if seen.changed().await.is_err() {
                return;
            }
        }
    };
    let work = leader::run(leadership, stop, move |term, token| Box::pin(lead.clone().work(term, token)));
    tokio::pin!(work);
    tokio::select! {
        () = &mut work => return,
        () = follow => {}
    }
    work.await;
}

impl Lead {
    /// One term's work. Every write carries the term, and the store refuses it in any other.
    async fn work(self, term: u64, token: CancellationToken) {
        // The controllers act for every user of the cluster; the scheduler needs no more than its role.
        let controllers = self.client("system:kube-controller-manager", &["system:masters", "system:authenticated"], term);
        let scheduler = self.client("system:kube-scheduler", &["system:authenticated"], term);
        let informers = Informers::new(controllers.clone(), token.clone());
        let (recorder, recording) = Recorder::new(controllers.clone(), "controllermanager", "", token.clone());
        let (scheduler_recorder, scheduler_recording) = Recorder::new(scheduler.clone(), "default-scheduler", "", token.clone());
        let context = tricorn_controllers::Context {
            client: controllers.clone(),
            informers: informers.clone(),
            config: self.controllers.clone(),
            recorder,
            shutdown: token.clone(),
        };
        let placing = tricorn_scheduler::Context {
            client: scheduler,
            informers: informers.clone(),
            recorder: scheduler_recorder,
            shutdown: token.clone(),
        };
        tokio::join!(
            tricorn_controllers::run(context),
            tricorn_scheduler::run(placing),
            recording,
            scheduler_recording,
            self.publish(controllers, token)
        );
        informers.stopped().await;
    }

    fn client(&self, user: &str, groups: &[&str], term: u64) -> kube::Client {
        in_process(self.api.local_service(UserInfo::new(user, groups.iter().copied()), Some(term)), "default")
    }

    /// Keeps the Leases that say who leads.
    async fn publish(&self, client: kube::Client, token: CancellationToken) {
        let leases: Api<Lease> = Api::namespaced(client, "kube-system");
        loop {
            for name in LEASES {
                if let Err(error) = self.publish_one(&leases, name).await {
                    tracing::debug!(lease = name, %error, "publish who leads");
                }
            }
            tokio::select! {
                () = token.cancelled() => return,
                () = tokio::time::sleep(LEASE_RENEWAL) => {}
            }
        }
    }

    async fn publish_one(&self, leases: &Api<Lease>, name: &str) -> kube::Result<()> {
        let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime(k8s_openapi::jiff::Timestamp::now());
        let known = leases.get_opt(name).await?;
        let spec = known.as_ref().and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let same = spec.holder_identity.as_deref() == Some(&self.name);
        let transitions = spec.lease_transitions.unwrap_or(0) + i32::from(!same && known.is_some());
        let acquired = spec.acquire_time.filter(|_| same).unwrap_or_else(|| now.clone());
        let spec = json!({
            "holderIdentity": self.name, "leaseDurationSeconds": LEASE_SECONDS,
            "acquireTime": acquired, "renewTime": now, "leaseTransitions": transitions,
        });
        if known.is_some() {
            leases.patch(name, &PatchParams::default(), &Patch::Merge(json!({ "spec": spec }))).await?;
        } else {
            let lease = serde_json::from_value(json!({"metadata": {"name": name, "namespace": "kube-system"}, "spec": spec}));
            leases.create(&PostParams::default(), &lease.map_err(kube::Error::SerdeError)?).await?;
        }
        Ok(())
    }
}

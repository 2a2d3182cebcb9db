//! An operator as people write them with kube-rs: a kind of its own, children that belong to it, a finalizer, a lease that two
//! instances share. It works on three servers, one of which dies.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod gardener;
mod lease;
mod user;

use std::sync::Arc;
use std::time::Duration;

use kube::Api;
use parking_lot::Mutex;
use tricorn_e2e::Lab;
use tricorn_testbed::{kill, start};

use gardener::{Operator, define};
use user::User;

const SOON: Duration = Duration::from_secs(60);
/// The operator's name as an owner of fields, and that of its lease.
const MANAGER: &str = "gardener";

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_outlives_its_instances_and_a_server() {
    let Some(lab) = Lab::start(|config| config.workers = 0).await else { return };
    let watch = lab.watch_over();
    let client = lab.client().await;
    define(&client).await;
    let worked = Arc::new(Mutex::new(Vec::new()));
    let operator = |name| Operator { client: client.clone(), name, worked: worked.clone() };
    let user = User {
        client: client.clone(),
        gardens: Api::namespaced(client.clone(), "default"),
        maps: Api::namespaced(client.clone(), "default"),
    };
    let first = operator("first").start();
    user.holds_the_lease("first").await;
    let second = operator("second").start();
    user.wants(&[("rose", "red"), ("fern", "green")]).await;
    user.meddles().await;
    user.wants(&[("rose", "red"), ("ivy", "dark")]).await;
    assert!(worked.lock().iter().all(|name| *name == "first"), "{:?}", worked.lock());

    // An instance dies without a word.
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    worked.lock().clear();
    user.wants(&[("rose", "pink")]).await;
    let lease = user.lease().await;
    assert_eq!((lease.holder_identity.as_deref(), lease.lease_transitions), (Some("second"), Some(1)));
    assert!(worked.lock().iter().all(|name| *name == "second"), "{:?}", worked.lock());

    // The server that leads dies: watches go on at another.
    let leader = lab.leader().await;
    kill(lab.file(), &leader).await.unwrap();
    user.wants(&[("rose", "white"), ("oak", "old")]).await;
    start(lab.file(), &leader).await.unwrap();
    lab.cluster.server_ready(&leader).await.unwrap();
    user.wants(&[("oak", "older")]).await;
    user.leaves().await;
    second.abort();
    drop(watch);
    lab.down().await;
}

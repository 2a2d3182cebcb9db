//! Members that come, go, and are lost with their data. One at a time, while all others are well: the group keeps its quorum.

use super::members::no_store;
use super::processes::well;
use super::{Fault, leader, some};
use crate::target::{Group, System};
use anyhow::{Context, Result};
use async_trait::async_trait;
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Clone, Copy)]
enum Change {
    /// One more comes; then one goes, perhaps the leader.
    Add,
    /// One is removed while it runs, and does not know; then it comes back, empty, as another member.
    Remove,
    /// One is lost with its data; it is removed, and another host takes its place.
    Replace,
}

async fn anyone(group: &dyn System, rng: &mut StdRng) -> String {
    if rng.random_bool(0.5) { leader(group, rng).await } else { some(group, rng, 1).remove(0) }
}

async fn removed(group: &Group, name: &str) -> Result<()> {
    group.remove(name).await?;
    group.forget(name).await
}

#[async_trait]
impl Fault for Change {
    fn name(&self) -> &'static str {
        match self {
            Self::Add => "member-add",
            Self::Remove => "member-remove",
            Self::Replace => "member-replace",
        }
    }

    fn unfit(&self, group: &dyn System) -> Option<String> {
        no_store(group)
    }

    async fn begin(&self, group: &dyn System, rng: &mut StdRng) -> Result<Value> {
        let Some(store) = group.store() else { return Ok(Value::Null) };
        well(group).await?;
        let one = anyone(group, rng).await;
        match self {
            Self::Add => {
                let new = store.spare().context("a host that is nobody's")?;
                store.join(&new).await?;
                Ok(json!({ "added": new }))
            }
            Self::Remove => {
                store.remove(&one).await?;
                Ok(json!({ "removed": one }))
            }
            Self::Replace => {
                let new = store.spare().context("a host that is nobody's")?;
                store.forget(&one).await?;
                store.remove(&one).await?;
                store.join(&new).await?;
                Ok(json!({ "lost": one, "added": new }))
            }
        }
    }

    async fn end(&self, group: &dyn System) -> Result<()> {
        let Some(store) = group.store() else { return Ok(()) };
        match (self, store.spare()) {
            // As many as there were; nobody is drawn here, so the leader goes, which is the harder case.
            (Self::Add, None) => {
                well(group).await?;
                let one = group.leader().await.or_else(|| group.names().into_iter().next()).context("a member")?;
                removed(store, &one).await
            }
            (Self::Remove, Some(gone)) => {
                store.forget(&gone).await?;
                store.join(&gone).await
            }
            _ => Ok(()),
        }
    }
}

pub(super) fn all() -> Vec<Arc<dyn Fault>> {
    vec![Arc::new(Change::Add), Arc::new(Change::Remove), Arc::new(Change::Replace)]
}

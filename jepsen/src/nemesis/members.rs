//! Leadership handed over, and housekeeping under fire.

use super::{Fault, leader, some};
use crate::target::System;
use anyhow::Result;
use async_trait::async_trait;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use std::sync::Arc;

/// The leader hands over to another.
struct Transfer;

#[async_trait]
impl Fault for Transfer {
    fn name(&self) -> &'static str {
        "move-leader"
    }

    fn unfit(&self, group: &dyn System) -> Option<String> {
        no_store(group)
    }

    async fn begin(&self, group: &dyn System, rng: &mut StdRng) -> Result<Value> {
        let Some(store) = group.store() else { return Ok(Value::Null) };
        let from = leader(group, rng).await;
        let to = some(group, rng, group.names().len()).into_iter().find(|name| *name != from).unwrap_or_else(|| from.clone());
        let id = match store.client(&to).status().await {
            Ok(status) => status.header.map_or(0, |header| header.member_id),
            Err(failure) => return Ok(json!({ "from": from, "to": to, "failed": failure.to_string() })),
        };
        let moved = store.client(&from).move_leader(id).await;
        Ok(json!({ "from": from, "to": to, "failed": moved.err().map(|failure| failure.to_string()) }))
    }

    async fn end(&self, _group: &dyn System) -> Result<()> {
        Ok(())
    }
}

/// Members are compacted physically and defragmented, and their snapshots read, all at once.
struct Housekeeping;

#[async_trait]
impl Fault for Housekeeping {
    fn name(&self) -> &'static str {
        "housekeeping"
    }

    fn unfit(&self, group: &dyn System) -> Option<String> {
        no_store(group)
    }

    async fn begin(&self, group: &dyn System, _rng: &mut StdRng) -> Result<Value> {
        let Some(store) = group.store() else { return Ok(Value::Null) };
        let mut done = serde_json::Map::new();
        for name in group.names() {
            let client = store.client(&name);
            let (snapshot, defragmented) = tokio::join!(client.snapshot_bytes(), client.ask(&crate::kv::Request::Defragment));
            let defragmented = defragmented.map_or_else(|failure| failure.to_string(), |_| "done".into());
            let snapshot = snapshot.map_or_else(|failure| json!(failure.to_string()), |bytes| json!(bytes));
            done.insert(name, json!({ "snapshot": snapshot, "defragment": defragmented }));
        }
        Ok(Value::Object(done))
    }

    async fn end(&self, _group: &dyn System) -> Result<()> {
        Ok(())
    }
}

pub(super) fn no_store(group: &dyn System) -> Option<String> {
    group.store().is_none().then(|| format!("{} is not asked by etcd's API", group.program()))
}

pub(super) fn all() -> Vec<Arc<dyn Fault>> {
    vec![Arc::new(Transfer), Arc::new(Housekeeping)]
}

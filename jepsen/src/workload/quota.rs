//! A database that fills up: large values until members say that there is no room, and one process that makes room again as a person
//! would: delete, compact, defragment each member, turn the alarm off.

use super::{Actor, Workload};
use crate::check::quota::{ALARM, Alarm, CLEAR, Clear, DISARM, Done, FILL, Fill, KEPT, Kept};
use crate::kv;
use crate::target::{Client, Failure, System};
use async_trait::async_trait;
use rand::Rng;
use serde_json::json;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tricorn_proto::etcdserverpb as pb;
use tricorn_proto::etcdserverpb::alarm_request::AlarmAction;
use tricorn_proto::etcdserverpb::kv_client::KvClient;
use tricorn_proto::etcdserverpb::maintenance_client::MaintenanceClient;

const QUOTA_BYTES: u64 = 24 << 20;
const VALUE_BYTES: usize = 64 << 10;
const ANSWER: Duration = Duration::from_secs(5);
/// How long the others see that there is no room before some is made.
const FULL: Duration = Duration::from_millis(1500);
const LOOK: Duration = Duration::from_millis(300);
/// So many of the latest keys stay when room is made.
const STAY: u64 = 20;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// See above.
pub struct Quota;

fn key(number: u64) -> String {
    format!("q/{number:010}")
}

async fn fill(client: &Client, number: u64) -> Result<Done, Failure> {
    let channel = client.channel().await?;
    let request = pb::PutRequest { key: key(number).into(), value: vec![b'x'; VALUE_BYTES].into(), ..Default::default() };
    let reply = client.call(ANSWER, KvClient::new(channel).put(request)).await?;
    Ok(Done { revision: reply.header.map_or(0, |header| header.revision) })
}

async fn alarm(client: &Client, request: pb::AlarmRequest) -> Result<Vec<pb::AlarmMember>, Failure> {
    let channel = client.channel().await?;
    Ok(client.call(ANSWER, MaintenanceClient::new(channel).alarm(request)).await?.alarms)
}

async fn clear(client: &Client, below: u64) -> Result<Done, Failure> {
    let channel = client.channel().await?;
    let request = pb::DeleteRangeRequest { key: key(0).into(), range_end: key(below).into(), ..Default::default() };
    let reply = client.call(ANSWER, KvClient::new(channel).delete_range(request)).await?;
    Ok(Done { revision: reply.header.map_or(0, |header| header.revision) })
}

async fn disarm(client: &Client) -> Result<(), Failure> {
    for armed in alarm(client, pb::AlarmRequest::default()).await? {
        let action = AlarmAction::Deactivate.into();
        alarm(client, pb::AlarmRequest { action, member_id: armed.member_id, alarm: armed.alarm }).await?;
    }
    Ok(())
}

async fn kept(client: &Client) -> Result<Kept, Failure> {
    let channel = client.channel().await?;
    let request = pb::RangeRequest { key: "q/".into(), range_end: "q0".into(), keys_only: true, ..Default::default() };
    let found = client.call(ANSWER, KvClient::new(channel).range(request)).await.map_err(|failure| Failure::Not(failure.to_string()))?;
    let number = |kv: &tricorn_proto::mvccpb::KeyValue| String::from_utf8_lossy(&kv.key).strip_prefix("q/")?.parse().ok();
    Ok(Kept { keys: found.kvs.iter().filter_map(number).collect() })
}

/// Makes room, if the alarm is on.
async fn cure(actor: &mut Actor) {
    let look = async |client: &Client| {
        let alarms = alarm(client, pb::AlarmRequest::default()).await?;
        Ok(Alarm { on: alarms.iter().any(|alarm| alarm.alarm() == pb::AlarmType::Nospace) })
    };
    let Some(Alarm { on: true }) = actor.noted(ALARM, &json!({}), look).await else {
        return tokio::time::sleep(LOOK).await;
    };
    tokio::time::sleep(FULL).await;
    let below = NEXT.load(Ordering::Relaxed).saturating_sub(STAY).max(1);
    let Some(done) = actor.noted(CLEAR, &Clear { below }, async |client| clear(client, below).await).await else { return };
    let Some(group) = actor.system.store() else { return };
    let mut revision = done.revision;
    for name in group.names() {
        let client = group.client(&name);
        if revision > 0 {
            // Once is enough; whoever is off now will have it in its log.
            let compacted = client.ask(&kv::Request::Compact { revision }).await;
            revision = if compacted.is_ok() { 0 } else { revision };
        }
        let _tidied = client.ask(&kv::Request::Defragment).await;
    }
    actor.noted(DISARM, &json!({}), async |client| disarm(client).await.map(|()| json!({}))).await;
}

#[async_trait]
impl Workload for Quota {
    fn name(&self) -> &'static str {
        "quota"
    }

    fn flags(&self) -> Vec<String> {
        vec![format!("--quota-backend-bytes={QUOTA_BYTES}")]
    }

    async fn step(&self, actor: &mut Actor) {
        if actor.number == 0 {
            return cure(actor).await;
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        actor.noted(FILL, &Fill { key: number }, async |client| fill(client, number).await).await;
        tokio::time::sleep(Duration::from_millis(actor.rng.random_range(0..60))).await;
    }

    async fn finish(&self, actor: &mut Actor) {
        for node in actor.system.names() {
            actor.turn_to(&node);
            actor.noted(KEPT, &json!({}), async |client| kept(client).await).await;
        }
    }
}

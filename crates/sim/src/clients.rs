//! Clients: they read, write, hold leases and watch, at any member, and tell the tower what they were told.

use crate::dice::Dice;
use crate::event::{Event, Told};
use crate::world::World;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tricorn_proto::etcdserverpb::compare::{CompareTarget, TargetUnion};
use tricorn_proto::etcdserverpb::request_op::Request;
use tricorn_proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest, RequestOp, ResponseHeader, TxnRequest,
};
use tricorn_store::{Error, Result};

/// One client.
pub struct Client {
    world: Arc<World>,
    name: String,
    dice: Dice,
    count: u64,
}

#[derive(Clone, Copy)]
enum What {
    Put,
    Fenced,
    Swap,
    Delete,
    Get,
    List,
    Local,
    Compact,
    Burst,
}

/// Writes of one burst.
const BURST: usize = 20;

const WHAT: [(u64, What); 9] = [
    (35, What::Put),
    (10, What::Fenced),
    (15, What::Swap),
    (4, What::Delete),
    (20, What::Get),
    (8, What::List),
    (6, What::Local),
    (2, What::Compact),
    (5, What::Burst),
];

/// What an answer says about a write.
fn told<T>(answer: Option<&Result<T>>) -> Told {
    match answer {
        Some(Ok(_)) => Told::Done,
        None | Some(Err(Error::Timeout | Error::LeaderChanged | Error::Stopped | Error::Raft(_) | Error::Disk { .. })) => Told::Nothing,
        Some(Err(_)) => Told::Refused,
    }
}

fn revision(header: Option<&ResponseHeader>) -> i64 {
    header.map_or(0, |header| header.revision)
}

impl Client {
    /// A client with a name of its own.
    #[must_use]
    pub fn new(world: Arc<World>, name: String) -> Self {
        let dice = Dice::new(world.plan.seed, &name);
        Self { world, name, dice, count: 0 }
    }

    /// Works until the time is up.
    pub async fn run(mut self, until: Instant) {
        while Instant::now() < until {
            sleep(self.dice.ms(1, 120)).await;
            let ready = self.world.ready();
            let Some(member) = self.dice.pick(&ready) else { continue };
            match self.dice.weighted(&WHAT) {
                Some(What::Fenced) => self.fenced(member).await,
                Some(What::Swap) => self.swap(member).await,
                Some(What::Delete) => self.delete(member).await,
                Some(What::Get) => self.read(member, false, false).await,
                Some(What::List) => self.read(member, true, false).await,
                Some(What::Local) => self.read(member, true, true).await,
                Some(What::Compact) => self.compact(member).await,
                Some(What::Burst) => self.burst(member).await,
                Some(What::Put) | None => self.put(member, None).await,
            }
        }
    }

    fn key(&mut self) -> Bytes {
        format!("k{}", self.dice.below(self.world.plan.keys)).into()
    }

    fn value(&mut self) -> Bytes {
        self.count += 1;
        format!("{}.{}", self.name, self.count).into()
    }

    fn see(&self, event: &Event) {
        self.world.tower.see(event);
    }

    async fn put(&mut self, member: usize, fence: Option<u64>) {
        let (key, value) = (self.key(), self.value());
        let put = PutRequest { key, value: value.clone(), ..PutRequest::default() };
        let answer = self.world.ask(member, |store| async move { store.put(put, fence).await }).await;
        let made = answer.as_ref().and_then(|answer| answer.as_ref().ok()).map_or(0, |answer| revision(answer.header.as_ref()));
        self.see(&Event::Wrote { value, told: told(answer.as_ref()), revision: made, fence, expected: None });
    }

    /// Many writes at once.
    async fn burst(&mut self, member: usize) {
        let puts: Vec<(Bytes, Bytes)> = (0..BURST).map(|_| (self.key(), self.value())).collect();
        let world = self.world.clone();
        let writes = puts.into_iter().map(|(key, value)| {
            let put = PutRequest { key, value: value.clone(), ..PutRequest::default() };
            let world = world.clone();
            async move {
                let answer = world.ask(member, |store| async move { store.put(put, None).await }).await;
                let made = answer.as_ref().and_then(|answer| answer.as_ref().ok()).map_or(0, |answer| revision(answer.header.as_ref()));
                world.tower.see(&Event::Wrote { value, told: told(answer.as_ref()), revision: made, fence: None, expected: None });
            }
        });
        futures::future::join_all(writes).await;
    }

    /// A write for the term that the member knows, after some thought.
    async fn fenced(&mut self, member: usize) {
        let Some(store) = self.world.store(member) else { return };
        let term = store.leadership().borrow().term;
        drop(store);
        if self.dice.often(500) {
            sleep(self.dice.ms(0, 1500)).await;
        }
        let ready = self.world.ready();
        let member = self.dice.pick(&ready).unwrap_or(member);
        self.put(member, Some(term)).await;
    }

    /// Replaces what it has read, if that is still there.
    async fn swap(&mut self, member: usize) {
        let (key, value) = (self.key(), self.value());
        let get = RangeRequest { key: key.clone(), serializable: self.dice.often(300), ..RangeRequest::default() };
        let Some(Ok(read)) = self.world.ask(member, |store| async move { store.range(get).await }).await else { return };
        let expected = read.kvs.first().map_or(0, |kv| kv.mod_revision);
        let compare = Compare {
            key: key.clone(),
            target: CompareTarget::Mod.into(),
            target_union: Some(TargetUnion::ModRevision(expected)),
            ..Compare::default()
        };
        let put = PutRequest { key, value: value.clone(), ..PutRequest::default() };
        let txn =
            TxnRequest { compare: vec![compare], success: vec![RequestOp { request: Some(Request::RequestPut(put)) }], failure: vec![] };
        let ready = self.world.ready();
        let member = self.dice.pick(&ready).unwrap_or(member);
        let answer = self.world.ask(member, |store| async move { store.txn(txn, None).await }).await;
        let (mut what, mut made) = (told(answer.as_ref()), 0);
        if let Some(Ok(answer)) = &answer {
            made = revision(answer.header.as_ref());
            if !answer.succeeded {
                what = Told::Refused;
            }
        }
        self.see(&Event::Wrote { value, told: what, revision: made, fence: None, expected: Some(expected) });
    }

    async fn delete(&mut self, member: usize) {
        let request = DeleteRangeRequest { key: self.key(), ..DeleteRangeRequest::default() };
        self.world.ask(member, |store| async move { store.delete_range(request, None).await }).await;
    }

    async fn read(&mut self, member: usize, all: bool, serializable: bool) {
        let (key, range_end) = if all { (Bytes::from_static(b"k"), Bytes::from_static(b"l")) } else { (self.key(), Bytes::new()) };
        let request = RangeRequest { key, range_end, serializable, ..RangeRequest::default() };
        let floor = self.world.tower.ledger.lock().revision();
        let asked = request.clone();
        let Some(Ok(answer)) = self.world.ask(member, |store| async move { store.range(asked).await }).await else { return };
        self.see(&Event::Read { request, floor, revision: revision(answer.header.as_ref()), kvs: answer.kvs });
    }

    async fn compact(&mut self, member: usize) {
        let newest = self.world.tower.ledger.lock().revision();
        let upto = newest - i64::try_from(self.dice.below(40)).unwrap_or(0);
        let request = CompactionRequest { revision: upto.max(1), physical: self.dice.often(500) };
        self.world.ask(member, |store| async move { store.compact(request).await }).await;
    }
}

/// Holds leases, one after the other: keeps each alive for a while, and lets it go.
pub async fn hold_leases(world: Arc<World>, name: String, until: Instant) {
    let mut dice = Dice::new(world.plan.seed, &name);
    let mut count = 0;
    while Instant::now() < until {
        sleep(dice.ms(50, 800)).await;
        count += 1;
        hold(&world, &mut dice, format!("{name}.{count}"), until).await;
    }
}

async fn hold(world: &Arc<World>, dice: &mut Dice, value: String, until: Instant) {
    let any = |dice: &mut Dice| dice.pick(&world.ready());
    let Some(member) = any(dice) else { return };
    let grant = LeaseGrantRequest { ttl: i64::try_from(dice.between(1, 14)).unwrap_or(1), id: 0 };
    let asked_ms = world.tower.trace.now_ms();
    let Some(Ok(lease)) = world.ask(member, |store| async move { store.lease_grant(grant).await }).await else { return };
    let ttl_ms = u64::try_from(lease.ttl).unwrap_or(0) * 1000;
    world.tower.see(&Event::Renewed { lease: lease.id, asked_ms, ttl_ms });
    let put = PutRequest { key: format!("l{value}").into(), value: value.clone().into(), lease: lease.id, ..PutRequest::default() };
    let answer = world.ask(member, |store| async move { store.put(put, None).await }).await;
    let made = answer.as_ref().and_then(|answer| answer.as_ref().ok()).map_or(0, |answer| revision(answer.header.as_ref()));
    let told = told(answer.as_ref());
    world.tower.see(&Event::Wrote { value: value.into(), told, revision: made, fence: None, expected: None });
    let renewals = dice.below(8);
    for _ in 0..renewals {
        // Some keep it alive in good time, some at the last moment.
        sleep(Duration::from_millis(ttl_ms * dice.between(100, 900) / 1000)).await;
        if Instant::now() >= until {
            return;
        }
        let Some(member) = any(dice) else { continue };
        let asked_ms = world.tower.trace.now_ms();
        let id = lease.id;
        match world.ask(member, |store| async move { store.lease_keep_alive(id).await }).await {
            Some(Ok(answer)) if answer.ttl > 0 => {
                let ttl_ms = u64::try_from(answer.ttl).unwrap_or(0) * 1000;
                world.tower.see(&Event::Renewed { lease: id, asked_ms, ttl_ms });
            }
            Some(Ok(_)) => return,
            _ => {}
        }
    }
    if dice.often(200) {
        let (id, member) = (lease.id, any(dice));
        if let Some(member) = member {
            world.ask(member, |store| async move { store.lease_revoke(id).await }).await;
        }
    }
}

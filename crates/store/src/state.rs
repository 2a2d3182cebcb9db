//! The replicated state: applied by one thread, read by everybody.

use crate::counters::{Counters, add};
use crate::current;
use crate::engine::{Disk, Engine, Purpose};
use crate::error::{Error, Result};
use crate::hub::{Hub, Published};
use crate::lessor::Lessor;
use crate::mutation::{Mutation, active};
use crate::recent::{Recent, Remembered};
use crate::tokens::Tokens;
use crate::types::{
    EntryOf, LogId, Outcome, Proposal, SnapshotMeta, StoredMembers, Types, decode_command, from_wire, members_from_wire, members_to_wire,
    to_wire,
};
use arc_swap::ArcSwap;
use bytes::Bytes;
use openraft::EntryPayload;
use openraft::storage::ApplyResponder;
use parking_lot::Mutex;
use prost::Message;
use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use tokio::sync::watch;
use tricorn_mvcc::{Access, AuthState, LeaseChange, Machine, Pending, Place, Reader, RightsCache, Table, TokenChange, View};
use tricorn_proto::etcdserverpb::{AlarmMember, RangeRequest, RangeResponse};
use tricorn_proto::peer;
use tricorn_proto::peer::answer::Reply;
use tricorn_proto::peer::command::Op;

/// Row of the META table that says what has been applied: log id and membership.
pub(crate) const RAFT: &[u8] = b"raft";
/// Log rows looked at by one step of giving compacted space back.
const SWEEP_ROWS: usize = 512;
/// Bytes of rows written together.
const BATCH_BYTES: usize = 4 << 20;

/// How far apply has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct AppliedAt {
    pub index: u64,
    pub term: u64,
    pub revision: i64,
}

struct Current {
    name: String,
    engine: Arc<dyn Engine>,
}

/// What readers see.
pub(crate) struct State {
    disk: Arc<dyn Disk>,
    current: ArcSwap<Current>,
    compacted: AtomicI64,
    pub applied: watch::Sender<AppliedAt>,
    pub swept: watch::Sender<i64>,
    pub hub: Arc<Hub>,
    pub lessor: Arc<Lessor>,
    pub tokens: Tokens,
    /// The auth revision, doubled, and one more while authentication is on.
    auth: AtomicU64,
    rights: Mutex<RightsCache>,
    /// What watches over space, as the state machine has it.
    room: ArcSwap<Room>,
    /// See [`State::size`].
    size: AtomicU64,
    counters: Arc<Counters>,
}

/// What has been said to all members about the space that they may take.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Room {
    /// Of any kind, of any member.
    pub alarms: Vec<AlarmMember>,
    /// Bytes that the state may take, in the place of what the member's configuration says.
    pub quota: Option<u64>,
}

impl Room {
    fn of(machine: &Machine) -> Self {
        Self { alarms: machine.alarms().to_vec(), quota: machine.quota() }
    }
}

/// What the META row holds.
#[derive(Clone, Default)]
pub(crate) struct Position {
    pub applied: Option<LogId>,
    pub members: StoredMembers,
}

impl Position {
    pub fn read(view: &dyn View) -> io::Result<Self> {
        let Some(row) = view.get(Table::META, RAFT).map_err(io::Error::other)? else { return Ok(Self::default()) };
        let meta = peer::SnapshotMeta::decode(row).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Self::from_wire(meta)
    }

    pub fn from_wire(meta: peer::SnapshotMeta) -> io::Result<Self> {
        let members = members_from_wire(meta.membership.unwrap_or_default())?;
        Ok(Self { applied: meta.last.map(from_wire), members: StoredMembers::new(meta.membership_id.map(from_wire), members) })
    }

    pub fn to_wire(&self) -> peer::SnapshotMeta {
        peer::SnapshotMeta {
            vote: None,
            last: self.applied.map(to_wire),
            membership_id: self.members.log_id().map(to_wire),
            membership: Some(members_to_wire(self.members.membership())),
        }
    }

    pub fn meta(&self) -> SnapshotMeta {
        SnapshotMeta { last_log_id: self.applied, last_membership: self.members.clone() }
    }
}

impl State {
    /// Opens the engine in use and removes what an interrupted snapshot left behind.
    pub fn open(disk: Arc<dyn Disk>, counters: Arc<Counters>, lessor: Arc<Lessor>, tokens: Tokens) -> io::Result<Self> {
        let name = match current::read(disk.as_ref())? {
            Some(name) => name,
            None => {
                current::write(disk.as_ref(), current::FIRST)?;
                current::FIRST.to_owned()
            }
        };
        for other in disk.engines()? {
            if other.starts_with("state-") && other != name {
                disk.remove(&other)?;
            }
        }
        let engine = disk.open(&name, Purpose::State)?;
        let (machine, swept, position, leases) = {
            let view = engine.view()?;
            let machine = Machine::load(view.as_ref()).map_err(io::Error::other)?;
            let swept = Pending::new(view.as_ref()).swept().map_err(io::Error::other)?;
            let leases = Reader::open(view.as_ref()).and_then(|reader| reader.leases()).map_err(io::Error::other)?;
            (machine, swept, Position::read(view.as_ref())?, leases)
        };
        lessor.replace(leases);
        let revision = machine.revision();
        Ok(Self {
            hub: Arc::new(Hub::new(revision, counters.clone())),
            applied: watch::Sender::new(at(position.applied, revision)),
            swept: watch::Sender::new(swept),
            compacted: AtomicI64::new(machine.compacted()),
            current: ArcSwap::from_pointee(Current { name, engine }),
            disk,
            lessor,
            tokens,
            auth: AtomicU64::new(packed(machine.auth())),
            rights: Mutex::default(),
            room: ArcSwap::from_pointee(Room::of(&machine)),
            size: AtomicU64::new(u64::MAX),
            counters,
        })
    }

    pub fn engine(&self) -> Arc<dyn Engine> {
        self.current.load().engine.clone()
    }

    pub fn compacted(&self) -> i64 {
        self.compacted.load(Ordering::Acquire)
    }

    /// A range of one key, when that is all there is to it.
    pub fn latest(&self, request: &RangeRequest) -> Result<Option<RangeResponse>> {
        // In this order: a row that is not newer than the revision was the latest at that revision.
        let revision = self.applied.borrow().revision;
        let row = self.engine().get(Table::CURRENT, &request.key).map_err(|error| Error::disk("read the state", &error))?;
        Ok(Reader::latest(request, row, revision))
    }

    /// About the bytes that the state takes, never less; exact when that would be more than `enough`.
    pub fn size(&self, enough: u64) -> u64 {
        let about = self.size.load(Ordering::Relaxed);
        if about <= enough {
            return about;
        }
        let exact = self.engine().size();
        self.size.store(exact, Ordering::Relaxed);
        exact
    }

    /// Asks something of the rows as they stand now.
    pub fn read<T>(&self, ask: impl FnOnce(&Reader<'_>) -> tricorn_mvcc::Result<T>) -> Result<T> {
        let engine = self.engine();
        let view = engine.view().map_err(|error| Error::disk("read the state", &error))?;
        let reader = Reader::open(view.as_ref())?;
        Ok(ask(&reader)?)
    }

    /// The same for a caller, with what it may do to these very rows.
    pub fn read_as<T>(
        &self,
        caller: Option<&peer::Caller>,
        ask: impl FnOnce(&Reader<'_>, &Access) -> tricorn_mvcc::Result<T>,
    ) -> Result<T> {
        let engine = self.engine();
        let view = engine.view().map_err(|error| Error::disk("read the state", &error))?;
        let reader = Reader::open(view.as_ref())?;
        let auth = if caller.is_some() { reader.auth_state()? } else { AuthState::default() };
        let access = if auth.enabled { Access::of(caller, auth, view.as_ref(), &mut self.rights.lock())? } else { Access::unlimited() };
        Ok(ask(&reader, &access)?)
    }

    /// Whether authentication is on, and the auth revision.
    pub fn auth(&self) -> AuthState {
        let packed = self.auth.load(Ordering::Acquire);
        AuthState { enabled: packed & 1 == 1, revision: packed >> 1 }
    }

    /// Alarms, and the quota if all members have been told one.
    pub fn room(&self) -> Arc<Room> {
        self.room.load_full()
    }

    /// The quota that all members have been told, if they have.
    pub fn quota(&self) -> Option<u64> {
        self.room.load().quota
    }

    fn set_room(&self, machine: &Machine) {
        let known = self.room.load();
        if known.quota != machine.quota() || known.alarms != machine.alarms() {
            self.room.store(Arc::new(Room::of(machine)));
        }
    }

    fn set_auth(&self, auth: AuthState) {
        self.auth.store(packed(auth), Ordering::Release);
    }

    pub fn position(&self) -> io::Result<Position> {
        let engine = self.engine();
        let view = engine.view()?;
        Position::read(view.as_ref())
    }

    /// An engine to fill with a snapshot.
    pub fn stage(&self) -> io::Result<Staged> {
        let used = self.current.load().name.clone();
        let number = used.rsplit('-').next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
        let name = format!("state-{}", number + 1);
        self.disk.remove(&name)?;
        let engine = self.disk.open(&name, Purpose::State)?;
        Ok(Staged { name, engine: Some(engine), disk: self.disk.clone(), kept: false })
    }
}

fn packed(auth: AuthState) -> u64 {
    (auth.revision << 1) | u64::from(auth.enabled)
}

fn at(applied: Option<LogId>, revision: i64) -> AppliedAt {
    applied.map_or(AppliedAt { revision, ..AppliedAt::default() }, |id| AppliedAt { index: id.index, term: id.leader_id.term, revision })
}

/// A snapshot that has arrived and is not in use yet; dropping it removes it.
pub(crate) struct Staged {
    name: String,
    engine: Option<Arc<dyn Engine>>,
    disk: Arc<dyn Disk>,
    kept: bool,
}

impl Staged {
    pub fn engine(&self) -> io::Result<&Arc<dyn Engine>> {
        self.engine.as_ref().ok_or_else(|| io::Error::other("the staged snapshot is gone"))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        self.engine = None;
        if let Err(error) = self.disk.remove(&self.name) {
            tracing::warn!(engine = %self.name, %error, "could not remove an unused snapshot");
        }
    }
}

/// Entries and the proposers waiting for them.
pub(crate) type Batch = Vec<(EntryOf, Option<ApplyResponder<Types>>)>;

/// Owned by the apply thread: the only one that writes.
pub(crate) struct Applier {
    pub state: Arc<State>,
    machine: Machine,
    position: Position,
    sweeping: bool,
    recent: RefCell<Recent>,
}

/// What commands bring about beside rows.
#[derive(Default)]
struct Effects {
    published: Vec<Published>,
    leases: Vec<LeaseChange>,
    tokens: Vec<TokenChange>,
    commands: u64,
}

impl Applier {
    pub fn new(state: Arc<State>) -> io::Result<Self> {
        let engine = state.engine();
        let view = engine.view()?;
        let machine = Machine::load(view.as_ref()).map_err(io::Error::other)?;
        let position = Position::read(view.as_ref())?;
        Ok(Self { machine, position, sweeping: true, state: state.clone(), recent: RefCell::default() })
    }

    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Whether there are compacted rows to drop.
    pub fn has_idle_work(&self) -> bool {
        self.sweeping
    }

    /// Applies in order; rows of many entries go to the engine as one write, with the position they lead to.
    pub fn apply(&mut self, batch: Batch) -> io::Result<()> {
        let mut rest = batch.into_iter();
        while rest.len() > 0 {
            self.apply_some(&mut rest)?;
        }
        Ok(())
    }

    fn apply_some(&mut self, entries: &mut std::vec::IntoIter<(EntryOf, Option<ApplyResponder<Types>>)>) -> io::Result<()> {
        let engine = self.state.engine();
        let view = engine.view()?;
        let recent = std::mem::take(&mut self.recent);
        let rows = Remembered { base: view.as_ref(), recent: &recent };
        let mut pending = Pending::new(&rows);
        let mut effects = Effects::default();
        let mut answers = Vec::new();
        while pending.bytes() < BATCH_BYTES {
            let Some((entry, responder)) = entries.next() else { break };
            let outcome = match entry.payload {
                EntryPayload::Blank => Outcome::default(),
                EntryPayload::Membership(members) => {
                    self.position.members = StoredMembers::new(Some(entry.log_id), members);
                    Outcome::default()
                }
                EntryPayload::Normal(proposal) => Outcome(Some(self.run(&mut pending, &proposal, entry.log_id, &mut effects)?)),
            };
            self.position.applied = Some(entry.log_id);
            answers.extend(responder.map(|responder| (responder, outcome)));
        }
        if !active(Mutation::PositionForgotten) {
            pending.put(Table::META, Bytes::from_static(RAFT), self.position.to_wire().encode_to_vec().into());
        }
        // Rows take more than their bytes in memory, and then less on disk.
        let bytes = pending.bytes() as u64 * 2 + 1024;
        // A sum that has not been taken yet stays at its most.
        let _sum = self.state.size.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |sum| Some(sum.saturating_add(bytes)));
        let changes: Vec<_> = pending.into_changes().collect();
        recent.borrow_mut().written(&changes);
        self.recent = recent;
        let began = std::time::Instant::now();
        engine.write(changes, false)?;
        self.state.counters.commit.record(began.elapsed());
        add(&self.state.counters.applied_commands, effects.commands);
        if self.machine.compacted() > self.state.compacted() {
            if active(Mutation::WatchDroppedAtCompaction) {
                effects.published.clear();
            }
            self.state.compacted.store(self.machine.compacted(), Ordering::Release);
            self.sweeping = true;
        }
        self.state.lessor.changed(&effects.leases);
        self.state.tokens.changed(&effects.tokens);
        self.state.set_auth(self.machine.auth());
        self.state.set_room(&self.machine);
        self.state.hub.publish(&effects.published);
        self.state.applied.send_replace(at(self.position.applied, self.machine.revision()));
        for (responder, outcome) in answers {
            responder.send(outcome);
        }
        Ok(())
    }

    /// Runs the command of an entry, or those of a group one after the other.
    fn run(
        &mut self,
        pending: &mut Pending<'_>,
        proposal: &Proposal,
        at: LogId,
        effects: &mut Effects,
    ) -> io::Result<tricorn_mvcc::Result<Reply>> {
        add(&self.state.counters.applied_bytes, proposal.0.len() as u64);
        let command = decode_command(&proposal.0)?;
        let Some(Op::Group(group)) = &command.op else { return self.run_one(pending, &command, at, effects) };
        let mut answers = Vec::with_capacity(group.commands.len());
        for command in &group.commands {
            let reply = match self.run_one(pending, &decode_command(command)?, at, effects)? {
                Ok(reply) => reply,
                Err(error) => Reply::Failure(Error::Refused(error).to_failure()),
            };
            answers.push(peer::Answer { reply: Some(reply) });
        }
        Ok(Ok(Reply::Group(peer::Answers { answers })))
    }

    fn run_one(
        &mut self,
        pending: &mut Pending<'_>,
        command: &peer::Command,
        at: LogId,
        effects: &mut Effects,
    ) -> io::Result<tricorn_mvcc::Result<Reply>> {
        effects.commands += 1;
        let applied = self.machine.apply(pending, command, Place { term: at.leader_id.term, index: at.index });
        if let Err(tricorn_mvcc::Error::State(reason)) = &applied.answer {
            return Err(io::Error::other(format!("apply entry {at}: {reason}")));
        }
        if !applied.events.is_empty() {
            effects.published.push(Published { revision: applied.revision, events: applied.events.into() });
        }
        effects.leases.extend(applied.leases);
        effects.tokens.extend(applied.tokens);
        Ok(applied.answer)
    }

    /// Drops a few compacted rows.
    pub fn idle(&mut self) -> io::Result<()> {
        let engine = self.state.engine();
        let view = engine.view()?;
        let mut pending = Pending::new(view.as_ref());
        let done = pending.sweep(SWEEP_ROWS).map_err(io::Error::other)?;
        let changes: Vec<_> = pending.into_changes().collect();
        if !changes.is_empty() {
            self.recent.borrow_mut().written(&changes);
            engine.write(changes, false)?;
        }
        if done {
            self.sweeping = false;
            self.state.swept.send_replace(self.machine.compacted());
        }
        Ok(())
    }

    /// Puts a snapshot in the place of everything.
    pub fn install(&mut self, mut staged: Staged) -> io::Result<()> {
        let engine = staged.engine()?.clone();
        engine.flush()?;
        let (machine, position, leases) = {
            let view = engine.view()?;
            let machine = Machine::load(view.as_ref()).map_err(io::Error::other)?;
            let leases = Reader::open(view.as_ref()).and_then(|reader| reader.leases()).map_err(io::Error::other)?;
            (machine, Position::read(view.as_ref())?, leases)
        };
        let state = &self.state;
        current::write(state.disk.as_ref(), &staged.name)?;
        staged.kept = true;
        let old = state.current.swap(Arc::new(Current { name: staged.name.clone(), engine }));
        state.compacted.store(machine.compacted(), Ordering::Release);
        state.lessor.replace(leases);
        state.tokens.clear();
        state.set_auth(machine.auth());
        state.set_room(&machine);
        state.hub.replaced(machine.revision());
        state.applied.send_replace(at(position.applied, machine.revision()));
        self.machine = machine;
        self.position = position;
        self.recent.borrow_mut().clear();
        self.sweeping = true;
        let name = old.name.clone();
        // Readers may still hold it; a directory that cannot go now goes at the next start.
        if Arc::strong_count(&old) == 1 && Arc::strong_count(&old.engine) == 1 {
            drop(old);
            if let Err(error) = state.disk.remove(&name) {
                tracing::warn!(engine = %name, %error, "could not remove the replaced state");
            }
        }
        Ok(())
    }
}

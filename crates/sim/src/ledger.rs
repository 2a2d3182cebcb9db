//! What the group has decided, as an onlooker knows it: which entry stands at which place, and what comes of applying each of
//! them once, in order.

use crate::event::LogRow;
use bytes::Bytes;
use prost::Message;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use tricorn_mvcc::{LeaseChange, Machine, Pending, Place, Reader, Span};
use tricorn_proto::etcdserverpb::request_op::Request;
use tricorn_proto::mvccpb::{Event, KeyValue, event::EventType};
use tricorn_proto::peer;
use tricorn_proto::peer::command::Op;
use tricorn_store::{Disk, Engine, MemoryDisk, Purpose};

/// A committed command with a value that only one write has.
#[derive(Debug, Clone)]
pub struct Written {
    /// Its place in the log.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// The revision it made; 0 when it was refused.
    pub revision: i64,
    /// The modification revision of its key just before.
    pub found: i64,
}

/// The end of a lease.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// When it was first applied anywhere.
    pub at_ms: u64,
    /// The leader said that its time was up; otherwise a client ended it.
    pub expired: bool,
}

/// The onlooker's copy.
pub struct Ledger {
    /// Every entry that was ever written to any log: the term before it, and the entry.
    rows: BTreeMap<(u64, u64), (Option<u64>, Bytes)>,
    /// The term of each committed entry, by index.
    committed: Vec<u64>,
    revisions: Vec<i64>,
    machine: Machine,
    engine: Arc<dyn Engine>,
    /// What happened at each revision.
    pub events: BTreeMap<i64, Vec<Event>>,
    /// What each key was from which revision on.
    history: BTreeMap<Bytes, Vec<(i64, Option<KeyValue>)>>,
    /// Commands by their value; more than one is too many.
    pub written: BTreeMap<Bytes, Vec<Written>>,
    /// Leases that have ended.
    pub ended: BTreeMap<i64, Ended>,
    /// Committed configurations, with their index.
    pub memberships: Vec<(u64, peer::Membership)>,
    /// What people may want to know of what was applied last.
    pub news: Vec<String>,
    /// The highest revision up to which history has been given up.
    pub compacted: i64,
}

/// The value that names a command, if it has one.
fn value_of(op: Option<&Op>) -> Option<(Bytes, Bytes)> {
    match op? {
        Op::Put(put) => Some((put.key.clone(), put.value.clone())),
        Op::Txn(txn) => txn.success.iter().find_map(|op| match &op.request {
            Some(Request::RequestPut(put)) => Some((put.key.clone(), put.value.clone())),
            _ => None,
        }),
        _ => None,
    }
}

impl Ledger {
    /// Nothing has been decided yet.
    pub fn new() -> Result<Self, String> {
        let engine = MemoryDisk::default().open("ledger", Purpose::State).map_err(|error| error.to_string())?;
        let machine = Machine::load(engine.view().map_err(|error| error.to_string())?.as_ref()).map_err(|error| error.to_string())?;
        Ok(Self {
            rows: BTreeMap::new(),
            committed: Vec::new(),
            revisions: Vec::new(),
            machine,
            engine,
            events: BTreeMap::new(),
            history: BTreeMap::new(),
            written: BTreeMap::new(),
            ended: BTreeMap::new(),
            memberships: Vec::new(),
            news: Vec::new(),
            compacted: -1,
        })
    }

    /// What is known of an entry.
    #[must_use]
    pub fn row(&self, index: u64, term: u64) -> Option<&(Option<u64>, Bytes)> {
        self.rows.get(&(index, term))
    }

    /// Remembers an entry; what is known already stays.
    pub fn remember(&mut self, row: &LogRow) {
        let known = self.rows.entry((row.index, row.term)).or_insert((row.before, row.entry.clone()));
        known.0 = known.0.or(row.before);
    }

    /// The number of committed entries, which is the index behind the last of them.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.committed.len() as u64
    }

    /// The term of a committed entry.
    #[must_use]
    pub fn term_at(&self, index: u64) -> Option<u64> {
        self.committed.get(usize::try_from(index).ok()?).copied()
    }

    /// The revision once an entry has been applied.
    #[must_use]
    pub fn revision_at(&self, index: u64) -> Option<i64> {
        self.revisions.get(usize::try_from(index).ok()?).copied()
    }

    /// The newest revision.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.machine.revision()
    }

    /// The checksum of everything.
    pub fn hash(&self) -> Result<u32, String> {
        let view = self.engine.view().map_err(|error| error.to_string())?;
        let reader = Reader::open(view.as_ref()).map_err(|error| error.to_string())?;
        Ok(reader.hash(0).map_err(|error| error.to_string())?.hash)
    }

    /// Leases that live.
    pub fn leases(&self) -> Result<Vec<i64>, String> {
        let view = self.engine.view().map_err(|error| error.to_string())?;
        let reader = Reader::open(view.as_ref()).map_err(|error| error.to_string())?;
        Ok(reader.leases().map_err(|error| error.to_string())?.iter().map(|lease| lease.id).collect())
    }

    /// The key as it was at a revision.
    #[must_use]
    pub fn key_at(&self, key: &[u8], revision: i64) -> Option<&KeyValue> {
        let versions = self.history.get(key)?;
        versions.iter().rev().find(|(since, _)| *since <= revision)?.1.as_ref()
    }

    /// The keys of a range as they were at a revision.
    #[must_use]
    pub fn range_at(&self, key: &[u8], range_end: &[u8], revision: i64) -> Vec<KeyValue> {
        let span = Span::new(key, range_end);
        let inside = self.history.keys().filter(|key| span.contains(key));
        inside.filter_map(|key| self.key_at(key, revision).cloned()).collect()
    }

    /// What happened inside a range behind `after` up to `upto`.
    pub fn changes<'a>(&'a self, range: &'a (Bytes, Bytes), after: i64, upto: i64) -> impl Iterator<Item = (i64, Vec<Event>)> + 'a {
        let inside = |event: &&Event| event.kv.as_ref().is_some_and(|kv| Span::new(&range.0, &range.1).contains(&kv.key));
        let bounds = (Bound::Excluded(after), Bound::Excluded(upto.max(after).saturating_add(1)));
        self.events.range(bounds).filter_map(move |(revision, events)| {
            let events: Vec<Event> = events.iter().filter(inside).map(|event| Event { prev_kv: None, ..event.clone() }).collect();
            (!events.is_empty()).then_some((*revision, events))
        })
    }

    /// The entries up to this one are committed: finds them by walking back, and applies what is new.
    pub fn commit(&mut self, index: u64, term: u64, now_ms: u64) -> Result<(), String> {
        if let Some(known) = self.term_at(index) {
            return if known == term {
                Ok(())
            } else {
                Err(format!("entry {index} of term {term} was applied, and elsewhere that of term {known}"))
            };
        }
        let mut chain = Vec::new();
        let (mut at, mut its) = (index, term);
        loop {
            let Some((before, entry)) = self.row(at, its) else {
                return Err(format!("entry {at} of term {its} was applied, and no log holds it"));
            };
            chain.push((its, entry.clone()));
            if at == self.length() {
                let last = at.checked_sub(1).and_then(|last| self.term_at(last));
                if *before != last && before.is_some() {
                    return Err(format!(
                        "entry {at} of term {its} was applied behind one of term {before:?}, and elsewhere that was of term {last:?}"
                    ));
                }
                break;
            }
            let Some(before) = before else { return Err(format!("nobody knows what stands before entry {at} of term {its}")) };
            (at, its) = (at - 1, *before);
        }
        for (term, entry) in chain.into_iter().rev() {
            self.apply(term, &entry, now_ms)?;
        }
        Ok(())
    }

    fn apply(&mut self, term: u64, entry: &Bytes, now_ms: u64) -> Result<(), String> {
        let index = self.length();
        let entry = peer::Entry::decode(entry.clone()).map_err(|error| error.to_string())?;
        match entry.payload {
            None => {}
            Some(peer::entry::Payload::Membership(members)) => {
                let voters: Vec<&Vec<u64>> = members.voters.iter().map(|set| &set.ids).collect();
                self.news.push(format!("{} members, voters {voters:x?}", members.members.len()));
                self.memberships.push((index, members));
            }
            Some(peer::entry::Payload::Command(command)) => {
                let command = peer::Command::decode(command).map_err(|error| error.to_string())?;
                match command.op {
                    Some(Op::Group(group)) => {
                        for command in group.commands {
                            let command = peer::Command::decode(command).map_err(|error| error.to_string())?;
                            self.run(&command, Place { term, index }, now_ms)?;
                        }
                    }
                    _ => self.run(&command, Place { term, index }, now_ms)?,
                }
            }
        }
        self.committed.push(term);
        self.revisions.push(self.machine.revision());
        Ok(())
    }

    fn run(&mut self, command: &peer::Command, place: Place, now_ms: u64) -> Result<(), String> {
        let named = value_of(command.op.as_ref());
        let found = named.as_ref().and_then(|(key, _)| self.key_at(key, i64::MAX)).map_or(0, |kv| kv.mod_revision);
        let before = self.machine.revision();
        let engine = self.engine.clone();
        let view = engine.view().map_err(|error| error.to_string())?;
        let mut pending = Pending::new(view.as_ref());
        let applied = self.machine.apply(&mut pending, command, place);
        engine.write(pending.into_changes().collect(), true).map_err(|error| error.to_string())?;
        for event in &applied.events {
            let Some(kv) = &event.kv else { continue };
            let value = (event.r#type() == EventType::Put).then(|| kv.clone());
            self.history.entry(kv.key.clone()).or_default().push((applied.revision, value));
        }
        if !applied.events.is_empty() {
            self.events.insert(applied.revision, applied.events);
        }
        if let Some((_, value)) = named {
            let revision = if applied.answer.is_ok() && applied.revision > before { applied.revision } else { 0 };
            self.written.entry(value).or_default().push(Written { index: place.index, term: place.term, revision, found });
        }
        for change in applied.leases {
            match change {
                LeaseChange::Revoked(id) => {
                    let expired = command.fence.is_some();
                    self.ended.insert(id, Ended { at_ms: now_ms, expired });
                    self.news.push(format!("lease {id:x} ended, expired {expired}, by entry {}", place.index));
                }
                LeaseChange::Granted(lease) => self.news.push(format!("lease {:x} granted for {} s", lease.id, lease.granted)),
                LeaseChange::Marked(lease) => self.news.push(format!("lease {:x} marked with {} s", lease.id, lease.remaining)),
            }
        }
        self.compacted = self.compacted.max(self.machine.compacted());
        Ok(())
    }
}

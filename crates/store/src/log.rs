//! The Raft log: recent entries in memory, all of them on disk, and one thread that writes.
//!
//! What arrives while a write is being synced becomes the next write, so that the disk is synced once for many entries.

use crate::counters::Counters;
use crate::engine::Engine;
use crate::host;
use crate::mutation::{Mutation, active};
use crate::types::{EntryOf, LogId, Members, Types, VoteOf, decode_entry, entry_to_wire, from_wire, to_wire, vote_from_wire, vote_to_wire};
use crate::worker::{Queue, Worker};
use bytes::Bytes;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{OptionalSend, RaftTypeConfig};
use parking_lot::Mutex;
use prost::Message;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tricorn_mvcc::{Change, Table};
use tricorn_proto::peer;

const VOTE: &[u8] = b"vote";
const COMMITTED: &[u8] = b"committed";
const PURGED: &[u8] = b"purged";
/// Bytes of entries kept in memory.
const CACHE_BYTES: usize = 4 << 20;
/// Bytes of entries handed to replication at once.
const READ_BYTES: usize = 1 << 20;
/// Writes waiting for the worker.
const QUEUE: usize = 4096;
/// Bytes of one write.
const BATCH_BYTES: usize = 8 << 20;

struct Inner {
    /// Entries from index `first` on, without a gap, up to the last one.
    recent: VecDeque<EntryOf>,
    first: u64,
    bytes: usize,
    /// Everything up to here is on disk and may leave memory.
    persisted: u64,
    last: Option<LogId>,
    purged: Option<LogId>,
    vote: Option<VoteOf>,
    committed: Option<LogId>,
}

fn weight(entry: &EntryOf) -> usize {
    match &entry.payload {
        openraft::EntryPayload::Normal(proposal) => proposal.0.len() + 64,
        _ => 512,
    }
}

impl Inner {
    fn push(&mut self, entry: EntryOf) {
        self.bytes += weight(&entry);
        self.last = Some(entry.log_id);
        self.recent.push_back(entry);
    }

    fn evict(&mut self) {
        while self.bytes > CACHE_BYTES && self.first <= self.persisted {
            let Some(entry) = self.recent.pop_front() else { break };
            self.bytes -= weight(&entry);
            self.first = entry.log_id.index + 1;
        }
    }
}

enum Job {
    Append { changes: Vec<Change>, bytes: usize, last: u64, flushed: IOFlushed<Types> },
    Write { changes: Vec<Change>, sync: bool, done: Option<oneshot::Sender<io::Result<()>>> },
    Purge { upto: LogId },
}

/// The log of one member; clones share it.
#[derive(Clone)]
pub(crate) struct Log {
    inner: Arc<Mutex<Inner>>,
    engine: Arc<dyn Engine>,
    jobs: mpsc::Sender<Job>,
}

fn row_key(index: u64) -> Bytes {
    Bytes::copy_from_slice(&index.to_be_bytes())
}

fn change(table: Table, key: Bytes, value: Option<Vec<u8>>) -> Change {
    Change { table, key, value: value.map(Bytes::from) }
}

fn meta(name: &'static [u8], value: Vec<u8>) -> Change {
    change(Table::META, Bytes::from_static(name), Some(value))
}

fn decode<M: Message + Default>(row: Option<Bytes>, what: &str) -> io::Result<Option<M>> {
    row.map(|row| M::decode(row).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{what}: {error}")))).transpose()
}

impl Log {
    /// Reads the log back and starts its writer, which ends when the last clone is gone at the latest.
    pub async fn open(engine: Arc<dyn Engine>, counters: Arc<Counters>) -> io::Result<(Self, Worker)> {
        let read = engine.clone();
        let inner = host::blocking(move || load(read.as_ref())).await.map_err(io::Error::other)??;
        let inner = Arc::new(Mutex::new(inner));
        let (jobs, queue) = mpsc::channel(QUEUE);
        let writer = Writer { engine: engine.clone(), inner: inner.clone(), counters, failed: None };
        let worker = Worker::start("raft-log", queue, |queue| writer.run(queue))?;
        Ok((Self { inner, engine, jobs }, worker))
    }

    async fn send(&self, job: Job) -> io::Result<()> {
        self.jobs.send(job).await.map_err(|_| io::Error::other("the log's writer has stopped"))
    }

    async fn write(&self, changes: Vec<Change>, sync: bool) -> io::Result<()> {
        let (done, result) = oneshot::channel();
        self.send(Job::Write { changes, sync, done: Some(done) }).await?;
        result.await.map_err(|_| io::Error::other("the log's writer has stopped"))?
    }

    /// Whether nothing was ever written here.
    pub fn is_pristine(&self) -> bool {
        let inner = self.inner.lock();
        inner.last.is_none() && inner.purged.is_none() && inner.vote.is_none()
    }

    /// The last index known to be committed; 0 when there is none.
    pub fn committed_index(&self) -> u64 {
        self.inner.lock().committed.map_or(0, |committed| committed.index)
    }

    /// The last entry's index; 0 when there is none.
    pub fn last_index(&self) -> u64 {
        self.inner.lock().last.map_or(0, |last| last.index)
    }

    /// The entries of `start..end` that are there, at most `limit` bytes but at least one.
    async fn entries(&self, start: u64, end: u64, limit: usize) -> io::Result<Vec<EntryOf>> {
        let (mut found, below) = {
            let inner = self.inner.lock();
            let end = end.min(inner.last.map_or(0, |last| last.index + 1));
            let skip = usize::try_from(start.saturating_sub(inner.first)).unwrap_or(usize::MAX);
            let take = usize::try_from(end.saturating_sub(start.max(inner.first))).unwrap_or(usize::MAX);
            let found: Vec<EntryOf> = inner.recent.iter().skip(skip).take(take).cloned().collect();
            (found, inner.first.min(end))
        };
        if start < below {
            let engine = self.engine.clone();
            let mut read = host::blocking(move || read_rows(engine.as_ref(), start, below, limit)).await.map_err(io::Error::other)??;
            let whole = read.last().is_some_and(|entry| entry.log_id.index + 1 == below);
            if whole {
                read.append(&mut found);
            }
            found = read;
        }
        let mut bytes = 0;
        let fits = found.iter().take_while(|entry| {
            let first = bytes == 0;
            bytes += weight(entry);
            first || bytes <= limit
        });
        let keep = fits.count();
        found.truncate(keep);
        Ok(found)
    }
}

fn read_rows(engine: &dyn Engine, start: u64, end: u64, limit: usize) -> io::Result<Vec<EntryOf>> {
    let view = engine.view()?;
    let mut cursor = view.scan(Table::LOG, &start.to_be_bytes(), Some(&end.to_be_bytes())).map_err(io::Error::other)?;
    let (mut entries, mut bytes) = (Vec::new(), 0);
    while cursor.valid() && bytes <= limit {
        let entry = decode_entry(Bytes::copy_from_slice(cursor.value()))?;
        bytes += weight(&entry);
        entries.push(entry);
        cursor.advance().map_err(io::Error::other)?;
    }
    Ok(entries)
}

fn load(engine: &dyn Engine) -> io::Result<Inner> {
    let view = engine.view()?;
    let get = |name| view.get(Table::META, name).map_err(io::Error::other);
    let vote: Option<peer::Vote> = decode(get(VOTE)?, "vote")?;
    let committed: Option<peer::LogId> = decode(get(COMMITTED)?, "committed")?;
    let purged: Option<peer::LogId> = decode(get(PURGED)?, "purged")?;
    let purged = purged.map(from_wire);
    let first = purged.map_or(0, |purged| purged.index + 1);
    let mut inner = Inner {
        recent: VecDeque::new(),
        first,
        bytes: 0,
        persisted: 0,
        last: purged,
        purged,
        vote: vote.map(vote_from_wire),
        committed: committed.map(from_wire),
    };
    let mut cursor = view.scan(Table::LOG, &first.to_be_bytes(), None).map_err(io::Error::other)?;
    while cursor.valid() {
        let entry = decode_entry(Bytes::copy_from_slice(cursor.value()))?;
        let (index, next) = (entry.log_id.index, inner.last.map_or(first, |last| last.index + 1));
        if index != next {
            let what = format!("Corruption: the log has no entry {next}, and goes on with {index}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        inner.persisted = index;
        inner.push(entry);
        inner.evict();
        cursor.advance().map_err(io::Error::other)?;
    }
    // What is remembered as committed may be ahead of a log that lost unsynced rows.
    inner.committed = inner.committed.min(inner.last);
    Ok(inner)
}

/// Makes an empty log that begins behind `last`, as if everything up to there had been written and purged.
pub(crate) fn seed(engine: &dyn Engine, last: LogId, member: u64) -> io::Result<()> {
    engine.write(vec![meta(PURGED, to_wire(last).encode_to_vec()), own_vote(last, member)], true)
}

/// A member's vote for itself in the term of an entry.
fn own_vote(at: LogId, member: u64) -> Change {
    meta(VOTE, peer::Vote { term: at.leader_id.term, candidate: member, committed: false }.encode_to_vec())
}

/// The end of a stopped member's log.
pub(crate) struct Tail {
    /// The last entry.
    pub last: Option<LogId>,
    /// The term that was voted in.
    pub term: u64,
    /// Who was in the group according to the last entry that says so, if one does.
    pub members: Option<Members>,
}

/// Looks at a stopped member's log.
pub(crate) fn tail(engine: &dyn Engine) -> io::Result<Tail> {
    let Inner { purged, last, vote, .. } = load(engine)?;
    let mut tail = Tail { last, term: vote.map_or(0, |vote| vote.leader_id.term), members: None };
    let mut next = purged.map_or(0, |purged| purged.index + 1);
    loop {
        let entries = read_rows(engine, next, u64::MAX, READ_BYTES)?;
        let Some(end) = entries.last() else { return Ok(tail) };
        next = end.log_id.index + 1;
        for entry in entries {
            if let openraft::EntryPayload::Membership(members) = entry.payload {
                tail.members = Some(members);
            }
        }
    }
}

/// Appends to a stopped member's log who is in the group, and votes for `member`.
pub(crate) fn append_members(engine: &dyn Engine, id: LogId, members: Members, member: u64) -> io::Result<()> {
    let entry = EntryOf { log_id: id, payload: openraft::EntryPayload::Membership(members) };
    let row = change(Table::LOG, row_key(id.index), Some(entry_to_wire(&entry).encode_to_vec()));
    engine.write(vec![row, own_vote(id, member)], true)
}

struct Writer {
    engine: Arc<dyn Engine>,
    inner: Arc<Mutex<Inner>>,
    counters: Arc<Counters>,
    /// Why nothing is written any more.
    failed: Option<io::Error>,
}

impl Writer {
    async fn run(mut self, mut queue: Queue<Job>) {
        while let Some(job) = queue.next().await {
            let mut batch = Batch::default();
            batch.add(job);
            while batch.bytes < BATCH_BYTES {
                let Ok(job) = queue.try_next() else { break };
                batch.add(job);
            }
            host::disk_pause().await;
            let result = self.write(&mut batch);
            host::disk_pause().await;
            batch.answer(&result);
        }
    }

    /// Writes a batch, and only if everything before it has been written: after a failure nobody knows what is on the disk, and
    /// what came behind a gap could not be read back.
    fn write(&mut self, batch: &mut Batch) -> io::Result<()> {
        if let Some(error) = &self.failed
            && !active(Mutation::WriteAfterFailure)
        {
            return Err(again(error));
        }
        let result = self.try_write(batch);
        if let Err(error) = &result {
            tracing::error!(%error, "the log could not be written, and is not written any more");
            self.failed = Some(again(error));
        }
        result
    }

    fn try_write(&self, batch: &mut Batch) -> io::Result<()> {
        let began = std::time::Instant::now();
        self.engine.write(std::mem::take(&mut batch.changes), batch.sync)?;
        if batch.sync {
            self.counters.fsync.record(began.elapsed());
        }
        if let Some(upto) = batch.purge {
            self.engine.delete_range(Table::LOG, &0_u64.to_be_bytes(), &(upto.index + 1).to_be_bytes())?;
        }
        if let Some(last) = batch.last {
            let mut inner = self.inner.lock();
            inner.persisted = last;
            inner.evict();
        }
        Ok(())
    }
}

/// The same error for somebody else.
fn again(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

/// Jobs that are written together, in their order.
#[derive(Default)]
struct Batch {
    changes: Vec<Change>,
    bytes: usize,
    sync: bool,
    last: Option<u64>,
    purge: Option<LogId>,
    flushed: Vec<IOFlushed<Types>>,
    done: Vec<oneshot::Sender<io::Result<()>>>,
}

impl Batch {
    fn answer(self, result: &io::Result<()>) {
        let copy = || result.as_ref().map(drop).map_err(again);
        for flushed in self.flushed {
            flushed.io_completed(copy());
        }
        for done in self.done {
            // Whoever asked may have gone; nobody else wants to know.
            let _gone = done.send(copy());
        }
    }

    fn add(&mut self, job: Job) {
        match job {
            Job::Append { changes, bytes, last, flushed } => {
                self.changes.extend(changes);
                self.bytes += bytes;
                self.sync |= !active(Mutation::AckBeforeFsync);
                self.last = Some(last);
                self.flushed.push(flushed);
            }
            Job::Write { changes, sync, done } => {
                self.changes.extend(changes);
                self.sync |= sync;
                self.done.extend(done);
            }
            Job::Purge { upto } => {
                self.changes.push(meta(PURGED, to_wire(upto).encode_to_vec()));
                self.purge = Some(upto);
            }
        }
    }
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<EntryOf>, io::Error> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end + 1,
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        self.entries(start, end, usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<EntryOf>, io::Error> {
        self.entries(start, end, READ_BYTES).await
    }

    async fn read_vote(&mut self) -> Result<Option<VoteOf>, io::Error> {
        Ok(self.inner.lock().vote)
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let inner = self.inner.lock();
        Ok(LogState { last_purged_log_id: inner.purged, last_log_id: inner.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf) -> Result<(), io::Error> {
        self.write(vec![meta(VOTE, vote_to_wire(vote).encode_to_vec())], !active(Mutation::VoteForgotten)).await?;
        self.inner.lock().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let Some(committed) = committed else { return Ok(()) };
        self.inner.lock().committed = Some(committed);
        // Not synced for its own sake: it only saves a restarted member from going back in time for a moment.
        self.send(Job::Write { changes: vec![meta(COMMITTED, to_wire(committed).encode_to_vec())], sync: false, done: None }).await
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.inner.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = <Types as RaftTypeConfig>::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let (mut changes, mut bytes) = (Vec::new(), 0);
        let last = {
            let mut inner = self.inner.lock();
            for entry in entries {
                let row = entry_to_wire(&entry).encode_to_vec();
                bytes += row.len();
                changes.push(change(Table::LOG, row_key(entry.log_id.index), Some(row)));
                if inner.recent.is_empty() {
                    inner.first = entry.log_id.index;
                }
                inner.push(entry);
            }
            inner.last.map_or(0, |last| last.index)
        };
        self.send(Job::Append { changes, bytes, last, flushed: callback }).await
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let keep = last_log_id.map_or(0, |last| last.index + 1);
        let gone = {
            let mut inner = self.inner.lock();
            let end = inner.last.map_or(0, |last| last.index + 1);
            while inner.recent.back().is_some_and(|entry| entry.log_id.index >= keep) {
                let gone = inner.recent.pop_back();
                inner.bytes -= gone.as_ref().map_or(0, weight);
            }
            inner.last = last_log_id;
            inner.persisted = inner.persisted.min(keep.saturating_sub(1));
            if inner.recent.is_empty() {
                inner.first = keep;
            }
            keep..end
        };
        let changes = gone.map(|index| change(Table::LOG, row_key(index), None)).collect();
        if active(Mutation::LostTruncation) {
            return Ok(());
        }
        self.write(changes, true).await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        {
            let mut inner = self.inner.lock();
            while inner.recent.front().is_some_and(|entry| entry.log_id.index <= log_id.index) {
                let gone = inner.recent.pop_front();
                inner.bytes -= gone.as_ref().map_or(0, weight);
            }
            inner.purged = inner.purged.max(Some(log_id));
            inner.last = inner.last.max(Some(log_id));
            inner.first = inner.first.max(log_id.index + 1);
        }
        self.send(Job::Purge { upto: log_id }).await
    }
}

//! A whole state as one stream of bytes: what a lagging member is sent, and what a backup is.
//!
//! `TRICSNAP`, a format number, a head that says whose state it is and how far it goes, the rows of each table, a zero byte,
//! the number of rows, and a SHA-256 over everything before it.

use crate::engine::Engine;
use crate::host::{self, Host};
use crate::state::Position;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;
use sha2::{Digest, Sha256};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tricorn_mvcc::{Change, Reader, Table};
use tricorn_proto::peer;

const MAGIC: &[u8; 8] = b"TRICSNAP";
const FORMAT: u32 = 1;
const CHUNK: usize = 512 << 10;
const CHECKSUM: usize = 32;
/// Snapshots that etcd's tools save are as long as a whole number of these, and a checksum.
const BLOCK: usize = 512;
/// How many times as long as it reads the thread that reads a snapshot rests.
const REST: u32 = 2;
/// A read that took longer has waited for others already.
const LONGEST_REST: Duration = Duration::from_millis(20);
/// Largest key or value that is believed.
const MAX_FIELD: usize = 1 << 30;

/// Whose state a snapshot is, and how far it goes.
#[derive(Clone, Default)]
pub(crate) struct Head {
    pub cluster_id: u64,
    pub revision: i64,
    pub position: Position,
}

impl Head {
    fn encode(&self) -> Bytes {
        let meta = self.position.to_wire().encode_to_vec();
        let mut out = BytesMut::with_capacity(meta.len() + 32);
        out.put_slice(MAGIC);
        out.put_u32(FORMAT);
        out.put_u64(self.cluster_id);
        out.put_i64(self.revision);
        out.put_u32(u32::try_from(meta.len()).unwrap_or(u32::MAX));
        out.put_slice(&meta);
        out.freeze()
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("damaged snapshot: {what}"))
}

/// Streams the engine's rows as they stand now. Returns once it is known what the snapshot covers; the rest is read by a
/// thread of its own as fast as the receiver takes it.
pub(crate) async fn send(engine: Arc<dyn Engine>, cluster_id: u64) -> io::Result<(Head, mpsc::Receiver<io::Result<Bytes>>)> {
    let (chunks, receiver) = mpsc::channel(4);
    let (head_known, head) = tokio::sync::oneshot::channel();
    if Host::current().is_some() {
        send_later(engine.as_ref(), cluster_id, head_known, chunks);
    } else {
        std::thread::Builder::new().name("snapshot-read".into()).spawn(move || {
            let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody reads the snapshot");
            let mut begun = Instant::now();
            let mut pass = |chunk| {
                // What it took to read a chunk it rests, so that whoever else wants the processor gets it.
                host::nap(begun.elapsed().min(LONGEST_REST) * REST);
                let sent = chunks.blocking_send(chunk).map_err(gone);
                begun = Instant::now();
                sent
            };
            if let Err(error) = stream_rows(engine.as_ref(), cluster_id, head_known, &mut pass) {
                // Nobody left to tell when the receiver is gone.
                let _gone = pass(Err(error));
            }
        })?;
    }
    match head.await {
        Ok(head) => Ok((head, receiver)),
        Err(_) => Err(io::Error::other("the state could not be read for a snapshot")),
    }
}

/// What the thread does, for a host without threads: everything is read at once, and sent bit by bit.
fn send_later(
    engine: &dyn Engine,
    cluster_id: u64,
    head_known: tokio::sync::oneshot::Sender<Head>,
    chunks: mpsc::Sender<io::Result<Bytes>>,
) {
    let mut read = Vec::new();
    let mut pass = |chunk| {
        read.push(chunk);
        Ok(())
    };
    if let Err(error) = stream_rows(engine, cluster_id, head_known, &mut pass) {
        read.push(Err(error));
    }
    drop(host::spawn(async move {
        for chunk in read {
            host::disk_pause().await;
            if chunks.send(chunk).await.is_err() {
                return;
            }
        }
    }));
}

type Pass<'a> = &'a mut dyn FnMut(io::Result<Bytes>) -> io::Result<()>;

struct Sender<'a> {
    chunks: Pass<'a>,
    buffer: BytesMut,
    digest: Sha256,
}

impl Sender<'_> {
    fn pass(&mut self, all: bool) -> io::Result<()> {
        if self.buffer.is_empty() || (!all && self.buffer.len() < CHUNK) {
            return Ok(());
        }
        let chunk = self.buffer.split().freeze();
        self.digest.update(&chunk);
        (self.chunks)(Ok(chunk))
    }
}

fn stream_rows(engine: &dyn Engine, cluster_id: u64, head_known: tokio::sync::oneshot::Sender<Head>, chunks: Pass<'_>) -> io::Result<()> {
    let view = engine.view()?;
    let revision = Reader::open(view.as_ref()).map_err(io::Error::other)?.revision();
    let head = Head { cluster_id, revision, position: Position::read(view.as_ref())? };
    let mut out = Sender { chunks, buffer: BytesMut::from(head.encode().as_ref()), digest: Sha256::new() };
    if head_known.send(head).is_err() {
        return Ok(());
    }
    let mut rows: u64 = 0;
    for table in Table::ALL {
        let mut cursor = view.scan(table, &[], None).map_err(io::Error::other)?;
        while cursor.valid() {
            let (key, value) = (cursor.key(), cursor.value());
            out.buffer.put_u8(table.0 + 1);
            out.buffer.put_u32(u32::try_from(key.len()).map_err(io::Error::other)?);
            out.buffer.put_u32(u32::try_from(value.len()).map_err(io::Error::other)?);
            out.buffer.put_slice(key);
            out.buffer.put_slice(value);
            rows += 1;
            out.pass(false)?;
            cursor.advance().map_err(io::Error::other)?;
        }
    }
    out.buffer.put_u8(0);
    out.buffer.put_u64(rows);
    out.pass(true)?;
    let checksum = out.digest.clone().finalize();
    out.buffer.put_slice(&checksum);
    out.pass(true)
}

/// Reads a snapshot as it comes in, and hands its rows on.
pub(crate) struct Decoder {
    buffer: BytesMut,
    digest: Sha256,
    head: Option<Head>,
    rows: u64,
    bytes: u64,
    /// The checksum follows.
    ended: bool,
}

impl Decoder {
    pub fn new() -> Self {
        Self { buffer: BytesMut::new(), digest: Sha256::new(), head: None, rows: 0, bytes: 0, ended: false }
    }

    pub fn rows(&self) -> u64 {
        self.rows
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes the next bytes; appends the rows that are whole now to `rows`.
    pub fn feed(&mut self, chunk: &[u8], rows: &mut Vec<Change>) -> io::Result<()> {
        self.bytes += chunk.len() as u64;
        self.buffer.extend_from_slice(chunk);
        if self.head.is_none() && !self.read_head()? {
            return Ok(());
        }
        while !self.ended {
            match self.read_row()? {
                Some(row) => rows.push(row),
                None => break,
            }
        }
        Ok(())
    }

    fn take(&mut self, length: usize) -> Bytes {
        let taken = self.buffer.split_to(length).freeze();
        self.digest.update(&taken);
        taken
    }

    fn read_head(&mut self) -> io::Result<bool> {
        if self.buffer.len() >= 8 && &self.buffer[..8] != MAGIC {
            return Err(damaged("this is not a snapshot of a Tricorn store"));
        }
        if self.buffer.len() < 32 {
            return Ok(false);
        }
        let mut fixed = &self.buffer[8..32];
        let format = fixed.get_u32();
        if format != FORMAT {
            return Err(damaged(&format!("format {format}, this version reads {FORMAT}")));
        }
        let (cluster_id, revision, length) = (fixed.get_u64(), fixed.get_i64(), fixed.get_u32() as usize);
        if length > MAX_FIELD {
            return Err(damaged("its head is too long"));
        }
        if self.buffer.len() < 32 + length {
            return Ok(false);
        }
        let whole = self.take(32 + length);
        let meta = peer::SnapshotMeta::decode(whole.slice(32..)).map_err(|error| damaged(&error.to_string()))?;
        self.head = Some(Head { cluster_id, revision, position: Position::from_wire(meta)? });
        Ok(true)
    }

    fn read_row(&mut self) -> io::Result<Option<Change>> {
        let Some(&tag) = self.buffer.first() else { return Ok(None) };
        if self.buffer.len() < 9 {
            return Ok(None);
        }
        if tag == 0 {
            let mut end = self.take(9);
            end.advance(1);
            if end.get_u64() != self.rows {
                return Err(damaged("rows are missing"));
            }
            self.ended = true;
            return Ok(None);
        }
        if usize::from(tag) > Table::ALL.len() {
            return Err(damaged("a row of an unknown table"));
        }
        let mut lengths = &self.buffer[1..9];
        let (key, value) = (lengths.get_u32() as usize, lengths.get_u32() as usize);
        if key > MAX_FIELD || value > MAX_FIELD {
            return Err(damaged("a row is too long"));
        }
        if self.buffer.len() < 9 + key + value {
            return Ok(None);
        }
        let whole = self.take(9 + key + value);
        self.rows += 1;
        Ok(Some(Change { table: Table(tag - 1), key: whole.slice(9..9 + key), value: Some(whole.slice(9 + key..)) }))
    }

    /// Everything has come in: is it whole, and what was sent?
    pub fn finish(self) -> io::Result<Head> {
        let head = self.head.ok_or_else(|| damaged("it ends before it begins"))?;
        let late = || damaged("it ends too early or too late");
        let (checksum, seal) = self.buffer.split_at_checked(CHECKSUM).filter(|_| self.ended).ok_or_else(late)?;
        // One that etcd's tools have saved is padded to whole blocks, and has a checksum of its own behind that.
        let padding = seal.len().checked_sub(CHECKSUM).and_then(|length| seal.get(..length));
        if !seal.is_empty() && !padding.is_some_and(|zeros| zeros.len() < BLOCK && zeros.iter().all(|byte| *byte == 0)) {
            return Err(late());
        }
        if self.digest.finalize()[..] != *checksum {
            return Err(damaged("its checksum does not match"));
        }
        Ok(head)
    }
}

/// Writes rows to an engine while they come in.
pub(crate) struct Loader {
    engine: Arc<dyn Engine>,
    decoder: Decoder,
    rows: Vec<Change>,
    waiting: usize,
}

impl Loader {
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine, decoder: Decoder::new(), rows: Vec::new(), waiting: 0 }
    }

    pub fn feed(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.decoder.feed(chunk, &mut self.rows)?;
        self.waiting += chunk.len();
        if self.waiting > CHUNK { self.store() } else { Ok(()) }
    }

    fn store(&mut self) -> io::Result<()> {
        self.waiting = 0;
        self.engine.write(std::mem::take(&mut self.rows), false)
    }

    pub fn rows(&self) -> u64 {
        self.decoder.rows()
    }

    pub fn finish(mut self) -> io::Result<Head> {
        self.store()?;
        let head = self.decoder.finish()?;
        self.engine.flush()?;
        Ok(head)
    }
}

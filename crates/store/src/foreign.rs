//! Snapshots of another etcd: what is in their database, and how it becomes ours.

use crate::bolt::Bolt;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::restore::SnapshotInfo;
use prost::Message;
use std::fs::File;
use std::io;
use tricorn_mvcc::{AuthState, Import, Pending};
use tricorn_proto::authpb::{Role, User};
use tricorn_proto::mvccpb::KeyValue;

/// Bytes of rows that are written at once.
const BATCH: usize = 8 << 20;
const NEVER: i64 = -1;

/// etcd's record of a lease (`leasepb.Lease`).
#[derive(Clone, PartialEq, Message)]
struct Lease {
    #[prost(int64, tag = "1")]
    id: i64,
    #[prost(int64, tag = "2")]
    ttl: i64,
    #[prost(int64, tag = "3")]
    remaining: i64,
}

/// A database that is known to be whole.
pub(crate) struct Foreign<'a> {
    bolt: Bolt<'a>,
}

fn read_failed(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Error::Snapshot(error.to_string()),
        _ => Error::disk("read the snapshot", &error),
    }
}

fn unsound(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

fn big_endian(row: &[u8]) -> Option<i64> {
    row.get(..8).and_then(|head| head.try_into().ok()).map(i64::from_be_bytes)
}

impl<'a> Foreign<'a> {
    /// Opens it; `copied`: it was copied from a data directory and has no checksum.
    pub fn open(file: &'a File, copied: bool) -> Result<Self> {
        Bolt::check(file, copied).map_err(read_failed)?;
        Ok(Self { bolt: Bolt::open(file).map_err(read_failed)? })
    }

    fn number(&self, name: &[u8]) -> Result<Option<i64>> {
        Ok(self.bolt.get(b"meta", name).map_err(read_failed)?.as_deref().and_then(big_endian))
    }

    /// A compaction counts from the moment it is scheduled.
    fn compacted(&self) -> Result<i64> {
        let both = [self.number(b"finishedCompactRev")?, self.number(b"scheduledCompactRev")?];
        Ok(both.into_iter().flatten().max().unwrap_or(NEVER))
    }

    /// Names of the members at the time of the snapshot.
    fn members(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let read = self.bolt.rows(b"members", &mut |_, value| {
            let member: serde_json::Value = serde_json::from_slice(value).map_err(unsound)?;
            names.push(member.get("name").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned());
            Ok(())
        });
        read.map_err(read_failed)?;
        Ok(names)
    }

    /// All rows of a small bucket.
    fn all<T: Message + Default>(&self, bucket: &[u8]) -> Result<Vec<T>> {
        let mut all = Vec::new();
        let read = self.bolt.rows(bucket, &mut |_, value| {
            all.push(T::decode(value).map_err(unsound)?);
            Ok(())
        });
        read.map_err(read_failed)?;
        Ok(all)
    }

    /// Whether users and roles count there.
    fn auth(&self) -> Result<AuthState> {
        let row = |name: &[u8]| self.bolt.get(b"auth", name).map_err(read_failed);
        let revision = row(b"authRevision")?.as_deref().and_then(big_endian).and_then(|revision| u64::try_from(revision).ok());
        let enabled = row(b"authEnabled")?.as_deref() == Some(&[1]);
        Ok(AuthState { enabled, revision: revision.unwrap_or(AuthState::default().revision) })
    }

    /// Reads all of it, and says what is there.
    pub fn inspect(&self) -> Result<SnapshotInfo> {
        let (mut rows, mut last) = (0, 0);
        let read = self.bolt.rows(b"key", &mut |key, value| {
            KeyValue::decode(value).map_err(unsound)?;
            last = big_endian(key).ok_or_else(|| unsound("a revision's key is too short"))?;
            rows += 1;
            Ok(())
        });
        read.map_err(read_failed)?;
        self.info(last.max(self.compacted()?).max(1), rows)
    }

    /// What is told of it besides what was counted.
    fn info(&self, revision: i64, rows: u64) -> Result<SnapshotInfo> {
        let applied = self.number(b"consistent_index")?.and_then(|index| u64::try_from(index).ok());
        let (bytes, members) = (self.bolt.length(), self.members()?);
        Ok(SnapshotInfo { cluster_id: 0, revision, applied_index: applied.unwrap_or(0), rows, bytes, members })
    }

    /// Writes its history, leases, users and roles into an empty engine.
    pub fn import(&self, engine: &dyn Engine) -> Result<SnapshotInfo> {
        let mut rows = Writer { engine, import: Import::default(), held: Vec::new(), bytes: 0 };
        self.bolt.rows(b"key", &mut |key, value| rows.take(key, value)).map_err(read_failed)?;
        rows.write(|_, _| Ok(())).map_err(read_failed)?;
        let leases: Vec<Lease> = self.all(b"lease")?;
        let (users, roles) = (self.all::<User>(b"authUsers")?, self.all::<Role>(b"authRoles")?);
        let auth = self.auth()?;
        let compacted = self.compacted()?;
        let count = rows.import.rows();
        let mut revision = 0;
        let ended = rows.write(|import, pending| {
            for lease in &leases {
                import.lease(pending, lease.id, lease.ttl, lease.remaining);
            }
            users.iter().for_each(|user| import.user(pending, user));
            roles.iter().for_each(|role| import.role(pending, role));
            import.auth(pending, auth);
            revision = import.clone().finish(pending, compacted);
            Ok(())
        });
        ended.map_err(read_failed)?;
        self.info(revision, count)
    }
}

/// Writes history in batches.
struct Writer<'e> {
    engine: &'e dyn Engine,
    import: Import,
    held: Vec<(Vec<u8>, KeyValue)>,
    bytes: usize,
}

impl Writer<'_> {
    fn take(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.bytes += key.len() + value.len();
        self.held.push((key.to_vec(), KeyValue::decode(value).map_err(unsound)?));
        if self.bytes > BATCH { self.write(|_, _| Ok(())) } else { Ok(()) }
    }

    /// Writes what is held, and what `more` adds.
    fn write(&mut self, more: impl FnOnce(&Import, &mut Pending<'_>) -> io::Result<()>) -> io::Result<()> {
        let view = self.engine.view()?;
        let mut pending = Pending::new(view.as_ref());
        for (key, kv) in self.held.drain(..) {
            self.import.row(&mut pending, &key, kv).map_err(unsound)?;
        }
        self.bytes = 0;
        more(&self.import, &mut pending)?;
        self.engine.write(pending.into_changes().collect(), false)
    }
}

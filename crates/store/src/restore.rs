//! Backups: looking at a snapshot, and making a data directory from one.

use crate::config::{InitialMember, Storage};
use crate::current;
use crate::engine::{Engine, Purpose, RocksOptions};
use crate::error::{Error, Result};
use crate::foreign::Foreign;
use crate::identity::{FORMAT, Identity};
use crate::log::seed;
use crate::snapshot::{Decoder, Loader};
use crate::start::{disk_of, founded_cluster, founder_id};
use crate::state::{Position, RAFT};
use crate::types::{LogId, Member, Members, StoredMembers, log_id};
use bytes::Bytes;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use tricorn_mvcc::{Change, Pending, Table};

const CHUNK: usize = 1 << 20;

/// What a snapshot holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// The cluster it was taken of; 0 for one of another etcd, which does not say.
    pub cluster_id: u64,
    /// The revision it was taken at.
    pub revision: i64,
    /// Log entries it stands for.
    pub applied_index: u64,
    /// Rows of all tables.
    pub rows: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// Names of the members at that time.
    pub members: Vec<String>,
}

/// For whom a snapshot is restored.
pub struct RestoreConfig {
    /// The member's name.
    pub name: String,
    /// Where its data will live; must be empty.
    pub storage: Storage,
    /// All members of the group that begins anew, this one too. Each restores the same snapshot with the same list.
    pub members: Vec<InitialMember>,
    /// As in [`crate::Bootstrap::Group`].
    pub token: String,
    /// How far revisions begin behind those of the snapshot, so that none is given twice to whoever saw what came after it.
    pub bump_revision: i64,
    /// Makes history unreadable, so that watches begin anew.
    pub mark_compacted: bool,
}

fn damaged(error: &std::io::Error) -> Error {
    Error::Snapshot(error.to_string())
}

fn chunks(mut source: impl Read, mut take: impl FnMut(&[u8]) -> std::io::Result<()>) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => take(&buffer[..length]).map_err(|error| damaged(&error))?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::disk("read the snapshot", &error)),
        }
    }
}

/// Reads a snapshot to its end, and checks it. Blocks.
pub fn inspect(source: impl Read) -> Result<SnapshotInfo> {
    let mut decoder = Decoder::new();
    let mut rows = Vec::new();
    chunks(source, |chunk| {
        rows.clear();
        decoder.feed(chunk, &mut rows)
    })?;
    let (count, bytes) = (decoder.rows(), decoder.bytes());
    let head = decoder.finish().map_err(|error| damaged(&error))?;
    Ok(SnapshotInfo {
        cluster_id: head.cluster_id,
        revision: head.revision,
        applied_index: head.position.applied.map_or(0, |id| id.index),
        rows: count,
        bytes,
        members: head.position.members.nodes().map(|(_, member)| member.name.clone()).collect(),
    })
}

/// Whether a file is the database of another etcd: see [`inspect_etcd`] and [`restore_etcd`].
pub fn is_etcd(file: &File) -> Result<bool> {
    crate::bolt::is_bolt(file).map_err(|error| Error::disk("read the snapshot", &error))
}

/// As [`inspect`], for a snapshot of another etcd, as `etcdctl snapshot save` writes it. `copied`: it is a database file from a data
/// directory, which has no checksum. Blocks.
pub fn inspect_etcd(file: &File, copied: bool) -> Result<SnapshotInfo> {
    Foreign::open(file, copied)?.inspect()
}

/// Fills an empty data directory from a snapshot, for a group that begins anew with its content. Blocks.
///
/// The member is then started on that directory; whatever bootstrap its configuration names, the directory counts.
pub fn restore(source: impl Read, config: RestoreConfig) -> Result<SnapshotInfo> {
    fill(config, |engine| {
        let (mut loader, mut bytes) = (Loader::new(engine.clone()), 0);
        chunks(source, |chunk| {
            bytes += chunk.len() as u64;
            loader.feed(chunk)
        })?;
        let rows = loader.rows();
        let head = loader.finish().map_err(|error| damaged(&error))?;
        let applied = head.position.applied;
        let info = SnapshotInfo {
            cluster_id: head.cluster_id,
            revision: head.revision,
            applied_index: applied.map_or(0, |id| id.index),
            rows,
            bytes,
            members: Vec::new(),
        };
        Ok((info, applied))
    })
}

/// As [`restore`], from a snapshot of another etcd: its revisions, their history as far as it was not compacted, its leases, users
/// and roles.
pub fn restore_etcd(file: &File, copied: bool, config: RestoreConfig) -> Result<SnapshotInfo> {
    let foreign = Foreign::open(file, copied)?;
    fill(config, |engine| Ok((foreign.import(engine.as_ref())?, None)))
}

/// Moves what a stopped member's directory holds of it into `aside`, so that a snapshot can be restored in its place.
pub fn set_aside(dir: &Path, aside: &Path) -> std::io::Result<()> {
    let engines = disk_of(&Storage::Dir { path: dir.to_owned(), options: RocksOptions::default() }).engines()?;
    std::fs::create_dir_all(aside)?;
    // The identity goes last: until then the directory is known to hold a member.
    for name in engines.iter().map(String::as_str).chain([current::FILE, crate::identity::FILE]) {
        match std::fs::rename(dir.join(name), aside.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Makes a member's directory, with what `content` puts into its engine and tells of it: the log entry that it goes up to.
fn fill(config: RestoreConfig, content: impl FnOnce(&Arc<dyn Engine>) -> Result<(SnapshotInfo, Option<LogId>)>) -> Result<SnapshotInfo> {
    let disk = disk_of(&config.storage);
    let listed = |error: std::io::Error| Error::disk(format!("look at {}", disk.location()), &error);
    if Identity::read(disk.as_ref())?.is_some() || !disk.engines().map_err(listed)?.is_empty() {
        let reason = "is not empty; restore into a fresh directory".to_owned();
        return Err(Error::DataDir { path: disk.location(), reason });
    }
    let me = config.members.iter().find(|member| member.name == config.name);
    let me = me.ok_or_else(|| Error::Config(format!("member {} is not in its own group", config.name)))?;
    let members: BTreeMap<u64, Member> =
        config.members.iter().map(|member| (founder_id(member, &config.token), Member::from(member))).collect();
    let identity = Identity {
        format: FORMAT,
        cluster_id: founded_cluster(members.keys().copied(), &config.token),
        member_id: founder_id(me, &config.token),
        name: config.name.clone(),
        restored: true,
    };
    let written = |error: std::io::Error| Error::disk(format!("restore into {}", disk.location()), &error);
    let engine = disk.open(current::FIRST, Purpose::State).map_err(written)?;
    let (info, applied) = content(&engine)?;
    let mut info = SnapshotInfo { members: config.members.iter().map(|member| member.name.clone()).collect(), ..info };
    if config.bump_revision > 0 || config.mark_compacted {
        let view = engine.view().map_err(written)?;
        let mut pending = Pending::new(view.as_ref());
        info.revision = tricorn_mvcc::bump(&mut pending, config.bump_revision, config.mark_compacted)
            .map_err(|error| damaged(&std::io::Error::other(error)))?;
        engine.write(pending.into_changes().collect(), false).map_err(written)?;
    }
    let position = fresh_position(applied, members)?;
    let row = Change { table: Table::META, key: Bytes::from_static(RAFT), value: Some(position.to_wire().encode_to_vec().into()) };
    engine.write(vec![row], false).and_then(|()| engine.flush()).map_err(written)?;
    let log = disk.open("raft", Purpose::Log).map_err(written)?;
    if let Some(applied) = position.applied {
        seed(log.as_ref(), applied, identity.member_id).map_err(written)?;
    }
    // Last: a directory without it counts as empty or broken, never as restored.
    identity.write(disk.as_ref())?;
    Ok(info)
}

/// Where a restored group begins: behind everything the snapshot stands for, in a term of its own, so that whoever joins
/// later must be sent the restored state and cannot begin from an empty one.
fn fresh_position(applied: Option<LogId>, members: BTreeMap<u64, Member>) -> Result<Position> {
    let begin = log_id(applied.map_or(0, |id| id.leader_id.term) + 1, applied.map_or(0, |id| id.index) + 1);
    let voters: BTreeSet<u64> = members.keys().copied().collect();
    let members = Members::new(vec![voters], members).map_err(|error| Error::Config(error.to_string()))?;
    Ok(Position { applied: Some(begin), members: StoredMembers::new(Some(begin), members) })
}

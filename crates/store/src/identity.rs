//! Whose data directory this is: written once, checked at every start before anything else is touched.

use crate::engine::Disk;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

pub(crate) const FILE: &str = "store.json";
/// The format this version reads and writes. Before 2 the log was kept in RocksDB.
pub(crate) const FORMAT: u32 = 2;

/// Which member of which cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub format: u32,
    pub cluster_id: u64,
    pub member_id: u64,
    pub name: String,
    /// The group had been founded, or joined, when this was written.
    #[serde(default)]
    pub restored: bool,
}

/// As it lies in the file. With a member's number of which one bit has flipped it would take part in no group, and never say why.
#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(flatten)]
    identity: Identity,
    checksum: u32,
}

impl Identity {
    fn checksum(&self) -> u32 {
        let Self { format, cluster_id, member_id, name, restored } = self;
        crc32c::crc32c(format!("{format} {cluster_id} {member_id} {restored} {name}").as_bytes())
    }

    /// Reads it; none in an empty directory.
    pub fn read(disk: &dyn Disk) -> Result<Option<Self>> {
        let refuse = |reason: String| Error::DataDir { path: disk.location(), reason };
        let Some(content) = disk.read(FILE).map_err(|error| Error::disk(format!("read {FILE} in {}", disk.location()), &error))? else {
            let engines = disk.engines().map_err(|error| Error::disk(format!("list {}", disk.location()), &error))?;
            if engines.iter().any(|name| name == "raft") {
                return Err(refuse(format!("there is a log but no {FILE}; restore the file, or restore the member from a snapshot")));
            }
            return Ok(None);
        };
        let damaged = |reason: &dyn std::fmt::Display| refuse(format!("{FILE} is damaged ({reason}); restore it from a backup"));
        let value: serde_json::Value = serde_json::from_slice(&content).map_err(|error| damaged(&error))?;
        let format = value.get("format").and_then(serde_json::Value::as_u64).unwrap_or(0);
        if format > u64::from(FORMAT) {
            return Err(refuse(format!("written in format {format} by a newer version; this one reads {FORMAT}. Nothing was touched")));
        }
        if format > 0 && format < u64::from(FORMAT) {
            let cure = "remove the member and add it anew, or restore a snapshot";
            return Err(refuse(format!("written in format {format} by an earlier version, whose log this one cannot read: {cure}")));
        }
        let Written { identity, checksum } = serde_json::from_value(value).map_err(|error| damaged(&error))?;
        if checksum != identity.checksum() {
            return Err(damaged(&"checksum mismatch"));
        }
        Ok(Some(identity))
    }

    pub fn write(&self, disk: &dyn Disk) -> Result<()> {
        let written = Written { identity: self.clone(), checksum: self.checksum() };
        let content = serde_json::to_vec_pretty(&written).map_err(|error| Error::Config(error.to_string()))?;
        disk.replace(FILE, &content).map_err(|error| Error::disk(format!("write {FILE} in {}", disk.location()), &error))
    }
}

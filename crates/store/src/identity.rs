//! Whose data directory this is: written once, checked at every start before anything else is touched.

use crate::engine::Disk;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

pub(crate) const FILE: &str = "store.json";
/// The format this version reads and writes.
pub(crate) const FORMAT: u32 = 1;

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

impl Identity {
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
        let value: serde_json::Value =
            serde_json::from_slice(&content).map_err(|error| refuse(format!("{FILE} is damaged ({error}); restore it from a backup")))?;
        let format = value.get("format").and_then(serde_json::Value::as_u64).unwrap_or(0);
        if format > u64::from(FORMAT) {
            return Err(refuse(format!("written in format {format} by a newer version; this one reads {FORMAT}. Nothing was touched")));
        }
        serde_json::from_value(value).map(Some).map_err(|error| refuse(format!("{FILE} is damaged ({error}); restore it from a backup")))
    }

    pub fn write(&self, disk: &dyn Disk) -> Result<()> {
        let content = serde_json::to_vec_pretty(self).map_err(|error| Error::Config(error.to_string()))?;
        disk.replace(FILE, &content).map_err(|error| Error::disk(format!("write {FILE} in {}", disk.location()), &error))
    }
}

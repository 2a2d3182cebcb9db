//! The disk as the store sees it: ordered tables, batches that are written whole, and a line between what is written and
//! what would survive a crash.

mod memory;
mod rocks;
mod wal;

pub use memory::MemoryDisk;
pub use rocks::{RocksDisk, RocksOptions};
pub use wal::inspect_log;

use bytes::Bytes;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use tricorn_mvcc::{Change, Table, View};

/// Ordered tables that outlive the process.
pub trait Engine: Send + Sync + 'static {
    /// Rows as they stand now; later writes do not show.
    fn view(&self) -> io::Result<Box<dyn View + '_>>;

    /// One row as it stands now, whatever that is for others: cheaper than a view.
    fn get(&self, table: Table, key: &[u8]) -> io::Result<Option<Bytes>> {
        self.view()?.get(table, key).map_err(io::Error::other)
    }

    /// Writes all of `changes` or, if the process dies, none. With `sync` it survives a crash once this returns; without,
    /// once [`Engine::flush`] has.
    fn write(&self, changes: Vec<Change>, sync: bool) -> io::Result<()>;

    /// Removes the rows from `start` up to but without `end`, as one write.
    fn delete_range(&self, table: Table, start: &[u8], end: &[u8]) -> io::Result<()>;

    /// Makes everything written so far survive a crash.
    fn flush(&self) -> io::Result<()>;

    /// Bytes on disk and in memory, about.
    fn size(&self) -> u64;

    /// Gives space back that deleted rows still take.
    fn reclaim(&self) -> io::Result<()>;
}

/// What an engine will be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Synced appends, read back at start.
    Log,
    /// Many reads; durable only by [`Engine::flush`].
    State,
}

/// The place where a store keeps its engines and a few small files.
pub trait Disk: Send + Sync + 'static {
    /// Opens the engine called `name`, made if it is not there.
    fn open(&self, name: &str, purpose: Purpose) -> io::Result<Arc<dyn Engine>>;

    /// Removes an engine that is not open any more, if it is there.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Names of the engines that are there.
    fn engines(&self) -> io::Result<Vec<String>>;

    /// A small file's content.
    fn read(&self, file: &str) -> io::Result<Option<Vec<u8>>>;

    /// Replaces a small file, whole and synced.
    fn replace(&self, file: &str, content: &[u8]) -> io::Result<()>;

    /// Where it is, for people.
    fn location(&self) -> String;
}

/// Makes what was made, renamed or removed in a directory survive a crash.
fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

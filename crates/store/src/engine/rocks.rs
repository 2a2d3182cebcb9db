//! RocksDB behind the engine trait, and the disk that holds it beside the log's own files.

use super::wal::Wal;
use super::{Disk, Engine, Purpose, sync_dir};
use bytes::Bytes;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRawIterator, FlushOptions, Options,
    ReadOptions, SnapshotWithThreadMode, WriteBatch, WriteOptions,
};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use tricorn_mvcc::{Change, Cursor, Error, Result, Table, View};

/// How much memory RocksDB may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RocksOptions {
    /// Bytes of blocks kept in memory, shared by all engines of one disk.
    pub cache_bytes: usize,
    /// Bytes written before the state goes to disk by itself.
    pub write_buffer_bytes: usize,
}

impl Default for RocksOptions {
    fn default() -> Self {
        // Small enough for the processor's caches to hold most of what a write looks at.
        Self { cache_bytes: 256 << 20, write_buffer_bytes: 16 << 20 }
    }
}

/// What every engine's directory has in it.
const IN_USE: &str = "LOCK";

/// A directory with the state's databases and the log in it.
pub struct RocksDisk {
    root: PathBuf,
    options: RocksOptions,
    cache: Cache,
}

fn failed(error: rocksdb::Error) -> io::Error {
    io::Error::other(error)
}

fn state(error: rocksdb::Error) -> Error {
    Error::State(error.into_string())
}

impl RocksDisk {
    /// A disk in `root`; nothing is made before the first engine or file is.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, options: RocksOptions) -> Self {
        Self { root: root.into(), options, cache: Cache::new_lru_cache(options.cache_bytes) }
    }

    fn database(&self) -> Options {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_max_background_jobs(2);
        options.set_keep_log_file_num(2);
        options.set_max_log_file_size(8 << 20);
        options.set_max_open_files(512);
        options.set_bytes_per_sync(1 << 20);
        options.set_atomic_flush(true);
        options.set_db_write_buffer_size(self.options.write_buffer_bytes);
        // One thread writes: it need not agree with others on where.
        options.set_allow_concurrent_memtable_write(false);
        options
    }

    fn family(&self, table: Table) -> Options {
        let mut options = Options::default();
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&self.cache);
        blocks.set_cache_index_and_filter_blocks(true);
        if table == Table::CURRENT {
            // It is what ranges go through: fewer blocks to look up, and below fewer files to merge.
            blocks.set_block_size(32 << 10);
        }
        if table != Table::LOG {
            blocks.set_bloom_filter(10.0, false);
        }
        options.set_block_based_table_factory(&blocks);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_write_buffer_size(self.options.write_buffer_bytes / 2);
        options.set_level_compaction_dynamic_level_bytes(true);
        // Files are merged less often, and more at a time: a read that has to look into a few more of them asks their filters first.
        options.set_level_zero_file_num_compaction_trigger(if table == Table::CURRENT { 4 } else { 8 });
        options.set_level_zero_slowdown_writes_trigger(30);
        options.set_level_zero_stop_writes_trigger(50);
        options
    }
}

impl Disk for RocksDisk {
    fn open(&self, name: &str, purpose: Purpose) -> io::Result<Arc<dyn Engine>> {
        let path = self.root.join(name);
        let what = |reason: &dyn std::fmt::Display| format!("open {}: {reason}", path.display());
        if purpose == Purpose::Log {
            return Ok(Arc::new(Wal::open(&path).map_err(|error| io::Error::new(error.kind(), what(&error)))?));
        }
        fs::create_dir_all(&path)?;
        let families = Table::ALL.map(|table| ColumnFamilyDescriptor::new(table.name(), self.family(table)));
        let db = DB::open_cf_descriptors(&self.database(), &path, families).map_err(|error| io::Error::other(what(&error)))?;
        Ok(Arc::new(RocksEngine { db }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_dir_all(self.root.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn engines(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(names),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            if entry.path().join(IN_USE).is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(names)
    }

    fn read(&self, file: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.root.join(file)) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn replace(&self, file: &str, content: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.root)?;
        let path = self.root.join(file);
        let fresh = path.with_extension("new");
        let mut out = File::create(&fresh)?;
        out.write_all(content)?;
        out.sync_all()?;
        fs::rename(&fresh, &path)?;
        sync_dir(&self.root)
    }

    fn location(&self) -> String {
        self.root.display().to_string()
    }
}

struct RocksEngine {
    db: DB,
}

impl RocksEngine {
    fn family(&self, table: Table) -> Result<&ColumnFamily> {
        self.db.cf_handle(table.name()).ok_or_else(|| Error::State(format!("no table {}", table.name())))
    }

    fn commit(&self, batch: WriteBatch) -> io::Result<()> {
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        self.db.write_opt(batch, &options).map_err(failed)
    }
}

impl Engine for RocksEngine {
    fn view(&self) -> io::Result<Box<dyn View + '_>> {
        Ok(Box::new(RocksView { engine: self, snapshot: self.db.snapshot() }))
    }

    fn get(&self, table: Table, key: &[u8]) -> io::Result<Option<Bytes>> {
        let family = self.family(table).map_err(io::Error::other)?;
        Ok(self.db.get_cf(family, key).map_err(failed)?.map(Bytes::from))
    }

    fn write(&self, changes: Vec<Change>, sync: bool) -> io::Result<()> {
        let mut batch = WriteBatch::default();
        for change in &changes {
            let family = self.family(change.table).map_err(io::Error::other)?;
            match &change.value {
                Some(value) => batch.put_cf(family, &change.key, value),
                None => batch.delete_cf(family, &change.key),
            }
        }
        self.commit(batch)?;
        if sync { self.flush() } else { Ok(()) }
    }

    fn delete_range(&self, table: Table, start: &[u8], end: &[u8]) -> io::Result<()> {
        let family = self.family(table).map_err(io::Error::other)?;
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(family, start, end);
        self.commit(batch)
    }

    fn flush(&self) -> io::Result<()> {
        let families = Table::ALL.iter().map(|table| self.family(*table)).collect::<Result<Vec<_>>>().map_err(io::Error::other)?;
        let mut options = FlushOptions::default();
        options.set_wait(true);
        self.db.flush_cfs_opt(&families, &options).map_err(failed)
    }

    fn size(&self) -> u64 {
        let property = |family: &ColumnFamily, name: &str| self.db.property_int_value_cf(family, name).ok().flatten().unwrap_or(0);
        let tables = Table::ALL.iter().filter_map(|table| self.family(*table).ok());
        tables.map(|family| property(family, "rocksdb.total-sst-files-size") + property(family, "rocksdb.cur-size-all-mem-tables")).sum()
    }

    fn reclaim(&self) -> io::Result<()> {
        for table in Table::ALL {
            let family = self.family(table).map_err(io::Error::other)?;
            self.db.compact_range_cf(family, None::<&[u8]>, None::<&[u8]>);
        }
        Ok(())
    }
}

struct RocksView<'a> {
    engine: &'a RocksEngine,
    snapshot: SnapshotWithThreadMode<'a, DB>,
}

impl View for RocksView<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.snapshot.get_cf(self.engine.family(table)?, key).map_err(state)?.map(Bytes::from))
    }

    fn scan<'a>(&'a self, table: Table, start: &[u8], end: Option<&[u8]>) -> Result<Box<dyn Cursor + 'a>> {
        let mut options = ReadOptions::default();
        if let Some(end) = end {
            options.set_iterate_upper_bound(end);
        }
        let mut rows = self.snapshot.raw_iterator_cf_opt(self.engine.family(table)?, options);
        rows.seek(start);
        let cursor = RocksCursor { rows };
        cursor.check()?;
        Ok(Box::new(cursor))
    }
}

struct RocksCursor<'a> {
    rows: DBRawIterator<'a>,
}

impl RocksCursor<'_> {
    fn check(&self) -> Result<()> {
        if self.rows.valid() { Ok(()) } else { self.rows.status().map_err(state) }
    }
}

impl Cursor for RocksCursor<'_> {
    fn valid(&self) -> bool {
        self.rows.valid()
    }

    fn key(&self) -> &[u8] {
        self.rows.key().unwrap_or_default()
    }

    fn value(&self) -> &[u8] {
        self.rows.value().unwrap_or_default()
    }

    fn advance(&mut self) -> Result<()> {
        self.rows.next();
        self.check()
    }
}

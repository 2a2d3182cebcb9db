//! Gives back what compaction made unreadable: a walk of the log, a few rows at a time.

use crate::Result;
use crate::pending::Pending;
use crate::read::{COMPACTED, counter};
use crate::record::{LogRow, Revision, log_key, old_key, read_i64, split_log_key};
use crate::table::{Table, View};
use bytes::{BufMut, Bytes, BytesMut};

/// Where the walk stands: the last log row it has dealt with.
const SWEPT: &[u8] = b"swept";

fn swept(view: &dyn View) -> Result<Revision> {
    match view.get(Table::META, SWEPT)? {
        Some(row) => split_log_key(&row),
        None => Ok(Revision::default()),
    }
}

impl Pending<'_> {
    /// Drops rows that no read can reach any more, looking at no more than `rows` log rows. Returns whether it is done.
    ///
    /// Each member does this on its own, when it has time: it changes nothing that can be read.
    pub fn sweep(&mut self, rows: usize) -> Result<bool> {
        let compacted = counter(&*self, COMPACTED, -1)?;
        let from = swept(&*self)?;
        if from.main > compacted || compacted <= 0 {
            return Ok(true);
        }
        let mut gone: Vec<(Table, Bytes)> = Vec::new();
        let mut last = from;
        let end = log_key(Revision { main: compacted + 1, sub: 0 });
        let mut done = true;
        {
            // The row stopped at is looked at again: its deletes may be repeated, and a tombstone at the last
            // compaction's own revision goes only now.
            let mut cursor = self.scan(Table::LOG, &log_key(from), Some(&end))?;
            let mut seen = 0;
            while cursor.valid() {
                if seen == rows.max(2) {
                    done = false;
                    break;
                }
                seen += 1;
                last = split_log_key(cursor.key())?;
                let row = LogRow::decode(cursor.value())?;
                if row.previous.main > 0 {
                    gone.push((Table::OLD, old_key(row.key, row.previous).into()));
                }
                if last.main < compacted {
                    if row.deleted {
                        gone.push((Table::OLD, old_key(row.key, last).into()));
                    }
                    gone.push((Table::LOG, Bytes::copy_from_slice(cursor.key())));
                }
                cursor.advance()?;
            }
        }
        for (table, key) in gone {
            self.delete(table, key);
        }
        let at = if done { Revision { main: compacted, sub: 0 } } else { last };
        if at != from || !done {
            let mut row = BytesMut::with_capacity(12);
            row.put_slice(&log_key(at));
            self.put(Table::META, Bytes::from_static(SWEPT), row.freeze());
        }
        Ok(done)
    }

    /// The compaction that [`Pending::sweep`] has finished; the present one when nothing is left to do.
    pub fn swept(&self) -> Result<i64> {
        match self.get(Table::META, SWEPT)? {
            Some(row) => read_i64(&row, "swept"),
            None => Ok(0),
        }
    }
}

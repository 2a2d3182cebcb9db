//! Latest rows that were lately read or written by apply, so that most writes need not look for what they replace.
//!
//! Only the thread that applies uses it, and it is the only one that writes: what is kept here is always what the engine has.

use bytes::Bytes;
use std::cell::RefCell;
use std::collections::HashMap;
use tricorn_mvcc::{Change, Cursor, Result, Table, View};

/// Bytes of rows in one generation; there are two.
const GENERATION_BYTES: usize = 4 << 20;
/// What a row takes beside its bytes.
const ROW_BYTES: usize = 128;

type Rows = HashMap<Bytes, Option<Bytes>>;

/// Two generations: a row that nobody has asked for since the last change of generations goes at the next.
#[derive(Default)]
pub(crate) struct Recent {
    young: Rows,
    old: Rows,
    bytes: usize,
}

impl Recent {
    fn get(&mut self, key: &[u8]) -> Option<Option<Bytes>> {
        if let Some(row) = self.young.get(key) {
            return Some(row.clone());
        }
        let (key, row) = self.old.remove_entry(key)?;
        self.insert(key, row.clone());
        Some(row)
    }

    fn insert(&mut self, key: Bytes, row: Option<Bytes>) {
        self.bytes += key.len() + row.as_ref().map_or(0, Bytes::len) + ROW_BYTES;
        self.young.insert(key, row);
        if self.bytes > GENERATION_BYTES {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
    }

    fn set(&mut self, key: &Bytes, row: Option<&Bytes>) {
        self.old.remove(key);
        match self.young.get_mut(key) {
            Some(known) => {
                // Removed and added: the sum can only be too high, which makes generations shorter.
                self.bytes += row.map_or(0, Bytes::len).saturating_sub(known.as_ref().map_or(0, Bytes::len));
                *known = row.cloned();
            }
            // The key is a part of a larger buffer, which must not live as long as this.
            None => self.insert(Bytes::copy_from_slice(key), row.cloned()),
        }
    }

    /// Takes in what is being written.
    pub fn written(&mut self, changes: &[Change]) {
        for change in changes.iter().filter(|change| change.table == Table::CURRENT) {
            self.set(&change.key, change.value.as_ref());
        }
    }

    /// Forgets everything: the rows are others now.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// A view that looks here first.
pub(crate) struct Remembered<'a> {
    pub base: &'a dyn View,
    pub recent: &'a RefCell<Recent>,
}

impl View for Remembered<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>> {
        if table != Table::CURRENT {
            return self.base.get(table, key);
        }
        if let Some(row) = self.recent.borrow_mut().get(key) {
            return Ok(row);
        }
        let row = self.base.get(table, key)?;
        self.recent.borrow_mut().insert(Bytes::copy_from_slice(key), row.clone());
        Ok(row)
    }

    fn scan<'a>(&'a self, table: Table, start: &[u8], end: Option<&[u8]>) -> Result<Box<dyn Cursor + 'a>> {
        self.base.scan(table, start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_rest_goes() {
        let mut recent = Recent::default();
        let row = Bytes::from(vec![0; 1000]);
        let key = |n: usize| Bytes::from(format!("key-{n:06}"));
        recent.set(&key(0), Some(&row));
        recent.set(&key(1), Some(&row));
        recent.set(&key(1), None);
        for n in 2..GENERATION_BYTES * 3 / 1000 {
            recent.set(&key(n), Some(&row));
            assert_eq!(recent.get(&key(0)), Some(Some(row.clone())));
        }
        assert_eq!(recent.get(&key(1)), None);
        let kept: usize = [&recent.young, &recent.old].iter().map(|rows| rows.len() * 1000).sum();
        assert!(kept <= 2 * GENERATION_BYTES, "{kept}");
        recent.set(&key(0), None);
        assert_eq!(recent.get(&key(0)), Some(None), "known to be gone");
    }
}

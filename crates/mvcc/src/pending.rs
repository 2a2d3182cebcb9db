//! Rows that have been written but not stored yet: later reads see them, and the host stores them all at once.

use crate::table::{Cursor, Table, View};
use crate::{Error, Result};
use bytes::Bytes;
use std::cmp::Ordering;
use std::collections::{BTreeMap, btree_map};
use std::ops::Bound;

/// One row to store, or to drop when the value is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub table: Table,
    /// Which row.
    pub key: Bytes,
    /// Its new value; none removes it.
    pub value: Option<Bytes>,
}

type Rows = BTreeMap<Bytes, Option<Bytes>>;

/// A view with unwritten changes laid over it.
pub struct Pending<'v> {
    base: &'v dyn View,
    rows: [Rows; Table::ALL.len()],
    bytes: usize,
}

impl<'v> Pending<'v> {
    /// Nothing changed yet.
    #[must_use]
    pub fn new(base: &'v dyn View) -> Self {
        Self { base, rows: Default::default(), bytes: 0 }
    }

    /// Sets a row.
    pub fn put(&mut self, table: Table, key: Bytes, value: Bytes) {
        self.bytes += key.len() + value.len();
        self.set(table, key, Some(value));
    }

    /// Removes a row.
    pub fn delete(&mut self, table: Table, key: Bytes) {
        self.bytes += key.len();
        self.set(table, key, None);
    }

    fn set(&mut self, table: Table, key: Bytes, value: Option<Bytes>) {
        if let Some(rows) = self.rows.get_mut(usize::from(table.0)) {
            rows.insert(key, value);
        }
    }

    /// Roughly how much has been written.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// All changes, by table and key.
    pub fn into_changes(self) -> impl Iterator<Item = Change> {
        self.rows
            .into_iter()
            .zip(Table::ALL)
            .flat_map(|(rows, table)| rows.into_iter().map(move |(key, value)| Change { table, key, value }))
    }
}

impl View for Pending<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>> {
        match self.rows.get(usize::from(table.0)).and_then(|rows| rows.get(key)) {
            Some(row) => Ok(row.clone()),
            None => self.base.get(table, key),
        }
    }

    fn scan<'a>(&'a self, table: Table, start: &[u8], end: Option<&[u8]>) -> Result<Box<dyn Cursor + 'a>> {
        let rows = self.rows.get(usize::from(table.0)).ok_or_else(|| Error::State(format!("no table {}", table.0)))?;
        let base = self.base.scan(table, start, end)?;
        if rows.is_empty() || end.is_some_and(|end| end <= start) {
            return Ok(base);
        }
        let bounds = (Bound::Included(start), end.map_or(Bound::Unbounded, Bound::Excluded));
        let mut over = rows.range::<[u8], _>(bounds);
        let head = over.next();
        let mut cursor = Merge { base, over, head, top: None };
        cursor.settle()?;
        Ok(Box::new(cursor))
    }
}

/// Walks the base and what is laid over it side by side.
struct Merge<'a> {
    base: Box<dyn Cursor + 'a>,
    over: btree_map::Range<'a, Bytes, Option<Bytes>>,
    /// The next row of `over`.
    head: Option<(&'a Bytes, &'a Option<Bytes>)>,
    /// The present row: that of `head`, when it is not the base's.
    top: Option<(&'a Bytes, &'a Bytes)>,
}

impl Merge<'_> {
    /// Finds the next row that exists, from where both sides stand.
    fn settle(&mut self) -> Result<()> {
        self.top = None;
        while let Some((key, row)) = self.head {
            if self.base.valid() {
                match self.base.key().cmp(key) {
                    Ordering::Less => return Ok(()),
                    Ordering::Equal => self.base.advance()?,
                    Ordering::Greater => {}
                }
            }
            if let Some(row) = row {
                self.top = Some((key, row));
                return Ok(());
            }
            self.head = self.over.next();
        }
        Ok(())
    }
}

impl Cursor for Merge<'_> {
    fn valid(&self) -> bool {
        self.top.is_some() || self.base.valid()
    }

    fn key(&self) -> &[u8] {
        self.top.map_or_else(|| self.base.key(), |(key, _)| key)
    }

    fn value(&self) -> &[u8] {
        self.top.map_or_else(|| self.base.value(), |(_, row)| row)
    }

    fn advance(&mut self) -> Result<()> {
        if self.top.is_some() {
            self.head = self.over.next();
        } else {
            self.base.advance()?;
        }
        self.settle()
    }
}

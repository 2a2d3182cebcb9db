//! Reads: the latest records are one scan; an older revision is that scan merged with what has been superseded since.

use crate::record::{Record, Revision, old_prefix, read_i64, shared_key_value, split_old_key};
use crate::span::Span;
use crate::table::{Table, View};
use crate::{Error, Result};
use bytes::Bytes;
use std::cmp::Ordering;
use std::ops::ControlFlow;
use tricorn_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use tricorn_proto::etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader};
use tricorn_proto::mvccpb::KeyValue;

/// Shown each key and its record, in order, until it breaks off.
pub(crate) type Visit<'f> = &'f mut dyn FnMut(&[u8], Record<'_>) -> Result<ControlFlow<()>>;

pub(crate) const REVISION: &[u8] = b"revision";
pub(crate) const COMPACTED: &[u8] = b"compacted";

/// Answers questions about rows at one moment.
#[derive(Clone, Copy)]
pub struct Reader<'v> {
    pub(crate) view: &'v dyn View,
    pub(crate) revision: i64,
    pub(crate) compacted: i64,
}

pub(crate) fn counter(view: &dyn View, name: &[u8], unset: i64) -> Result<i64> {
    match view.get(Table::META, name)? {
        Some(row) => read_i64(&row, "counter"),
        None => Ok(unset),
    }
}

/// The header inside a transaction's answers: only the revision; the host fills in the rest on the outermost.
pub(crate) fn header(revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader { revision, ..ResponseHeader::default() })
}

impl<'v> Reader<'v> {
    /// Reads the counters that belong to `view`.
    pub fn open(view: &'v dyn View) -> Result<Self> {
        Ok(Self { view, revision: counter(view, REVISION, 1)?, compacted: counter(view, COMPACTED, -1)? })
    }

    /// The newest revision.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The revision of the last compaction; -1 when there was none.
    #[must_use]
    pub fn compacted(&self) -> i64 {
        self.compacted
    }

    /// Refuses a revision that is not there yet or not any more; 0 and less mean the newest.
    pub(crate) fn resolve(&self, revision: i64) -> Result<i64> {
        if revision <= 0 {
            return Ok(self.revision);
        }
        if revision > self.revision {
            return Err(Error::FutureRevision);
        }
        if revision < self.compacted {
            return Err(Error::Compacted);
        }
        Ok(revision)
    }

    /// The latest row of one key.
    pub(crate) fn current(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.view.get(Table::CURRENT, key)
    }

    /// Shows `visit` every key of the span as it stood at `at`, in key order.
    pub(crate) fn visit(&self, span: Span<'_>, at: i64, visit: Visit<'_>) -> Result<()> {
        if span.is_empty() {
            return Ok(());
        }
        if let Span::One(key) = span {
            return self.visit_one(key, at, visit);
        }
        let end = match span {
            Span::Until(_, end) => Some(end),
            _ => None,
        };
        if at < self.revision {
            return self.visit_history(span.start(), end, at, visit);
        }
        let mut cursor = self.view.scan(Table::CURRENT, span.start(), end)?;
        while cursor.valid() {
            if visit(cursor.key(), Record::decode(cursor.value())?)?.is_break() {
                break;
            }
            cursor.advance()?;
        }
        Ok(())
    }

    fn visit_one(&self, key: &[u8], at: i64, visit: Visit<'_>) -> Result<()> {
        if let Some(row) = self.current(key)? {
            let record = Record::decode(&row)?;
            if record.modified.main <= at {
                let _done = visit(key, record)?;
                return Ok(());
            }
        }
        if at >= self.revision {
            return Ok(());
        }
        let prefix = old_prefix(key);
        let mut start = prefix.clone();
        start.extend_from_slice(&(!at).to_be_bytes());
        let cursor = self.view.scan(Table::OLD, &start, None)?;
        if cursor.valid() && cursor.key().starts_with(&prefix) && !cursor.value().is_empty() {
            let _done = visit(key, Record::decode(cursor.value())?)?;
        }
        Ok(())
    }

    fn visit_history(&self, start: &[u8], end: Option<&[u8]>, at: i64, visit: Visit<'_>) -> Result<()> {
        let mut current = self.view.scan(Table::CURRENT, start, end)?;
        let mut groups = OldGroups::new(self.view, start, end)?;
        loop {
            let order = match (current.valid(), groups.key.as_deref()) {
                (false, None) => return Ok(()),
                (true, None) => Ordering::Less,
                (false, Some(_)) => Ordering::Greater,
                (true, Some(old)) => current.key().cmp(old),
            };
            let mut shown = false;
            if order.is_le() {
                let record = Record::decode(current.value())?;
                if record.modified.main <= at {
                    shown = true;
                    if visit(current.key(), record)?.is_break() {
                        return Ok(());
                    }
                }
            }
            if order.is_ge() {
                let row = groups.take(at)?;
                if let (false, Some((key, row))) = (shown, row)
                    && visit(&key, Record::decode(&row)?)?.is_break()
                {
                    return Ok(());
                }
            }
            if order.is_le() {
                current.advance()?;
            }
        }
    }

    /// etcd's Range of one key at its newest, without a view: `row` is its row, and `revision` was the newest one shortly before that
    /// was read. None when there is more to it: a filter, an old revision, no row, or one that is newer still.
    #[must_use]
    pub fn latest(request: &RangeRequest, row: Option<Bytes>, revision: i64) -> Option<RangeResponse> {
        if !request.range_end.is_empty() || request.revision > 0 || is_filtered(request) {
            return None;
        }
        let mut found = shared_key_value(request.key.clone(), &row?).ok().filter(|found| found.mod_revision <= revision)?;
        if request.keys_only {
            found.value = Bytes::new();
        }
        let kvs = if request.count_only { Vec::new() } else { vec![found] };
        Some(RangeResponse { header: header(revision), kvs, more: false, count: 1 })
    }

    /// etcd's Range. The header holds only the revision.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse> {
        let at = self.resolve(request.revision)?;
        let plan = Plan::new(request)?;
        let mut found = Vec::new();
        let mut count: i64 = 0;
        self.visit(Span::new(&request.key, &request.range_end), at, &mut |key, record| {
            count += 1;
            if !request.count_only && plan.keep(&record) && (plan.all || found.len() < plan.take) {
                let keys_only = request.keys_only && plan.target != SortTarget::Value;
                found.push(record.to_key_value(Bytes::copy_from_slice(key), keys_only));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        plan.sort(&mut found);
        let mut more = false;
        if request.limit > 0 && found.len() > usize::try_from(request.limit).unwrap_or(usize::MAX) {
            found.truncate(usize::try_from(request.limit).unwrap_or(usize::MAX));
            more = true;
        }
        if request.keys_only {
            for found in &mut found {
                found.value = Bytes::new();
            }
        }
        Ok(RangeResponse { header: header(self.revision), kvs: found, more, count })
    }
}

/// Whether a Range leaves keys out by their revisions.
fn is_filtered(request: &RangeRequest) -> bool {
    [request.min_mod_revision, request.max_mod_revision, request.min_create_revision, request.max_create_revision] != [0; 4]
}

/// What a Range wants besides its keys.
pub(crate) struct Plan<'a> {
    request: &'a RangeRequest,
    order: SortOrder,
    target: SortTarget,
    /// Everything is needed before the limit may cut.
    all: bool,
    take: usize,
}

impl<'a> Plan<'a> {
    pub fn new(request: &'a RangeRequest) -> Result<Self> {
        let order = SortOrder::try_from(request.sort_order).map_err(|_| Error::InvalidSortOption)?;
        let target = SortTarget::try_from(request.sort_target).map_err(|_| Error::InvalidSortOption)?;
        // Without an order of their own, no more than the limit and one are taken by their keys, and those are sorted: so etcd does.
        let cut = order == SortOrder::None && !is_filtered(request) || target == SortTarget::Key && order != SortOrder::Descend;
        // By key they come in order already; by anything else, no order means ascending.
        let order = match (order, target) {
            (SortOrder::Ascend, SortTarget::Key) => SortOrder::None,
            (SortOrder::None, SortTarget::Key) => SortOrder::None,
            (SortOrder::None, _) => SortOrder::Ascend,
            (order, _) => order,
        };
        let all = !cut || request.limit <= 0;
        let take = usize::try_from(request.limit).unwrap_or(usize::MAX).saturating_add(1);
        Ok(Self { request, order, target, all, take })
    }

    /// No other order than that of the keys is wanted.
    pub fn is_by_key(&self) -> bool {
        self.order == SortOrder::None
    }

    /// Whether no filter leaves the record out.
    pub fn keep(&self, record: &Record<'_>) -> bool {
        let request = self.request;
        let Revision { main, .. } = record.modified;
        (request.min_mod_revision == 0 || main >= request.min_mod_revision)
            && (request.max_mod_revision == 0 || main <= request.max_mod_revision)
            && (request.min_create_revision == 0 || record.create >= request.min_create_revision)
            && (request.max_create_revision == 0 || record.create <= request.max_create_revision)
    }

    fn sort(&self, found: &mut [KeyValue]) {
        if self.order == SortOrder::None {
            return;
        }
        let ascending = |a: &KeyValue, b: &KeyValue| match self.target {
            SortTarget::Key => a.key.cmp(&b.key),
            SortTarget::Version => a.version.cmp(&b.version),
            SortTarget::Create => a.create_revision.cmp(&b.create_revision),
            SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
            SortTarget::Value => a.value.cmp(&b.value),
        };
        if self.order == SortOrder::Descend {
            found.sort_by(|a, b| ascending(b, a));
        } else {
            found.sort_by(ascending);
        }
    }
}

/// The superseded records of a range, one key at a time.
struct OldGroups<'a> {
    cursor: Box<dyn crate::table::Cursor + 'a>,
    /// The key the cursor stands in.
    key: Option<Vec<u8>>,
}

impl<'a> OldGroups<'a> {
    fn new(view: &'a dyn View, start: &[u8], end: Option<&[u8]>) -> Result<Self> {
        let end = end.map(old_prefix);
        let cursor = view.scan(Table::OLD, &old_prefix(start), end.as_deref())?;
        let mut groups = Self { cursor, key: None };
        groups.read_key()?;
        Ok(groups)
    }

    fn read_key(&mut self) -> Result<()> {
        self.key = if self.cursor.valid() { Some(split_old_key(self.cursor.key())?.0) } else { None };
        Ok(())
    }

    /// The key's record as of `at`, unless it was not there; goes to the next key.
    fn take(&mut self, at: i64) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let Some(key) = self.key.take() else { return Ok(None) };
        let prefix = old_prefix(&key);
        let mut found = None;
        let mut decided = false;
        while self.cursor.valid() && self.cursor.key().starts_with(&prefix) {
            let (_, revision) = split_old_key(self.cursor.key())?;
            if !decided && revision.main <= at {
                decided = true;
                if !self.cursor.value().is_empty() {
                    found = Some(self.cursor.value().to_vec());
                }
            }
            self.cursor.advance()?;
        }
        self.read_key()?;
        Ok(found.map(|row| (key, row)))
    }
}

//! What a user's roles come to: the keys that may be read and the keys that may be written.

use super::rows::{ROOT, get};
use crate::Result;
use crate::span::Span;
use crate::table::View;
use std::collections::HashMap;
use std::sync::Arc;
use tricorn_proto::authpb::permission::Type;
use tricorn_proto::authpb::{Permission, Role, User};

/// Users whose rights are remembered.
const MOST_KNOWN: usize = 1024;

/// Keys from `begin` up to but without `end`; to the last key when there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Interval {
    begin: Vec<u8>,
    end: Option<Vec<u8>>,
}

impl Interval {
    fn of(span: Span<'_>) -> Self {
        let begin = span.start().to_vec();
        let end = match span {
            // The first key after a key is that key with a zero byte behind it.
            Span::One(key) => Some([key, &[0]].concat()),
            Span::From(_) => None,
            Span::Until(_, end) => Some(end.to_vec()),
        };
        Self { begin, end }
    }

    fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.begin)
    }

    /// Whether `other` lies inside. One without keys, as of a range that runs backwards, needs both of its ends inside.
    fn covers(&self, other: &Self) -> bool {
        if self.begin > other.begin {
            return false;
        }
        let Some(end) = &self.end else { return other.end.as_ref().is_none_or(|theirs| self.begin < *theirs) };
        other.end.as_ref().is_some_and(|theirs| theirs <= end && self.begin < *theirs && *end > other.begin)
    }
}

/// Intervals that neither overlap nor touch, in order: what one of them does not cover, none does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Keys(Vec<Interval>);

impl Keys {
    fn merge(mut parts: Vec<Interval>) -> Self {
        parts.retain(|part| !part.is_empty());
        parts.sort_by(|a, b| a.begin.cmp(&b.begin));
        let mut merged: Vec<Interval> = Vec::new();
        for part in parts {
            match merged.last_mut() {
                Some(last) if last.end.as_ref().is_none_or(|end| part.begin <= *end) => {
                    let longer = match (&last.end, &part.end) {
                        (None, _) | (_, None) => None,
                        (Some(have), Some(more)) => Some(have.max(more).clone()),
                    };
                    last.end = longer;
                }
                _ => merged.push(part),
            }
        }
        Self(merged)
    }

    fn cover(&self, wanted: &Interval) -> bool {
        let after = self.0.partition_point(|interval| interval.begin <= wanted.begin);
        self.0.get(..after).and_then(<[Interval]>::last).is_some_and(|interval| interval.covers(wanted))
    }
}

/// What a user may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    root: bool,
    read: Keys,
    write: Keys,
    roles: Vec<String>,
}

impl Rights {
    /// The rights of a user as the rows have them; none when there is no such user.
    pub fn load(view: &dyn View, name: &str) -> Result<Option<Self>> {
        let Some(user) = get::<User>(view, name)? else { return Ok(None) };
        let (mut read, mut write) = (Vec::new(), Vec::new());
        for role in &user.roles {
            for Permission { perm_type, key, range_end } in get::<Role>(view, role)?.unwrap_or_default().key_permission {
                let interval = Interval::of(Span::new(&key, &range_end));
                let kind = Type::try_from(perm_type);
                if matches!(kind, Ok(Type::Read | Type::Readwrite)) {
                    read.push(interval.clone());
                }
                if matches!(kind, Ok(Type::Write | Type::Readwrite)) {
                    write.push(interval);
                }
            }
        }
        let root = user.roles.iter().any(|role| role == ROOT);
        Ok(Some(Self { root, read: Keys::merge(read), write: Keys::merge(write), roles: user.roles }))
    }

    /// Whether the user has the role that may do everything.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.root
    }

    /// Whether the user has been granted a role.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|granted| granted == role)
    }

    /// Whether all keys of a request's range may be read.
    #[must_use]
    pub fn may_read(&self, key: &[u8], range_end: &[u8]) -> bool {
        self.root || self.read.cover(&Interval::of(Span::new(key, range_end)))
    }

    /// Whether all keys of a request's range may be written.
    #[must_use]
    pub fn may_write(&self, key: &[u8], range_end: &[u8]) -> bool {
        self.root || self.write.cover(&Interval::of(Span::new(key, range_end)))
    }
}

/// Rights that have been put together before, good for one auth revision.
#[derive(Debug, Clone, Default)]
pub struct RightsCache {
    revision: u64,
    known: HashMap<String, Option<Arc<Rights>>>,
}

/// It holds nothing that is not in the rows too.
impl PartialEq for RightsCache {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl RightsCache {
    /// The rights of a user in `view`, whose auth revision is `revision`.
    pub fn get(&mut self, view: &dyn View, revision: u64, user: &str) -> Result<Option<Arc<Rights>>> {
        if revision < self.revision {
            return Ok(Rights::load(view, user)?.map(Arc::new));
        }
        if revision > self.revision || self.known.len() >= MOST_KNOWN {
            self.known.clear();
            self.revision = revision;
        }
        if let Some(rights) = self.known.get(user) {
            return Ok(rights.clone());
        }
        let rights = Rights::load(view, user)?.map(Arc::new);
        self.known.insert(user.to_owned(), rights.clone());
        Ok(rights)
    }
}

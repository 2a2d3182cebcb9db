//! Lists: which revision is asked for, which part of it, and where the next page starts.

use crate::cache::Cache;
use crate::continuation::Continuation;
use crate::object::Object;
use std::fmt;
use std::sync::Arc;

/// How old an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// As of now or later (no resourceVersion).
    Latest,
    /// Whatever the server has (resourceVersion 0).
    Any,
    /// At least this revision.
    NotOlderThan(i64),
    /// Exactly this revision.
    Exact(i64),
}

/// Which objects are wanted.
#[derive(Clone, Default)]
pub struct Predicate(Option<Arc<Test>>);

type Test = dyn Fn(&Object) -> bool + Send + Sync;

impl Predicate {
    /// Only objects for which `test` says yes.
    pub fn new(test: impl Fn(&Object) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(test)))
    }

    /// Every object.
    pub fn all() -> Self {
        Self(None)
    }

    /// Whether every object is wanted.
    pub fn is_all(&self) -> bool {
        self.0.is_none()
    }

    /// Whether this object is wanted.
    pub fn matches(&self, object: &Object) -> bool {
        self.0.as_ref().is_none_or(|test| test(object))
    }
}

impl fmt::Debug for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_all() { "all" } else { "selected" })
    }
}

/// A list to be made.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// Only this namespace.
    pub namespace: Option<String>,
    /// How old the answer may be; a continuation has its own revision and ignores this.
    pub version: Version,
    /// At most this many objects; 0: all.
    pub limit: usize,
    /// Where an earlier page ended.
    pub continuation: Option<Continuation>,
    /// Only these objects.
    pub predicate: Predicate,
}

impl Default for ListQuery {
    fn default() -> Self {
        Self { namespace: None, version: Version::Latest, limit: 0, continuation: None, predicate: Predicate::all() }
    }
}

/// A list, or a page of one.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The objects, in key order.
    pub objects: Vec<Arc<Object>>,
    /// The revision of the whole list.
    pub revision: i64,
    /// Where the next page starts; `None`: this was the last.
    pub continuation: Option<Continuation>,
    /// How many objects are still to come; unknown where a selector is at work.
    pub remaining: Option<usize>,
}

/// One page taken from objects in key order.
pub(crate) struct Page<'a> {
    pub prefix: &'a str,
    pub query: &'a ListQuery,
    /// The revision that the list's answer carries.
    pub revision: i64,
}

impl Page<'_> {
    pub(crate) fn cut<'o>(&self, mut objects: impl Iterator<Item = &'o Arc<Object>>) -> Listing {
        let query = self.query;
        let mut page = Listing { objects: Vec::new(), revision: self.revision, continuation: None, remaining: None };
        for object in objects.by_ref() {
            if !query.predicate.matches(object) {
                continue;
            }
            page.objects.push(object.clone());
            if query.limit > 0 && page.objects.len() == query.limit {
                break;
            }
        }
        if query.limit == 0 || page.objects.len() < query.limit {
            return page;
        }
        let left =
            if query.predicate.is_all() { objects.count() } else { usize::from(objects.any(|object| query.predicate.matches(object))) };
        if left > 0 {
            let last = page.objects.last().map(|object| object.key().trim_start_matches(self.prefix).to_owned()).unwrap_or_default();
            page.continuation = Some(Continuation { revision: Some(self.revision), start: last + "\0" });
            page.remaining = query.predicate.is_all().then_some(left);
        }
        page
    }
}

/// The first key that a query wants.
pub(crate) fn start_key(cache: &Cache, query: &ListQuery) -> String {
    let prefix = &cache.resource().prefix;
    query.continuation.as_ref().map(|at| format!("{prefix}{}", at.start)).unwrap_or_default()
}

/// A page, or the token with which a client may go on although the revision of its list is gone.
#[derive(Debug)]
pub enum Paged {
    /// The page.
    Page(Listing),
    /// The revision of the first page has been compacted. The token continues with what is current.
    Expired {
        /// The text for the client.
        message: &'static str,
        /// The inconsistent continuation.
        token: String,
    },
}

/// The answer to a continuation whose revision is gone.
pub(crate) const CONTINUATION_EXPIRED: &str = "The provided continue parameter is too old to display a consistent list result. \
    You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. \
    Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first \
    chunk was returned and now may show up in the list.";

//! One change of one object, shared by all who watch.

use crate::object::Object;
use std::sync::Arc;

/// What happened to an object; also what a watcher is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The object came to be, or came into the watcher's sight.
    Added,
    /// The object was written.
    Modified,
    /// The object is gone, or out of the watcher's sight.
    Deleted,
}

impl ChangeKind {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// One change of one object.
#[derive(Debug)]
pub struct Change {
    /// The revision that made the change.
    pub revision: i64,
    /// What happened.
    pub kind: ChangeKind,
    /// The object after the change; for a deletion its last form, with the revision of the deletion.
    pub object: Arc<Object>,
    /// The object before the change.
    pub previous: Option<Arc<Object>>,
}

impl Change {
    pub(crate) fn new(revision: i64, kind: ChangeKind, object: Arc<Object>, previous: Option<Arc<Object>>) -> Self {
        Self { revision, kind, object, previous }
    }

    /// How many bytes are kept of the change: the object in the encodings that have been asked for.
    pub(crate) fn bytes(&self) -> usize {
        self.object.bytes()
    }
}

//! What the simulation sees of the members and their clients, for the invariants.

use bytes::Bytes;
use tricorn_proto::etcdserverpb::RangeRequest;
use tricorn_proto::mvccpb::{Event as Change, KeyValue};
use tricorn_proto::peer;

/// One row of a member's log as it was written.
#[derive(Debug, Clone)]
pub struct LogRow {
    /// Its number.
    pub index: u64,
    /// The term it was appended in.
    pub term: u64,
    /// The term of the entry before it in that log, when that is known.
    pub before: Option<u64>,
    /// The entry, encoded.
    pub entry: Bytes,
    /// The term of the entry behind it in that log, when one is left there.
    pub behind: Option<u64>,
}

/// What a client asked for and was told, or was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It was done.
    Done,
    /// It was not done, for certain.
    Refused,
    /// Nobody knows.
    Nothing,
}

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A member has written down for whom it votes, or that it follows somebody.
    Voted {
        /// The member.
        member: usize,
        /// The vote.
        vote: peer::Vote,
    },
    /// A member has written log entries.
    Logged {
        /// The member.
        member: usize,
        /// The entries.
        rows: Vec<LogRow>,
    },
    /// A member has applied entries.
    Applied {
        /// The member.
        member: usize,
        /// How far, and the membership there.
        meta: peer::SnapshotMeta,
        /// The revision, when it has changed.
        revision: Option<i64>,
    },
    /// A member has put a snapshot in the place of its state.
    Installed {
        /// The member.
        member: usize,
        /// How far it goes.
        meta: peer::SnapshotMeta,
    },
    /// A member was started on what its disk holds.
    Started {
        /// The member.
        member: usize,
        /// Index and term of each entry of its log.
        log: Vec<(u64, u64)>,
    },
    /// A client's write has ended.
    Wrote {
        /// The value, which no other write has.
        value: Bytes,
        /// What the client was told.
        told: Told,
        /// The revision it was told, if it was done.
        revision: i64,
        /// The term it was made for.
        fence: Option<u64>,
        /// A write that looked at the key first: the revision it found.
        expected: Option<i64>,
    },
    /// A client's read has ended well.
    Read {
        /// What was asked.
        request: RangeRequest,
        /// The newest revision anywhere when it was asked.
        floor: i64,
        /// The revision of the answer.
        revision: i64,
        /// The answer.
        kvs: Vec<KeyValue>,
    },
    /// A client was told that its lease lives for so long from when it asked.
    Renewed {
        /// The lease.
        lease: i64,
        /// When it asked.
        asked_ms: u64,
        /// For how long.
        ttl_ms: u64,
    },
    /// A watch has delivered all matching changes of one revision.
    Watched {
        /// The watch.
        watch: usize,
        /// The revision.
        revision: i64,
        /// The changes.
        changes: Vec<Change>,
    },
    /// A watch says that everything up to a revision has been delivered.
    Progressed {
        /// The watch.
        watch: usize,
        /// The revision.
        revision: i64,
    },
    /// A watch begins, or begins again, behind what it has seen.
    WatchBegan {
        /// The watch.
        watch: usize,
        /// The range.
        range: (Bytes, Bytes),
        /// Everything up to here is known.
        seen: i64,
    },
    /// A watch was told that what it wants is gone.
    WatchCompacted {
        /// The watch.
        watch: usize,
        /// The oldest revision it may have.
        compacted: i64,
    },
}

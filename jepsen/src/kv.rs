//! Requests to an etcd v3 store and their answers, as histories hold them: plain data, keys and values as text.
//!
//! A `kv` operation is a [`Request`] with an [`Answer`]; a `watch` is a [`Watch`] with a [`Watched`].

use serde::{Deserialize, Serialize};

/// One thing asked of the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Reads.
    Range(Range),
    /// Compares, then writes and reads. A put or a delete alone is one without comparisons.
    Txn(Txn),
    /// Makes a lease with an id of the client's.
    Grant {
        /// Its id.
        id: i64,
        /// Seconds.
        ttl: i64,
    },
    /// Ends a lease and deletes its keys.
    Revoke {
        /// Its id.
        id: i64,
    },
    /// Renews a lease.
    KeepAlive {
        /// Its id.
        id: i64,
    },
    /// Forgets what was before a revision.
    Compact {
        /// The oldest revision that can still be read.
        revision: i64,
    },
    /// Tidies up one member; changes nothing that can be seen.
    Defragment,
}

/// A read of one key, or of the keys from `key` up to but without `end`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Range {
    /// The first key.
    pub key: String,
    /// Where to stop; none reads one key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// The revision to read at; 0 is now.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub revision: i64,
    /// At most so many keys; 0 is all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub limit: i64,
    /// Whether the member may answer from what it knows: possibly stale, never wrong.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub serializable: bool,
    /// In how many pieces it is read, which makes no difference to what is read.
    #[serde(default, skip_serializing_if = "Pieces::is_one")]
    pub pieces: Pieces,
}

/// In how many pieces something is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pieces {
    /// One answer.
    #[default]
    One,
    /// A stream that the member cuts into chunks.
    Streamed,
    /// Pages of so many keys that the client asks for one by one, all at the revision of the first.
    Pages(i64),
}

impl Pieces {
    fn is_one(&self) -> bool {
        *self == Self::One
    }
}

/// Compares, then one list of operations or the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Txn {
    /// All must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compares: Vec<Compare>,
    /// Done if they do.
    pub then: Vec<Op>,
    /// Done if they do not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub otherwise: Vec<Op>,
}

/// What a comparison looks at, and what it should find.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compare {
    /// The revision of a key's last change; 0 if it is not there.
    ModRevision(String, i64),
    /// The revision a key was made at; 0 if it is not there.
    CreateRevision(String, i64),
    /// How often a key was written since it was made; 0 if it is not there.
    Version(String, i64),
    /// A key's value; never equal if it is not there.
    Value(String, String),
}

/// An operation in a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Op {
    /// Reads.
    Range(Range),
    /// Writes a key; the lease is 0 for none.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// The lease that it goes with.
        #[serde(default, skip_serializing_if = "is_zero")]
        lease: i64,
    },
    /// Deletes one key, or the keys up to but without `end`.
    Delete {
        /// The first key.
        key: String,
        /// Where to stop; none deletes one key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        end: Option<String>,
    },
}

/// A key as it was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyValue {
    /// The key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// The revision it was made at.
    pub create_revision: i64,
    /// The revision of its last change.
    pub mod_revision: i64,
    /// How often it was written since it was made.
    pub version: i64,
    /// The lease it goes with; 0 for none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lease: i64,
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Answer {
    /// The store's revision, as the answer's header has it.
    pub revision: i64,
    /// The rest.
    pub result: Result,
}

/// What an answer says besides its revision.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Result {
    /// Of a read.
    Range(Ranged),
    /// Of a transaction.
    Txn {
        /// Whether all comparisons held.
        succeeded: bool,
        /// One for each operation of the list that was done.
        results: Vec<OpResult>,
    },
    /// Of a lease that was granted or renewed: its seconds; 0 or less when it is not there.
    Lease {
        /// Seconds.
        ttl: i64,
    },
    /// Of the rest.
    Done,
    /// It was refused, and changed nothing: etcd's error text. Its revision is 0 when the answer had none.
    Refused(String),
}

/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ranged {
    /// The keys, in order.
    pub kvs: Vec<KeyValue>,
    /// How many there are, whatever the limit.
    pub count: i64,
}

/// The result of an operation in a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OpResult {
    /// Of a read.
    Range(Ranged),
    /// Of a put.
    Put,
    /// Of a delete: how many keys went.
    Deleted(i64),
}

/// A watch, from when it was opened on a member until it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// The first key.
    pub key: String,
    /// Where to stop; none watches one key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// The first revision to be told of; 0 is what comes after the watch was made.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub from: i64,
    /// Whether events say what was before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub prev_kv: bool,
    /// Which of a client's watches it is: those with the same name follow one another, each from where the last one ended.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub watcher: String,
}

/// Everything that a watch told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// The store's revision when the watch was made, as the answer's header has it.
    pub created_at: i64,
    /// The messages, in order.
    pub messages: Vec<WatchMessage>,
    /// Why it ended, when the client did not end it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One message of a watch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchMessage {
    /// Nanoseconds since the run began, when it came.
    pub time: u64,
    /// The revision in its header.
    pub revision: i64,
    /// The events; a message without any, that ends nothing, tells of progress.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
    /// The oldest revision that is still there, when the watch ended because it began before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub compact_revision: i64,
}

/// One change of one key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Event {
    /// Whether the key was deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// The key after it; of a deletion, key and mod revision only.
    pub kv: KeyValue,
    /// The key before it, if it was there and was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev: Option<KeyValue>,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

//! How a store is set up.

use crate::engine::{Disk, RocksOptions};
use crate::passwords::DEFAULT_COST;
use crate::types::Member;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tricorn_mvcc::Limits;

/// Everything a member needs to know before it starts.
pub struct StoreConfig {
    /// Its name, unique in the group.
    pub name: String,
    /// Where its data lives.
    pub storage: Storage,
    /// How its group comes about, when the data directory is empty; otherwise what is there counts.
    pub bootstrap: Bootstrap,
    /// Where other members reach it, as `https://HOST:PORT` or `http://HOST:PORT`.
    pub peer_urls: Vec<String>,
    /// Where clients reach it; told to clients by member lists.
    pub client_urls: Vec<String>,
    /// Where it listens for other members.
    pub peer_listen: PeerListen,
    /// Mutual TLS between members; without, peers speak in the clear.
    pub peer_tls: Option<PeerTls>,
    /// Heartbeats, elections and snapshots.
    pub timing: Timing,
    /// How large requests may be.
    pub limits: Limits,
    /// Bytes the state may take before writes are refused; 0 for no bound.
    pub quota_bytes: u64,
    /// What of the past goes by itself.
    pub auto_compaction: AutoCompaction,
    /// The member begins anew as the only one of its group, with everything that its directory holds; the others are forgotten, and
    /// strangers from then on. For groups that have lost their quorum for good. Nothing in an empty directory, or where it is alone.
    pub force_new_cluster: bool,
    /// Reads on the leader trust its clock for the length of a lease instead of asking a quorum.
    pub lease_reads: bool,
    /// How clients log in.
    pub auth: AuthConfig,
}

/// What of the past becomes unreadable by itself, and its space free.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AutoCompaction {
    /// Nothing: somebody else compacts.
    #[default]
    Off,
    /// All but so many of the newest revisions.
    Revisions(i64),
    /// What was superseded so long ago. Counted anew after a restart.
    Age(Duration),
}

/// How clients log in, once authentication is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthConfig {
    /// How hard a password is to guess from its hash: each step doubles the work. 4 to 31; other numbers count as 10.
    pub bcrypt_cost: u32,
    /// How long a token lives that nobody shows.
    pub token_ttl: Duration,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self { bcrypt_cost: DEFAULT_COST, token_ttl: Duration::from_secs(300) }
    }
}

impl StoreConfig {
    /// A member called `name` with its data in `dir`, alone in its group and reachable by no other.
    #[must_use]
    pub fn new(name: impl Into<String>, dir: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            storage: Storage::Dir { path: dir.into(), options: RocksOptions::default() },
            bootstrap: Bootstrap::Alone,
            peer_urls: Vec::new(),
            client_urls: Vec::new(),
            peer_listen: PeerListen::Nowhere,
            peer_tls: None,
            timing: Timing::default(),
            limits: Limits::default(),
            quota_bytes: 0,
            auto_compaction: AutoCompaction::Off,
            force_new_cluster: false,
            lease_reads: false,
            auth: AuthConfig::default(),
        }
    }
}

/// Where data lives.
#[derive(Clone)]
pub enum Storage {
    /// RocksDB in a directory.
    Dir {
        /// The directory: `raft`, `state-N` and a few small files are made in it.
        path: PathBuf,
        /// How much memory it may use.
        options: RocksOptions,
    },
    /// A disk given by the caller.
    Disk(Arc<dyn Disk>),
}

/// How a group comes about.
#[derive(Debug, Clone)]
pub enum Bootstrap {
    /// This member begins a group of its own; others join it later.
    Alone,
    /// These members begin a group together. Every one of them is started with the same list.
    Group {
        /// Name and peer URLs of each, this one too.
        members: Vec<InitialMember>,
        /// Sets this group apart from others with the same members; the same at each.
        token: String,
    },
    /// This member has been added to a running group (see `Store::member_add`) and asks there who it is.
    Join {
        /// Peer URLs of members of the group.
        peers: Vec<String>,
    },
}

/// One of the members that begin a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitialMember {
    /// Its name.
    pub name: String,
    /// Where the others reach it.
    pub peer_urls: Vec<String>,
}

impl From<&InitialMember> for Member {
    fn from(member: &InitialMember) -> Self {
        Self { name: member.name.clone(), peer_urls: member.peer_urls.clone(), ..Self::default() }
    }
}

/// Where a member listens for the others.
pub enum PeerListen {
    /// It has no others.
    Nowhere,
    /// On these addresses.
    Addresses(Vec<SocketAddr>),
    /// On a socket that is open already.
    Listener(TcpListener),
}

/// Mutual TLS between members. Both configurations must ask for and present certificates; HTTP/2 is negotiated by the store.
#[derive(Clone)]
pub struct PeerTls {
    /// For connections that come in.
    pub server: Arc<rustls::ServerConfig>,
    /// For connections to others; their certificates are checked against the host of their peer URL.
    pub client: Arc<rustls::ClientConfig>,
}

/// The clocks of a group. All members should have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Between two signs of life of the leader.
    pub heartbeat: Duration,
    /// Shortest and longest silence after which a member stands for election.
    pub election: (Duration, Duration),
    /// Until a request without an answer is given up.
    pub request: Duration,
    /// Log entries between two snapshots, each of which lets the log before it go.
    pub snapshot_entries: u64,
    /// Log entries kept behind a snapshot for members that lag a little.
    pub keep_entries: u64,
    /// Requests under way at once before more are refused.
    pub max_proposals: usize,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            // A vote is refused until the longest silence has passed, and only then is the candidate's own time counted: a member that
            // leads no more is replaced after 0.8 to 1 s.
            election: (Duration::from_millis(300), Duration::from_millis(500)),
            request: Duration::from_secs(7),
            snapshot_entries: 20_000,
            keep_entries: 5_000,
            max_proposals: 8192,
        }
    }
}

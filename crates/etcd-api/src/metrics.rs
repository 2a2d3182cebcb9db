//! Metrics under etcd's names, in the text format that Prometheus reads: dashboards and alerts made for etcd work.

use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use tricorn_store::{BUCKETS, Store, TimingSnapshot};

use crate::config::{ETCD_CLUSTER_VERSION, ETCD_VERSION};

/// Service, method and kind of every call that is counted. Others are not: a client must not be able to invent names.
const METHODS: &[(&str, &str, &str)] = &[
    ("etcdserverpb.KV", "Range", "unary"),
    ("etcdserverpb.KV", "RangeStream", "server_stream"),
    ("etcdserverpb.KV", "Put", "unary"),
    ("etcdserverpb.KV", "DeleteRange", "unary"),
    ("etcdserverpb.KV", "Txn", "unary"),
    ("etcdserverpb.KV", "Compact", "unary"),
    ("etcdserverpb.Watch", "Watch", "bidi_stream"),
    ("etcdserverpb.Lease", "LeaseGrant", "unary"),
    ("etcdserverpb.Lease", "LeaseRevoke", "unary"),
    ("etcdserverpb.Lease", "LeaseKeepAlive", "bidi_stream"),
    ("etcdserverpb.Lease", "LeaseTimeToLive", "unary"),
    ("etcdserverpb.Lease", "LeaseLeases", "unary"),
    ("etcdserverpb.Cluster", "MemberAdd", "unary"),
    ("etcdserverpb.Cluster", "MemberRemove", "unary"),
    ("etcdserverpb.Cluster", "MemberUpdate", "unary"),
    ("etcdserverpb.Cluster", "MemberList", "unary"),
    ("etcdserverpb.Cluster", "MemberPromote", "unary"),
    ("etcdserverpb.Maintenance", "Alarm", "unary"),
    ("etcdserverpb.Maintenance", "Status", "unary"),
    ("etcdserverpb.Maintenance", "Defragment", "unary"),
    ("etcdserverpb.Maintenance", "Hash", "unary"),
    ("etcdserverpb.Maintenance", "HashKV", "unary"),
    ("etcdserverpb.Maintenance", "Snapshot", "server_stream"),
    ("etcdserverpb.Maintenance", "MoveLeader", "unary"),
    ("etcdserverpb.Maintenance", "Downgrade", "unary"),
    ("v3lockpb.Lock", "Lock", "unary"),
    ("v3lockpb.Lock", "Unlock", "unary"),
    ("v3electionpb.Election", "Campaign", "unary"),
    ("v3electionpb.Election", "Proclaim", "unary"),
    ("v3electionpb.Election", "Leader", "unary"),
    ("v3electionpb.Election", "Observe", "server_stream"),
    ("v3electionpb.Election", "Resign", "unary"),
    ("etcdserverpb.Auth", "AuthEnable", "unary"),
    ("etcdserverpb.Auth", "AuthDisable", "unary"),
    ("etcdserverpb.Auth", "AuthStatus", "unary"),
    ("etcdserverpb.Auth", "Authenticate", "unary"),
    ("etcdserverpb.Auth", "UserAdd", "unary"),
    ("etcdserverpb.Auth", "UserGet", "unary"),
    ("etcdserverpb.Auth", "UserList", "unary"),
    ("etcdserverpb.Auth", "UserDelete", "unary"),
    ("etcdserverpb.Auth", "UserChangePassword", "unary"),
    ("etcdserverpb.Auth", "UserGrantRole", "unary"),
    ("etcdserverpb.Auth", "UserRevokeRole", "unary"),
    ("etcdserverpb.Auth", "RoleAdd", "unary"),
    ("etcdserverpb.Auth", "RoleGet", "unary"),
    ("etcdserverpb.Auth", "RoleList", "unary"),
    ("etcdserverpb.Auth", "RoleDelete", "unary"),
    ("etcdserverpb.Auth", "RoleGrantPermission", "unary"),
    ("etcdserverpb.Auth", "RoleRevokePermission", "unary"),
];

/// gRPC's codes by number, as etcd's metrics spell them.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// Upper bounds of the buckets for handling times, in seconds: Prometheus' usual ones.
const HANDLING: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

#[derive(Default)]
struct Method {
    started: AtomicU64,
    handled: [AtomicU64; CODES.len()],
    buckets: [AtomicU64; HANDLING.len()],
    micros: AtomicU64,
}

/// What the door counts itself.
pub(crate) struct Metrics {
    methods: Vec<Method>,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Metrics {
    pub fn new() -> Self {
        let methods = METHODS.iter().map(|_| Method::default()).collect();
        Self { methods, sent: AtomicU64::new(0), received: AtomicU64::new(0) }
    }

    pub fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Notes a call by its path; the number is for [`Self::handled`].
    pub fn started(&self, path: &str) -> Option<usize> {
        let (service, name) = path.strip_prefix('/')?.split_once('/')?;
        let at = METHODS.iter().position(|method| method.0 == service && method.1 == name)?;
        self.methods.get(at)?.started.fetch_add(1, Ordering::Relaxed);
        Some(at)
    }

    /// Notes that a call has been answered: with a result, the first part of a stream, or an error.
    pub fn handled(&self, method: usize, code: usize, took: std::time::Duration) {
        let Some(method) = self.methods.get(method) else { return };
        if let Some(counter) = method.handled.get(code) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let seconds = took.as_secs_f64();
        if let Some(bucket) = HANDLING.iter().position(|bound| seconds <= *bound).and_then(|at| method.buckets.get(at)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        method.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Everything, as text.
    pub fn render(&self, store: &Store) -> String {
        let mut text = Text(String::with_capacity(16 << 10));
        store_metrics(&mut text, store);
        self.call_metrics(&mut text);
        text.counter("etcd_network_client_grpc_sent_bytes_total", "Bytes sent to clients.", self.sent.load(Ordering::Relaxed));
        text.counter(
            "etcd_network_client_grpc_received_bytes_total",
            "Bytes received from clients.",
            self.received.load(Ordering::Relaxed),
        );
        process_metrics(&mut text);
        text.0
    }

    fn call_metrics(&self, text: &mut Text) {
        let called = || METHODS.iter().zip(&self.methods).filter(|(_, method)| method.started.load(Ordering::Relaxed) > 0);
        let labels =
            |(service, name, kind): &(&str, &str, &str)| format!("grpc_method=\"{name}\",grpc_service=\"{service}\",grpc_type=\"{kind}\"");
        text.head("grpc_server_started_total", "counter", "Calls begun.");
        for (names, method) in called() {
            text.sample("grpc_server_started_total", &labels(names), method.started.load(Ordering::Relaxed));
        }
        text.head("grpc_server_handled_total", "counter", "Calls answered, by code.");
        for (names, method) in called() {
            for (code, counter) in CODES.iter().zip(&method.handled) {
                let count = counter.load(Ordering::Relaxed);
                if count > 0 {
                    text.sample("grpc_server_handled_total", &format!("grpc_code=\"{code}\",{}", labels(names)), count);
                }
            }
        }
        text.head("grpc_server_handling_seconds", "histogram", "Time until a call was answered, or its stream opened.");
        for (names, method) in called() {
            let count = method.handled.iter().map(|counter| counter.load(Ordering::Relaxed)).sum();
            let buckets: Vec<(f64, u64)> =
                HANDLING.iter().zip(&method.buckets).map(|(bound, bucket)| (*bound, bucket.load(Ordering::Relaxed))).collect();
            // Microseconds of years fit into the 53 bits.
            #[allow(clippy::cast_precision_loss)]
            let sum = method.micros.load(Ordering::Relaxed) as f64 / 1e6;
            text.buckets("grpc_server_handling_seconds", &labels(names), &buckets, count, sum);
        }
    }
}

fn store_metrics(text: &mut Text, store: &Store) {
    let (now, counters) = (store.status(), store.counters());
    let leads = now.leader == Some(now.member_id);
    text.gauge("etcd_server_has_leader", "1 when a leader is known.", u8::from(now.leader.is_some()));
    text.gauge("etcd_server_is_leader", "1 when this member leads.", u8::from(leads));
    text.gauge("etcd_server_is_learner", "1 when this member does not vote.", u8::from(now.is_learner));
    text.counter("etcd_server_leader_changes_seen_total", "New leaders seen.", counters.leader_changes());
    text.gauge("etcd_server_proposals_committed_total", "Last entry known to be committed.", now.committed_index);
    text.gauge("etcd_server_proposals_applied_total", "Last entry applied here.", now.applied_index);
    text.gauge("etcd_server_proposals_pending", "Proposals without an answer.", now.pending_proposals);
    text.counter("etcd_server_proposals_failed_total", "Proposals that failed.", counters.failed_proposals());
    text.gauge("etcd_server_quota_backend_bytes", "Bytes the database may take; 0 for no bound.", now.quota);
    text.head("etcd_server_version", "gauge", "The API version that is served.");
    text.sample("etcd_server_version", &format!("server_version=\"{ETCD_VERSION}\""), 1);
    text.head("etcd_cluster_version", "gauge", "The version all members speak.");
    text.sample("etcd_cluster_version", &format!("cluster_version=\"{ETCD_CLUSTER_VERSION}\""), 1);
    text.timing("etcd_disk_wal_fsync_duration_seconds", "Synced writes of the log.", &counters.fsync.snapshot());
    text.timing("etcd_disk_backend_commit_duration_seconds", "Batches written to the state.", &counters.commit.snapshot());
    text.gauge("etcd_mvcc_db_total_size_in_bytes", "Bytes the database takes.", now.db_size);
    text.gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "Bytes of it that are in use.", now.db_size);
    text.gauge("etcd_debugging_mvcc_current_revision", "The newest revision here.", now.revision);
    text.gauge("etcd_debugging_mvcc_compact_revision", "The last compaction.", now.compacted);
    text.gauge("etcd_debugging_mvcc_watcher_total", "Watches that are open.", now.watchers);
    text.counter("tricorn_store_slow_watchers_total", "Times a watch fell behind and read history.", counters.slow_watchers());
    text.counter("etcd_network_peer_sent_bytes_total", "Bytes sent to other members.", counters.peer_sent_bytes());
    text.counter("etcd_network_peer_received_bytes_total", "Bytes received from other members.", counters.peer_received_bytes());
}

/// What the kernel says of this process; what cannot be read is left out.
fn process_metrics(text: &mut Text) {
    let field = |file: &str, at: usize| -> Option<u64> {
        let content = std::fs::read_to_string(file).ok()?;
        // The command's name may hold spaces; everything behind its parenthesis does not.
        let fields = content.rsplit_once(')').map_or(content.as_str(), |(_, rest)| rest);
        fields.split_whitespace().nth(at)?.parse().ok()
    };
    if let Some(pages) = field("/proc/self/statm", 1) {
        text.gauge("process_resident_memory_bytes", "Memory in use.", pages * 4096);
    }
    if let (Some(user), Some(system)) = (field("/proc/self/stat", 11), field("/proc/self/stat", 12)) {
        // The kernel counts hundredths of a second.
        #[allow(clippy::cast_precision_loss)]
        let seconds = (user + system) as f64 / 100.0;
        text.head("process_cpu_seconds_total", "counter", "Processor time used.");
        text.sample("process_cpu_seconds_total", "", seconds);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        text.gauge("process_open_fds", "Open files and sockets.", open.count());
    }
}

/// The classic text format.
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = if labels.is_empty() { writeln!(self.0, "{name} {value}") } else { writeln!(self.0, "{name}{{{labels}}} {value}") };
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "gauge", help);
        self.sample(name, "", value);
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "counter", help);
        self.sample(name, "", value);
    }

    fn timing(&mut self, name: &str, help: &str, timing: &TimingSnapshot) {
        self.head(name, "histogram", help);
        let buckets: Vec<(f64, u64)> = BUCKETS.iter().copied().zip(timing.buckets).collect();
        self.buckets(name, "", &buckets, timing.count, timing.sum);
    }

    /// A histogram's samples, from buckets that each count only their own.
    fn buckets(&mut self, name: &str, labels: &str, buckets: &[(f64, u64)], count: u64, sum: f64) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut total = 0;
        for (bound, own) in buckets {
            total += own;
            self.sample(&format!("{name}_bucket"), &format!("{labels}{comma}le=\"{bound}\""), total);
        }
        self.sample(&format!("{name}_bucket"), &format!("{labels}{comma}le=\"+Inf\""), count);
        self.sample(&format!("{name}_sum"), labels, sum);
        self.sample(&format!("{name}_count"), labels, count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_calls_are_counted_and_buckets_add_up() {
        let metrics = Metrics::new();
        assert_eq!(metrics.started("/etcdserverpb.KV/Invented"), None);
        let put = metrics.started("/etcdserverpb.KV/Put").unwrap_or_default();
        metrics.handled(put, 0, std::time::Duration::from_millis(7));
        metrics.handled(put, 3, std::time::Duration::from_secs(60));
        let mut text = Text(String::new());
        metrics.call_metrics(&mut text);
        for line in [
            "grpc_server_started_total{grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 1",
            "grpc_server_handled_total{grpc_code=\"InvalidArgument\",grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 1",
            "grpc_type=\"unary\",le=\"0.005\"} 0",
            "grpc_type=\"unary\",le=\"10\"} 1",
            "grpc_type=\"unary\",le=\"+Inf\"} 2",
        ] {
            assert!(text.0.contains(line), "{line} is not in\n{}", text.0);
        }
    }
}

//! `tricorn etcd`: the store alone, told what to do in etcd's own words.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::jiff::SignedDuration;
use tokio_util::sync::CancellationToken;
use tricorn_etcd_api::{EtcdApiConfig, TokenMode};
use tricorn_pki::{ClientAuth, Identity, RotatingIdentity, client_config, server_config};
use tricorn_store::{AuthConfig, AutoCompaction, Bootstrap, InitialMember, PeerListen, PeerTls, Store, StoreConfig, Timing};

use crate::server::close_store;
use crate::{lock, logging, signals};

/// Runs the store alone, with etcd's flags and ETCD_* variables. Flags of etcd's that are not known here are named and passed over.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  tricorn etcd --data-dir /var/lib/etcd\n  tricorn etcd --name a --initial-cluster a=http://10.0.0.1:2380,b=http://10.0.0.2:2380,c=http://10.0.0.3:2380 \\\n    --initial-advertise-peer-urls http://10.0.0.1:2380 --listen-peer-urls http://10.0.0.1:2380 \\\n    --advertise-client-urls http://10.0.0.1:2379 --listen-client-urls http://10.0.0.1:2379"
)]
pub struct Args {
    /// This member's name
    #[arg(long, env = "ETCD_NAME", default_value = "default")]
    name: String,
    /// Where it keeps its data [default: NAME.etcd]
    #[arg(long, env = "ETCD_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Where it listens for clients
    #[arg(long, env = "ETCD_LISTEN_CLIENT_URLS", value_delimiter = ',', default_value = "http://localhost:2379")]
    listen_client_urls: Vec<String>,
    /// Where clients reach it
    #[arg(long, env = "ETCD_ADVERTISE_CLIENT_URLS", value_delimiter = ',', default_value = "http://localhost:2379")]
    advertise_client_urls: Vec<String>,
    /// Where it listens for other members
    #[arg(long, env = "ETCD_LISTEN_PEER_URLS", value_delimiter = ',', default_value = "http://localhost:2380")]
    listen_peer_urls: Vec<String>,
    /// Where other members reach it
    #[arg(long, env = "ETCD_INITIAL_ADVERTISE_PEER_URLS", value_delimiter = ',', default_value = "http://localhost:2380")]
    initial_advertise_peer_urls: Vec<String>,
    /// The members that begin the cluster, NAME=URL [default: this one alone]
    #[arg(long, env = "ETCD_INITIAL_CLUSTER", value_delimiter = ',')]
    initial_cluster: Vec<String>,
    /// `new`, or `existing` to join a cluster that this member was added to
    #[arg(long, env = "ETCD_INITIAL_CLUSTER_STATE", default_value = "new", value_parser = ["new", "existing"])]
    initial_cluster_state: String,
    /// Sets this cluster apart from others with the same members
    #[arg(long, env = "ETCD_INITIAL_CLUSTER_TOKEN", default_value = "etcd-cluster")]
    initial_cluster_token: String,
    /// Bytes that the store may take before it refuses to grow; 0 or less for no bound. Changed while it runs through
    /// /v3/maintenance/quota
    #[arg(long, env = "ETCD_QUOTA_BACKEND_BYTES", default_value_t = 0, allow_negative_numbers = true)]
    quota_backend_bytes: i64,
    /// How --auto-compaction-retention counts
    #[arg(long, env = "ETCD_AUTO_COMPACTION_MODE", default_value = "periodic", value_parser = ["periodic", "revision"])]
    auto_compaction_mode: String,
    /// What of the past is kept: an age such as 5m or, without a unit, hours; or a number of revisions. 0: nothing goes by itself
    #[arg(long, env = "ETCD_AUTO_COMPACTION_RETENTION", default_value = "0")]
    auto_compaction_retention: String,
    /// Milliseconds between two signs of life of the leader
    #[arg(long, env = "ETCD_HEARTBEAT_INTERVAL", value_parser = clap::value_parser!(u64).range(10..=50_000))]
    heartbeat_interval: Option<u64>,
    /// Milliseconds of silence after which a member stands for election at the latest; at least five heartbeats
    #[arg(long, env = "ETCD_ELECTION_TIMEOUT", value_parser = clap::value_parser!(u64).range(50..=50_000))]
    election_timeout: Option<u64>,
    /// Committed entries between two snapshots
    #[arg(long, env = "ETCD_SNAPSHOT_COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    snapshot_count: Option<u64>,
    /// Begin a new cluster with this member alone and everything it holds: for a cluster that has lost its quorum for good. Start it
    /// without this afterwards, and add fresh members
    #[arg(long, env = "ETCD_FORCE_NEW_CLUSTER")]
    force_new_cluster: bool,
    /// Most operations in a transaction
    #[arg(long, env = "ETCD_MAX_TXN_OPS", default_value_t = 128)]
    max_txn_ops: usize,
    /// Most bytes of a request
    #[arg(long, env = "ETCD_MAX_REQUEST_BYTES", default_value_t = 1_572_864)]
    max_request_bytes: usize,
    /// Further addresses for metrics and health
    #[arg(long, env = "ETCD_LISTEN_METRICS_URLS", value_delimiter = ',')]
    listen_metrics_urls: Vec<String>,
    /// Certificate for clients, PEM
    #[arg(long, env = "ETCD_CERT_FILE", requires = "key_file")]
    cert_file: Option<PathBuf>,
    /// Its key
    #[arg(long, env = "ETCD_KEY_FILE", requires = "cert_file")]
    key_file: Option<PathBuf>,
    /// Clients must show a certificate of the trusted authority
    #[arg(long, env = "ETCD_CLIENT_CERT_AUTH", requires = "trusted_ca_file")]
    client_cert_auth: bool,
    /// The authority of clients' certificates, PEM
    #[arg(long, env = "ETCD_TRUSTED_CA_FILE")]
    trusted_ca_file: Option<PathBuf>,
    /// What clients show after they have logged in: `simple`, or `jwt,sign-method=METHOD,priv-key=FILE[,pub-key=FILE][,ttl=5m]`
    #[arg(long, env = "ETCD_AUTH_TOKEN", default_value = "simple")]
    auth_token: String,
    /// Seconds that a simple token lives without being used
    #[arg(long, env = "ETCD_AUTH_TOKEN_TTL", default_value_t = 300)]
    auth_token_ttl: u64,
    /// How hard passwords are to guess from what is kept of them, 4 to 31
    #[arg(long, env = "ETCD_BCRYPT_COST", default_value_t = 10)]
    bcrypt_cost: u32,
    /// Certificate between members, PEM
    #[arg(long, env = "ETCD_PEER_CERT_FILE", requires_all = ["peer_key_file", "peer_trusted_ca_file"])]
    peer_cert_file: Option<PathBuf>,
    /// Its key
    #[arg(long, env = "ETCD_PEER_KEY_FILE", requires = "peer_cert_file")]
    peer_key_file: Option<PathBuf>,
    /// Members must show a certificate of the trusted authority; with a peer certificate they always must
    #[arg(long, env = "ETCD_PEER_CLIENT_CERT_AUTH")]
    peer_client_cert_auth: bool,
    /// The authority of members' certificates, PEM
    #[arg(long, env = "ETCD_PEER_TRUSTED_CA_FILE")]
    peer_trusted_ca_file: Option<PathBuf>,
    /// A file with these flags as keys, as etcd reads it; flags and variables do not count then
    #[arg(long, env = "ETCD_CONFIG_FILE")]
    #[allow(dead_code)] // read before the flags are: see `etcd_flags`
    config_file: Option<PathBuf>,
    /// What is logged: debug, info, warn, error
    #[arg(long, env = "ETCD_LOG_LEVEL", value_parser = ["debug", "info", "warn", "error", "panic", "fatal"])]
    log_level: Option<String>,
}

impl Args {
    /// Runs until a signal.
    pub async fn run(self) -> Result<()> {
        // What etcd calls panic and fatal are its worst errors.
        let level = self.log_level.as_deref().map(|level| if matches!(level, "panic" | "fatal") { "error" } else { level });
        logging::start_at(level);
        let stop = signals::shutdown()?;
        let dir = std::path::absolute(self.data_dir.clone().unwrap_or_else(|| PathBuf::from(format!("{}.etcd", self.name))))?;
        let listen = resolve(&self.listen_client_urls, "--listen-client-urls").await?;
        let metrics = resolve(&self.listen_metrics_urls, "--listen-metrics-urls").await?;
        let tokens = TokenMode::parse(&self.auth_token).map_err(anyhow::Error::msg).context("--auth-token")?;
        let tls = self.client_tls()?;
        let config = self.store_config(&dir).await?;
        // Nothing is made before all flags are understood.
        let _held = lock::take(&dir)?;
        let store = Store::start(config).await?;
        let mut leadership = store.leadership();
        let led = tokio::select! {
            led = leadership.wait_for(|now| now.leader.is_some()) => led.is_ok(),
            _ = store.failure() => false,
            () = stop.cancelled() => false,
        };
        if led {
            let doors = CancellationToken::new();
            let config = EtcdApiConfig {
                listen,
                tls,
                client_cert_auth: self.client_cert_auth,
                tokens,
                metrics_listen: metrics,
                max_request_bytes: self.max_request_bytes,
                ..EtcdApiConfig::default()
            };
            let api = tricorn_etcd_api::serve(store.clone(), config, doors.clone()).await?;
            tokio::select! {
                () = stop.cancelled() => {}
                _ = store.failure() => {}
            }
            doors.cancel();
            api.closed().await;
        }
        close_store(&store, &dir, &stop).await
    }

    async fn store_config(&self, dir: &Path) -> Result<StoreConfig> {
        let mut config = StoreConfig::new(&self.name, dir);
        let members = initial_members(&self.initial_cluster)?;
        if !members.is_empty() && members.iter().all(|member| member.name != self.name) {
            bail!(
                "couldn't find local name {:?} in the initial cluster configuration: --name must be one of the names in --initial-cluster",
                self.name
            );
        }
        config.bootstrap = match self.initial_cluster_state.as_str() {
            "existing" => Bootstrap::Join { peers: members.into_iter().flat_map(|member| member.peer_urls).collect() },
            _ if members.is_empty() => Bootstrap::Group {
                members: vec![InitialMember { name: self.name.clone(), peer_urls: self.initial_advertise_peer_urls.clone() }],
                token: self.initial_cluster_token.clone(),
            },
            _ => Bootstrap::Group { members, token: self.initial_cluster_token.clone() },
        };
        config.peer_urls.clone_from(&self.initial_advertise_peer_urls);
        config.client_urls.clone_from(&self.advertise_client_urls);
        config.peer_listen = PeerListen::Addresses(resolve(&self.listen_peer_urls, "--listen-peer-urls").await?);
        config.peer_tls = self.peer_tls()?;
        config.quota_bytes = u64::try_from(self.quota_backend_bytes).unwrap_or(0);
        config.auto_compaction = auto_compaction(&self.auto_compaction_mode, &self.auto_compaction_retention)?;
        config.force_new_cluster = self.force_new_cluster;
        config.timing = self.timing()?;
        config.limits.txn_ops = self.max_txn_ops;
        config.limits.request_bytes = self.max_request_bytes;
        // As with etcd, no time means the usual one.
        let ttl = if self.auth_token_ttl == 0 { 300 } else { self.auth_token_ttl };
        config.auth = AuthConfig { bcrypt_cost: self.bcrypt_cost, token_ttl: Duration::from_secs(ttl) };
        Ok(config)
    }

    fn timing(&self) -> Result<Timing> {
        let usual = Timing::default();
        let heartbeat = self.heartbeat_interval.map_or(usual.heartbeat, Duration::from_millis);
        let election = match self.election_timeout.map(Duration::from_millis) {
            // Members should not all stand at once.
            Some(longest) => (longest.mul_f64(0.6), longest),
            None if self.heartbeat_interval.is_none() => usual.election,
            None => (heartbeat * 3, heartbeat * 5).max(usual.election),
        };
        if election.1 < heartbeat * 5 {
            bail!("--election-timeout {}: want at least five times --heartbeat-interval {}", election.1.as_millis(), heartbeat.as_millis());
        }
        Ok(Timing { heartbeat, election, snapshot_entries: self.snapshot_count.unwrap_or(usual.snapshot_entries), ..usual })
    }

    fn client_tls(&self) -> Result<Option<Arc<rustls::ServerConfig>>> {
        let given = self.cert_file.as_ref().zip(self.key_file.as_ref());
        let Some((cert, key)) = secured(&self.listen_client_urls, "--listen-client-urls", given, "--cert-file and --key-file")? else {
            return Ok(None);
        };
        let clients = match &self.trusted_ca_file {
            Some(file) if self.client_cert_auth => ClientAuth::Required(read(file)?),
            Some(file) => ClientAuth::Optional(read(file)?),
            None => ClientAuth::None,
        };
        Ok(Some(Arc::new(server_config(identity(cert, key)?, &clients, &[])?)))
    }

    fn peer_tls(&self) -> Result<Option<PeerTls>> {
        let given = self.peer_cert_file.as_ref().zip(self.peer_key_file.as_ref()).zip(self.peer_trusted_ca_file.as_ref());
        let flags = "--peer-cert-file, --peer-key-file and --peer-trusted-ca-file";
        let Some(((cert, key), ca)) = secured(&self.listen_peer_urls, "--listen-peer-urls", given, flags)? else { return Ok(None) };
        let (identity, authority) = (identity(cert, key)?, read(ca)?);
        Ok(Some(PeerTls {
            server: Arc::new(server_config(identity.clone(), &ClientAuth::Required(authority.clone()), &[])?),
            client: Arc::new(client_config(&authority, Some(identity), &[])?),
        }))
    }
}

/// What TLS is made of, if the URLs want it. One door has one scheme.
fn secured<T>(urls: &[String], flag: &str, given: Option<T>, flags: &str) -> Result<Option<T>> {
    let secure = urls.iter().filter(|url| url.starts_with("https://")).count();
    match given {
        None if secure > 0 => bail!("{flag} {}: https needs {flags}", urls.join(",")),
        Some(_) if secure == 0 => {
            tracing::warn!("{flag} names no https URL: {flags} are not used");
            Ok(None)
        }
        _ if secure > 0 && secure < urls.len() => bail!("{flag} {}: all must be https, or all http", urls.join(",")),
        given => Ok(given),
    }
}

fn read(path: &Path) -> Result<String> {
    Ok(tricorn_pki::files::read(path)?)
}

fn identity(cert: &Path, key: &Path) -> Result<Arc<RotatingIdentity>> {
    Ok(RotatingIdentity::new(&Identity { certificate_pem: read(cert)?, key_pem: read(key)? })?)
}

/// What etcd's two flags mean. A bare number of a period counts hours.
pub fn auto_compaction(mode: &str, retention: &str) -> Result<AutoCompaction> {
    let number = retention.parse::<u32>().ok();
    Ok(match (mode, number) {
        (_, Some(0)) => AutoCompaction::Off,
        ("revision", Some(kept)) => AutoCompaction::Revisions(i64::from(kept)),
        ("revision", None) => bail!("--auto-compaction-retention {retention}: want a number of revisions"),
        (_, Some(hours)) => AutoCompaction::Age(Duration::from_secs(u64::from(hours) * 3600)),
        (_, None) => match retention.parse::<SignedDuration>().map(Duration::try_from) {
            Ok(Ok(age)) if age > Duration::ZERO => AutoCompaction::Age(age),
            _ => bail!("--auto-compaction-retention {retention}: want an age such as 5m or 1h30m, or a number of hours"),
        },
    })
}

/// `NAME=URL` entries; a name that comes again adds a URL.
pub fn initial_members(entries: &[String]) -> Result<Vec<InitialMember>> {
    let mut members: Vec<InitialMember> = Vec::new();
    for entry in entries {
        let Some((name, url)) = entry.split_once('=') else { bail!("--initial-cluster {entry}: want NAME=URL") };
        match members.iter_mut().find(|member| member.name == name) {
            Some(member) => member.peer_urls.push(url.to_owned()),
            None => members.push(InitialMember { name: name.to_owned(), peer_urls: vec![url.to_owned()] }),
        }
    }
    Ok(members)
}

/// The socket addresses that URLs mean.
async fn resolve(urls: &[String], flag: &str) -> Result<Vec<SocketAddr>> {
    let mut found = Vec::new();
    for url in urls {
        let uri: http::Uri = url.parse().with_context(|| format!("{flag} {url}"))?;
        let (Some(host), Some(port)) = (uri.host(), uri.port_u16()) else { bail!("{flag} {url}: want http://HOST:PORT") };
        let host = host.trim_matches(['[', ']']);
        if let Ok(ip) = host.parse::<IpAddr>() {
            found.push(SocketAddr::new(ip, port));
            continue;
        }
        let addresses = tokio::net::lookup_host((host, port)).await.with_context(|| format!("{flag} {url}"))?;
        // A name may stand for an IPv4 and an IPv6 address; one of them does.
        let mut addresses: Vec<_> = addresses.collect();
        addresses.sort_by_key(SocketAddr::is_ipv6);
        found.extend(addresses.first());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn initial_clusters_are_read_or_refused() {
        let entries = ["a=http://1:2380", "b=http://2:2380", "a=http://3:2380"].map(str::to_owned);
        let members = initial_members(&entries).unwrap();
        assert_eq!((members.len(), members[0].peer_urls.len()), (2, 2));
        assert!(initial_members(&["http://1:2380".to_owned()]).is_err());
    }

    #[test]
    fn retentions_are_read_as_etcd_reads_them() {
        let hours = |count: u64| AutoCompaction::Age(Duration::from_secs(count * 3600));
        for (mode, retention, expected) in [
            ("periodic", "0", AutoCompaction::Off),
            ("revision", "0", AutoCompaction::Off),
            ("periodic", "1", hours(1)),
            ("periodic", "72h", hours(72)),
            ("periodic", "5m", AutoCompaction::Age(Duration::from_secs(300))),
            ("periodic", "1h30m", AutoCompaction::Age(Duration::from_secs(5400))),
            ("revision", "1000", AutoCompaction::Revisions(1000)),
        ] {
            assert_eq!(auto_compaction(mode, retention).unwrap(), expected, "{mode} {retention}");
        }
        for (mode, retention) in [("revision", "5m"), ("periodic", "soon"), ("revision", "-1"), ("periodic", "")] {
            let refused = auto_compaction(mode, retention).unwrap_err().to_string();
            assert!(refused.starts_with("--auto-compaction-retention"), "{refused}");
        }
    }
}

//! `tricorn etcd`: the store alone, told what to do in etcd's own words.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::CommandFactory;
use tokio_util::sync::CancellationToken;
use tricorn_etcd_api::{EtcdApiConfig, TokenMode};
use tricorn_pki::{ClientAuth, Identity, RotatingIdentity, client_config, server_config};
use tricorn_store::{AuthConfig, Bootstrap, InitialMember, PeerListen, PeerTls, Store, StoreConfig};

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
    /// Bytes that the store may take before it refuses to grow; 0 for no bound
    #[arg(long, env = "ETCD_QUOTA_BACKEND_BYTES", default_value_t = 0)]
    quota_backend_bytes: u64,
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
        let config = self.store_config(&dir).await?;
        // Nothing is made before all flags are understood.
        let _held = lock::take(&dir)?;
        let store = Store::start(config).await?;
        let mut leadership = store.leadership();
        let led = tokio::select! {
            led = leadership.wait_for(|now| now.leader.is_some()) => led.is_ok(),
            () = stop.cancelled() => false,
        };
        if led {
            let doors = CancellationToken::new();
            let config = EtcdApiConfig {
                listen,
                tls: self.client_tls()?,
                client_cert_auth: self.client_cert_auth,
                tokens,
                metrics_listen: metrics,
                max_request_bytes: self.max_request_bytes,
                ..EtcdApiConfig::default()
            };
            let api = tricorn_etcd_api::serve(store.clone(), config, doors.clone()).await?;
            stop.cancelled().await;
            doors.cancel();
            api.closed().await;
        }
        store.shutdown().await.context("close the store")
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
        config.quota_bytes = self.quota_backend_bytes;
        config.limits.txn_ops = self.max_txn_ops;
        config.limits.request_bytes = self.max_request_bytes;
        // As with etcd, no time means the usual one.
        let ttl = if self.auth_token_ttl == 0 { 300 } else { self.auth_token_ttl };
        config.auth = AuthConfig { bcrypt_cost: self.bcrypt_cost, token_ttl: Duration::from_secs(ttl) };
        Ok(config)
    }

    fn client_tls(&self) -> Result<Option<Arc<rustls::ServerConfig>>> {
        let (Some(cert), Some(key)) = (&self.cert_file, &self.key_file) else { return Ok(None) };
        let clients = match &self.trusted_ca_file {
            Some(file) if self.client_cert_auth => ClientAuth::Required(read(file)?),
            Some(file) => ClientAuth::Optional(read(file)?),
            None => ClientAuth::None,
        };
        Ok(Some(Arc::new(server_config(identity(cert, key)?, &clients, &[])?)))
    }

    fn peer_tls(&self) -> Result<Option<PeerTls>> {
        let (Some(cert), Some(key), Some(ca)) = (&self.peer_cert_file, &self.peer_key_file, &self.peer_trusted_ca_file) else {
            return Ok(None);
        };
        let (identity, authority) = (identity(cert, key)?, read(ca)?);
        Ok(Some(PeerTls {
            server: Arc::new(server_config(identity.clone(), &ClientAuth::Required(authority.clone()), &[])?),
            client: Arc::new(client_config(&authority, Some(identity), &[])?),
        }))
    }
}

fn read(path: &Path) -> Result<String> {
    Ok(tricorn_pki::files::read(path)?)
}

fn identity(cert: &Path, key: &Path) -> Result<Arc<RotatingIdentity>> {
    Ok(RotatingIdentity::new(&Identity { certificate_pem: read(cert)?, key_pem: read(key)? })?)
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

/// The command line with what etcd knows and this program does not taken out of `tricorn etcd`, each with a warning, and with etcd's
/// `-flag` written as `--flag`. Other command lines stay as they are.
pub fn tolerant(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let all: Vec<OsString> = arguments.collect();
    if all.get(1).is_none_or(|verb| verb != "etcd") {
        return all;
    }
    if all.iter().skip(2).any(|argument| argument == "--version" || argument == "-version") {
        println_version();
        std::process::exit(0);
    }
    let command = crate::cli::Cli::command();
    let etcd = command.find_subcommand("etcd");
    let takes_value = |name: &str| {
        let flag = etcd.into_iter().flat_map(clap::Command::get_arguments).find(|flag| flag.get_long() == Some(name));
        flag.map(|flag| flag.get_action().takes_values())
    };
    filter(&all, takes_value, |unknown| eprintln!("tricorn: etcd's flag {unknown} is not known here and passed over"))
}

#[allow(clippy::print_stdout)]
fn println_version() {
    println!("etcd Version: {}\nTricorn Version: {}", tricorn_etcd_api::ETCD_VERSION, crate::cli::VERSION);
}

/// `takes_value` tells of a flag by its name whether it takes a value; nothing for one that is not known.
fn filter(all: &[OsString], takes_value: impl Fn(&str) -> Option<bool>, mut warn: impl FnMut(&str)) -> Vec<OsString> {
    let mut kept: Vec<OsString> = all.iter().take(2).cloned().collect();
    let mut rest = all.iter().skip(2).peekable();
    while let Some(argument) = rest.next() {
        let text = argument.to_string_lossy();
        let Some(flag) = text.strip_prefix('-').filter(|flag| flag.len() > 1) else {
            kept.push(argument.clone());
            continue;
        };
        let flag = flag.trim_start_matches('-');
        let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
        match takes_value(name) {
            _ if name == "help" || name == "h" => kept.push("--help".into()),
            // etcd takes --flag=false.
            Some(false) if value == Some("false") => {}
            Some(false) => kept.push(format!("--{name}").into()),
            Some(true) => kept.push(format!("--{flag}").into()),
            None => {
                warn(&format!("--{name}"));
                if value.is_none() && rest.peek().is_some_and(|next| !next.to_string_lossy().starts_with('-')) {
                    rest.next();
                }
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn unknown_flags_are_named_and_passed_over() {
        let line = "tricorn etcd -name a --unheard-of 7 --data-dir=/x --client-cert-auth=true --peer-client-cert-auth=false --odd=1 -debug";
        let all: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let takes_value = |name: &str| match name {
            "name" | "data-dir" => Some(true),
            "client-cert-auth" | "peer-client-cert-auth" => Some(false),
            _ => None,
        };
        let mut unknown = Vec::new();
        let kept = filter(&all, takes_value, |flag| unknown.push(flag.to_owned()));
        assert_eq!(kept, ["tricorn", "etcd", "--name", "a", "--data-dir=/x", "--client-cert-auth"].map(OsString::from));
        assert_eq!(unknown, ["--unheard-of", "--odd", "--debug"]);
    }

    #[test]
    fn initial_clusters_are_read_or_refused() {
        let entries = ["a=http://1:2380", "b=http://2:2380", "a=http://3:2380"].map(str::to_owned);
        let members = initial_members(&entries).unwrap();
        assert_eq!((members.len(), members[0].peer_urls.len()), (2, 2));
        assert!(initial_members(&["http://1:2380".to_owned()]).is_err());
    }
}

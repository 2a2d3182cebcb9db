//! One server of the group: store, etcd's door, the API, and what runs where the store leads.

mod lead;
mod routes;
mod state;
mod tokens;
mod trust;

pub use state::ServerFile;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tricorn_apiserver::{ApiServer, ApiServerConfig, Listening};
use tricorn_etcd_api::{EtcdApi, EtcdApiConfig};
use tricorn_pki::{ClientAuth, Role, client_config, server_config};
use tricorn_registry::Registry;
use tricorn_store::{AutoCompaction, Bootstrap, PeerListen, PeerTls, RocksOptions, Storage, Store, StoreConfig};

use crate::https::{Https, check_directory, read_token};
use crate::lock;
use crate::protocol::{JoinServer, ServerKit, Settings};
use lead::Lead;
use routes::Desk;
use tokens::Tokens;
use trust::{Certificates, Names, Trust};

/// How long leadership may take to go elsewhere when a server ends.
const HAND_OVER: Duration = Duration::from_secs(3);
/// How often a server that waits for a quorum says so.
const STILL_WAITING: Duration = Duration::from_secs(10);
/// How long a server that has joined waits for its vote before it serves all the same.
const VOTE: Duration = Duration::from_secs(30);

/// Everything a server is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its name.
    pub name: String,
    /// Where it keeps everything.
    pub data_dir: PathBuf,
    /// It begins a new cluster, if its data directory is empty.
    pub cluster_init: bool,
    /// Servers of the cluster to join, if its data directory is empty.
    pub join: Vec<String>,
    /// The join token.
    pub token: Option<String>,
    /// The file with the join token.
    pub token_file: Option<PathBuf>,
    /// Where others reach it.
    pub advertise_address: IpAddr,
    /// Where it listens.
    pub bind_address: IpAddr,
    /// The API's port.
    pub api_port: u16,
    /// The port of clients of the store.
    pub etcd_port: u16,
    /// The port of other members.
    pub peer_port: u16,
    /// Further names in its certificate.
    pub tls_san: Vec<String>,
    /// What all servers agree on; taken from the cluster by one that joins.
    pub settings: Settings,
    /// How long a node may be silent.
    pub node_monitor_grace: Duration,
    /// Bytes that the store may take; 0 for no bound.
    pub quota_bytes: u64,
    /// What of the past goes by itself.
    pub auto_compaction: AutoCompaction,
    /// It goes on without the others, which are lost.
    pub force_new_cluster: bool,
    /// Bytes of the store's rows kept in memory.
    pub cache_bytes: usize,
}

impl Config {
    fn peer_url(&self) -> String {
        format!("https://{}", SocketAddr::new(self.advertise_address, self.peer_port))
    }

    fn client_url(&self) -> String {
        format!("https://{}", SocketAddr::new(self.advertise_address, self.etcd_port))
    }

    fn api_url(&self) -> String {
        format!("https://{}", SocketAddr::new(self.advertise_address, self.api_port))
    }
}

/// How this start of a server relates to its group.
struct Entry {
    trust: Trust,
    settings: Settings,
    bootstrap: Bootstrap,
    /// Nothing of this server is known to be complete yet.
    fresh: bool,
    founder: bool,
}

/// Runs a server until `stop`, then ends it in good order.
pub async fn run(config: Config, stop: CancellationToken) -> Result<()> {
    let _held = lock::take(&config.data_dir)?;
    let listener = claim_ports(&config).await?;
    let entry = enter(&config).await?;
    let pki = config.data_dir.join("pki");
    let (service_network, service_prefix_bits) = ipv4_network(&entry.settings.service_cidr, "--service-cidr")?;
    let service = IpAddr::V4(Ipv4Addr::from(u32::from(service_network) + 1));
    let trust = Arc::new(entry.trust);
    let names = Names {
        name: config.name.clone(),
        address: config.advertise_address,
        service,
        domain: entry.settings.cluster_domain.clone(),
        further: config.tls_san.clone(),
    };
    let certificates = Certificates::issue(&trust, &pki, names)?;
    let store = open_store(&config, &trust, &certificates, entry.bootstrap).await?;
    let settled = settle(&store, &stop).await;
    if !settled {
        return close_store(&store, &config.data_dir, &stop).await;
    }
    let tokens = Tokens::new(store.clone(), trust.ca.hash());
    if entry.founder {
        leave_tokens(&config, &tokens).await?;
    }
    trust::write_kubeconfig(&trust, &pki, &config.data_dir, &config.api_url())?;
    ServerFile::new(&config.name, store.cluster_id(), entry.founder, &entry.settings).write(&config.data_dir)?;
    if entry.fresh {
        tracing::info!(server = config.name, cluster = format!("{:x}", store.cluster_id()), "this server is part of the cluster");
    }
    let kubelet_tls = client_config(trust.ca.certificate_pem(), Some(certificates.kubelet_client.clone()), &["http/1.1"])?;
    let desk = Desk {
        name: config.name.clone(),
        store: store.clone(),
        trust: trust.clone(),
        tokens: tokens.clone(),
        settings: entry.settings.clone(),
        api_port: config.api_port,
    };
    let mut api_config = ApiServerConfig::new(config.advertise_address, config.api_port, trust.service_account.clone());
    api_config.service_network = service_network;
    api_config.service_prefix_bits = service_prefix_bits;
    api_config.token_authenticator = Some(Arc::new(tokens));
    api_config.kubelet_tls = Some(Arc::new(kubelet_tls));
    api_config.extra_routes = routes::routes(desk);
    let registry = Registry::new(store.clone());
    let api = ApiServer::start(api_config, registry.clone());
    let clients = ClientAuth::Optional(trust.ca.certificate_pem().to_owned());
    let tls = server_config(certificates.server.clone(), &clients, &["h2", "http/1.1"])?;
    let doors = CancellationToken::new();
    let etcd = open_etcd_door(&config, &trust, &certificates, &store, &doors).await?;
    let listening = api.serve(listener, Arc::new(tls)).context("serve the API")?;
    tracing::info!(server = config.name, api = config.api_url(), "serving the Kubernetes API");

    let leading = CancellationToken::new();
    let controllers = Arc::new(tricorn_controllers::Config {
        root_ca_pem: trust.ca.certificate_pem().to_owned(),
        cluster_cidr: entry.settings.cluster_cidr.clone(),
        node_monitor_grace: config.node_monitor_grace,
        ..tricorn_controllers::Config::default()
    });
    let lead = Lead { name: config.name.clone(), api: api.clone(), controllers };
    let lead = tokio::spawn(lead::run(lead, store.clone(), leading.clone()));
    let renewing = tokio::spawn(certificates.keep(trust, config.data_dir.clone(), config.api_url(), leading.clone()));

    tokio::select! {
        () = stop.cancelled() => {}
        _ = store.failure() => {}
    }
    tracing::info!(server = config.name, "ending: leadership, then the doors, then the store");
    hand_over(&store).await;
    leading.cancel();
    for task in [lead, renewing] {
        task.await.context("end the leader's work")?;
    }
    close(api, listening, registry, etcd, doors).await;
    close_store(&store, &config.data_dir, &stop).await
}

/// Takes the API's port, and sees to it that the store's are free, before anything is made.
async fn claim_ports(config: &Config) -> Result<TcpListener> {
    let taken = |port: u16, flag: &str, error: std::io::Error| {
        let address = SocketAddr::new(config.bind_address, port);
        match error.kind() {
            std::io::ErrorKind::AddrInUse => anyhow!("{address} is taken by another program: stop it, or choose another port with {flag}"),
            _ => anyhow!("listen on {address}: {error}"),
        }
    };
    for (port, flag) in [(config.etcd_port, "--etcd-port"), (config.peer_port, "--peer-port")] {
        std::net::TcpListener::bind((config.bind_address, port)).map_err(|error| taken(port, flag, error))?;
    }
    let listener = TcpListener::bind((config.bind_address, config.api_port)).await;
    listener.map_err(|error| taken(config.api_port, "--api-port", error))
}

/// Finds out from the data directory, or else from the flags, how this server belongs to its cluster.
async fn enter(config: &Config) -> Result<Entry> {
    let pki = config.data_dir.join("pki");
    let token = || read_token(config.token.as_deref(), config.token_file.as_deref());
    let known = ServerFile::read(&config.data_dir)?;
    if let Some(known) = known {
        known.check(&config.name, &config.data_dir)?;
        let Some(trust) = Trust::load(&pki)? else {
            bail!(
                "the data directory {} has lost its keys ({}/service-account.key): restore them from a backup, or empty it and join again",
                config.data_dir.display(),
                pki.display()
            );
        };
        if !config.join.is_empty() {
            check_directory(&config.data_dir, &trust.ca.hash(), config.token.as_deref(), config.token_file.as_deref())?;
        }
        let bootstrap = if known.founder { Bootstrap::Alone } else { Bootstrap::Join { peers: Vec::new() } };
        return Ok(Entry { trust, settings: known.settings, bootstrap, fresh: false, founder: known.founder });
    }
    if !config.join.is_empty() {
        let token = token()?;
        if token.role != Role::Server {
            bail!("the join token is for workers: a server needs one of `tricorn token create --role server`");
        }
        let kit = join(config, &token).await?;
        let trust = Trust::from_kit(&kit)?;
        trust.save(&pki)?;
        return Ok(Entry { trust, settings: kit.settings, bootstrap: Bootstrap::Join { peers: kit.peers }, fresh: true, founder: false });
    }
    if !config.cluster_init {
        bail!(
            "the data directory {} is empty: give --cluster-init to begin a new cluster, or --join https://HOST:6443 with a token to enter one",
            config.data_dir.display()
        );
    }
    let trust = match Trust::load(&pki)? {
        Some(trust) => trust,
        None => {
            let trust = Trust::create()?;
            trust.save(&pki)?;
            trust
        }
    };
    Ok(Entry { trust, settings: config.settings.clone(), bootstrap: Bootstrap::Alone, fresh: true, founder: true })
}

/// Asks the cluster to become a member, through the first server that answers.
async fn join(config: &Config, token: &tricorn_pki::JoinToken) -> Result<ServerKit> {
    let wish = JoinServer { name: config.name.clone(), peer_url: config.peer_url(), client_url: config.client_url() };
    let mut last = anyhow!("no server to join");
    for url in &config.join {
        let asked = async {
            let (server, _) = Https::by_token(url, token).await?;
            server.post("/tricorn/v1/join/server", &wish).await
        };
        match asked.await {
            Ok(kit) => return Ok(kit),
            Err(error) => last = error,
        }
    }
    Err(last.context("join the cluster"))
}

async fn open_store(config: &Config, trust: &Trust, certificates: &Certificates, bootstrap: Bootstrap) -> Result<Store> {
    let peers = ClientAuth::Required(trust.etcd_ca.certificate_pem().to_owned());
    let peer_tls = PeerTls {
        server: Arc::new(server_config(certificates.peer.clone(), &peers, &[])?),
        client: Arc::new(client_config(trust.etcd_ca.certificate_pem(), Some(certificates.peer.clone()), &[])?),
    };
    let options = RocksOptions { cache_bytes: config.cache_bytes, ..RocksOptions::default() };
    let mut store = StoreConfig::new(&config.name, &config.data_dir);
    store.storage = Storage::Dir { path: config.data_dir.clone(), options };
    store.bootstrap = bootstrap;
    store.peer_urls = vec![config.peer_url()];
    store.client_urls = vec![config.client_url()];
    store.peer_listen = PeerListen::Addresses(vec![SocketAddr::new(config.bind_address, config.peer_port)]);
    store.peer_tls = Some(peer_tls);
    store.quota_bytes = config.quota_bytes;
    store.auto_compaction = config.auto_compaction;
    store.force_new_cluster = config.force_new_cluster;
    Store::start(store).await.context("open the store")
}

/// Ends with the store in `data_dir`. When nobody asked for the end, the store itself is the reason: its disk failed, and it may be tried
/// again, from what is really there.
pub async fn close_store(store: &Store, data_dir: &Path, stop: &CancellationToken) -> Result<()> {
    let failed = if stop.is_cancelled() { None } else { Some(store.failure().await) };
    let closed = store.shutdown().await;
    match failed {
        Some(reason) => bail!("{} could not be written: {reason}: see to the disk, then start again", data_dir.display()),
        None => closed.context("close the store"),
    }
}

/// Waits until the group has a leader and this server its vote. False when `stop` came first, or the store failed.
async fn settle(store: &Store, stop: &CancellationToken) -> bool {
    let mut leadership = store.leadership();
    loop {
        let led = leadership.wait_for(|now| now.leader.is_some());
        tokio::select! {
            () = stop.cancelled() => return false,
            _ = store.failure() => return false,
            _ = led => break,
            () = tokio::time::sleep(STILL_WAITING) => tracing::warn!("still waiting for enough servers to elect a leader"),
        }
    }
    let voting = async {
        while store.status().is_learner {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => return false,
        _ = store.failure() => return false,
        voting = tokio::time::timeout(VOTE, voting) => if voting.is_err() {
            tracing::warn!("this server does not vote yet: it serves, and will when it has caught up");
        }
    }
    true
}

/// Leaves a token for each role beside the first server's data, for whoever may read it.
async fn leave_tokens(config: &Config, tokens: &Tokens) -> Result<()> {
    let dir = config.data_dir.join("token");
    for role in [Role::Server, Role::Agent] {
        let path = dir.join(role.as_str());
        if path.exists() {
            continue;
        }
        std::fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
        let (token, _) = tokens.create(role, "made with the cluster", None).await?;
        tricorn_pki::files::write_private(&path, &format!("{token}\n"))?;
    }
    Ok(())
}

async fn open_etcd_door(
    config: &Config,
    trust: &Trust,
    certificates: &Certificates,
    store: &Store,
    doors: &CancellationToken,
) -> Result<EtcdApi> {
    let clients = ClientAuth::Required(trust.etcd_ca.certificate_pem().to_owned());
    let etcd_config = EtcdApiConfig {
        listen: vec![SocketAddr::new(config.bind_address, config.etcd_port)],
        tls: Some(Arc::new(server_config(certificates.server.clone(), &clients, &[])?)),
        client_cert_auth: true,
        ..EtcdApiConfig::default()
    };
    Ok(tricorn_etcd_api::serve(store.clone(), etcd_config, doors.clone()).await?)
}

/// Whoever leads lets somebody else do it, so that nobody has to wait for an election.
async fn hand_over(store: &Store) {
    let leads = store.leadership().borrow().is_leader;
    if !leads {
        return;
    }
    let moved = async {
        let members = store.members(false).await?;
        for other in members.iter().filter(|one| !one.is_learner && one.id != store.member_id()) {
            if store.move_leader(other.id).await.is_ok() {
                return Ok(());
            }
        }
        Ok::<_, tricorn_store::Error>(())
    };
    match tokio::time::timeout(HAND_OVER, moved).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::info!(%error, "leadership stays until the others elect a leader"),
        Err(_) => tracing::info!("leadership stays until the others elect a leader"),
    }
}

async fn close(api: ApiServer, listening: Listening, registry: Registry, etcd: EtcdApi, doors: CancellationToken) {
    api.shutdown().await;
    listening.shutdown().await;
    doors.cancel();
    etcd.closed().await;
    registry.shutdown().await;
}

/// `A.B.C.D/N` as network and bits.
fn ipv4_network(text: &str, flag: &str) -> Result<(Ipv4Addr, u8)> {
    let parsed = text.split_once('/').and_then(|(ip, bits)| Some((ip.parse().ok()?, bits.parse().ok()?)));
    match parsed {
        Some((ip, bits)) if bits <= 30 => Ok((ip, bits)),
        _ => bail!("{flag} {text}: want a network such as 10.43.0.0/16"),
    }
}

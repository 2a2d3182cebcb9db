//! Servers for the tests: ours in this process, and the machine's etcd as a process of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, dead_code)]

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tricorn_etcd_api::{EtcdApi, EtcdApiConfig, serve};
use tricorn_pki::{Authority, ClientAuth, Identity, Profile, RotatingIdentity, server_config};
use tricorn_proto::etcdserverpb::StatusRequest;
use tricorn_proto::etcdserverpb::auth_client::AuthClient;
use tricorn_proto::etcdserverpb::cluster_client::ClusterClient;
use tricorn_proto::etcdserverpb::kv_client::KvClient;
use tricorn_proto::etcdserverpb::lease_client::LeaseClient;
use tricorn_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use tricorn_proto::etcdserverpb::watch_client::WatchClient;
use tricorn_store::{Store, StoreConfig};

/// Nothing in these tests may take longer.
pub const DEADLINE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Our server, on a free port.
pub struct Ours {
    pub store: Store,
    pub address: SocketAddr,
    pub stop: CancellationToken,
    api: Option<EtcdApi>,
    dir: TempDir,
}

impl Ours {
    pub async fn start(change: impl FnOnce(&mut EtcdApiConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = StoreConfig::new("t", dir.path());
        config.client_urls = vec!["http://127.0.0.1:2379".into()];
        let store = within(Store::start(config)).await.unwrap();
        let mut config = EtcdApiConfig { listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))], ..EtcdApiConfig::default() };
        change(&mut config);
        let stop = CancellationToken::new();
        let api = serve(store.clone(), config, stop.clone()).await.unwrap();
        Self { store, address: api.addresses[0], stop, api: Some(api), dir }
    }

    pub fn metrics_address(&self) -> SocketAddr {
        self.api.as_ref().unwrap().metrics_addresses[0]
    }

    pub async fn clients(&self) -> Clients {
        Clients::connect(&format!("http://{}", self.address)).await
    }

    /// Ends it; fails when that takes too long.
    pub async fn stop(mut self) {
        self.stop.cancel();
        within(self.api.take().unwrap().closed()).await;
        within(self.store.shutdown()).await.unwrap();
    }
}

/// The machine's etcd, killed when dropped.
pub struct Theirs {
    child: Child,
    pub endpoint: String,
    dir: TempDir,
}

impl Theirs {
    fn program() -> Option<&'static str> {
        ["/usr/bin/etcd", "/usr/local/bin/etcd"].into_iter().find(|path| Path::new(path).exists())
    }

    /// Whether there is one on this machine.
    pub fn is_there() -> bool {
        Self::program().is_some()
    }

    /// None when there is none on this machine.
    pub async fn start() -> Option<Self> {
        let program = Self::program()?;
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let [client, peer] = [free_port(), free_port()].map(|port| format!("http://127.0.0.1:{port}"));
        let child = Command::new(program)
            .args(["--name", "t", "--data-dir", dir.path().to_str().unwrap(), "--log-level", "error"])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer, "--initial-cluster", &format!("t={peer}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(log).unwrap())
            .spawn()
            .unwrap();
        Some(Self { child, endpoint: client, dir })
    }

    pub async fn clients(&self) -> Clients {
        Clients::connect(&self.endpoint).await
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("etcd ended: {:?}, and said:", self.child.try_wait());
            println!("{}", std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One client of each service.
#[derive(Clone)]
pub struct Clients {
    pub kv: KvClient<Channel>,
    pub watch: WatchClient<Channel>,
    pub lease: LeaseClient<Channel>,
    pub maintenance: MaintenanceClient<Channel>,
    pub auth: AuthClient<Channel>,
    pub cluster: ClusterClient<Channel>,
}

impl Clients {
    /// Connects, and waits until there is a leader.
    pub async fn connect(endpoint: &str) -> Self {
        let begun = Instant::now();
        let channel = loop {
            let attempt = Channel::from_shared(endpoint.to_owned()).unwrap().connect().await;
            match attempt {
                Ok(channel) => break channel,
                Err(error) => assert!(begun.elapsed() < DEADLINE, "cannot connect to {endpoint}: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let mut clients = Self {
            kv: KvClient::new(channel.clone()),
            watch: WatchClient::new(channel.clone()),
            lease: LeaseClient::new(channel.clone()),
            maintenance: MaintenanceClient::new(channel.clone()),
            auth: AuthClient::new(channel.clone()),
            cluster: ClusterClient::new(channel),
        };
        while clients.maintenance.status(StatusRequest {}).await.map_or(0, |status| status.into_inner().leader) == 0 {
            assert!(begun.elapsed() < DEADLINE, "no leader at {endpoint}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        clients
    }
}

/// A certificate authority with a server's and a client's certificate.
pub struct Trust {
    pub authority: Authority,
    pub client: Identity,
    server: Identity,
}

impl Trust {
    pub fn new() -> Self {
        let now = SystemTime::now();
        let authority = Authority::create("etcd-ca", now, HOUR).unwrap();
        let server = authority.issue(&Profile::server("etcd", vec!["127.0.0.1".into(), "localhost".into()], HOUR), now).unwrap();
        let client = authority.issue(&Profile::client("root", &[], HOUR), now).unwrap();
        Self { authority, client, server }
    }

    /// Settings of a server that lets nobody in without a certificate.
    pub fn required(&self) -> Arc<rustls::ServerConfig> {
        let clients = ClientAuth::Required(self.authority.certificate_pem().to_owned());
        Arc::new(server_config(RotatingIdentity::new(&self.server).unwrap(), &clients, &[]).unwrap())
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits for `work`, but not for ever.
pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.expect("took too long")
}

//! One server on loopback, for tests that need an API and nothing else.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_client::{Certificate, Client, CompactionOptions, ConnectOptions, Identity, TlsOptions};
use tempfile::TempDir;
use tokio::process::Child;

use crate::members::spawn;
use crate::wait::until;

const READY: Duration = Duration::from_secs(60);

/// A server with no other beside it and no worker; gone when dropped.
pub struct LoneServer {
    dir: TempDir,
    etcd: String,
    _server: Child,
}

/// How such a server is started on a data directory, on ports that are free now; and the URL of its store.
///
/// # Panics
/// When there are no free ports.
pub fn arguments(data: &Path) -> (Vec<String>, String) {
    // Held until all are known, so that none is given twice.
    let held: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let ports: Vec<_> = held.iter().map(|port| port.local_addr().unwrap().port().to_string()).collect();
    drop(held);
    let data = data.display().to_string();
    let arguments = [
        ["server", "--cluster-init", "--name", "a", "--data-dir", &data].as_slice(),
        &["--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1"],
        &["--api-port", &ports[0], "--etcd-port", &ports[1], "--peer-port", &ports[2]],
    ]
    .concat();
    (arguments.into_iter().map(str::to_owned).collect(), format!("https://127.0.0.1:{}", ports[1]))
}

impl LoneServer {
    /// Starts it and waits until it is ready.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (arguments, etcd) = arguments(&dir.path().join("d"));
        let server = spawn(&arguments, &dir.path().join("log"));
        let server = Self { dir, etcd, _server: server };
        until("the server is ready", READY, async || {
            let client = server.try_client().await.map_err(|error| format!("{error}\n{}", server.log()))?;
            let request = http::Request::get("/readyz").body(Vec::new()).map_err(|error| error.to_string())?;
            client.request_text(request).await.map_err(|error| format!("{error}\n{}", server.log()))
        })
        .await;
        server
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("d/kubeconfig")
    }

    /// A file of the test's own.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn try_client(&self) -> Result<kube::Client, String> {
        let config = kube::config::Kubeconfig::read_from(self.kubeconfig()).map_err(|error| error.to_string())?;
        let options = kube::config::KubeConfigOptions::default();
        let mut config = kube::Config::from_custom_kubeconfig(config, &options).await.map_err(|error| error.to_string())?;
        // Tests want to see refusals, not to have them tried again.
        config.default_retry = false;
        kube::Client::try_from(config).map_err(|error| error.to_string())
    }

    /// A kube-rs client of the administrator's.
    ///
    /// # Panics
    /// When the kubeconfig cannot be used.
    pub async fn client(&self) -> kube::Client {
        self.try_client().await.expect("a client")
    }

    /// Forgets every revision before the present one.
    ///
    /// # Panics
    /// When the store does not let itself be reached, or does not do it.
    pub async fn compact(&self) {
        let pem = |name: &str| std::fs::read(self.dir.path().join("d/pki").join(name)).unwrap();
        let identity = Identity::from_pem(pem("etcd-client.crt"), pem("etcd-client.key"));
        let tls = TlsOptions::new().ca_certificate(Certificate::from_pem(pem("ca.crt"))).identity(identity);
        let options = ConnectOptions::new().with_tls(tls);
        let mut client = Client::connect([&self.etcd], Some(options)).await.expect("the store's client");
        let revision = client.get("none", None).await.expect("a read of the store").header().map_or(0, |header| header.revision());
        client.compact(revision, Some(CompactionOptions::new().with_physical())).await.expect("a compaction");
    }

    /// What the server has said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

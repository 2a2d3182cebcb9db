//! Where a load goes, and the connections that carry it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// etcd v3 servers and what is needed to talk to them.
#[derive(Clone, Debug, clap::Args)]
pub struct Target {
    /// Client URLs of the members, for example http://127.0.0.1:2379; the load is spread over them
    #[arg(long, value_delimiter = ',', env = "TRICORN_ENDPOINTS", default_value = "http://127.0.0.1:2379")]
    pub endpoints: Vec<String>,
    /// Trust servers whose certificates come from these authorities (PEM)
    #[arg(long)]
    pub cacert: Option<PathBuf>,
    /// Show this certificate (PEM)
    #[arg(long, requires = "key")]
    pub cert: Option<PathBuf>,
    /// Key of the certificate (PEM)
    #[arg(long, requires = "cert")]
    pub key: Option<PathBuf>,
    /// Process ids of the servers, to report their processor time and memory
    #[arg(long, value_delimiter = ',')]
    pub pids: Vec<u32>,
}

impl Target {
    /// Servers without TLS.
    pub fn plain(endpoints: Vec<String>, pids: Vec<u32>) -> Self {
        Self { endpoints, cacert: None, cert: None, key: None, pids }
    }

    /// Opens `count` connections, spread over the endpoints.
    pub(crate) async fn connect(&self, count: usize) -> Result<Vec<Channel>> {
        if self.endpoints.is_empty() {
            bail!("no endpoints given");
        }
        let tls = self.tls()?;
        let mut channels = Vec::with_capacity(count);
        for url in self.endpoints.iter().cycle().take(count.max(1)) {
            let url = if url.contains("://") { url.clone() } else { format!("http://{url}") };
            let mut endpoint = Endpoint::from_shared(url.clone()).with_context(|| format!("endpoint {url}"))?;
            endpoint = endpoint.connect_timeout(Duration::from_secs(5)).tcp_nodelay(true);
            if url.starts_with("https") {
                endpoint = endpoint.tls_config(tls.clone()).with_context(|| format!("TLS for {url}"))?;
            }
            channels.push(endpoint.connect().await.with_context(|| format!("connect to {url}"))?);
        }
        Ok(channels)
    }

    fn tls(&self) -> Result<ClientTlsConfig> {
        let mut tls = ClientTlsConfig::new();
        if let Some(path) = &self.cacert {
            tls = tls.ca_certificate(Certificate::from_pem(read(path)?));
        }
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
        }
        Ok(tls)
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("read {}", path.display()))
}

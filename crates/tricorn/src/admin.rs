//! The administrator's way to a running cluster: a kubeconfig, and what `/tricorn/v1/` answers behind it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use http::{Method, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::protocol::BASE;

/// Where a kubeconfig is looked for when none is named.
const PLACES: [&str; 2] = ["tricorn-data/kubeconfig", "/var/lib/tricorn/kubeconfig"];

/// Which cluster is meant.
#[derive(clap::Args)]
pub struct Cluster {
    /// The administrator's kubeconfig [default: ./tricorn-data/kubeconfig, then /var/lib/tricorn/kubeconfig]
    #[arg(long, env = "KUBECONFIG", global = true)]
    kubeconfig: Option<PathBuf>,
}

/// A client of the administrator's.
pub struct Admin {
    client: kube::Client,
}

impl Cluster {
    /// The kubeconfig's path.
    pub fn path(&self) -> Result<PathBuf> {
        if let Some(path) = &self.kubeconfig {
            return Ok(path.clone());
        }
        match PLACES.iter().map(Path::new).find(|path| path.is_file()) {
            Some(path) => Ok(path.to_owned()),
            None => bail!("no kubeconfig: name one with --kubeconfig or KUBECONFIG, or start a cluster with `tricorn up`"),
        }
    }

    /// Makes a client of it.
    pub async fn admin(&self) -> Result<Admin> {
        let path = self.path()?;
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let client = tricorn_client::from_kubeconfig(&text).await.with_context(|| format!("use {}", path.display()))?;
        Ok(Admin { client })
    }
}

impl Admin {
    /// Asks for something.
    pub async fn get<A: DeserializeOwned>(&self, path: &str) -> Result<A> {
        self.json(Method::GET, path, Vec::new()).await
    }

    /// Sends something, and reads the answer.
    pub async fn post<B: Serialize, A: DeserializeOwned>(&self, path: &str, body: &B) -> Result<A> {
        self.json(Method::POST, path, serde_json::to_vec(body)?).await
    }

    /// Asks for a change that has no answer but success.
    pub async fn act(&self, method: Method, path: &str) -> Result<()> {
        self.send(method, path, Vec::new()).await.map(drop)
    }

    /// An answer of any length.
    pub async fn stream(&self, path: &str) -> Result<impl futures::AsyncBufRead> {
        let request = Request::get(format!("{BASE}{path}")).body(Vec::new())?;
        self.client.request_stream(request).await.with_context(|| format!("GET {BASE}{path}"))
    }

    async fn json<A: DeserializeOwned>(&self, method: Method, path: &str, body: Vec<u8>) -> Result<A> {
        let text = self.send(method.clone(), path, body).await?;
        serde_json::from_str(&text).with_context(|| format!("read the answer to {method} {BASE}{path}"))
    }

    async fn send(&self, method: Method, path: &str, body: Vec<u8>) -> Result<String> {
        let request = Request::builder().method(method.clone()).uri(format!("{BASE}{path}")).header("content-type", "application/json");
        match self.client.request_text(request.body(body)?).await {
            Ok(text) => Ok(text),
            // The server's own words say it best.
            Err(kube::Error::Api(status)) => bail!("{}", status.message),
            Err(error) => Err(error).with_context(|| format!("{method} {BASE}{path}")),
        }
    }
}

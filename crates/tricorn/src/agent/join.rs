//! How a worker enters its cluster, and what it remembers of it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tricorn_pki::files::{read_identity, write_identity, write_public};
use tricorn_pki::{Identity, certificate_info, new_key};

use super::Config;
use crate::https::{Https, Refused, authority_hash, check_directory, read_token};
use crate::protocol::{AgentKit, JoinAgent, Settings};

const FILE: &str = "agent.json";
/// Pauses between tries to reach a server, growing.
const RETRY_FIRST: Duration = Duration::from_millis(300);
const RETRY_MOST: Duration = Duration::from_secs(10);
/// With less than this left, the certificates are asked for anew at the next start.
const RENEW_BEFORE: Duration = Duration::from_secs(90 * 24 * 3600);

/// A worker's place in its cluster.
#[derive(Debug, Serialize, Deserialize)]
pub struct Membership {
    /// The node's name.
    name: String,
    /// URLs of all API servers.
    pub servers: Vec<String>,
    /// What the cluster has agreed on.
    pub settings: Settings,
    /// Where its certificates are.
    #[serde(skip)]
    pub pki: PathBuf,
}

/// Enters the cluster, or comes back into it. None when `stop` came first.
pub async fn enter(config: &Config, stop: &CancellationToken) -> Result<Option<Membership>> {
    let pki = config.data_dir.join("pki");
    if let Some(known) = remembered(config, &pki)? {
        return Ok(Some(known));
    }
    if config.servers.is_empty() {
        bail!("no server: give --server https://HOST:6443");
    }
    let token = read_token(config.token.as_deref(), config.token_file.as_deref())?;
    let [node, serving, proxy] = [new_key()?, new_key()?, new_key()?];
    let wish = JoinAgent {
        name: config.name.clone(),
        address: config.node_ip.to_string(),
        node_key: node.1,
        serving_key: serving.1,
        proxy_key: proxy.1,
    };
    let mut pause = RETRY_FIRST;
    let kit: AgentKit = loop {
        match ask(config, &token, &wish).await {
            Ok(kit) => break kit,
            // Somebody has said no, and will again.
            Err(error) if error.is::<Refused>() || error.is::<tricorn_pki::Error>() => return Err(error.context("join the cluster")),
            Err(error) => tracing::warn!(error = format!("{error:#}"), "no server could be reached; another try follows"),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(RETRY_MOST),
        }
    };
    let pair = |certificate_pem: &str, key_pem: String| Identity { certificate_pem: certificate_pem.to_owned(), key_pem };
    write_identity(&pki, "node", &pair(&kit.node_crt, node.0))?;
    write_identity(&pki, "kubelet", &pair(&kit.serving_crt, serving.0))?;
    write_identity(&pki, "proxy", &pair(&kit.proxy_crt, proxy.0))?;
    write_public(&pki.join("ca.crt"), &kit.ca_crt)?;
    let membership = Membership { name: config.name.clone(), servers: kit.servers, settings: kit.settings, pki };
    let path = config.data_dir.join(FILE);
    write_public(&path, &(serde_json::to_string_pretty(&membership)? + "\n"))?;
    Ok(Some(membership))
}

/// Asks the first server that answers.
async fn ask(config: &Config, token: &tricorn_pki::JoinToken, wish: &JoinAgent) -> Result<AgentKit> {
    let mut last = anyhow!("no server to ask");
    for url in &config.servers {
        let asked = async {
            let (server, _) = Https::by_token(url, token).await?;
            server.post("/tricorn/v1/join/agent", wish).await
        };
        match asked.await {
            Ok(kit) => return Ok(kit),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// What an earlier start has left, if it still holds.
fn remembered(config: &Config, pki: &Path) -> Result<Option<Membership>> {
    let path = config.data_dir.join(FILE);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let mut known: Membership =
        serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged: delete it, and the worker joins again", path.display()))?;
    if known.name != config.name {
        bail!(
            "the data directory {} is that of worker {}, this one is called {}: use --name {}, or another --data-dir",
            config.data_dir.display(),
            known.name,
            config.name,
            known.name
        );
    }
    if let Ok(authority) = tricorn_pki::files::read(&pki.join("ca.crt")) {
        check_directory(&config.data_dir, &authority_hash(&authority)?, config.token.as_deref(), config.token_file.as_deref())?;
    }
    let now = SystemTime::now();
    let fresh = |name: &str| {
        let info = read_identity(pki, name).ok().and_then(|pair| certificate_info(&pair.certificate_pem).ok());
        info.filter(|info| info.remaining(now).is_some_and(|left| left > RENEW_BEFORE))
    };
    let serving = fresh("kubelet").is_some_and(|info| info.names.contains(&config.node_ip.to_string()));
    if !serving || fresh("node").is_none() || fresh("proxy").is_none() {
        return Ok(None);
    }
    // Whoever was named on the command line may be newer than what was remembered.
    for url in &config.servers {
        if !known.servers.contains(url) {
            known.servers.push(url.clone());
        }
    }
    known.pki = pki.to_owned();
    Ok(Some(known))
}

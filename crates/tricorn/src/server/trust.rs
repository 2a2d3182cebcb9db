//! What makes a server one of its cluster's: two authorities and a signing key, and the certificates made from them.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use tokio_util::sync::CancellationToken;
use tricorn_pki::files::{read, read_identity, write_identity, write_private, write_public};
use tricorn_pki::{Authority, Credentials, Identity, Kubeconfig, Profile, RotatingIdentity, ServiceAccountKey, certificate_info};

use crate::protocol::ServerKit;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long an authority is good for.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How long what it issues is good for.
pub const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);
/// With less than this left, a certificate is issued anew, while everything runs.
pub const RENEW_BEFORE: Duration = Duration::from_secs(90 * 24 * 3600);

/// The secrets of a cluster; the same on every server.
pub struct Trust {
    /// Signs servers, nodes and users.
    pub ca: Authority,
    /// Signs members and clients of the store.
    pub etcd_ca: Authority,
    /// Signs service account tokens.
    pub service_account: Arc<ServiceAccountKey>,
}

impl Trust {
    /// The secrets of a new cluster.
    pub fn create() -> Result<Self> {
        let now = SystemTime::now();
        Ok(Self {
            ca: Authority::create("tricorn-ca", now, AUTHORITY_LIFETIME)?,
            etcd_ca: Authority::create("tricorn-etcd-ca", now, AUTHORITY_LIFETIME)?,
            service_account: Arc::new(ServiceAccountKey::create()?),
        })
    }

    /// The secrets in `pki`, or none when there are none yet.
    pub fn load(pki: &Path) -> Result<Option<Self>> {
        // The last one that is written: with it, all are there.
        if !pki.join("service-account.key").exists() {
            return Ok(None);
        }
        let authority = |name: &str| -> Result<Authority> {
            let pair = read_identity(pki, name)?;
            Ok(Authority::from_pem(&pair.certificate_pem, &pair.key_pem)?)
        };
        let key = ServiceAccountKey::from_pem(&read(&pki.join("service-account.key"))?)?;
        Ok(Some(Self { ca: authority("ca")?, etcd_ca: authority("etcd-ca")?, service_account: Arc::new(key) }))
    }

    /// The secrets that another server has handed over.
    pub fn from_kit(kit: &ServerKit) -> Result<Self> {
        Ok(Self {
            ca: Authority::from_pem(&kit.ca_crt, &kit.ca_key)?,
            etcd_ca: Authority::from_pem(&kit.etcd_ca_crt, &kit.etcd_ca_key)?,
            service_account: Arc::new(ServiceAccountKey::from_pem(&kit.service_account_key)?),
        })
    }

    /// Puts the secrets into `pki`, readable by their owner only.
    pub fn save(&self, pki: &Path) -> Result<()> {
        for (name, authority) in [("ca", &self.ca), ("etcd-ca", &self.etcd_ca)] {
            let pair = Identity { certificate_pem: authority.certificate_pem().to_owned(), key_pem: authority.key_pem() };
            write_identity(pki, name, &pair)?;
        }
        write_public(&pki.join("service-account.pub"), &self.service_account.public_pem())?;
        write_private(&pki.join("service-account.key"), &self.service_account.private_pem())?;
        Ok(())
    }
}

/// The names at which a server answers.
#[derive(Clone, Debug)]
pub struct Names {
    /// Its own name.
    pub name: String,
    /// Where others reach it.
    pub address: IpAddr,
    /// The address of the Service `kubernetes`.
    pub service: IpAddr,
    /// The cluster's DNS domain.
    pub domain: String,
    /// What the administrator adds.
    pub further: Vec<String>,
}

impl Names {
    fn all(&self) -> Vec<String> {
        let mut names = vec![self.name.clone(), self.address.to_string(), "localhost".into(), "127.0.0.1".into(), "::1".into()];
        names.extend(["kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(str::to_owned));
        names.extend([format!("kubernetes.default.svc.{}", self.domain), self.service.to_string()]);
        names.extend(self.further.iter().cloned());
        names.sort();
        names.dedup();
        names
    }
}

/// The certificates of one server, exchanged for new ones in time, while connections are open.
pub struct Certificates {
    pki: PathBuf,
    names: Names,
    /// For the API and for clients of the store.
    pub server: Arc<RotatingIdentity>,
    /// Between members.
    pub peer: Arc<RotatingIdentity>,
    /// Towards kubelets.
    pub kubelet_client: Arc<RotatingIdentity>,
}

/// The file name of each certificate, and whether the store's authority issues it.
const ISSUED: [(&str, bool); 5] = [("server", false), ("kubelet-client", false), ("admin", false), ("peer", true), ("etcd-client", true)];

impl Certificates {
    /// Issues what is missing in `pki`, runs out soon, or names other names than `names`.
    pub fn issue(trust: &Trust, pki: &Path, names: Names) -> Result<Self> {
        for (name, of_store) in ISSUED {
            issue_one(trust, pki, &names, name, of_store)?;
        }
        let rotating = |name: &str| -> Result<_> { Ok(RotatingIdentity::new(&read_identity(pki, name)?)?) };
        Ok(Self {
            server: rotating("server")?,
            peer: rotating("peer")?,
            kubelet_client: rotating("kubelet-client")?,
            pki: pki.to_owned(),
            names,
        })
    }

    /// Looks once a day, until `stop`, whether something runs out, and issues it anew.
    pub async fn keep(self, trust: Arc<Trust>, data: PathBuf, url: String, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(DAY) => {}
            }
            if let Err(error) = self.renew(&trust, &data, &url) {
                tracing::error!(error = format!("{error:#}"), "renew certificates: another try follows in a day");
            }
        }
    }

    fn renew(&self, trust: &Trust, data: &Path, url: &str) -> Result<()> {
        for (name, of_store) in ISSUED {
            if issue_one(trust, &self.pki, &self.names, name, of_store)? {
                tracing::info!(certificate = name, "renewed");
            }
        }
        for (name, identity) in [("server", &self.server), ("peer", &self.peer), ("kubelet-client", &self.kubelet_client)] {
            identity.replace(&read_identity(&self.pki, name)?)?;
        }
        write_kubeconfig(trust, &self.pki, data, url)
    }
}

fn profile(names: &Names, name: &str) -> Profile {
    match name {
        "server" => Profile::server("kube-apiserver", names.all(), CERTIFICATE_LIFETIME),
        "kubelet-client" => Profile::client("kube-apiserver-kubelet-client", &[], CERTIFICATE_LIFETIME),
        "admin" => Profile::client("system:admin", &["system:masters"], CERTIFICATE_LIFETIME),
        "peer" => Profile::peer(names.name.clone(), names.all(), CERTIFICATE_LIFETIME),
        _ => Profile::client("root", &[], CERTIFICATE_LIFETIME),
    }
}

/// Whether a certificate had to be issued.
fn issue_one(trust: &Trust, pki: &Path, names: &Names, name: &str, of_store: bool) -> Result<bool> {
    let authority = if of_store { &trust.etcd_ca } else { &trust.ca };
    let now = SystemTime::now();
    let profile = profile(names, name);
    if let Ok(known) = read_identity(pki, name)
        && let Ok(info) = certificate_info(&known.certificate_pem)
    {
        let mut said = info.names.clone();
        said.sort();
        let of_this_cluster =
            tricorn_pki::certificate_info(authority.certificate_pem()).is_ok_and(|ca| ca.subject.common_name == info.issuer);
        if said == profile.names && of_this_cluster && info.remaining(now).is_some_and(|left| left > RENEW_BEFORE) {
            return Ok(false);
        }
    }
    let identity = authority.issue(&profile, now)?;
    write_identity(pki, name, &identity).with_context(|| format!("keep the certificate {name}"))?;
    Ok(true)
}

/// Leaves the administrator's kubeconfig in the data directory.
pub fn write_kubeconfig(trust: &Trust, pki: &Path, data: &Path, url: &str) -> Result<()> {
    let kubeconfig = Kubeconfig {
        cluster: "tricorn".into(),
        server: url.to_owned(),
        authority_pem: trust.ca.certificate_pem().to_owned(),
        user: "admin".into(),
        credentials: Credentials::Certificate(read_identity(pki, "admin")?),
        namespace: None,
    };
    Ok(write_private(&data.join("kubeconfig"), &kubeconfig.to_yaml())?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names(further: &[&str]) -> Names {
        Names {
            name: "s1".into(),
            address: IpAddr::from([172, 30, 0, 11]),
            service: IpAddr::from([10, 43, 0, 1]),
            domain: "cluster.local".into(),
            further: further.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn secrets_come_back_and_certificates_follow_the_names() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Trust::load(dir.path()).unwrap().is_none());
        let trust = Trust::create().unwrap();
        trust.save(dir.path()).unwrap();
        assert_eq!(Trust::load(dir.path()).unwrap().unwrap().ca.hash(), trust.ca.hash());
        Certificates::issue(&trust, dir.path(), names(&[])).unwrap();
        let first = read_identity(dir.path(), "server").unwrap().certificate_pem;
        Certificates::issue(&trust, dir.path(), names(&[])).unwrap();
        assert_eq!(read_identity(dir.path(), "server").unwrap().certificate_pem, first, "nothing has changed");
        Certificates::issue(&trust, dir.path(), names(&["api.example.org"])).unwrap();
        let second = read_identity(dir.path(), "server").unwrap().certificate_pem;
        assert!(certificate_info(&second).unwrap().names.contains(&"api.example.org".to_owned()));
        let admin = certificate_info(&read_identity(dir.path(), "admin").unwrap().certificate_pem).unwrap();
        assert_eq!(admin.subject.organizations, ["system:masters"]);
    }
}

//! `server.json`: that a data directory is a server's, whose, and what its cluster has agreed on.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tricorn_pki::files::write_public;

use crate::protocol::Settings;

const FILE: &str = "server.json";
/// Grows when an older version could not work with the directory.
const FORMAT: u32 = 1;

/// The file's content.
#[derive(Debug, Serialize, Deserialize)]
pub struct ServerFile {
    format: u32,
    version: String,
    name: String,
    cluster_id: String,
    /// It began the cluster.
    pub founder: bool,
    /// What the cluster has agreed on.
    pub settings: Settings,
}

impl ServerFile {
    /// What is to be known of a server that is part of its cluster.
    pub fn new(name: &str, cluster_id: u64, founder: bool, settings: &Settings) -> Self {
        Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            name: name.to_owned(),
            cluster_id: format!("{cluster_id:x}"),
            founder,
            settings: settings.clone(),
        }
    }

    /// What `dir` says; none when it is no server's yet.
    pub fn read(dir: &Path) -> Result<Option<Self>> {
        #[derive(Deserialize)]
        struct Header {
            format: u32,
            version: String,
        }
        let path = dir.join(FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        let damaged = || format!("{} is damaged: restore it from a backup, or empty the data directory and join again", path.display());
        let header: Header = serde_json::from_slice(&bytes).with_context(damaged)?;
        if header.format > FORMAT {
            bail!(
                "the data directory {} was written by Tricorn {}, which is newer than this one ({}): use that version",
                dir.display(),
                header.version,
                env!("CARGO_PKG_VERSION")
            );
        }
        serde_json::from_slice(&bytes).with_context(damaged).map(Some)
    }

    /// The server's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same server, as the one that begins the cluster.
    pub fn founding(self) -> Self {
        Self { founder: true, ..self }
    }

    /// Puts it into `dir`, unless it is there as it is.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        let path = dir.join(FILE);
        if std::fs::read_to_string(&path).is_ok_and(|known| known == text) {
            return Ok(());
        }
        Ok(write_public(&path, &text)?)
    }

    /// Refuses a directory of another server.
    pub fn check(&self, name: &str, dir: &Path) -> Result<()> {
        if self.name == name {
            return Ok(());
        }
        bail!(
            "the data directory {} is that of server {}, this one is called {name}: use --name {}, or another --data-dir",
            dir.display(),
            self.name,
            self.name
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_directory_tells_whose_it_is() {
        let settings = Settings {
            cluster_cidr: "10.42.0.0/16".into(),
            service_cidr: "10.43.0.0/16".into(),
            cluster_dns: "10.43.0.10".into(),
            cluster_domain: "cluster.local".into(),
        };
        let dir = tempfile::tempdir().unwrap();
        assert!(ServerFile::read(dir.path()).unwrap().is_none());
        ServerFile::new("s1", 7, true, &settings).write(dir.path()).unwrap();
        let read = ServerFile::read(dir.path()).unwrap().unwrap();
        read.check("s1", dir.path()).unwrap();
        assert!(read.check("s2", dir.path()).unwrap_err().to_string().contains("--name s1"));
        let text = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        std::fs::write(dir.path().join(FILE), text.replace("\"format\": 1", "\"format\": 9")).unwrap();
        assert!(ServerFile::read(dir.path()).unwrap_err().to_string().contains("newer"));
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(ServerFile::read(dir.path()).unwrap_err().to_string().contains("damaged"));
    }
}

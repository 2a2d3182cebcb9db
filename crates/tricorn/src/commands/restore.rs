//! `tricorn snapshot restore`: a data directory from a backup, for a whole server or for a member of `tricorn etcd`.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use tricorn_store::{InitialMember, RestoreConfig, RocksOptions, SnapshotInfo, Storage, is_etcd, restore, restore_etcd, set_aside};

use super::etcd::initial_members;
use super::own_address;
use crate::lock;
use crate::server::ServerFile;

/// How far the revisions of a restored cluster begin behind the snapshot's: more than a cluster writes between two backups.
const BUMP: i64 = 1_000_000_000;

/// The flags.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  tricorn snapshot restore monday.snap --data-dir /var/lib/tricorn      (a stopped server: it begins the cluster anew, the others join it again)\n  tricorn snapshot restore etcd.db --name a --data-dir a.etcd \\\n    --initial-cluster a=http://10.0.0.1:2380,b=http://10.0.0.2:2380 --initial-advertise-peer-urls http://10.0.0.1:2380"
)]
pub struct Args {
    /// A file of `tricorn snapshot save` or `etcdctl snapshot save`, of Tricorn or of etcd
    file: PathBuf,
    /// A stopped server's data directory, or an empty one for a member of `tricorn etcd` [default: NAME.etcd]
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// The member's name
    #[arg(long, default_value = "default")]
    name: String,
    /// The members of the group that begins anew, NAME=URL; each restores the same snapshot [default: this one alone]
    #[arg(long, value_delimiter = ',')]
    initial_cluster: Vec<String>,
    /// Sets this group apart from others with the same members
    #[arg(long, default_value = "etcd-cluster")]
    initial_cluster_token: String,
    /// Where other members reach this one [default: for a server, port 2380 of its address]
    #[arg(long, value_delimiter = ',')]
    initial_advertise_peer_urls: Vec<String>,
    /// How far revisions begin behind the snapshot's, so that none is given twice [default: a billion for a server, else 0]
    #[arg(long)]
    bump_revision: Option<u32>,
    /// Make history unreadable, so that clients that watch begin anew; a server always does
    #[arg(long)]
    mark_compacted: bool,
    /// Take a database file of etcd's that was copied from a data directory, and has no checksum
    #[arg(long)]
    skip_hash_check: bool,
}

impl Args {
    /// Restores, and says what is next.
    #[allow(clippy::print_stdout)]
    pub fn run(self) -> Result<()> {
        let dir = self.data_dir.clone().unwrap_or_else(|| PathBuf::from(format!("{}.etcd", self.name)));
        let (info, next) = match ServerFile::read(&dir)? {
            Some(server) => {
                (self.server(&dir, server)?, "start the server; empty the data directories of the others, and let them join it")
            }
            None => (self.member(&dir)?, "start the members with the same --initial-cluster"),
        };
        println!("restored revision {} ({} rows) into {}\nNext: {next}.", info.revision, info.rows, dir.display());
        Ok(())
    }

    fn member(&self, dir: &Path) -> Result<SnapshotInfo> {
        let here = |urls: &[String]| if urls.is_empty() { vec!["http://localhost:2380".to_owned()] } else { urls.to_vec() };
        let mut members = initial_members(&self.initial_cluster)?;
        if members.is_empty() {
            members.push(InitialMember { name: self.name.clone(), peer_urls: here(&self.initial_advertise_peer_urls) });
        }
        let bump = self.bump_revision.map_or(0, i64::from);
        self.fill(dir, self.name.clone(), members, bump, self.mark_compacted)
    }

    /// What the server's store held is set aside, not deleted.
    fn server(&self, dir: &Path, server: ServerFile) -> Result<SnapshotInfo> {
        if !self.initial_cluster.is_empty() {
            bail!("{} is a server's: it begins the cluster alone, without --initial-cluster, and the others join it", dir.display());
        }
        let _held = lock::take(dir)?;
        // Looked at before anything is moved.
        super::snapshot::look(&self.file, self.skip_hash_check)?;
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let aside = dir.join(format!("replaced-{seconds}"));
        set_aside(dir, &aside).with_context(|| format!("set the old state aside in {}", aside.display()))?;
        let peers = match self.initial_advertise_peer_urls.as_slice() {
            [] => vec![format!("https://{}", std::net::SocketAddr::new(own_address(), 2380))],
            urls => urls.to_vec(),
        };
        let name = server.name().to_owned();
        let members = vec![InitialMember { name: name.clone(), peer_urls: peers }];
        let info = self.fill(dir, name, members, self.bump_revision.map_or(BUMP, i64::from), true)?;
        server.founding().write(dir)?;
        Ok(info)
    }

    fn fill(
        &self,
        dir: &Path,
        name: String,
        members: Vec<InitialMember>,
        bump_revision: i64,
        mark_compacted: bool,
    ) -> Result<SnapshotInfo> {
        let config = RestoreConfig {
            name,
            storage: Storage::Dir { path: dir.to_owned(), options: RocksOptions::default() },
            members,
            token: self.initial_cluster_token.clone(),
            bump_revision,
            mark_compacted,
        };
        let file = File::open(&self.file).with_context(|| format!("open {}", self.file.display()))?;
        let restored =
            if is_etcd(&file)? { restore_etcd(&file, self.skip_hash_check, config) } else { restore(BufReader::new(file), config) };
        restored.with_context(|| format!("restore {}", self.file.display()))
    }
}

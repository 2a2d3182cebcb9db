//! A group of members that take etcd's flags, each on a host of its own; one more host waits for somebody to take a member's place.

use super::client::Client;
use super::{Builds, Failure, System};
use crate::shim::Shim;
use anyhow::{Context, Result};
use async_trait::async_trait;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tricorn_testbed::{Ground, HostRecord, Hosts, Mode, Role, StateFile};

const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;
const TOKEN: &str = "jepsen";
/// How long a group may take until every member answers.
const READY: Duration = Duration::from_secs(60);

/// What the members run.
#[derive(Debug, Clone)]
pub struct Program {
    /// What reports call it.
    pub name: String,
    /// The command that etcd's flags follow.
    pub command: Vec<String>,
    /// Whether its calls of the C library can be tampered with, see [`Shim`]. etcd makes none.
    pub shimmed: bool,
}

impl Program {
    /// `tricorn etcd`.
    pub fn tricorn(binary: &Path) -> Self {
        Self { name: "tricorn".into(), command: vec![binary.display().to_string(), "etcd".into()], shimmed: true }
    }

    /// etcd itself.
    pub fn etcd(binary: &Path) -> Self {
        Self { name: "etcd".into(), command: vec![binary.display().to_string()], shimmed: false }
    }
}

/// How a group is made.
#[derive(Debug, Clone)]
pub struct GroupOptions {
    /// What the members run.
    pub program: Program,
    /// How many there are.
    pub members: u8,
    /// Their network, A.B.C.0 with 24 bits.
    pub subnet: Ipv4Addr,
    /// Further flags.
    pub flags: Vec<String>,
    /// Another build of the program, to upgrade members to.
    pub upgrade_to: Option<PathBuf>,
}

impl GroupOptions {
    /// The builds between which members are upgraded, if there are two.
    pub fn builds(&self) -> Result<Option<Builds>> {
        let first = self.program.command.first().map(Path::new);
        first.zip(self.upgrade_to.as_deref()).map(|(first, second)| Builds::new(first, second)).transpose()
    }
}

/// A group of members; it ends when it is dropped.
pub struct Group {
    pub(super) hosts: Hosts,
    options: GroupOptions,
    builds: Option<Builds>,
    dir: PathBuf,
    /// Those who are members now.
    pub(super) members: RwLock<Vec<String>>,
    addresses: BTreeMap<String, Ipv4Addr>,
    shims: BTreeMap<String, Shim>,
}

impl Group {
    /// Lays the hosts in `dir`, starts all members and waits until each answers.
    pub async fn start(dir: &Path, options: GroupOptions) -> Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
        let dir = dir.canonicalize().with_context(|| format!("find {}", dir.display()))?;
        let builds = options.builds()?;
        // The last one is nobody's yet.
        let mut names: Vec<String> = (1..=options.members + 1).map(|number| format!("n{number}")).collect();
        let mut shims = BTreeMap::new();
        if options.program.shimmed {
            for name in &names {
                shims.insert(name.clone(), Shim::prepare(&dir.join(name))?);
            }
        }
        let ground = Ground { mode: Mode::Namespaces, subnet: options.subnet, restart: false };
        let mut addresses = BTreeMap::new();
        let hosts = Hosts::lay(&dir, ground, |network| {
            addresses = names.iter().zip(11..).map(|(name, last)| (name.clone(), network.address(last))).collect();
            let record = |(name, address): (&String, &Ipv4Addr)| {
                let environment = shims.get(name).map(Shim::environment).unwrap_or_default();
                let argv = argv(&options, &dir, name, &addresses, (&names[..names.len() - 1], "new"));
                HostRecord::new(name, Role::Server, *address, network.netns(name), argv, environment)
            };
            addresses.iter().map(record).collect()
        });
        let hosts = hosts.await.context("lay the hosts")?;
        names.pop();
        let group = Self { hosts, options, builds, dir, members: RwLock::new(names), addresses, shims };
        for name in group.names() {
            tricorn_testbed::start(group.file(), &name).await.with_context(|| format!("start {name}"))?;
        }
        group.ready(READY).await?;
        Ok(group)
    }

    /// A client of one member.
    pub fn client(&self, name: &str) -> Client {
        let address = SocketAddr::from((self.addresses[name], CLIENT_PORT));
        Client::new(name, address, self.hosts.dialer().clone())
    }

    /// Where a member's data is.
    pub fn data(&self, name: &str) -> PathBuf {
        data(&self.dir, name)
    }

    /// Where other members reach this one.
    pub(super) fn peer_url(&self, name: &str) -> String {
        url(&self.addresses, name, PEER_PORT)
    }

    /// The command of a member that joins those who are there, with the build that they run.
    pub(super) fn joining(&self, name: &str) -> Result<Vec<String>> {
        let mut members = self.names();
        let state = self.file().read()?;
        let there = members.first().and_then(|one| state.host(one).ok()?.argv.first().cloned());
        members.push(name.to_owned());
        let mut argv = argv(&self.options, &self.dir, name, &self.addresses, (&members, "existing"));
        argv.iter_mut().zip(there).for_each(|(program, there)| *program = there);
        Ok(argv)
    }
}

#[async_trait]
impl System for Group {
    fn program(&self) -> &str {
        &self.options.program.name
    }

    fn names(&self) -> Vec<String> {
        self.members.read().clone()
    }

    fn hosts(&self) -> Vec<String> {
        self.addresses.keys().cloned().collect()
    }

    fn file(&self) -> &StateFile {
        self.hosts.file()
    }

    fn shim(&self, name: &str) -> Option<&Shim> {
        self.shims.get(name)
    }

    fn builds(&self) -> Option<&Builds> {
        self.builds.as_ref()
    }

    fn store(&self) -> Option<&Group> {
        Some(self)
    }

    async fn leader(&self) -> Option<String> {
        let mut said: BTreeMap<u64, (usize, Option<String>)> = BTreeMap::new();
        for name in self.names() {
            let Ok(status) = self.client(&name).status().await else { continue };
            let id = status.header.as_ref().map_or(0, |header| header.member_id);
            said.entry(status.leader).or_default().0 += 1;
            if id == status.leader {
                said.entry(id).or_default().1 = Some(name.clone());
            }
        }
        said.into_values().filter(|(_, name)| name.is_some()).max_by_key(|(votes, _)| *votes).and_then(|(_, name)| name)
    }

    async fn answers(&self, name: &str) -> Result<(), Failure> {
        self.client(name).healthy().await
    }
}

fn url(addresses: &BTreeMap<String, Ipv4Addr>, name: &str, port: u16) -> String {
    format!("http://{}:{port}", addresses[name])
}

fn data(dir: &Path, name: &str) -> PathBuf {
    dir.join(name).join("data")
}

/// The command of a member of a group of these members, that is `new` or `existing`; its data is in a folder of its host's.
fn argv(
    options: &GroupOptions,
    dir: &Path,
    name: &str,
    addresses: &BTreeMap<String, Ipv4Addr>,
    (members, state): (&[String], &str),
) -> Vec<String> {
    let (client, peer) = (url(addresses, name, CLIENT_PORT), url(addresses, name, PEER_PORT));
    let cluster: Vec<String> = members.iter().map(|name| format!("{name}={}", url(addresses, name, PEER_PORT))).collect();
    let flag = |name: &str, value: &str| format!("--{name}={value}");
    let mut argv = options.program.command.clone();
    argv.extend([
        flag("name", name),
        flag("data-dir", &data(dir, name).display().to_string()),
        flag("listen-client-urls", &client),
        flag("advertise-client-urls", &client),
        flag("listen-peer-urls", &peer),
        flag("initial-advertise-peer-urls", &peer),
        flag("initial-cluster", &cluster.join(",")),
        flag("initial-cluster-state", state),
        flag("initial-cluster-token", TOKEN),
    ]);
    argv.extend(options.flags.iter().cloned());
    argv
}

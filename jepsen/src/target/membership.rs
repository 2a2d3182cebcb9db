//! Members that come and go: through the Cluster service of those who stay, as a person would do it.

use super::client::{ANSWER, failure};
use super::{Client, Failure, Group, System};
use anyhow::{Context, Result, bail};
use std::time::{Duration, Instant};
use tricorn_proto::etcdserverpb as pb;
use tricorn_proto::etcdserverpb::cluster_client::ClusterClient;

/// How long the others may take to agree to a change, and a member to come up: elections may be in between.
const PATIENCE: Duration = Duration::from_secs(45);
const PAUSE: Duration = Duration::from_millis(200);

impl Client {
    /// The members, as the group has them.
    pub async fn member_list(&self) -> Result<Vec<pb::Member>, Failure> {
        let channel = self.channel().await?;
        let asked = self.within(ANSWER, ClusterClient::new(channel).member_list(pb::MemberListRequest { linearizable: true })).await;
        asked.map(|reply| reply.members).map_err(|status| failure(&status))
    }

    async fn member_add(&self, peer_url: String) -> Result<(), Failure> {
        let channel = self.channel().await?;
        let request = pb::MemberAddRequest { peer_ur_ls: vec![peer_url], is_learner: false };
        self.within(ANSWER * 2, ClusterClient::new(channel).member_add(request)).await.map(drop).map_err(|status| failure(&status))
    }

    async fn member_remove(&self, id: u64) -> Result<(), Failure> {
        let channel = self.channel().await?;
        let request = pb::MemberRemoveRequest { id };
        self.within(ANSWER * 2, ClusterClient::new(channel).member_remove(request)).await.map(drop).map_err(|status| failure(&status))
    }
}

/// What is to become of a member.
#[derive(Debug, Clone, Copy)]
enum Change {
    Add,
    Remove,
}

impl Change {
    /// Whether it has been done already; if not, asks for it.
    async fn step(self, client: &Client, peer_url: &str) -> Result<bool, Failure> {
        let members = client.member_list().await?;
        let there = members.iter().find(|member| member.peer_ur_ls.iter().any(|url| url == peer_url));
        match (self, there) {
            (Self::Add, Some(_)) | (Self::Remove, None) => Ok(true),
            (Self::Add, None) => client.member_add(peer_url.to_owned()).await.map(|()| false),
            (Self::Remove, Some(member)) => client.member_remove(member.id).await.map(|()| false),
        }
    }
}

impl Group {
    /// The host that is nobody's.
    pub fn spare(&self) -> Option<String> {
        let members = self.names();
        self.hosts().into_iter().find(|host| !members.contains(host))
    }

    /// Has the others remove a member. It may be dead, or still run and not know.
    pub async fn remove(&self, name: &str) -> Result<()> {
        self.members.write().retain(|member| member != name);
        self.insist(Change::Remove, name).await
    }

    /// Takes a host away, and its data with it.
    pub async fn forget(&self, name: &str) -> Result<()> {
        self.kill(&[name.to_owned()]).await?;
        let data = self.data(name);
        match std::fs::remove_dir_all(&data) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).with_context(|| format!("remove {}", data.display())),
            _ => Ok(()),
        }
    }

    /// Has the members add a host without data, starts it, and waits until it answers.
    pub async fn join(&self, name: &str) -> Result<()> {
        self.insist(Change::Add, name).await?;
        let argv = self.joining(name)?;
        self.hosts.file().update(|state| {
            state.hosts.iter_mut().filter(|host| host.name == name).for_each(|host| host.argv.clone_from(&argv));
            Ok(())
        })?;
        tricorn_testbed::start(self.file(), name).await.with_context(|| format!("start {name}"))?;
        self.members.write().push(name.to_owned());
        self.members.write().sort();
        let deadline = Instant::now() + PATIENCE;
        while let Err(failure) = self.answers(name).await {
            let exit = self.file().read()?.host(name)?.last_exit.clone();
            if exit.is_some() || Instant::now() > deadline {
                bail!("{name} has joined and does not answer ({failure}, {exit:?}): see {}", self.log(name).display());
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Asks members, one after the other, until one says that it is done. What there is is looked at before each try.
    async fn insist(&self, change: Change, name: &str) -> Result<()> {
        let (deadline, url) = (Instant::now() + PATIENCE, self.peer_url(name));
        let mut last = Failure::Not("nobody was asked".into());
        for asked in self.names().iter().cycle() {
            if Instant::now() > deadline {
                break;
            }
            match change.step(&self.client(asked), &url).await {
                Ok(true) => return Ok(()),
                // What was asked for is looked at again at once.
                Ok(false) => continue,
                Err(failure) => last = failure,
            }
            tokio::time::sleep(PAUSE).await;
        }
        bail!("the members did not agree to {change:?} {name} within {PATIENCE:?}: {last}")
    }
}

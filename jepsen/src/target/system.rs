//! What nemeses break and runs look after, whatever it serves.

use super::{ApiGroup, Builds, Failure, Group};
use crate::shim::Shim;
use anyhow::{Result, bail};
use async_trait::async_trait;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tricorn_testbed::{Cut, StateFile};

/// How long a member may take to end.
const GRACE: Duration = Duration::from_secs(10);

/// Between two questions whether a member answers.
const POLL: Duration = Duration::from_millis(50);

/// Members on hosts of their own.
#[async_trait]
pub trait System: Send + Sync {
    /// What reports call it.
    fn program(&self) -> &str;

    /// The names of those who are members now, in order.
    fn names(&self) -> Vec<String>;

    /// The names of all hosts: those of members, and those that wait to become one.
    fn hosts(&self) -> Vec<String> {
        self.names()
    }

    /// The hosts' state, for the functions of the testbed.
    fn file(&self) -> &StateFile;

    /// The log of a member.
    fn log(&self, name: &str) -> PathBuf {
        self.file().dir().join("logs").join(name).join("server.log")
    }

    /// The hand on a member's disk and clock, where there is one.
    fn shim(&self, _name: &str) -> Option<&Shim> {
        None
    }

    /// The builds between which members are upgraded, if there are two.
    fn builds(&self) -> Option<&Builds> {
        None
    }

    /// The member that leads, as most of those who answer say.
    async fn leader(&self) -> Option<String>;

    /// Asks a member for something that must not be stale.
    async fn answers(&self, name: &str) -> Result<(), Failure>;

    /// Waits until every member answers, or one has ended by itself.
    async fn ready(&self, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        for name in self.names() {
            while let Err(failure) = self.answers(&name).await {
                if let Some(exit) = self.file().read()?.host(&name)?.last_exit.clone() {
                    bail!("{name} has ended ({exit}): see {}", self.log(&name).display());
                }
                if Instant::now() > deadline {
                    bail!("{name} does not answer after {within:?} ({failure}): see {}", self.log(&name).display());
                }
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(())
    }

    /// It, if it is members that speak etcd's API.
    fn store(&self) -> Option<&Group> {
        None
    }

    /// It, if it is servers that speak the Kubernetes API.
    fn api(&self) -> Option<&ApiGroup> {
        None
    }

    /// Ends every member in good order; the hosts go when this is dropped.
    async fn down(&self) -> Result<()> {
        let hosts = self.hosts();
        let stops = hosts.iter().map(|name| tricorn_testbed::stop(self.file(), name, GRACE));
        futures::future::try_join_all(stops).await?;
        Ok(())
    }

    /// Takes members away as a power cut of the process would: nothing is told to anybody.
    async fn kill(&self, names: &[String]) -> Result<()> {
        for name in names {
            tricorn_testbed::kill(self.file(), name).await?;
        }
        Ok(())
    }

    /// Starts members that are off.
    async fn restart(&self, names: &[String]) -> Result<()> {
        for name in names {
            tricorn_testbed::start(self.file(), name).await?;
        }
        Ok(())
    }

    /// Makes `cuts` the only ones there are.
    async fn partition(&self, cuts: Vec<Cut>) -> Result<()> {
        Ok(tricorn_testbed::partition(self.file(), cuts).await?)
    }
}

//! Members that are ended and started one after the other, in good order: with the same binary, or with that of another build.

use super::{Fault, some};
use crate::target::System;
use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use rand::rngs::StdRng;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a member may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(10);
/// How long all may take to be well before the next one is ended.
const WELL: Duration = Duration::from_secs(45);

/// Ends a member in good order; how many seconds it took.
async fn ended(group: &dyn System, name: &str) -> Result<f64> {
    // Whoever upgrades waits until all are there before the next one goes.
    group.ready(WELL).await?;
    let asked = Instant::now();
    tricorn_testbed::stop(group.file(), name, GRACE).await?;
    if asked.elapsed() >= GRACE {
        bail!("{name} was asked to end and had not after {GRACE:?}: see {}", group.log(name).display());
    }
    Ok(asked.elapsed().as_secs_f64())
}

struct Restart;

#[async_trait]
impl Fault for Restart {
    fn name(&self) -> &'static str {
        "rolling-restart"
    }

    async fn begin(&self, group: &dyn System, rng: &mut StdRng) -> Result<Value> {
        let mut seconds = Map::new();
        for name in some(group, rng, group.names().len()) {
            seconds.insert(name.clone(), json!(ended(group, &name).await?));
            group.restart(std::slice::from_ref(&name)).await?;
        }
        Ok(json!({ "seconds-to-end": seconds }))
    }

    async fn end(&self, _group: &dyn System) -> Result<()> {
        Ok(())
    }
}

/// The name of the fault that needs another build.
pub const UPGRADE: &str = "rolling-upgrade";

/// All members change to the other build, and the next time back, if that still reads what is there.
struct Upgrade;

/// The binary that a host starts.
fn build(group: &dyn System, name: &str) -> Result<PathBuf> {
    let state = group.file().read()?;
    state.host(name)?.argv.first().map(PathBuf::from).with_context(|| format!("{name} has no command"))
}

/// Has a host start another binary from now on.
fn change_build(group: &dyn System, name: &str, build: &Path) -> Result<()> {
    group.file().update(|state| {
        let argv = state.hosts.iter_mut().filter(|host| host.name == name).filter_map(|host| host.argv.first_mut());
        argv.for_each(|program| *program = build.display().to_string());
        Ok(())
    })?;
    Ok(())
}

/// Starts a member and waits until it answers; false if it has ended instead, which is how a build refuses what another has written.
async fn takes_over(group: &dyn System, name: &str) -> Result<bool> {
    let has_ended = || Ok::<_, anyhow::Error>(group.file().read()?.host(name)?.last_exit.is_some());
    let begun = Instant::now();
    // One that ends at once is told as one that did not start.
    if let Err(error) = group.restart(&[name.to_owned()]).await {
        return if has_ended()? { Ok(false) } else { Err(error) };
    }
    while let Err(failure) = group.answers(name).await {
        if has_ended()? {
            return Ok(false);
        }
        if begun.elapsed() > WELL {
            bail!("{name} does not answer after {WELL:?} with another build ({failure}): see {}", group.log(name).display());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(true)
}

#[async_trait]
impl Fault for Upgrade {
    fn name(&self) -> &'static str {
        UPGRADE
    }

    fn unfit(&self, group: &dyn System) -> Option<String> {
        group.builds().is_none().then(|| "there is no other build: give one with --upgrade-to".into())
    }

    async fn begin(&self, group: &dyn System, rng: &mut StdRng) -> Result<Value> {
        let Some(builds) = group.builds() else { return Ok(Value::Null) };
        let names = some(group, rng, group.names().len());
        let running = names.iter().map(|name| build(group, name)).collect::<Result<Vec<_>>>()?;
        let to = builds.next(&running).to_owned();
        let mut seconds = Map::new();
        for (name, before) in names.iter().zip(&running) {
            seconds.insert(name.clone(), json!(ended(group, name).await?));
            change_build(group, name, &to)?;
            if takes_over(group, name).await? {
                continue;
            }
            if to != builds.first {
                bail!("{name} has ended with {}: see {}", to.display(), group.log(name).display());
            }
            // It has touched nothing: with the build that wrote its data it goes on, and so do all who have not been asked yet.
            builds.refuse_the_way_back();
            change_build(group, name, before)?;
            group.restart(std::slice::from_ref(name)).await?;
            return Ok(json!({ "to": to, "seconds-to-end": seconds, "refused-by": name }));
        }
        Ok(json!({ "to": to, "seconds-to-end": seconds }))
    }

    async fn end(&self, _group: &dyn System) -> Result<()> {
        Ok(())
    }
}

pub(super) fn all() -> Vec<Arc<dyn Fault>> {
    vec![Arc::new(Restart), Arc::new(Upgrade)]
}

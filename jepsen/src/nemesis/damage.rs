//! Files that are damaged while their member is off: bits that flip, ends that are gone. The member must notice, or not be harmed; one that
//! refuses to serve is replaced from its peers.
//!
//! An end of the log that is gone cannot be told from one that was never written, and Raft does not allow for it. So a member is damaged
//! only when all others hold all that it holds.

use super::processes::no_shim;
use super::{Fault, some};
use crate::check::damage::{CORRUPT, Damage, named};
use crate::kv::Request;
use crate::target::{Group, System};
use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long all members may take to be well before one of them is damaged.
const WELL: Duration = Duration::from_secs(45);
/// How long a damaged member may take to serve or to refuse.
const UNDECIDED: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(200);
/// Bits that are flipped at most.
const FLIPS: u32 = 8;

struct Corrupt;

/// The files of a data directory that hold data, by their kind, with their lengths.
fn files(dir: &Path) -> Result<BTreeMap<String, Vec<(PathBuf, u64)>>> {
    let mut kinds: BTreeMap<String, Vec<(PathBuf, u64)>> = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let Some(kind) = kind(dir, &path) else { continue };
            let length = held(&path).with_context(|| format!("read {}", path.display()))?;
            if length > 0 {
                kinds.entry(kind).or_default().push((path, length));
            }
        }
    }
    Ok(kinds)
}

/// Bytes of a file up to the last that is not zero: a log file is mostly room for what is to come.
fn held(path: &Path) -> std::io::Result<u64> {
    Ok(std::fs::read(path)?.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1))
}

/// What kind of data a file is; nothing for one that holds none.
fn kind(dir: &Path, path: &Path) -> Option<String> {
    let place = path.strip_prefix(dir).ok()?.parent()?.to_string_lossy();
    let engine = if place.starts_with("state") { "state" } else { &*place };
    let name = path.file_name()?.to_string_lossy();
    let what = match &*name {
        "LOCK" | "LOG" | "IDENTITY" | "lock" => return None,
        name if name.starts_with("OPTIONS-") || name.starts_with("LOG.") || name.ends_with(".lock") => return None,
        name if name.starts_with("MANIFEST-") => "manifest",
        name if name.ends_with(".sst") => "table",
        name if name.ends_with(".wal") => "log",
        name => name,
    };
    Some(format!("{engine}/{what}"))
}

/// Flips bits, or takes the end away.
fn damage(path: &Path, length: u64, rng: &mut StdRng) -> Result<String> {
    let what = || format!("damage {}", path.display());
    let file = File::options().read(true).write(true).open(path).with_context(what)?;
    if rng.random_bool(0.3) {
        let left = rng.random_range(0..length);
        file.set_len(left).with_context(what)?;
        return Ok(format!("cutting {length} bytes to {left}"));
    }
    let mut places = Vec::new();
    for _ in 0..rng.random_range(1..=FLIPS) {
        let (place, bit) = (rng.random_range(0..length), rng.random_range(0..8));
        let mut byte = [0];
        file.read_exact_at(&mut byte, place).with_context(what)?;
        file.write_all_at(&[byte[0] ^ (1 << bit)], place).with_context(what)?;
        places.push(place);
    }
    Ok(format!("flipping a bit at each of {places:?} of {length} bytes"))
}

/// Whether a member has ended by itself, or answers, after some time.
async fn decided(group: &dyn System, name: &str) -> Result<(bool, bool)> {
    let deadline = Instant::now() + UNDECIDED;
    loop {
        let ended = group.file().read()?.host(name)?.last_exit.is_some();
        let answers = !ended && group.answers(name).await.is_ok();
        if ended || answers || Instant::now() > deadline {
            return Ok((ended, answers));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether all others have everything that was acknowledged: one after the other shows a read that is not stale.
async fn others_have_all(group: &Group, name: &str) -> Result<()> {
    let deadline = Instant::now() + WELL;
    for other in group.names().iter().filter(|other| *other != name) {
        while let Err(failure) = group.answers(other).await {
            if Instant::now() > deadline {
                bail!("{other} does not answer while {name} is off: {failure}");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(())
}

#[async_trait]
impl Fault for Corrupt {
    fn name(&self) -> &'static str {
        CORRUPT
    }

    fn unfit(&self, group: &dyn System) -> Option<String> {
        // What is a table and what is a log is known of our own files only.
        no_shim(group)
    }

    async fn begin(&self, group: &dyn System, rng: &mut StdRng) -> Result<Value> {
        let Some(store) = group.store() else { return Ok(Value::Null) };
        group.ready(WELL).await?;
        let member = some(group, rng, 1).remove(0);
        // So that there are tables to damage; whether it is done makes no difference.
        let _tidied = store.client(&member).ask(&Request::Defragment).await;
        store.kill(std::slice::from_ref(&member)).await?;
        others_have_all(store, &member).await?;
        let data = store.data(&member);
        let kinds: Vec<_> = files(&data)?.into_values().collect();
        let of_kind = kinds.choose(rng).context("a file to damage")?;
        let (path, length) = of_kind.choose(rng).context("a file to damage")?;
        let done = damage(path, *length, rng)?;
        let logged = std::fs::metadata(group.log(&member)).map_or(0, |log| log.len());
        store.restart(std::slice::from_ref(&member)).await.or_else(|error| {
            // One that ends at once is not a failure to start it: what it says is looked at below.
            let ended = matches!(error.downcast_ref(), Some(tricorn_testbed::Error::HostEnded { .. }));
            if ended { Ok(()) } else { Err(error) }
        })?;
        let (ended, answers) = decided(group, &member).await?;
        let log = std::fs::read(group.log(&member)).unwrap_or_default();
        let since = log.get(usize::try_from(logged).unwrap_or(0)..).unwrap_or_default();
        let said = if ended { named(&String::from_utf8_lossy(since)) } else { String::new() };
        let file = path.strip_prefix(&data).unwrap_or(path).display().to_string();
        Ok(serde_json::to_value(Damage { member, file, damage: done, ended, answers, said })?)
    }

    async fn end(&self, group: &dyn System) -> Result<()> {
        let Some(store) = group.store() else { return Ok(()) };
        for name in group.names() {
            let (_, answers) = decided(group, &name).await?;
            if !answers {
                store.forget(&name).await?;
                store.remove(&name).await?;
                store.join(&name).await?;
            }
        }
        Ok(())
    }
}

pub(super) fn all() -> Vec<Arc<dyn Fault>> {
    vec![Arc::new(Corrupt)]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn only_data_is_damaged_and_always_is() {
        let dir = tempfile::tempdir().unwrap();
        let raft = dir.path().join("raft");
        std::fs::create_dir(&raft).unwrap();
        for name in ["0000000c.wal", "000007.sst", "MANIFEST-000001", "CURRENT", "LOG", "LOCK", "OPTIONS-000005", "empty.sst"] {
            std::fs::write(raft.join(name), if name == "empty.sst" { "" } else { "some content" }).unwrap();
        }
        std::fs::write(dir.path().join("store.json"), "{}").unwrap();
        let kinds: Vec<String> = files(dir.path()).unwrap().into_keys().collect();
        assert_eq!(kinds, ["/store.json", "raft/CURRENT", "raft/log", "raft/manifest", "raft/table"]);
        let path = raft.join("0000000c.wal");
        for seed in 0..50 {
            std::fs::write(&path, "some content").unwrap();
            damage(&path, 12, &mut StdRng::seed_from_u64(seed)).unwrap();
            // Two flips of the same bit would undo each other, and are rare.
            if seed < 5 {
                assert_ne!(std::fs::read(&path).unwrap(), b"some content");
            }
        }
    }
}

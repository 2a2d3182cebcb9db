//! Bringing rules into the kernel with iptables-restore: the difference only, and again in full when somebody else
//! took some away.

use std::collections::BTreeSet;

use crate::error::{Result, run};
use crate::jumps;
use crate::ruleset::{Ruleset, Table};

/// Keeps the kernel's rules at what it was last told.
#[derive(Debug, Default)]
pub struct Applier {
    /// What the kernel has, as far as is known.
    applied: Option<Ruleset>,
}

impl Applier {
    /// Makes the kernel's rules `wanted`; whether anything had to be changed. After a failure the next call starts over.
    pub async fn apply(&mut self, wanted: &Ruleset) -> Result<bool> {
        let Some(applied) = self.applied.take() else {
            self.apply_all(wanted).await?;
            self.applied = Some(wanted.clone());
            return Ok(true);
        };
        let text = wanted.difference(&applied);
        if !text.is_empty() {
            restore(&text).await?;
        }
        self.applied = Some(wanted.clone());
        Ok(!text.is_empty())
    }

    /// Looks whether the kernel still has chains and jumps; if not, the next [`Applier::apply`] writes everything.
    pub async fn verify(&mut self) -> Result<()> {
        let Some(applied) = &self.applied else { return Ok(()) };
        let mut intact = true;
        for (name, table) in [("nat", &applied.nat), ("filter", &applied.filter)] {
            let saved = save(name).await?;
            let there: BTreeSet<&str> = chains(&saved).into_iter().collect();
            intact &= table.names().all(|chain| there.contains(chain)) && jumps::missing(name, &saved).is_empty();
        }
        if !intact {
            tracing::warn!("rules of the proxy were taken away: they are written again");
            self.applied = None;
        }
        Ok(())
    }

    /// Everything anew: chains of an earlier run that are no longer wanted go.
    async fn apply_all(&self, wanted: &Ruleset) -> Result<()> {
        let mut old = Ruleset::default();
        let mut jumps = String::new();
        for (name, table) in [("filter", &mut old.filter), ("nat", &mut old.nat)] {
            let saved = save(name).await?;
            forget(table, &chains(&saved));
            jumps.push_str(&jumps::missing(name, &saved));
        }
        restore(&(wanted.difference(&old) + &jumps)).await
    }
}

/// Puts the known chains into `table` with a content that no wanted chain has, so that each is written or deleted.
fn forget(table: &mut Table, chains: &[&str]) {
    for chain in chains.iter().filter(|c| ours(c)) {
        table.rule(chain, "unknown");
    }
}

/// Whether the proxy made a chain of this name. KUBE-KUBELET-CANARY and the like belong to others.
fn ours(chain: &str) -> bool {
    const FIXED: [&str; 9] = [
        "KUBE-SERVICES",
        "KUBE-EXTERNAL-SERVICES",
        "KUBE-NODEPORTS",
        "KUBE-POSTROUTING",
        "KUBE-FORWARD",
        "KUBE-FIREWALL",
        "KUBE-PROXY-FIREWALL",
        "TRICORN-POSTROUTING",
        "TRICORN-FORWARD",
    ];
    const PREFIXES: [&str; 6] = ["KUBE-SVC-", "KUBE-SVL-", "KUBE-SEP-", "KUBE-EXT-", "KUBE-FW-", "KUBE-MARK-MASQ"];
    FIXED.contains(&chain) || PREFIXES.iter().any(|prefix| chain.starts_with(prefix))
}

fn chains(saved: &str) -> Vec<&str> {
    saved.lines().filter_map(|line| line.strip_prefix(':')?.split(' ').next()).collect()
}

async fn save(table: &str) -> Result<String> {
    run("read the kernel's rules", "iptables-save", &["-t", table], None).await
}

async fn restore(text: &str) -> Result<()> {
    run("write the kernel's rules", "iptables-restore", &["--noflush", "-w", "5"], Some(text)).await.map(drop)
}

/// Takes every rule, chain and route of the proxy away.
pub async fn cleanup() -> Result<()> {
    crate::node::cleanup_routes().await?;
    for table in ["filter", "nat"] {
        let saved = save(table).await?;
        let mut old = Table::default();
        forget(&mut old, &chains(&saved));
        let names: Vec<&str> = old.names().collect();
        let mut text = format!("*{table}\n");
        for name in &names {
            text.push_str(&format!(":{name} - [0:0]\n"));
        }
        for line in jumps::removal(table, &saved) {
            text.push_str(&line);
            text.push('\n');
        }
        for name in names {
            text.push_str(&format!("-X {name}\n"));
        }
        text.push_str("COMMIT\n");
        restore(&text).await?;
    }
    Ok(())
}

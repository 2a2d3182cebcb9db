//! Rules as data, the difference between two sets of them, and their text for iptables-restore.

use std::collections::BTreeMap;
use std::fmt::Write;

/// The rules of one chain, in order, each without its `-A CHAIN`.
pub type Chain = Vec<String>;

/// The chains of one table. Only chains of our own: the built-in ones hold jumps, which are kept elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    chains: BTreeMap<String, Chain>,
}

impl Table {
    /// Makes sure that a chain is there, empty if it is new.
    pub fn chain(&mut self, name: &str) -> &mut Chain {
        self.chains.entry(name.to_owned()).or_default()
    }

    /// Appends a rule to a chain.
    pub fn rule(&mut self, chain: &str, rule: impl Into<String>) {
        self.chain(chain).push(rule.into());
    }

    /// The rules of a chain, if it is there.
    pub fn get(&self, name: &str) -> Option<&Chain> {
        self.chains.get(name)
    }

    /// The names of its chains.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.chains.keys().map(String::as_str)
    }

    /// What turns `old` into this, for `iptables-restore --noflush`: chains that changed whole, chains that are gone
    /// last. Empty when nothing changed.
    fn difference(&self, name: &str, old: &Table) -> String {
        let changed: Vec<_> = self.chains.iter().filter(|(name, rules)| old.chains.get(*name) != Some(rules)).collect();
        let gone: Vec<_> = old.chains.keys().filter(|name| !self.chains.contains_key(*name)).collect();
        if changed.is_empty() && gone.is_empty() {
            return String::new();
        }
        let mut text = format!("*{name}\n");
        // Declaring a chain empties it, so that it can then be filled or deleted.
        for chain in changed.iter().map(|(name, _)| *name).chain(gone.iter().copied()) {
            let _ = writeln!(text, ":{chain} - [0:0]");
        }
        for (chain, rules) in &changed {
            for rule in *rules {
                let _ = writeln!(text, "-A {chain} {rule}");
            }
        }
        for chain in gone {
            let _ = writeln!(text, "-X {chain}");
        }
        text.push_str("COMMIT\n");
        text
    }
}

/// All rules of the proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// Where destinations and sources are rewritten.
    pub nat: Table,
    /// Where packets are refused.
    pub filter: Table,
}

impl Ruleset {
    /// The text that turns `old` into this, one transaction a table; empty when nothing changed.
    pub fn difference(&self, old: &Ruleset) -> String {
        // Refusing comes first: a Service that lost its last endpoint must not lead nowhere in between.
        self.filter.difference("filter", &old.filter) + &self.nat.difference("nat", &old.nat)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn set(chains: &[(&str, &[&str])]) -> Ruleset {
        let mut set = Ruleset::default();
        for (chain, rules) in chains {
            set.nat.chain(chain).extend(rules.iter().map(|r| (*r).to_owned()));
        }
        set
    }

    #[test]
    fn only_what_changed_is_written() {
        let old = set(&[("A", &["-j B"]), ("B", &["-j ACCEPT"]), ("C", &[])]);
        assert_eq!(old.difference(&old), "");
        let new = set(&[("A", &["-j D"]), ("C", &[]), ("D", &["-j DROP"])]);
        let text = new.difference(&old);
        assert_eq!(text, "*nat\n:A - [0:0]\n:D - [0:0]\n:B - [0:0]\n-A A -j D\n-A D -j DROP\n-X B\nCOMMIT\n");
    }
}

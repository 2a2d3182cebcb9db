//! The house check: the workspace graph against the layers of `ARCHITECTURE.md`.

use std::process::Command;

use anyhow::{Context, bail};
use serde::Deserialize;

/// The rooms by height. A crate may depend on crates of a lower layer, and on crates of its own layer only as
/// `SAME_LAYER` allows.
const LAYERS: &[(&str, &[&str])] = &[
    ("words", &["meta", "proto", "pki", "base2histogram"]),
    ("minds", &["mvcc", "schema", "patch", "authz"]),
    ("organs", &["store", "registry", "admission", "controllers", "scheduler", "kubelet", "proxy", "dns", "client"]),
    ("doors", &["etcd-api", "apiserver"]),
    ("beside", &["testbed", "sim", "bench", "xtask"]),
    ("house", &["tricorn"]),
    ("tests", &["e2e", "jepsen", "fuzz"]),
];

/// Arrows inside one layer that the architecture draws.
const SAME_LAYER: &[(&str, &str)] = &[
    ("patch", "schema"),
    ("registry", "store"),
    ("controllers", "client"),
    ("scheduler", "client"),
    ("kubelet", "client"),
    ("proxy", "client"),
    ("dns", "client"),
];

/// Rooms that may never be reached from the nodes' and controllers' side: they know the API through `client` only.
const API_CLIENTS: &[&str] = &["controllers", "scheduler", "kubelet", "proxy", "dns", "client"];

/// Libraries that may be named only in the rooms beside them.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("openraft", &["store"]),
    ("rocksdb", &["store"]),
    ("axum", &["apiserver", "etcd-api", "tricorn"]),
    ("containerd-client", &["kubelet"]),
];

/// A feature that only one room may turn on: it plants bugs in the store, for the simulation to find.
const PLANTED: (&str, &str, &str) = ("tricorn-store", "mutations", "sim");

/// Libraries that make a crate impure: words and minds know no runtime, socket or randomness.
const IMPURE: &[&str] = &["tokio", "hyper", "tokio-stream", "futures", "reqwest", "rand", "nix", "libc", "tempfile"];

/// Impure libraries that a pure room may name all the same, with the reason beside it.
const IMPURE_ALLOWED: &[(&str, &str)] = &[
    // Keys and secrets have to come from somewhere; the clock still comes in as an argument.
    ("pki", "rand"),
];

/// The part of `cargo metadata` that the check reads.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
    #[serde(default)]
    features: Vec<String>,
}

/// Reads the workspace graph with `cargo metadata` and reports every broken law at once.
pub fn check() -> anyhow::Result<()> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .output()
        .context("run cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("read cargo metadata")?;
    let mut broken = Vec::new();
    for package in &metadata.packages {
        check_package(package, &mut broken);
    }
    if broken.is_empty() {
        eprintln!("house: {} crates, every arrow points down", metadata.packages.len());
        return Ok(());
    }
    bail!("the house does not stand:\n  {}", broken.join("\n  "))
}

/// Adds to `broken` what one crate does that the laws forbid.
fn check_package(package: &Package, broken: &mut Vec<String>) {
    let room = room_of(&package.name);
    let Some(height) = layer_of(room) else {
        broken.push(format!("{room} is in no layer: add it to crates/xtask/src/house.rs and to ARCHITECTURE.md"));
        return;
    };
    for dependency in &package.dependencies {
        let (library, feature, only) = PLANTED;
        if dependency.name == library && room != only && dependency.features.iter().any(|turned_on| turned_on == feature) {
            broken.push(format!("{room} turns on {feature} of {library}, which is for {only} only"));
        }
        if dependency.name == "tricorn-sim" {
            broken.push(format!("{room} depends on sim, which turns on {feature} of {library}"));
        }
    }
    for dependency in package.dependencies.iter().filter(|d| d.kind.is_none()) {
        let name = dependency.name.as_str();
        if let Some((_, rooms)) = LIBRARIES.iter().find(|(library, _)| *library == name)
            && !rooms.contains(&room)
        {
            broken.push(format!("{room} names {name}, which belongs to {} only", rooms.join(" and ")));
        }
        if height <= 1 && IMPURE.contains(&name) && !IMPURE_ALLOWED.contains(&(room, name)) {
            broken.push(format!("{room} is pure and may not name {name}"));
        }
        let Some(below) = name.strip_prefix("tricorn-") else { continue };
        check_arrow(room, height, below, broken);
    }
}

/// Adds to `broken` when the arrow from `room` to `below` does not point down.
fn check_arrow(room: &str, height: usize, below: &str, broken: &mut Vec<String>) {
    match layer_of(below) {
        Some(lower) if lower < height => {}
        Some(same) if same == height && SAME_LAYER.contains(&(room, below)) => {}
        _ => broken.push(format!("{room} may not depend on {below}: arrows go down only")),
    }
    if API_CLIENTS.contains(&room) && ["registry", "store", "mvcc", "admission"].contains(&below) {
        broken.push(format!("{room} knows the API through client only, not through {below}"));
    }
}

/// The folder name of a workspace package.
fn room_of(package: &str) -> &str {
    package.strip_prefix("tricorn-").unwrap_or(package)
}

/// The height of a room, from the ground.
fn layer_of(room: &str) -> Option<usize> {
    LAYERS.iter().position(|(_, rooms)| rooms.contains(&room))
}

#[cfg(test)]
mod tests {
    use super::{Dependency, Package, check_package};

    fn broken(name: &str, dependencies: &[&str]) -> Vec<String> {
        let package = Package {
            name: format!("tricorn-{name}"),
            dependencies: dependencies.iter().map(|d| Dependency { name: (*d).into(), kind: None, features: Vec::new() }).collect(),
        };
        let mut broken = Vec::new();
        check_package(&package, &mut broken);
        broken
    }

    #[test]
    fn arrows_down_are_fine_and_arrows_up_are_named() {
        assert!(broken("store", &["tricorn-mvcc", "openraft", "tokio"]).is_empty());
        assert!(broken("patch", &["tricorn-schema"]).is_empty());
        assert_eq!(broken("mvcc", &["tricorn-store"]), ["mvcc may not depend on store: arrows go down only"]);
        assert_eq!(broken("schema", &["tricorn-patch"]).len(), 1);
    }

    #[test]
    fn libraries_stay_in_their_rooms() {
        assert_eq!(broken("registry", &["rocksdb"]), ["registry names rocksdb, which belongs to store only"]);
        assert_eq!(broken("mvcc", &["tokio"]), ["mvcc is pure and may not name tokio"]);
        assert_eq!(broken("controllers", &["tricorn-store"]).len(), 2);
    }
}

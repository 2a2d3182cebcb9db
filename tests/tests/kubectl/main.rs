//! Every verb of kubectl against a cluster, with each version of it that the machine has: the oldest, the usual and the newest.
//!
//! A version works in a namespace of its own, theme by theme; what it makes is gone before the next one begins.
//! `TRICORN_KUBECTL` picks themes whose names hold it: `1.33`, `pods`, or `1.33 pods`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod access;
mod changing;
mod client;
mod create;
mod deleting;
mod kinds;
mod local;
mod nodes;
mod pods;
mod reading;
mod streams;
mod workloads;

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::{FutureExt, LocalBoxFuture};
use tricorn_e2e::Lab;

use client::{Kubectl, installed};

const SOON: Duration = Duration::from_secs(60);
/// This many themes of a version go on at a time: most of them wait for pods most of the time.
const AT_ONCE: usize = 4;

/// What is done with one version of kubectl.
type Theme = fn(&Kubectl) -> LocalBoxFuture<'_, ()>;

/// What can go on beside each other, the longest first. A theme leaves alone what another has made.
const THEMES: &[(&str, Theme)] = &[
    ("workloads", |k| workloads::all(k).boxed_local()),
    ("pods", |k| pods::all(k).boxed_local()),
    ("streams", |k| streams::all(k).boxed_local()),
    ("deleting", |k| deleting::all(k).boxed_local()),
    ("changing", |k| changing::all(k).boxed_local()),
    ("kinds", |k| kinds::all(k).boxed_local()),
    ("create", |k| create::all(k).boxed_local()),
    ("reading", |k| reading::all(k).boxed_local()),
    ("access", |k| access::all(k).boxed_local()),
    ("local", |k| local::all(k).boxed_local()),
];
/// What moves pods away from a node, and so goes alone.
const ALONE: &str = "nodes";

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_does_all_it_can() {
    // One server: what several add is the matter of other tests. Two workers, since one of them is drained.
    let Some(lab) = Lab::start(|config| (config.servers, config.workers) = (1, 2)).await else { return };
    let watch = lab.watch_over();
    let chosen = std::env::var("TRICORN_KUBECTL").unwrap_or_default();
    let clients = installed().await;
    let found: Vec<String> = clients.keys().map(|minor| format!("1.{minor}")).collect();
    eprintln!("versions of kubectl on this machine: {}", found.join(", "));
    let mut failures = Vec::new();
    for (minor, program) in clients {
        let wanted = |theme: &str| format!("1.{minor} {theme}").contains(&chosen);
        if !THEMES.iter().map(|(name, _)| *name).chain([ALONE]).any(wanted) {
            continue;
        }
        let begun = Instant::now();
        let kubectl = Kubectl::new(&lab, minor, program).await;
        let themes = THEMES.iter().filter(|(name, _)| wanted(name)).map(|(name, theme)| played(&kubectl, name, theme(&kubectl)));
        let mut took: Vec<String> = futures::stream::iter(themes).buffer_unordered(AT_ONCE).collect().await;
        if wanted(ALONE) {
            took.push(played(&kubectl, ALONE, nodes::all(&kubectl).boxed_local()).await);
        }
        took.push(played(&kubectl, "leave", kubectl.leave().boxed_local()).await);
        eprintln!("kubectl 1.{minor}: {} commands in {:.1?} ({})", kubectl.count(), begun.elapsed(), took.join(", "));
        failures.extend(kubectl.failures());
    }
    assert!(failures.is_empty(), "{} things are wrong:\n{}", failures.len(), failures.join("\n"));
    drop(watch);
    lab.down().await;
}

/// How long a theme took. One that cannot go on leaves the others alone.
async fn played(kubectl: &Kubectl, name: &str, theme: LocalBoxFuture<'_, ()>) -> String {
    let begun = Instant::now();
    if AssertUnwindSafe(theme).catch_unwind().await.is_err() {
        kubectl.fail(format!("the theme {name} did not come to its end: see the panic above"));
    }
    format!("{name} {:.1?}", begun.elapsed())
}

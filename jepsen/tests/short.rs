//! Every workload for some seconds, with faults that suit it: that a group keeps its word, and that the harness works.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::Mutex;
use tricorn_jepsen::nemesis;
use tricorn_jepsen::run::{Plan, run};
use tricorn_jepsen::target::{GroupOptions, Program};
use tricorn_jepsen::workload;
use tricorn_testbed::is_root;

/// One group at a time: a run judges how soon a group recovers, and should not wait for another's disk.
static TURN: Mutex<()> = Mutex::const_new(());

/// The binary that is to be tested.
fn binary() -> PathBuf {
    let named = std::env::var_os("TRICORN_BINARY").map(PathBuf::from);
    let beside = || std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("tricorn");
    let path = named.unwrap_or_else(beside);
    assert!(path.is_file(), "{} is not there: cargo build --release -p tricorn", path.display());
    path.canonicalize().unwrap()
}

/// Another build, if there is one; else a copy of the same, in `dir`, which the run's summary says.
fn other_build(dir: &Path) -> PathBuf {
    if let Some(named) = std::env::var_os("TRICORN_UPGRADE_TO") {
        return PathBuf::from(named);
    }
    let copy = dir.join("tricorn");
    std::fs::copy(binary(), &copy).unwrap();
    copy
}

/// The same faults in every run, unless others are asked for: `make jepsen` is there to look for what nobody has seen.
fn seed() -> u64 {
    let asked = std::env::var("TRICORN_SEED").ok();
    asked.map_or(1, |seed| seed.parse().unwrap_or_else(|_| rand::random()))
}

async fn keeps_its_word(name: &str, faults: &[&str], seconds: u64) {
    if !is_root() {
        eprintln!("skipped: hosts in network namespaces need root");
        return;
    }
    let _turn = TURN.lock().await;
    let workload = workload::all().into_iter().find(|workload| workload.name() == name).expect("a workload of that name");
    let chosen: Vec<_> = nemesis::all().into_iter().filter(|fault| faults.contains(&fault.name())).collect();
    assert_eq!(chosen.len(), faults.len(), "some of {faults:?} are not there");
    let dir = tempfile::Builder::new().prefix("jepsen-").tempdir_in("/tmp").unwrap();
    let upgrade_to = faults.contains(&nemesis::UPGRADE).then(|| other_build(dir.path()));
    let subnet = Ipv4Addr::new(172, 31, 0, 0);
    let group = GroupOptions { program: Program::tricorn(&binary()), members: 3, subnet, flags: Vec::new(), upgrade_to };
    let time = Duration::from_secs(seconds);
    let plan = Plan { group, workload, faults: chosen, time, processes: 5, seed: seed() };
    let outcome = match run(plan, &dir.path().join(name)).await {
        Ok(outcome) => outcome,
        Err(error) => {
            let kept = dir.keep();
            panic!("{name} did not come to its end: {error:#}; see {}", kept.display());
        }
    };
    println!("{}", outcome.summary);
    if !outcome.passed() {
        outcome.verdicts.iter().for_each(|verdict| println!("{verdict}"));
        let kept = dir.keep();
        panic!("{name} with {faults:?} is not consistent: see {}/{name}/index.html", kept.display());
    }
}

macro_rules! runs {
    ($($test:ident: $workload:literal, $faults:expr, $seconds:literal;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                keeps_its_word($workload, &$faults, $seconds).await;
            }
        )*
    };
}

runs! {
    kv_while_leaders_fall: "kv", ["kill-leader", "partition-leader", "pause-leader"], 12;
    kv_while_disks_fail: "kv", ["full-disk", "broken-sync"], 10;
    registers_while_links_are_cut: "register", ["partition-halves", "partition-ring", "partition-one-way"], 10;
    appends_while_all_go_at_once: "append", ["kill-all", "lossy-links"], 10;
    a_set_while_most_sleep: "set", ["pause-majority", "pause-all", "slow-disk"], 8;
    a_set_while_files_are_damaged: "set", ["corrupt"], 12;
    a_set_while_links_are_slow: "set", ["slow-links"], 8;
    everything_while_members_are_upgraded_in_turn: "kv", ["rolling-upgrade"], 8;
    ids_while_members_are_tidied_up: "ids", ["move-leader", "housekeeping"], 8;
    locks_while_clocks_are_wrong: "lock", ["clock-skew", "pause-leader"], 10;
    elections_while_leaders_fall: "election", ["kill-leader", "pause-leader"], 10;
    leases_while_leaders_fall: "lease", ["kill-leader", "clock-skew"], 10;
    streams_while_leaders_fall: "range-stream", ["kill-leader", "partition-leader"], 8;
    permissions_while_all_are_restarted_in_turn: "auth", ["kill-one", "rolling-restart"], 8;
    a_full_database_while_members_fall: "quota", ["kill-one", "partition-halves"], 10;
    objects_while_servers_fall: "objects", ["kill-leader", "partition-leader", "kill-one"], 12;
    server_side_apply_while_servers_sleep: "apply", ["pause-leader", "kill-majority"], 10;
    finalizers_while_servers_fall: "finalizers", ["kill-leader", "pause-leader"], 8;
    lease_holders_while_servers_fall: "leader-election", ["kill-leader", "partition-leader"], 10;
    controllers_while_leaders_fall: "controllers", ["kill-leader", "pause-leader", "partition-leader"], 10;
}

//! A hand on the hosts of a cluster, from any process that may write its data directory.
//!
//! What takes away is done on the spot; what brings back is asked of the supervisor, which holds the hosts.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::process::Command;

use crate::error::{Error, Result};
use crate::host;
use crate::network::{Cut, Network};
use crate::slow::Delay;
use crate::state::{ClusterState, Desired, HostRecord, Mode, StateFile};

const START_DEADLINE: Duration = Duration::from_secs(30);

/// The state of the cluster of `file`.
pub fn load(file: &StateFile) -> Result<ClusterState> {
    file.read()
}

/// Takes a host away as a power cut would: every process on it is gone when this returns.
pub async fn kill(file: &StateFile, name: &str) -> Result<()> {
    let record = switch_off(file, name)?;
    host::power_off(&record).await
}

fn switch_off(file: &StateFile, name: &str) -> Result<HostRecord> {
    file.update(|state| {
        let host = state.host_mut(name)?;
        host.desired = Desired::Off;
        host.paused = false;
        host.last_exit = None;
        Ok(host.clone())
    })
}

/// Stops a host in an orderly way: SIGTERM to its main process, `grace` to end, then the rest is taken away.
pub async fn stop(file: &StateFile, name: &str, grace: Duration) -> Result<()> {
    let record = switch_off(file, name)?;
    if let Some(main) = record.main {
        host::resume(&record);
        main.signal(Signal::SIGTERM);
        if let Err(error) = main.gone(&format!("stop {name}"), grace).await {
            tracing::warn!(host = name, %error, "it is taken away instead");
        }
    }
    host::power_off(&record).await
}

fn need_supervisor(file: &StateFile, name: &str) -> Result<()> {
    if file.supervisor().is_some() {
        return Ok(());
    }
    Err(Error::WrongState {
        host: name.to_owned(),
        state: "without a supervisor".to_owned(),
        next: format!("start the cluster first: tricorn up --data-dir {}", file.dir().display()),
    })
}

/// Powers a host on; returns once its main process runs.
pub async fn start(file: &StateFile, name: &str) -> Result<()> {
    need_supervisor(file, name)?;
    let wanted = file.update(|state| {
        let host = state.host_mut(name)?;
        if host.desired == Desired::On && host.main.is_some_and(|p| p.alive()) {
            return Ok(host.wanted_boot);
        }
        host.desired = Desired::On;
        host.last_exit = None;
        host.wanted_boot += 1;
        Ok(host.wanted_boot)
    })?;
    let begin = Instant::now();
    loop {
        let state = file.read()?;
        let host = state.host(name)?;
        if host.boot >= wanted {
            return match &host.last_exit {
                Some(status) => Err(host::ended(name, status, &crate::launch::log_file(file.dir(), host))),
                None => Ok(()),
            };
        }
        if begin.elapsed() > START_DEADLINE {
            let hint_text = "the supervisor did not start it: see logs/up.log".to_owned();
            return Err(Error::Timeout { what: format!("start {name}"), after: START_DEADLINE, hint_text });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Stops a host in an orderly way and powers it on again.
pub async fn restart(file: &StateFile, name: &str, grace: Duration) -> Result<()> {
    stop(file, name, grace).await?;
    start(file, name).await
}

/// Stops every process of a host in its tracks; the kernel still answers for it.
pub fn pause(file: &StateFile, name: &str) -> Result<()> {
    let record = file.update(|state| {
        let host = state.host_mut(name)?;
        if !host.main.is_some_and(|p| p.alive()) {
            return Err(wrong(host, "only a running host can be paused"));
        }
        host.paused = true;
        Ok(host.clone())
    })?;
    host::signal_all(&record, Signal::SIGSTOP);
    Ok(())
}

/// Lets a paused host go on.
pub fn resume(file: &StateFile, name: &str) -> Result<()> {
    let record = file.update(|state| {
        let host = state.host_mut(name)?;
        host.paused = false;
        Ok(host.clone())
    })?;
    host::resume(&record);
    Ok(())
}

fn wrong(host: &HostRecord, next: &str) -> Error {
    Error::WrongState { host: host.name.clone(), state: host.state().to_owned(), next: next.to_owned() }
}

fn network(state: &ClusterState) -> Result<Network> {
    match state.mode {
        Mode::Namespaces => Ok(Network::new(&state.id, state.subnet)),
        Mode::Loopback => Err(Error::Unsupported("servers on loopback have no links to cut or delay: run `tricorn up` as root".to_owned())),
    }
}

/// Cuts the link between `name` and `peer`, or between `name` and everyone: packets vanish, as in a dead switch.
pub async fn cut(file: &StateFile, name: &str, peer: Option<&str>) -> Result<()> {
    let state = file.update(|state| {
        network(state)?;
        state.host(name)?;
        if let Some(peer) = peer {
            state.host(peer)?;
        }
        let cut = Cut { host: name.to_owned(), peer: peer.map(str::to_owned), one_way: false };
        if !state.cuts.contains(&cut) {
            state.cuts.push(cut);
        }
        Ok(state.clone())
    })?;
    network(&state)?.apply_cuts(&state.cuts).await
}

/// Makes `cuts` the only ones there are, at once.
pub async fn partition(file: &StateFile, cuts: Vec<Cut>) -> Result<()> {
    let state = file.update(|state| {
        network(state)?;
        for cut in &cuts {
            state.host(&cut.host)?;
            cut.peer.as_deref().map_or(Ok(()), |peer| state.host(peer).map(drop))?;
        }
        state.cuts = cuts;
        Ok(state.clone())
    })?;
    network(&state)?.apply_cuts(&state.cuts).await
}

/// Loses `percent` of the packets on their way to a host, at random; 0 ends it.
pub async fn lose(file: &StateFile, name: &str, percent: u8) -> Result<()> {
    let state = file.read()?;
    state.host(name)?;
    network(&state)?.lose(name, percent).await
}

/// Ends cuts and delays: of one host (towards `peer` only, if given), or, with no name, of all.
pub async fn heal(file: &StateFile, name: Option<&str>, peer: Option<&str>) -> Result<()> {
    let mut delayed = Vec::new();
    let state = file.update(|state| {
        network(state)?;
        if let Some(name) = name {
            state.host(name)?;
        }
        state.cuts.retain(|c| name.is_some_and(|name| !c.healed_by(name, peer)));
        for host in state.hosts.iter_mut().filter(|h| peer.is_none() && name.is_none_or(|n| n == h.name)) {
            if !std::mem::take(&mut host.delay).is_none() {
                delayed.push(host.name.clone());
            }
        }
        Ok(state.clone())
    })?;
    let network = network(&state)?;
    network.apply_cuts(&state.cuts).await?;
    for host in delayed {
        network.hold(&host, false).await?;
    }
    Ok(())
}

/// Makes each packet on its way to a host late; returns once it is so. No delay ends it.
pub async fn delay(file: &StateFile, name: &str, delay: Delay) -> Result<()> {
    let state = file.read()?;
    let network = network(&state)?;
    state.host(name)?;
    if !delay.is_none() {
        need_supervisor(file, name)?;
        network.hold(name, true).await?;
    }
    file.update(|state| {
        state.host_mut(name)?.delay = delay;
        Ok(())
    })?;
    if delay.is_none() {
        // Nobody has to be waited for: without this rule nothing is late, whoever holds the queue.
        return network.hold(name, false).await;
    }
    let begin = Instant::now();
    loop {
        let state = file.read()?;
        let host = state.host(name)?;
        if host.delay_in_force == delay {
            return Ok(());
        }
        if host.delay != delay || begin.elapsed() > START_DEADLINE {
            let hint_text = "the supervisor could not, or somebody else changed it: see logs/up.log".to_owned();
            return Err(Error::Timeout { what: format!("delay packets to {name}"), after: begin.elapsed(), hint_text });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A command that runs `argv` on a host, with this process' standard streams unless they are redirected.
pub fn exec_command(file: &StateFile, name: &str, argv: &[String]) -> Result<Command> {
    let state = file.read()?;
    let record = state.host(name)?;
    match (record.init.filter(|p| p.alive()), argv.split_first()) {
        (_, None) => Err(Error::Unsupported("no command was given: tricorn host exec NAME -- COMMAND".to_owned())),
        (Some(init), _) => Ok(host::enter(init, argv)),
        (None, Some((program, args))) if record.netns.is_empty() => {
            let mut command = Command::new(program);
            command.args(args);
            Ok(command)
        }
        (None, _) => Err(wrong(record, &format!("start it first: tricorn host start {name}"))),
    }
}

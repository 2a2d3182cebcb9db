//! Whoever holds the hosts: makes them what the state file says they should be, and notes what became of them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::host::{self, Host};
use crate::launch;
use crate::network::Network;
use crate::slow::{Delay, SlowLink};
use crate::state::{Desired, HostRecord, StateFile};

const LOOK_EVERY: Duration = Duration::from_millis(50);
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// A main process that ran so long has its back-off forgotten.
const STEADY: Duration = Duration::from_secs(60);

/// A host being held, and when its main process may be started again.
struct Held {
    host: Host,
    started: Instant,
    backoff: Duration,
    retry_at: Option<Instant>,
}

pub(crate) struct Supervisor {
    file: StateFile,
    /// Whether a main process that ends on its own is started again.
    restart: bool,
    held: HashMap<String, Held>,
    slow: HashMap<String, SlowLink>,
}

impl Supervisor {
    pub(crate) fn new(file: StateFile, restart: bool) -> Self {
        Self { file, restart, held: HashMap::new(), slow: HashMap::new() }
    }

    /// Looks after the hosts until `stop`, then takes them all away.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => {}
            }
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "look after the hosts");
            }
        }
        for (name, held) in self.held.drain() {
            if let Err(error) = held.host.power_off().await {
                tracing::warn!(host = %name, %error, "power off");
            }
        }
    }

    async fn look(&mut self) -> Result<()> {
        for record in self.file.read()?.hosts {
            let name = record.name.clone();
            self.look_at_link(&record)?;
            if let Err(error) = self.look_at(&record).await {
                tracing::warn!(host = %name, %error, "power on");
                let failed = error.to_string();
                self.note(&name, |host| {
                    host.boot = record.wanted_boot;
                    host.last_exit = Some(failed);
                })?;
            }
        }
        Ok(())
    }

    async fn look_at(&mut self, record: &HostRecord) -> Result<()> {
        if record.desired == Desired::Off {
            if let Some(held) = self.held.remove(&record.name) {
                held.host.power_off().await?;
            }
            return Ok(());
        }
        if record.wanted_boot > record.boot {
            return self.boot(record).await;
        }
        let Some(held) = self.held.get_mut(&record.name) else { return Ok(()) };
        if held.host.init_ended() {
            if let Some(held) = self.held.remove(&record.name) {
                held.host.power_off().await?;
            }
            return self.note(&record.name, |host| host.last_exit = Some("the host was taken away".to_owned()));
        }
        if let Some(status) = held.host.main_ended() {
            if held.started.elapsed() > STEADY {
                held.backoff = FIRST_BACKOFF;
            }
            held.retry_at = self.restart.then(|| Instant::now() + held.backoff);
            held.backoff = (held.backoff * 2).min(MAX_BACKOFF);
            tracing::warn!(host = %record.name, %status, again = self.restart, "main process ended");
            host::log_end(&launch::log_file(self.file.dir(), record), &status);
            return self.note(&record.name, |host| host.last_exit = Some(status));
        }
        if held.retry_at.is_some_and(|at| at <= Instant::now()) {
            held.retry_at = None;
            return self.start_main(record).await;
        }
        Ok(())
    }

    /// Makes packets to a host as late as they should be. One that cannot be is not tried again before somebody asks again.
    fn look_at_link(&mut self, record: &HostRecord) -> Result<()> {
        let name = &record.name;
        self.slow.retain(|_, link| link.works());
        if record.delay == record.delay_in_force && record.delay.is_none() != self.slow.contains_key(name) {
            return Ok(());
        }
        let mut in_force = record.delay;
        match self.slow.get(name) {
            _ if record.delay.is_none() => drop(self.slow.remove(name)),
            Some(link) => link.set(record.delay),
            None => match SlowLink::start(Network::netns_path(&record.netns), record.delay) {
                Ok(link) => drop(self.slow.insert(name.clone(), link)),
                Err(error) => {
                    tracing::warn!(host = %name, %error, "slow a link down");
                    in_force = Delay::default();
                }
            },
        }
        self.note(name, |host| {
            // What has been asked for meanwhile is looked at next time.
            if host.delay == record.delay {
                host.delay = in_force;
            }
            host.delay_in_force = in_force;
        })
    }

    async fn boot(&mut self, record: &HostRecord) -> Result<()> {
        if let Some(held) = self.held.remove(&record.name) {
            held.host.power_off().await?;
        }
        let private = self.file.dir().join(&record.name).join("host");
        let host = Host::power_on(record, &private).await?;
        let held = Held { host, started: Instant::now(), backoff: FIRST_BACKOFF, retry_at: None };
        self.held.insert(record.name.clone(), held);
        self.start_main(record).await
    }

    async fn start_main(&mut self, record: &HostRecord) -> Result<()> {
        let Some(held) = self.held.get_mut(&record.name) else { return Ok(()) };
        let log = launch::log_file(self.file.dir(), record);
        let init = held.host.init();
        held.started = Instant::now();
        let main = held.host.start_main(&record.argv, &record.env, &log).await?;
        self.note(&record.name, |host| {
            host.boot = record.wanted_boot;
            host.init = init;
            host.main = Some(main);
            host.last_exit = None;
            host.paused = false;
        })
    }

    fn note(&self, name: &str, change: impl FnOnce(&mut HostRecord)) -> Result<()> {
        self.file.update(|state| {
            change(state.host_mut(name)?);
            Ok(())
        })
    }
}

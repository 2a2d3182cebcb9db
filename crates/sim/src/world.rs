//! The members: started, crashed, stopped and started again, each on its host, its disk and its place in the network.

use crate::dice::Dice;
use crate::disk::SimDisk;
use crate::event::Event;
use crate::network::{Door, Net, SimTransport};
use crate::plan::Plan;
use crate::tower::Tower;
use parking_lot::Mutex;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tricorn_store::{Bootstrap, Host, InitialMember, PeerListen, Storage, Store, StoreConfig};

/// How long a client waits for a member that says nothing.
const PATIENCE: Duration = Duration::from_secs(9);
/// How long a member that stops properly is given before its power is cut.
const STOPPING: Duration = Duration::from_secs(12);

/// How a member's life goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It is not running; it may be started.
    Off,
    /// It is being started, or runs.
    On,
    /// It has left the group, or its disk is damaged: it never comes back.
    Gone,
}

struct Seat {
    disk: SimDisk,
    host: Option<Host>,
    store: Option<Store>,
    life: Life,
    /// It came to a group that was there already.
    joined: bool,
    id: Option<u64>,
}

/// All members.
pub struct World {
    /// What the seed stands for.
    pub plan: Plan,
    /// What sees everything.
    pub tower: Arc<Tower>,
    /// The network.
    pub net: Arc<Net>,
    seats: Mutex<Vec<Seat>>,
    dice: Mutex<Dice>,
    disk_ms: Mutex<u32>,
    /// A member is being replaced: nothing else may be lost for good meanwhile.
    repairing: AtomicBool,
}

/// Where a member is reached.
#[must_use]
pub fn url(member: usize) -> String {
    format!("http://s{member}:2380")
}

impl World {
    /// All members are off.
    #[must_use]
    pub fn new(plan: Plan, tower: Arc<Tower>) -> Arc<Self> {
        let net = Arc::new(Net::new(plan.seed, plan.weather));
        let dice = Mutex::new(Dice::new(plan.seed, "world"));
        let disk_ms = Mutex::new(plan.disk_ms);
        let world = Self { seats: Mutex::default(), net, dice, disk_ms, repairing: AtomicBool::new(false), tower, plan };
        for _ in 0..world.plan.members {
            world.seat(false);
        }
        Arc::new(world)
    }

    /// A new seat, off.
    pub fn seat(&self, joined: bool) -> usize {
        let mut seats = self.seats.lock();
        let disk = SimDisk::new(seats.len(), self.tower.clone());
        seats.push(Seat { disk, host: None, store: None, life: Life::Off, joined, id: None });
        seats.len() - 1
    }

    /// Members that are or were.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seats.lock().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Begins to replace a member; false when another is being replaced.
    pub fn begin_repair(&self) -> bool {
        !self.repairing.swap(true, Ordering::Relaxed)
    }

    /// The new member votes.
    pub fn end_repair(&self) {
        self.repairing.store(false, Ordering::Relaxed);
    }

    /// Whether a member is being replaced.
    #[must_use]
    pub fn is_repairing(&self) -> bool {
        self.repairing.load(Ordering::Relaxed)
    }

    /// How a member's life goes.
    #[must_use]
    pub fn life(&self, member: usize) -> Life {
        self.seats.lock().get(member).map_or(Life::Gone, |seat| seat.life)
    }

    /// Members of which this is true.
    #[must_use]
    pub fn living(&self, life: Life) -> Vec<usize> {
        (0..self.len()).filter(|member| self.life(*member) == life).collect()
    }

    /// Members that run and can be asked.
    #[must_use]
    pub fn ready(&self) -> Vec<usize> {
        let seats = self.seats.lock();
        seats.iter().enumerate().filter(|(_, seat)| seat.store.is_some()).map(|(member, _)| member).collect()
    }

    /// A member, when it runs.
    #[must_use]
    pub fn store(&self, member: usize) -> Option<Store> {
        self.seats.lock().get(member)?.store.clone()
    }

    /// Its host, when it is on.
    #[must_use]
    pub fn host(&self, member: usize) -> Option<Host> {
        self.seats.lock().get(member)?.host.clone()
    }

    /// Its disk.
    #[must_use]
    pub fn disk(&self, member: usize) -> Option<SimDisk> {
        Some(self.seats.lock().get(member)?.disk.clone())
    }

    /// Its id, once it is known.
    #[must_use]
    pub fn id(&self, member: usize) -> Option<u64> {
        self.seats.lock().get(member)?.id
    }

    /// Notes its id.
    pub fn set_id(&self, member: usize, id: u64) {
        if let Some(seat) = self.seats.lock().get_mut(member) {
            seat.id = Some(id);
        }
    }

    /// The member that says that it leads.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        let leads = |member: &usize| self.store(*member).is_some_and(|store| store.leadership().borrow().is_leader);
        self.ready().into_iter().find(leads)
    }

    /// Never to be started again.
    pub fn retire(&self, member: usize) {
        self.crash(member);
        if let Some(seat) = self.seats.lock().get_mut(member) {
            seat.life = Life::Gone;
        }
    }

    /// Makes all disks so slow.
    pub fn set_disk_ms(&self, most: u32) {
        *self.disk_ms.lock() = most;
        for seat in self.seats.lock().iter() {
            if let Some(host) = &seat.host {
                host.set_disk_ms(most);
            }
        }
    }

    fn config(&self, member: usize) -> StoreConfig {
        let mut config = StoreConfig::new(format!("s{member}"), "");
        let seats = self.seats.lock();
        if let Some(seat) = seats.get(member) {
            config.storage = Storage::Disk(Arc::new(seat.disk.clone()));
            config.bootstrap = if seat.joined {
                Bootstrap::Join { peers: (0..seats.len()).map(url).collect() }
            } else {
                let founder = |member| InitialMember { name: format!("s{member}"), peer_urls: vec![url(member)] };
                Bootstrap::Group { members: (0..self.plan.members).map(founder).collect(), token: "sim".into() }
            };
        }
        config.peer_urls = vec![url(member)];
        config.client_urls = vec![format!("http://s{member}:2379")];
        config.peer_listen = PeerListen::Nowhere;
        config.timing = self.plan.timing;
        config
    }

    /// Starts a member that is off; answers once it can be asked, with what is wrong when it does not come up.
    pub async fn start(self: &Arc<Self>, member: usize) -> Result<(), String> {
        if self.life(member) != Life::Off {
            return Ok(());
        }
        let host = Host::new(self.dice.lock().roll());
        host.set_dither(self.plan.dither);
        host.set_disk_ms(*self.disk_ms.lock());
        if let Some(seat) = self.seats.lock().get_mut(member) {
            seat.host = Some(host.clone());
            seat.life = Life::On;
        }
        let log = self.disk(member).map(|disk| disk.log()).unwrap_or_default();
        self.tower.see(&Event::Started { member, log });
        let config = self.config(member);
        let transport = Arc::new(SimTransport { net: self.net.clone(), me: url(member) });
        let watched = (self.clone(), host.clone());
        tokio::spawn(async move {
            let (world, host) = watched;
            host.died().await;
            world.bury(member, &host);
        });
        let started = host.spawn(async move { Store::start_on(config, transport).await }).await;
        if host.is_dead() {
            return Err("crashed while it started".into());
        }
        match started {
            Ok(Ok(store)) => {
                let door = Door { handler: store.handler(), host };
                if let Some(seat) = self.seats.lock().get_mut(member) {
                    seat.id = Some(store.member_id());
                    seat.store = Some(store);
                }
                self.net.open(&url(member), door);
                Ok(())
            }
            Ok(Err(error)) => {
                self.crash(member);
                Err(error.to_string())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Cuts a member's power now.
    pub fn crash(&self, member: usize) {
        if let Some(host) = self.host(member) {
            self.bury(member, &host);
        }
    }

    /// Takes away what has lost its power, and lets the disk lose what it had not synced.
    fn bury(&self, member: usize, host: &Host) {
        host.crash();
        let mut seats = self.seats.lock();
        let Some(seat) = seats.get_mut(member) else { return };
        // Another life has begun on this seat, or this one was ended already.
        if seat.host.take_if(|now| now.is(host)).is_none() {
            return;
        }
        let mut dice = self.dice.lock();
        // All is lost, or as much as the disk happened not to have written yet.
        let torn = dice.often(500);
        let mut left = String::new();
        seat.disk = seat.disk.crash(|name, unsynced| {
            let kept = if torn { dice.place(unsynced + 1) } else { 0 };
            left.push_str(&format!(" {name} {kept} of {unsynced}"));
            kept
        });
        let store = seat.store.take();
        if seat.life == Life::On {
            seat.life = Life::Off;
        }
        drop(dice);
        drop(seats);
        self.net.close(&url(member));
        self.tower.trace.note(&format!("s{member} has no power; unsynced and kept:{left}"));
        drop(store);
    }

    /// Stops a member properly. What is not synced then is lost all the same.
    pub async fn stop(self: &Arc<Self>, member: usize) {
        let (Some(store), Some(host)) = (self.store(member), self.host(member)) else { return };
        let stopping = host.spawn(async move { store.shutdown().await });
        if tokio::time::timeout(STOPPING, stopping).await.is_err() {
            self.tower.trace.note(&format!("s{member} does not stop"));
        }
        self.bury(member, &host);
    }

    /// Asks a member something, on its own host; none when it is off or does not answer.
    pub async fn ask<T, F>(&self, member: usize, ask: impl FnOnce(Store) -> F) -> Option<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let (store, host) = (self.store(member)?, self.host(member)?);
        let asked = host.spawn(ask(store));
        tokio::time::timeout(PATIENCE, asked).await.ok()?.ok()
    }
}

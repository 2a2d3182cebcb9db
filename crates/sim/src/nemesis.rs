//! Trouble, from the seed.

use crate::dice::Dice;
use crate::network::Weather;
use crate::plan::Fault;
use crate::world::{Life, World, url};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Members that a group has at most.
const MOST: usize = 7;

/// Makes trouble until the time is up.
pub struct Nemesis {
    world: Arc<World>,
    dice: Dice,
}

impl Nemesis {
    /// None made yet.
    #[must_use]
    pub fn new(world: Arc<World>) -> Self {
        let dice = Dice::new(world.plan.seed, "nemesis");
        Self { world, dice }
    }

    /// Makes trouble until the time is up.
    pub async fn run(mut self, until: Instant) {
        let faults = self.world.plan.faults.clone();
        while Instant::now() < until {
            let pause = self.dice.ms(50, self.world.plan.pause_ms);
            sleep(pause).await;
            // One thing more often than others: what is cut, slow or off is put right.
            if self.dice.often(300) {
                self.mend();
                continue;
            }
            if let Some(fault) = self.dice.pick(&faults) {
                self.make(fault).await;
            }
        }
    }

    fn note(&self, what: &str) {
        self.world.tower.trace.note(&format!("nemesis: {what}"));
    }

    fn mend(&mut self) {
        self.note("mends");
        self.world.net.heal();
        self.world.net.set_weather(self.world.plan.weather);
        self.world.set_disk_ms(self.world.plan.disk_ms);
    }

    /// Any member that runs, the leader more often.
    fn somebody(&mut self) -> Option<usize> {
        let leader = self.world.leader().filter(|_| self.dice.often(500));
        leader.or_else(|| self.dice.pick(&self.world.living(Life::On)))
    }

    async fn make(&mut self, fault: Fault) {
        match fault {
            Fault::Crash => {
                if let Some(member) = self.somebody() {
                    self.crash(member);
                }
            }
            Fault::PowerCut => {
                self.note("cuts the power of all");
                for member in self.world.living(Life::On) {
                    self.world.crash(member);
                    self.revive(member);
                }
            }
            Fault::Restart => {
                if let Some(member) = self.somebody() {
                    self.note(&format!("stops s{member}"));
                    self.world.stop(member).await;
                    self.revive(member);
                }
            }
            Fault::Partition => self.partition(),
            Fault::Reset => {
                let all = self.world.living(Life::On);
                if let (Some(one), Some(other)) = (self.dice.pick(&all), self.dice.pick(&all)) {
                    self.note(&format!("breaks connections of s{one} and s{other}"));
                    self.world.net.reset(&url(one), &url(other));
                }
            }
            Fault::Freeze => self.freeze(),
            Fault::Clock => {
                let by = i64::try_from(self.dice.between(0, 7_200_000)).unwrap_or(0) - 3_600_000;
                if let Some(host) = self.somebody().and_then(|member| self.world.host(member)) {
                    host.jump_clock(by);
                }
            }
            Fault::SlowDisk => {
                self.note("slows disks down");
                self.world.set_disk_ms(200);
            }
            Fault::SlowNetwork => {
                self.note("slows the network down");
                let slow = Weather { trip_ms: (5, 180), ..self.world.plan.weather };
                self.world.net.set_weather(slow);
            }
            Fault::SyncError => self.fail_sync(),
            Fault::Transfer => self.transfer(),
            Fault::Membership => self.change_members().await,
            Fault::Damage => self.damage(),
        }
    }

    fn crash(&mut self, member: usize) {
        if self.dice.often(500) {
            self.note(&format!("cuts the power of s{member}"));
            self.world.crash(member);
        } else if let Some(host) = self.world.host(member) {
            let most = [10, 200, 3000][self.dice.place(3)];
            let steps = self.dice.between(1, most);
            self.note(&format!("will cut the power of s{member} after {steps} steps"));
            host.crash_in(steps);
        }
        self.revive(member);
    }

    /// Starts a member again after a while, if it is off by then.
    fn revive(&mut self, member: usize) {
        let after = if self.dice.often(300) { self.dice.ms(0, 50) } else { self.dice.ms(50, 6000) };
        let world = self.world.clone();
        tokio::spawn(async move {
            sleep(after).await;
            bring_up(&world, member).await;
        });
    }

    fn partition(&mut self) {
        let all = self.world.living(Life::On);
        let side: Vec<usize> = match self.world.leader().filter(|_| self.dice.often(400)) {
            Some(leader) => vec![leader],
            None => all.iter().copied().filter(|_| self.dice.often(400)).collect(),
        };
        let (out, back) = [(true, true), (true, true), (true, false), (false, true)][self.dice.place(4)];
        self.note(&format!("cuts {side:?} off, out {out}, back {back}"));
        for inside in &side {
            for outside in all.iter().filter(|member| !side.contains(member)) {
                if out {
                    self.world.net.cut(&url(*inside), &url(*outside));
                }
                if back {
                    self.world.net.cut(&url(*outside), &url(*inside));
                }
            }
        }
    }

    fn freeze(&mut self) {
        let Some(member) = self.somebody() else { return };
        let Some(host) = self.world.host(member) else { return };
        let long = if self.dice.often(500) { self.dice.ms(100, 1500) } else { self.dice.ms(1000, 6000) };
        self.note(&format!("freezes s{member} for {} ms", long.as_millis()));
        host.freeze();
        let trace = self.world.tower.trace.clone();
        tokio::spawn(async move {
            sleep(long).await;
            trace.note(&format!("s{member} goes on"));
            host.thaw();
        });
    }

    fn fail_sync(&mut self) {
        let Some(member) = self.somebody() else { return };
        let Some(disk) = self.world.disk(member) else { return };
        let after = self.dice.below(30);
        self.note(&format!("fails a sync of s{member} after {after}"));
        disk.fail_sync_in(Some(after), self.dice.often(500));
        // Whoever looks after members restarts one that says it is broken.
        let (world, wait) = (self.world.clone(), self.dice.ms(500, 6000));
        tokio::spawn(async move {
            sleep(wait).await;
            world.crash(member);
            bring_up(&world, member).await;
        });
    }

    fn transfer(&mut self) {
        let Some(target) = self.dice.pick(&self.world.ready()) else { return };
        let (Some(id), Some(asked)) = (self.world.id(target), self.dice.pick(&self.world.ready())) else { return };
        self.note(&format!("has s{asked} hand leadership to s{target}"));
        let world = self.world.clone();
        tokio::spawn(async move {
            let moved = world.ask(asked, |store| async move { store.move_leader(id).await }).await;
            world.tower.trace.note(&format!("handed over to s{target}: {:?}", moved.map(|moved| moved.map_err(|error| error.to_string()))));
        });
    }

    async fn change_members(&mut self) {
        // To lose a disk and to take away another member at the same time is more than a group can stand.
        if self.world.is_repairing() {
            return;
        }
        let (on, off) = (self.world.living(Life::On), self.world.living(Life::Off));
        let Some(asked) = self.dice.pick(&self.world.ready()) else { return };
        let all = on.len() + off.len();
        if all < MOST && (all <= 3 || self.dice.often(500)) {
            add_member(&self.world, asked).await;
        } else if let Some(member) = self.dice.pick(&on).filter(|_| all > 3) {
            remove_member(&self.world, asked, member).await;
        }
    }

    /// Loses a member's disk, so that it has to be replaced. One at a time, or there would be nothing left.
    fn damage(&mut self) {
        // Of fewer than three voters, or of an old configuration that still decides with a new one, none may be lost for good.
        let enough = self.world.tower.ledger.lock().memberships.last().is_some_and(|(_, now)| match now.voters.as_slice() {
            [voters] => voters.ids.len() >= 3,
            _ => false,
        });
        let all_there = enough && self.world.living(Life::Off).is_empty() && self.world.ready().len() >= 3;
        let Some(member) = self.somebody().filter(|_| all_there && self.world.begin_repair()) else { return };
        self.note(&format!("damages the disk of s{member}"));
        self.world.crash(member);
        let world = self.world.clone();
        let wait = self.dice.ms(100, 3000);
        tokio::spawn(async move {
            if let Some(disk) = world.disk(member) {
                disk.damage();
            }
            let refused = world.start(member).await;
            world.tower.check(refused.is_err(), "damage is refused", || format!("s{member} came up on a damaged disk"));
            world.retire(member);
            sleep(wait).await;
            replace(&world, member).await;
        });
    }
}

/// Starts a member, again and again while there is something in its way.
pub async fn bring_up(world: &Arc<World>, member: usize) {
    for _ in 0..20 {
        if world.life(member) != Life::Off {
            return;
        }
        match world.start(member).await {
            Ok(()) => return,
            Err(error) => world.tower.trace.note(&format!("s{member} does not start: {error}")),
        }
        sleep(Duration::from_millis(400)).await;
    }
}

/// Adds a member and starts it; which one, when that has worked.
async fn add_member(world: &Arc<World>, asked: usize) -> Option<usize> {
    let member = world.seat(true);
    world.tower.trace.note(&format!("nemesis: s{asked} is to add s{member}"));
    let added =
        world.ask(asked, move |store| async move { store.member_add(format!("s{member}"), vec![url(member)], Vec::new(), false).await });
    match added.await {
        Some(Ok(id)) => {
            world.set_id(member, id);
            let world = world.clone();
            tokio::spawn(async move { bring_up(&world, member).await });
            return Some(member);
        }
        // It may have been added all the same; then it is a member that never comes.
        Some(Err(error)) => {
            world.tower.trace.note(&format!("s{member} is not added: {error}"));
            world.retire(member);
        }
        None => world.retire(member),
    }
    None
}

/// Removes a member, and lets it go once that has worked.
async fn remove_member(world: &Arc<World>, asked: usize, member: usize) -> bool {
    let Some(id) = world.id(member) else { return false };
    world.tower.trace.note(&format!("nemesis: s{asked} is to remove s{member}"));
    let removed = world.ask(asked, |store| async move { store.member_remove(id).await }).await;
    world
        .tower
        .trace
        .note(&format!("s{member} removed: {:?}", removed.as_ref().map(|removed| removed.as_ref().map_err(ToString::to_string))));
    if matches!(removed, Some(Ok(()) | Err(tricorn_store::Error::MemberNotFound))) {
        world.retire(member);
        return true;
    }
    false
}

/// Takes a member whose disk is lost out of the group, and puts a new one in its place.
async fn replace(world: &Arc<World>, lost: usize) {
    let votes = |id: Option<u64>| {
        let ledger = world.tower.ledger.lock();
        let voters = ledger.memberships.last().into_iter().flat_map(|(_, now)| &now.voters).flat_map(|set| &set.ids);
        id.is_some_and(|id| voters.into_iter().any(|voter| *voter == id))
    };
    // As long as two configurations decide together, the old one must not lose anybody else.
    let settled = || world.tower.ledger.lock().memberships.last().is_some_and(|(_, now)| now.voters.len() == 1);
    let mut fresh = None;
    for round in 0..60 {
        sleep(Duration::from_millis(700)).await;
        let ready = world.ready();
        let Some(asked) = ready.get(round % ready.len().max(1)).copied() else { continue };
        if votes(world.id(lost)) {
            remove_member(world, asked, lost).await;
        } else if fresh.is_none() {
            fresh = add_member(world, asked).await;
        } else if fresh.is_some_and(|fresh| votes(world.id(fresh))) && settled() {
            world.end_repair();
            return;
        }
    }
}

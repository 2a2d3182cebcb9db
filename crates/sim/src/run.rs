//! One seed, from the first start to the last check.

use crate::clients::{self, Client};
use crate::entropy;
use crate::nemesis::{Nemesis, bring_up};
use crate::plan::Plan;
use crate::tower::{Broken, Tower};
use crate::trace::Trace;
use crate::watching::Watch;
use crate::world::{Life, World};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tricorn_proto::etcdserverpb::PutRequest;
use tricorn_store::Store;

/// How long a group that is whole again may take until every member takes writes.
const RECOVERY: Duration = Duration::from_secs(30);
/// How long the longest lease may live beyond its time: a leader that takes over begins it anew.
const LEASES: Duration = Duration::from_secs(25);
/// Lines of the trace that are shown.
const TAIL: usize = 60;

/// What came of a seed.
#[derive(Debug, Clone)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What it stands for.
    pub plan: String,
    /// What is broken.
    pub broken: Option<Broken>,
    /// The hash of everything that happened, and how much that was.
    pub hash: (u64, u64),
    /// Seconds of simulated time.
    pub seconds: u64,
    /// Log entries that were committed.
    pub committed: u64,
    /// The end of the trace.
    pub tail: Vec<String>,
}

/// Plays a seed, on a thread of its own and in a process of its own: see [`entropy`].
pub fn run(plan: &Plan, loud: bool) -> Result<Report, String> {
    std::thread::scope(|scope| {
        let play = move || {
            entropy::fix(plan.seed);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            runtime.map_err(|error| error.to_string())?.block_on(play(plan.clone(), loud))
        };
        // Members' panics are told by the hook; this one would be the simulation's own.
        scope.spawn(play).join().map_err(|_| "the simulation itself has panicked".to_owned())?
    })
}

async fn play(plan: Plan, loud: bool) -> Result<Report, String> {
    let trace = Arc::new(Trace::new(loud));
    let tower = Arc::new(Tower::new(trace.clone())?);
    watch_panics(&tower);
    trace.note(&format!("seed {}: {plan}", plan.seed));
    let world = World::new(plan.clone(), tower.clone());
    tokio::select! {
        biased;
        () = tower.failed() => {}
        () = story(&world) => tower.close(),
    }
    let broken = tower.broken();
    let committed = tower.ledger.lock().length();
    Ok(Report {
        seed: plan.seed,
        plan: plan.to_string(),
        hash: trace.hash(),
        seconds: trace.now_ms() / 1000,
        committed,
        tail: if broken.is_some() { trace.tail(TAIL) } else { Vec::new() },
        broken,
    })
}

/// A panic anywhere is a bug: nothing of a member may panic.
fn watch_panics(tower: &Arc<Tower>) {
    let tower = tower.clone();
    std::panic::set_hook(Box::new(move |panic| {
        tower.fail(Broken { invariant: "nothing panics".into(), how: panic.to_string() });
    }));
}

async fn story(world: &Arc<World>) {
    let watches: Vec<Watch> = (0..3).map(|number| Watch::new(world, number)).collect();
    let seen: Vec<Arc<AtomicI64>> = watches.iter().map(|watch| watch.seen.clone()).collect();
    for member in world.living(Life::Off) {
        let world = world.clone();
        tokio::spawn(async move { bring_up(&world, member).await });
    }
    let until = Instant::now() + world.plan.trouble;
    for watch in watches {
        tokio::spawn(watch.run(world.clone()));
    }
    let mut work = tokio::task::JoinSet::new();
    for client in 0..world.plan.clients {
        work.spawn(Client::new(world.clone(), format!("c{client}")).run(until));
    }
    work.spawn(clients::hold_leases(world.clone(), "h".into(), until));
    work.spawn(clients::hold_leases(world.clone(), "i".into(), until));
    work.spawn(Nemesis::new(world.clone()).run(until));
    while work.join_next().await.is_some() {}
    recover(world, &seen).await;
}

/// Mends everything, and sees whether the group works again as if nothing had been.
async fn recover(world: &Arc<World>, seen: &[Arc<AtomicI64>]) {
    let tower = &world.tower;
    tower.trace.note("everything is mended");
    world.net.heal();
    world.net.set_weather(crate::network::Weather { trip_ms: (0, 3), lost: 0, doubled: 0 });
    world.set_disk_ms(1);
    for member in world.living(Life::On) {
        if let Some(host) = world.host(member) {
            host.crash_in(0);
        }
        if let Some(disk) = world.disk(member) {
            disk.fail_sync_in(None, false);
        }
    }
    let deadline = Instant::now() + RECOVERY;
    // Trouble under way ends by itself first: frozen members go on, others come back.
    sleep(Duration::from_secs(7)).await;
    loop {
        for member in world.living(Life::Off) {
            bring_up(world, member).await;
        }
        let trouble = works(world).await;
        let Some(trouble) = trouble else { break };
        if Instant::now() >= deadline {
            tower.check(false, "the group recovers", || trouble);
            return;
        }
        sleep(Duration::from_millis(300)).await;
    }
    sleep(LEASES).await;
    match tower.ledger.lock().leases() {
        Ok(left) => tower.check(left.is_empty(), "leases end", || format!("nobody keeps leases {left:x?} alive, and they live")),
        Err(error) => tower.check(false, "the ledger can be read", || error),
    }
    agree(world).await;
    let newest = tower.ledger.lock().revision();
    for (watch, seen) in seen.iter().enumerate() {
        let until = Instant::now() + RECOVERY;
        while seen.load(Ordering::Relaxed) < newest && Instant::now() < until {
            sleep(Duration::from_millis(200)).await;
        }
        let seen = seen.load(Ordering::Relaxed);
        tower.check(seen >= newest, "watches arrive", || format!("watch {watch} is at {seen}, and the group at {newest}"));
    }
}

/// Has every member write and read; what is wrong, if something is.
async fn works(world: &Arc<World>) -> Option<String> {
    let running = world.living(Life::On);
    if running.len() < 2 {
        return Some(format!("only {running:?} run"));
    }
    for member in running {
        // It may have left while nobody heard the answer.
        let id = world.id(member)?;
        let in_group = world.tower.ledger.lock().memberships.last().is_none_or(|(_, now)| now.members.iter().any(|member| member.id == id));
        if !in_group {
            world.retire(member);
            continue;
        }
        let value = format!("m{member} at {}", world.tower.trace.now_ms());
        let put = PutRequest { key: "m".into(), value: value.into(), ..PutRequest::default() };
        match world.ask(member, |store: Store| async move { store.put(put, None).await }).await {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Some(format!("s{member} does not write: {error}")),
            None => return Some(format!("s{member} does not answer")),
        }
    }
    None
}

/// All members have the same, and that is what the ledger has.
async fn agree(world: &Arc<World>) {
    let tower = &world.tower;
    let right = match tower.ledger.lock().hash() {
        Ok(right) => right,
        Err(error) => return tower.check(false, "the ledger can be read", || error),
    };
    for member in world.ready() {
        let asked = world.ask(member, |store: Store| async move {
            store.read_index().await?;
            store.hash_kv(0).await
        });
        match asked.await {
            Some(Ok(found)) => {
                tower.trace.note(&format!("s{member} has {:08x} at {}", found.hash, found.revision));
                tower.check(found.hash == right, "members agree", || format!("s{member} has {:08x}, the ledger {right:08x}", found.hash));
            }
            other => tower.check(false, "members agree", || format!("s{member} has no checksum: {other:?}")),
        }
    }
}

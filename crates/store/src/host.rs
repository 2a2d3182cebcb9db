//! Where a member runs: its tasks, its slow work, its dice and its wall clock.
//!
//! Usually that is tokio's runtime, threads, and what the operating system offers. A simulation runs many members in one
//! thread, each on a [`Host`]: then tasks belong to the host and die with it, slow work is done in place, and dice and clock
//! are the host's own. Which of the two it is depends on who spawned the task that asks, so that there is one code path.

use openraft::impls::TokioRuntime;
use openraft::{AsyncRuntime, OptionalSend};
use parking_lot::Mutex;
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinError, JoinHandle};
use tokio::time::Instant;

/// Finished tasks that may be remembered before they are looked for.
const LITTER: usize = 64;
/// What a simulated wall clock shows at the beginning: some day in 2025.
const EPOCH_MS: i64 = 1_750_000_000_000;
/// The golden ratio's fraction, the step of the generator.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

thread_local! {
    static CURRENT: RefCell<Option<Host>> = const { RefCell::new(None) };
}

/// A simulated machine. Clones are the same machine; one that has crashed stays dead, and a restart is a new one.
#[derive(Clone)]
pub struct Host {
    inner: Arc<Inner>,
}

struct Inner {
    dice: AtomicU64,
    dead: AtomicBool,
    frozen: AtomicBool,
    /// Steps of its tasks until it loses its power; 0 for never.
    fuse: AtomicU64,
    died: Notify,
    tasks: Mutex<Tasks>,
    /// Tasks that would run if the host were not frozen.
    sleepers: Mutex<Vec<Waker>>,
    began: Instant,
    clock_ms: AtomicI64,
    dither: AtomicU32,
    disk_ms: AtomicU32,
}

#[derive(Default)]
struct Tasks {
    handles: Vec<AbortHandle>,
    /// Length at which finished ones are thrown out.
    full: usize,
}

impl Host {
    /// A machine that is on, with dice of its own.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let inner = Inner {
            dice: AtomicU64::new(seed),
            dead: AtomicBool::new(false),
            frozen: AtomicBool::new(false),
            fuse: AtomicU64::new(0),
            died: Notify::new(),
            tasks: Mutex::new(Tasks { handles: Vec::new(), full: LITTER }),
            sleepers: Mutex::default(),
            began: Instant::now(),
            clock_ms: AtomicI64::new(0),
            dither: AtomicU32::new(0),
            disk_ms: AtomicU32::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The machine that the calling task runs on, when it is a simulated one.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Runs a task on this machine. It ends, unfinished, when the machine crashes.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let task = tokio::spawn(OnHost { host: self.clone(), future: Some(Box::pin(future)) });
        if self.is_dead() {
            task.abort();
        }
        let mut tasks = self.inner.tasks.lock();
        if tasks.handles.len() >= tasks.full {
            tasks.handles.retain(|handle| !handle.is_finished());
            tasks.full = tasks.handles.len() * 2 + LITTER;
        }
        tasks.handles.push(task.abort_handle());
        task
    }

    /// Whether it is the same machine.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// The next number of its dice.
    #[must_use]
    pub fn roll(&self) -> u64 {
        let seed = self.inner.dice.fetch_add(GAMMA, Ordering::Relaxed).wrapping_add(GAMMA);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Cuts the power: none of its tasks takes another step.
    pub fn crash(&self) {
        self.die();
        for task in std::mem::take(&mut self.inner.tasks.lock().handles) {
            task.abort();
        }
    }

    /// Cuts the power after so many steps of its tasks, wherever they are then; 0 takes that back.
    pub fn crash_in(&self, steps: u64) {
        self.inner.fuse.store(steps, Ordering::Relaxed);
    }

    /// Whether it has crashed.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.inner.dead.load(Ordering::Relaxed)
    }

    /// Returns once it has crashed.
    pub async fn died(&self) {
        while !self.is_dead() {
            self.inner.died.notified().await;
        }
    }

    /// Stops all of its tasks where they are, as a paused virtual machine does.
    pub fn freeze(&self) {
        self.inner.frozen.store(true, Ordering::Relaxed);
    }

    /// Lets a frozen machine go on.
    pub fn thaw(&self) {
        self.inner.frozen.store(false, Ordering::Relaxed);
        for sleeper in std::mem::take(&mut *self.inner.sleepers.lock()) {
            sleeper.wake();
        }
    }

    /// Moves its wall clock.
    pub fn jump_clock(&self, by_ms: i64) {
        self.inner.clock_ms.fetch_add(by_ms, Ordering::Relaxed);
    }

    /// Of a thousand steps of its tasks, how many have to wait for other tasks first.
    pub fn set_dither(&self, of_thousand: u32) {
        self.inner.dither.store(of_thousand, Ordering::Relaxed);
    }

    /// How many milliseconds its disk takes at most for one thing.
    pub fn set_disk_ms(&self, most: u32) {
        self.inner.disk_ms.store(most, Ordering::Relaxed);
    }

    fn die(&self) {
        self.inner.dead.store(true, Ordering::Relaxed);
        self.inner.died.notify_waiters();
    }

    /// Whether a task may take a step now; otherwise it is woken when it may.
    fn lets_run(&self, context: &Context<'_>) -> bool {
        let inner = &self.inner;
        if self.is_dead() {
            return false;
        }
        if inner.frozen.load(Ordering::Relaxed) {
            inner.sleepers.lock().push(context.waker().clone());
            return false;
        }
        let fuse = inner.fuse.load(Ordering::Relaxed);
        if fuse > 0 {
            inner.fuse.store(fuse - 1, Ordering::Relaxed);
            if fuse == 1 {
                self.die();
                return false;
            }
        }
        let dither = inner.dither.load(Ordering::Relaxed);
        if dither > 0 && self.roll() % 1000 < u64::from(dither) {
            context.waker().wake_by_ref();
            return false;
        }
        true
    }

    fn enter(&self) -> Entered {
        Entered { before: CURRENT.replace(Some(self.clone())) }
    }

    async fn disk_pause(&self) {
        let most = self.inner.disk_ms.load(Ordering::Relaxed);
        if most > 0 && self.roll().is_multiple_of(2) {
            tokio::time::sleep(Duration::from_millis(self.roll() % (u64::from(most) + 1))).await;
        }
    }
}

/// Puts back who was current before.
struct Entered {
    before: Option<Host>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.before.take());
    }
}

/// A task of a simulated machine.
struct OnHost<F: Future> {
    host: Host,
    future: Option<Pin<Box<F>>>,
}

impl<F: Future> Future for OnHost<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if !self.host.lets_run(context) {
            return Poll::Pending;
        }
        let _entered = self.host.enter();
        match &mut self.future {
            Some(future) => future.as_mut().poll(context),
            None => Poll::Pending,
        }
    }
}

impl<F: Future> Drop for OnHost<F> {
    fn drop(&mut self) {
        let _entered = self.host.enter();
        self.future = None;
    }
}

/// Starts a task where the caller runs.
pub(crate) fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    match Host::current() {
        None => tokio::spawn(future),
        Some(host) => host.spawn(future),
    }
}

/// Does work that would hold up other tasks.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    match Host::current() {
        None => tokio::task::spawn_blocking(work).await,
        Some(host) => {
            host.disk_pause().await;
            Ok(work())
        }
    }
}

/// Leaves the processor and the disk to others for a moment. A thread sleeps; the task of a simulated host goes on.
#[allow(clippy::disallowed_methods)] // a thread of the store's own, that nobody awaits meanwhile
pub(crate) fn nap(time: Duration) {
    if Host::current().is_none() {
        std::thread::sleep(time);
    }
}

/// Where a simulated disk takes its time; a real one does so by itself.
pub(crate) async fn disk_pause() {
    if let Some(host) = Host::current() {
        host.disk_pause().await;
    }
}

/// A random number.
pub(crate) fn random() -> u64 {
    Host::current().map_or_else(rand::random, |host| host.roll())
}

/// Milliseconds since 1970, by the wall clock.
pub(crate) fn wall_ms() -> u64 {
    let ms = match Host::current() {
        None => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
        Some(host) => {
            let since = i64::try_from(host.inner.began.elapsed().as_millis()).unwrap_or(i64::MAX);
            EPOCH_MS.saturating_add(since).saturating_add(host.inner.clock_ms.load(Ordering::Relaxed))
        }
    };
    u64::try_from(ms).unwrap_or(0)
}

/// openraft's dice.
pub(crate) struct Dice;

impl rand_core::TryRng for Dice {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((random() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(random())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&random().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// What openraft runs on: tokio, by way of the host.
#[derive(Debug)]
pub(crate) struct Runtime(TokioRuntime);

type Tokio<T> = <TokioRuntime as AsyncRuntime>::JoinHandle<T>;

impl AsyncRuntime for Runtime {
    type JoinError = <TokioRuntime as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = Tokio<T>;
    type Sleep = <TokioRuntime as AsyncRuntime>::Sleep;
    type Instant = <TokioRuntime as AsyncRuntime>::Instant;
    type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = Dice;
    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = <TokioRuntime as AsyncRuntime>::Watch;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        TokioRuntime::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        TokioRuntime::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: Self::Instant, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        TokioRuntime::is_panic(join_error)
    }

    fn thread_rng() -> Dice {
        Dice
    }

    fn new(threads: usize) -> Self {
        Self(TokioRuntime::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }

    async fn spawn_blocking<F, T>(work: F) -> Result<T, io::Error>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        blocking(work).await.map_err(io::Error::other)
    }
}

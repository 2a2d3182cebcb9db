//! Threads of a member's own: one writes its log, one applies. Each has an owner, and is waited for when the member stops, so
//! that nothing uses the disk any more once the member says that it has stopped.

use crate::host::{self, Host};
use std::future::Future;
use std::io;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long workers are waited for: the longest write under way.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running worker. To drop it leaves it alone; it ends with its queue.
pub(crate) struct Worker {
    name: &'static str,
    stop: CancellationToken,
    ended: oneshot::Receiver<()>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What a worker takes its work from; none once it should stop.
pub(crate) struct Queue<T> {
    jobs: mpsc::Receiver<T>,
    stop: CancellationToken,
}

impl<T> Queue<T> {
    /// What is there already.
    pub fn try_next(&mut self) -> Result<T, mpsc::error::TryRecvError> {
        self.jobs.try_recv()
    }

    /// Waits for work, unless the worker should stop and there is none left.
    pub async fn next(&mut self) -> Option<T> {
        tokio::select! {
            biased;
            job = self.jobs.recv() => job,
            () = self.stop.cancelled() => None,
        }
    }
}

impl Worker {
    /// Starts a worker with a queue: on a thread of its own, or as a task of a simulated host.
    pub fn start<T, F>(name: &'static str, jobs: mpsc::Receiver<T>, work: impl FnOnce(Queue<T>) -> F) -> io::Result<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let (done, ended) = oneshot::channel();
        let work = work(Queue { jobs, stop: stop.clone() });
        let work = async move {
            work.await;
            // Nobody may be waiting.
            let _alone = done.send(());
        };
        let thread = match Host::current() {
            None => Some(std::thread::Builder::new().name(name.into()).spawn(move || futures::executor::block_on(work))?),
            Some(_) => {
                // It dies with its host, and is asked to stop like a thread.
                drop(host::spawn(work));
                None
            }
        };
        Ok(Self { name, stop, ended, thread })
    }

    /// Has the worker finish what it has been given, and waits until it has let go of everything.
    pub async fn finish(self) {
        self.stop.cancel();
        let deadline = Instant::now() + PATIENCE;
        if tokio::time::timeout_at(deadline, self.ended).await.is_err() {
            tracing::error!(worker = self.name, "is stuck, and is left behind");
            return;
        }
        if let Some(thread) = self.thread {
            // It is on its last steps.
            let joined = tokio::time::timeout_at(deadline, host::blocking(move || thread.join().is_ok())).await;
            if !matches!(joined, Ok(Ok(true))) {
                tracing::error!(worker = self.name, "ended with a panic");
            }
        }
    }
}

//! Work that runs where the leader is, and nowhere else.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How long stopping work may take before it is dropped, in seconds.
const STOP_DEADLINE_SECONDS: u64 = 10;
/// Pause before work that ended by itself is started again, in milliseconds.
const RESTART_PAUSE_MS: u64 = 1_000;

/// Whether this server leads, and in which term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// This server leads and has applied an entry of its own term.
    pub is_leader: bool,
    /// The current term.
    pub term: u64,
}

/// Starts work whenever this server begins to lead, and stops it when it no longer does or when the term changes.
///
/// `start` is given the term, so that every write of the work can be fenced with it; the work must end soon after
/// its token is cancelled and is dropped if it does not. Returns when `shutdown` is cancelled and the work has stopped.
pub async fn run<S, F>(mut leadership: watch::Receiver<Leadership>, shutdown: CancellationToken, start: S)
where
    S: Fn(u64, CancellationToken) -> F,
    F: Future<Output = ()>,
{
    loop {
        let term = tokio::select! {
            () = shutdown.cancelled() => return,
            led = leadership.wait_for(|now| now.is_leader) => match led {
                Ok(now) => now.term,
                Err(_) => return,
            },
        };
        info!(term, "leading: starting controllers and scheduler");
        let token = shutdown.child_token();
        let work = start(term, token.clone());
        tokio::pin!(work);
        let mine = Leadership { is_leader: true, term };
        let ended_by_itself = tokio::select! {
            () = &mut work => true,
            () = shutdown.cancelled() => false,
            _ = leadership.wait_for(|now| *now != mine) => false,
        };
        token.cancel();
        if ended_by_itself {
            warn!(term, "the work of the leader ended by itself; starting it again");
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(Duration::from_millis(RESTART_PAUSE_MS)) => {}
            }
        } else {
            let deadline = Duration::from_secs(STOP_DEADLINE_SECONDS);
            if tokio::time::timeout(deadline, work).await.is_err() {
                warn!(term, "the work of the leader did not stop in time and was dropped");
            }
            info!(term, "no longer leading: controllers and scheduler stopped");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn work_follows_the_leader_and_its_term() {
        let (sender, receiver) = watch::channel(Leadership::default());
        let shutdown = CancellationToken::new();
        let (log, mut seen) = mpsc::unbounded_channel();
        let runner = tokio::spawn(run(receiver, shutdown.clone(), move |term, token| {
            let log = log.clone();
            async move {
                log.send(format!("start in term {term}")).unwrap();
                token.cancelled().await;
                log.send("stop".into()).unwrap();
            }
        }));
        for (is_leader, term, expected) in [
            (true, 3, vec!["start in term 3"]),
            (true, 4, vec!["stop", "start in term 4"]),
            (false, 5, vec!["stop"]),
            (true, 6, vec!["start in term 6"]),
        ] {
            sender.send(Leadership { is_leader, term }).unwrap();
            for line in expected {
                assert_eq!(seen.recv().await.unwrap(), line);
            }
        }
        shutdown.cancel();
        runner.await.unwrap();
        assert_eq!(seen.recv().await.unwrap(), "stop");
    }
}

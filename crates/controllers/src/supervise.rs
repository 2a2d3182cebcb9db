//! Starts controllers as owned tasks and starts again the ones that fail.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinSet;
use tracing::warn;

use crate::context::Context;

/// First pause before a failed controller is started again, in milliseconds.
const RESTART_FIRST_MS: u64 = 500;
/// Longest such pause, in milliseconds.
const RESTART_MAX_MS: u64 = 60_000;

/// How long a controller may take to stop, in milliseconds.
const STOP_MS: u64 = 2_000;

/// Why a controller could not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A request that it cannot do without failed.
    #[error(transparent)]
    Request(#[from] tricorn_client::RequestError),
    /// Its settings make no sense.
    #[error("controller settings: {0}")]
    Config(String),
}

/// Ends some time after shutdown was asked for: a controller that still waits for a cache by then is dropped.
async fn overstayed(context: &Context) {
    context.shutdown.cancelled().await;
    tokio::time::sleep(Duration::from_millis(STOP_MS)).await;
}

/// The running controllers. Dropping it aborts them.
pub(crate) struct Supervisor {
    context: Context,
    tasks: JoinSet<()>,
}

impl Supervisor {
    pub(crate) fn new(context: Context) -> Self {
        Self { context, tasks: JoinSet::new() }
    }

    /// Starts one controller. It counts as finished only when shutdown was asked for.
    pub(crate) fn start<F, R>(&mut self, name: &'static str, controller: F)
    where
        F: Fn(Context) -> R + Send + 'static,
        R: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let context = self.context.clone();
        self.tasks.spawn(async move {
            let mut failures = 0_u32;
            while !context.shutdown.is_cancelled() {
                let mut attempt = JoinSet::new();
                attempt.spawn(controller(context.clone()));
                let outcome = tokio::select! {
                    outcome = attempt.join_next() => outcome,
                    () = overstayed(&context) => return attempt.shutdown().await,
                };
                if context.shutdown.is_cancelled() {
                    return;
                }
                failures += 1;
                match outcome {
                    Some(Ok(Ok(()))) | None => warn!(controller = name, failures, "controller ended; starting it again"),
                    Some(Ok(Err(error))) => warn!(controller = name, failures, %error, "controller failed; starting it again"),
                    Some(Err(error)) => warn!(controller = name, failures, %error, "controller was lost; starting it again"),
                }
                let pause = (RESTART_FIRST_MS << failures.min(10)).min(RESTART_MAX_MS);
                tokio::select! {
                    () = context.shutdown.cancelled() => return,
                    () = tokio::time::sleep(Duration::from_millis(pause)) => {}
                }
            }
        });
    }

    /// Waits until all have stopped.
    pub(crate) async fn wait(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

//! How many requests are worked on at once.

use crate::config::ApiServerConfig;
use crate::context::Context;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tricorn_authz::SUPERUSERS;
use tricorn_meta::Status;

/// A client that is turned away may come back after this many seconds.
const RETRY_AFTER_SECONDS: u32 = 1;

/// How many requests are worked on at once. Beyond it, clients are turned away with 429.
pub(crate) struct Limits {
    mutating: Arc<Semaphore>,
    reading: Arc<Semaphore>,
    long_running: Arc<Semaphore>,
}

impl Limits {
    pub(crate) fn new(config: &ApiServerConfig) -> Self {
        Self {
            mutating: Arc::new(Semaphore::new(config.max_mutating_requests)),
            reading: Arc::new(Semaphore::new(config.max_reading_requests)),
            long_running: Arc::new(Semaphore::new(config.max_long_running_requests)),
        }
    }

    /// A place for this request, held until it is dropped; superusers need none.
    pub(crate) fn enter(&self, context: &Context) -> Result<Option<OwnedSemaphorePermit>, Status> {
        if context.user.in_group(SUPERUSERS) {
            return Ok(None);
        }
        let places = if context.info.is_long_running(&context.query) {
            &self.long_running
        } else if context.info.is_mutating() {
            &self.mutating
        } else {
            &self.reading
        };
        let refusal = |_| Status::too_many_requests("Too many requests, please try again later.", RETRY_AFTER_SECONDS);
        places.clone().try_acquire_owned().map(Some).map_err(refusal)
    }
}

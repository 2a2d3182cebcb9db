//! Waiting for conditions, never for time.

use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(100);

/// Asks again until the answer is `Ok`, for at most `deadline`; the time it took comes with it.
///
/// # Panics
/// At the deadline, with `what` and the last reason.
pub async fn until<T, E: Display>(what: &str, deadline: Duration, mut ask: impl AsyncFnMut() -> Result<T, E>) -> T {
    let begun = Instant::now();
    loop {
        match ask().await {
            Ok(found) => return found,
            Err(reason) => assert!(begun.elapsed() < deadline, "{what}: not within {deadline:?}: {reason}"),
        }
        tokio::time::sleep(POLL).await;
    }
}

/// What `future` comes to, if it comes in time.
///
/// # Panics
/// At the deadline, with `what`.
pub async fn within<T>(what: &str, deadline: Duration, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(deadline, future).await.unwrap_or_else(|_| panic!("{what}: not within {deadline:?}"))
}

//! Passwords: hashed before anything is proposed, and held against a hash. Both are slow on purpose, so they run away from the
//! runtime's threads, a few at a time.

use crate::error::{Error, Result};
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Bytes of a password that the hash looks at.
const MAX_PASSWORD_BYTES: usize = 72;
/// Passwords that may wait for their turn before more are refused.
const QUEUE: usize = 256;
/// The costs that the hash knows.
const COSTS: std::ops::RangeInclusive<u32> = 4..=31;
/// etcd's cost.
pub(crate) const DEFAULT_COST: u32 = 10;

pub(crate) struct Passwords {
    cost: u32,
    waiting: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

impl Passwords {
    pub fn new(cost: u32) -> Self {
        let cost = if COSTS.contains(&cost) {
            cost
        } else {
            tracing::warn!(cost, used = DEFAULT_COST, "a bcrypt cost is between {} and {}", COSTS.start(), COSTS.end());
            DEFAULT_COST
        };
        // Half of the processors at most: log in as one likes, the store goes on.
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { cost, waiting: Arc::new(Semaphore::new(QUEUE)), running: Arc::new(Semaphore::new(processors.div_ceil(2))) }
    }

    async fn slowly<T: Send + 'static>(&self, deadline: Instant, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let _place = self.waiting.try_acquire().map_err(|_| Error::TooManyRequests)?;
        let turn = tokio::time::timeout_at(deadline, self.running.clone().acquire_owned()).await;
        let turn = turn.map_err(|_| Error::Timeout)?.map_err(|_| Error::Stopped)?;
        let work = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        work.await.map_err(|_| Error::Stopped)
    }

    /// The hash of a password.
    pub async fn hash(&self, password: String, deadline: Instant) -> Result<String> {
        if password.len() > MAX_PASSWORD_BYTES {
            return Err(tricorn_mvcc::Error::PasswordTooLong.into());
        }
        let cost = self.cost;
        let hashed = self.slowly(deadline, move || bcrypt::hash(password, cost)).await?;
        hashed.map_err(|error| Error::Raft(format!("hash a password: {error}")))
    }

    /// Whether this is the password of which there is the hash.
    pub async fn matches(&self, password: String, hash: Bytes, deadline: Instant) -> Result<bool> {
        // A hash that is none, as of an empty password in etcd's older versions, matches nothing.
        let Ok(hash) = String::from_utf8(hash.to_vec()) else { return Ok(false) };
        self.slowly(deadline, move || bcrypt::verify(password, &hash).unwrap_or(false)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn a_password_matches_its_hash_and_no_other() {
        let passwords = Passwords::new(4);
        let soon = || Instant::now() + Duration::from_secs(20);
        let hash = Bytes::from(passwords.hash("secret".into(), soon()).await.unwrap());
        assert!(passwords.matches("secret".into(), hash.clone(), soon()).await.unwrap());
        assert!(!passwords.matches("Secret".into(), hash, soon()).await.unwrap());
        assert!(!passwords.matches(String::new(), Bytes::new(), soon()).await.unwrap());
        assert!(passwords.hash("x".repeat(73), soon()).await.is_err());
        assert_eq!(Passwords::new(3).cost, DEFAULT_COST);
    }
}

//! What a controller has asked for and not yet seen in its cache, so that a lagging cache is not acted on twice.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tricorn_client::Key;

/// After this many seconds an expectation is given up: the events must have been missed.
const GIVE_UP_SECONDS: u64 = 300;

struct Expected {
    creations: i64,
    deletions: HashSet<String>,
    since: Instant,
}

/// Outstanding creations and deletions of each owner.
#[derive(Default)]
pub(crate) struct Expectations {
    owners: Mutex<HashMap<Key, Expected>>,
}

impl Expectations {
    /// Whether everything asked for on behalf of `owner` has been seen (or given up).
    pub(crate) fn satisfied(&self, owner: &Key) -> bool {
        let owners = self.owners.lock();
        owners.get(owner).is_none_or(|expected| {
            let done = expected.creations <= 0 && expected.deletions.is_empty();
            done || expected.since.elapsed() > Duration::from_secs(GIVE_UP_SECONDS)
        })
    }

    /// Before asking: `creations` new objects and the deletion of `deletions` (uids) are expected.
    pub(crate) fn expect(&self, owner: &Key, creations: usize, deletions: impl IntoIterator<Item = String>) {
        let creations = i64::try_from(creations).unwrap_or(i64::MAX);
        let expected = Expected { creations, deletions: deletions.into_iter().collect(), since: Instant::now() };
        self.owners.lock().insert(owner.clone(), expected);
    }

    /// One creation was seen, or failed.
    pub(crate) fn created(&self, owner: &Key) {
        if let Some(expected) = self.owners.lock().get_mut(owner) {
            expected.creations -= 1;
        }
    }

    /// The deletion of `uid` was seen, or failed.
    pub(crate) fn deleted(&self, owner: &Key, uid: &str) {
        if let Some(expected) = self.owners.lock().get_mut(owner) {
            expected.deletions.remove(uid);
        }
    }

    /// The owner is gone.
    pub(crate) fn forget(&self, owner: &Key) {
        self.owners.lock().remove(owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn satisfied_when_all_was_seen() {
        let expectations = Expectations::default();
        let owner = Key::new("default", "web");
        assert!(expectations.satisfied(&owner));
        expectations.expect(&owner, 1, ["x".to_owned()]);
        assert!(!expectations.satisfied(&owner));
        expectations.created(&owner);
        assert!(!expectations.satisfied(&owner));
        expectations.deleted(&owner, "y");
        assert!(!expectations.satisfied(&owner));
        expectations.deleted(&owner, "x");
        assert!(expectations.satisfied(&owner));
        expectations.expect(&owner, 5, []);
        expectations.forget(&owner);
        assert!(expectations.satisfied(&owner));
    }
}

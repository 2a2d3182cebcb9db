//! Tokens of clients that have logged in. Every member learns of them from the log and keeps their time itself: a token ends
//! when it has not been shown here for a while.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;
use tricorn_mvcc::TokenChange;

/// Tokens kept at once; past that the one that would end first goes.
const MOST: usize = 100_000;
/// Between two looks for tokens whose time is up.
const SWEEP: Duration = Duration::from_secs(1);

struct Known {
    user: String,
    until: Instant,
}

struct Inner {
    known: HashMap<String, Known>,
    swept: Instant,
}

/// All tokens that this member knows.
pub(crate) struct Tokens {
    inner: Mutex<Inner>,
    ttl: Duration,
}

impl Tokens {
    pub fn new(ttl: Duration) -> Self {
        Self { inner: Mutex::new(Inner { known: HashMap::new(), swept: Instant::now() }), ttl }
    }

    /// What apply has done.
    pub fn changed(&self, changes: &[TokenChange]) {
        if !changes.is_empty() {
            self.changed_at(changes, Instant::now());
        }
    }

    fn changed_at(&self, changes: &[TokenChange], now: Instant) {
        let mut inner = self.inner.lock();
        for change in changes {
            match change {
                TokenChange::Issued { token, user } => {
                    inner.make_room(now);
                    inner.known.insert(token.clone(), Known { user: user.clone(), until: now + self.ttl });
                }
                TokenChange::Revoked(user) => inner.known.retain(|_, known| known.user != *user),
                TokenChange::Cleared => inner.known.clear(),
            }
        }
    }

    /// Forgets everything: what has been revoked meanwhile is not known.
    pub fn clear(&self) {
        self.inner.lock().known.clear();
    }

    /// Whose token this is; to show it renews it.
    pub fn user(&self, token: &str) -> Option<String> {
        self.user_at(token, Instant::now())
    }

    fn user_at(&self, token: &str, now: Instant) -> Option<String> {
        let mut inner = self.inner.lock();
        let known = inner.known.get_mut(token).filter(|known| known.until > now)?;
        known.until = now + self.ttl;
        Some(known.user.clone())
    }
}

impl Inner {
    fn make_room(&mut self, now: Instant) {
        if now.duration_since(self.swept) >= SWEEP || self.known.len() >= MOST {
            self.known.retain(|_, known| known.until > now);
            self.swept = now;
        }
        if self.known.len() >= MOST {
            let first = self.known.iter().min_by_key(|(_, known)| known.until).map(|(token, _)| token.clone());
            self.known.remove(&first.unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issued(token: &str, user: &str) -> TokenChange {
        TokenChange::Issued { token: token.into(), user: user.into() }
    }

    #[test]
    fn a_token_lives_as_long_as_it_is_used() {
        let tokens = Tokens::new(Duration::from_secs(300));
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        tokens.changed_at(&[issued("a.1", "alice"), issued("b.2", "bob")], begin);
        for seconds in [200, 400, 600, 800, 1000] {
            assert_eq!(tokens.user_at("a.1", at(seconds)).as_deref(), Some("alice"));
        }
        assert_eq!(tokens.user_at("b.2", at(1000)), None, "it was not shown for too long");
        tokens.changed_at(&[issued("c.3", "carol")], at(1000));
        assert_eq!(tokens.inner.lock().known.len(), 2, "what has ended is not kept");
    }

    #[test]
    fn tokens_go_with_their_user_or_all_at_once() {
        let tokens = Tokens::new(Duration::from_secs(300));
        tokens.changed(&[issued("a.1", "alice"), issued("a.2", "alice"), issued("b.3", "bob")]);
        tokens.changed(&[TokenChange::Revoked("alice".into())]);
        assert_eq!((tokens.user("a.1"), tokens.user("a.2")), (None, None));
        assert_eq!(tokens.user("b.3").as_deref(), Some("bob"));
        tokens.changed(&[TokenChange::Cleared]);
        assert_eq!(tokens.user("b.3"), None);
    }
}

//! What one request has allocated, over all its attempts to write.

use tricorn_meta::Status;
use tricorn_registry::StoredResource;

/// An address or a port that a Service has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Allocation {
    pub resource: StoredResource,
    pub name: String,
}

impl Allocation {
    pub fn new(resource: &StoredResource, name: impl Into<String>) -> Self {
        Self { resource: resource.clone(), name: name.into() }
    }
}

/// What one request has allocated, over all its attempts to write.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// The uid of the Service.
    owner: String,
    /// Made by this request.
    taken: Vec<Allocation>,
    /// What the Service used when the latest attempt began.
    before: Vec<Allocation>,
}

impl Held {
    /// Another attempt begins, on the Service with this uid, which uses `before`.
    pub(super) fn begin(&mut self, owner: &str, before: Vec<Allocation>) {
        owner.clone_into(&mut self.owner);
        self.before = before;
    }

    pub(super) fn owner(&self) -> &str {
        &self.owner
    }

    pub(super) fn add(&mut self, allocation: Allocation) {
        self.taken.push(allocation);
    }

    /// Whether this request has made the allocation.
    pub(super) fn has(&self, allocation: &Allocation) -> bool {
        self.taken.contains(allocation)
    }

    /// An allocation of this request that is for none of `used`: left from an attempt that wanted something else.
    pub(super) fn spare(&self, resource: &StoredResource, used: &[String]) -> Option<String> {
        let spare = self.taken.iter().find(|one| one.resource == *resource && !used.contains(&one.name))?;
        Some(spare.name.clone())
    }

    /// What a Service that uses `now` after this request does not need any more.
    pub(super) fn unused(&self, now: &[Allocation]) -> Vec<Allocation> {
        let mut all: Vec<Allocation> = Vec::new();
        for one in self.taken.iter().chain(&self.before) {
            if !now.contains(one) && !all.contains(one) {
                all.push(one.clone());
            }
        }
        all
    }

    /// What may be given back after the request was refused: everything, or nothing as long as the write may have happened all the same.
    pub(super) fn after(&self, refusal: &Status) -> &[Allocation] {
        if nothing_written(refusal) { &self.taken } else { &[] }
    }
}

/// Whether a refusal says that the write did not happen and will not. A server's own failure, a timeout and a change of the leader do not say that: the
/// write may be in the log, and be committed later.
fn nothing_written(refusal: &Status) -> bool {
    (400..500).contains(&refusal.code())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str) -> Allocation {
        Allocation::new(&StoredResource::builtin("", "ranges/servicenodeports", false), name)
    }

    fn held(taken: &[&str], before: &[&str]) -> Held {
        let all = |names: &[&str]| names.iter().map(|name| port(name)).collect();
        Held { owner: "u".to_owned(), taken: all(taken), before: all(before) }
    }

    #[test]
    fn only_a_refusal_that_is_certain_gives_back() {
        let cases = [
            (Status::already_exists("", "services", "a"), true),
            (Status::modified("", "services", "a"), true),
            (Status::invalid("", "Service", "a", Vec::new()), true),
            (Status::forbidden("", "services", "a", "quota"), true),
            (Status::not_found("", "services", "a"), true),
            (Status::too_large("a"), true),
            (Status::too_many_requests("a", 1), true),
            (Status::timeout("etcdserver: request timed out", 1), false),
            (Status::timeout("etcdserver: leader changed", 1), false),
            (Status::service_unavailable("etcdserver: server stopped"), false),
            (Status::internal("etcdserver: raft: broken"), false),
            (Status::server_timeout("", "services", "create", 1), false),
        ];
        for (refusal, certain) in cases {
            let expected = if certain { vec![port("30001")] } else { Vec::new() };
            assert_eq!(held(&["30001"], &["30002"]).after(&refusal), expected, "{refusal}");
        }
    }

    #[test]
    fn what_neither_the_service_nor_the_request_needs_is_unused() {
        // Taken by the request, used before, used after: what is to be given back.
        let cases = [
            (vec!["1"], vec![], vec!["1"], vec![]),
            (vec!["1", "2"], vec![], vec!["2"], vec!["1"]),
            (vec![], vec!["1"], vec!["1"], vec![]),
            (vec!["2"], vec!["1"], vec!["2"], vec!["1"]),
            (vec!["1"], vec!["1", "3"], vec![], vec!["1", "3"]),
        ];
        for (taken, before, now, expected) in cases {
            let now: Vec<_> = now.iter().map(|name| port(name)).collect();
            let expected: Vec<_> = expected.iter().map(|name| port(name)).collect();
            assert_eq!(held(&taken, &before).unused(&now), expected, "{taken:?} {before:?} {now:?}");
        }
    }

    #[test]
    fn a_later_attempt_uses_what_an_earlier_one_left() {
        let held = held(&["30001", "30002"], &[]);
        let used = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let cases = [(used(&[]), Some("30001")), (used(&["30001"]), Some("30002")), (used(&["30001", "30002"]), None)];
        for (used, expected) in cases {
            assert_eq!(held.spare(&port("").resource, &used).as_deref(), expected, "{used:?}");
        }
        let addresses = StoredResource::builtin("networking.k8s.io", "ipaddresses", false);
        assert_eq!(held.spare(&addresses, &[]), None);
    }
}

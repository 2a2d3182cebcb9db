//! Pods that wait for a node: ready to be tried, backing off, or parked until something changes for them. Time is an
//! argument, so that tests step it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tricorn_client::Key;

use crate::fit_error::Check;
use crate::pod_info::PodInfo;

/// First pause after a failed attempt, in milliseconds; it doubles.
const BACKOFF_FIRST_MS: u64 = 1_000;
/// Longest pause, in milliseconds.
const BACKOFF_MAX_MS: u64 = 10_000;
/// A parked pod is tried again after this time even if nothing is known to have changed, in seconds.
const PARKED_MAX_SECONDS: u64 = 300;

/// What may have made room for a parked pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Event {
    NodeAdded,
    NodeLabels,
    NodeTaints,
    NodeAllocatable,
    PodPlaced,
    PodGone,
}

impl Event {
    /// Whether a check that said no may now say yes.
    fn concerns(self, check: Check) -> bool {
        match self {
            Self::NodeAdded => true,
            Self::NodeLabels => matches!(check, Check::NodeAffinity | Check::PodTopologySpread | Check::InterPodAffinity),
            Self::NodeTaints => matches!(check, Check::NodeUnschedulable | Check::TaintToleration | Check::PodTopologySpread),
            Self::NodeAllocatable => check == Check::NodeResourcesFit,
            Self::PodPlaced => matches!(check, Check::PodTopologySpread | Check::InterPodAffinity),
            Self::PodGone => {
                matches!(check, Check::NodePorts | Check::NodeResourcesFit | Check::PodTopologySpread | Check::InterPodAffinity)
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Ready,
    BackingOff(Instant),
    Parked(Instant),
    /// Held back by scheduling gates.
    Gated,
    /// Being tried or bound.
    Tried,
}

struct Entry {
    pod: Arc<PodInfo>,
    place: Place,
    attempts: u32,
    checks: BTreeSet<Check>,
    order: u64,
    /// The clock of events when the attempt began.
    began: u64,
}

/// The pods without a node. It holds each of them once, so it is bounded by their number.
#[derive(Default)]
pub(crate) struct Queue {
    entries: HashMap<Key, Entry>,
    ready: BTreeSet<(Reverse<i32>, u64, Key)>,
    timers: BTreeSet<(Instant, Key)>,
    order: u64,
    events: u64,
    last: BTreeMap<Event, u64>,
}

fn is_gated(pod: &PodInfo) -> bool {
    pod.pod.spec.as_ref().and_then(|spec| spec.scheduling_gates.as_ref()).is_some_and(|gates| !gates.is_empty())
}

fn backoff(attempts: u32) -> Duration {
    Duration::from_millis((BACKOFF_FIRST_MS << attempts.saturating_sub(1).min(10)).min(BACKOFF_MAX_MS))
}

impl Queue {
    /// A pod is new or has changed.
    pub(crate) fn upsert(&mut self, pod: Arc<PodInfo>, now: Instant) {
        let key = Key::new(pod.namespace(), pod.name());
        let Some(entry) = self.entries.get_mut(&key) else {
            self.order += 1;
            let entry = Entry { pod, place: Place::Gated, attempts: 0, checks: BTreeSet::new(), order: self.order, began: 0 };
            self.entries.insert(key.clone(), entry);
            return self.activate(&key, now);
        };
        let changed = entry.pod.pod.spec != pod.pod.spec || entry.pod.labels() != pod.labels();
        let old = std::mem::replace(&mut entry.pod, pod);
        match entry.place {
            Place::Ready if old.priority != entry.pod.priority => self.activate(&key, now),
            Place::Gated | Place::Parked(_) if changed => self.activate(&key, now),
            _ => {}
        }
    }

    /// A pod is gone, or has a node.
    pub(crate) fn remove(&mut self, key: &Key) {
        self.leave(key);
        self.entries.remove(key);
    }

    /// Takes the pod out of whatever index it is in.
    fn leave(&mut self, key: &Key) {
        let Some(entry) = self.entries.get(key) else { return };
        match entry.place {
            Place::Ready => {
                let order = entry.order;
                self.ready.retain(|(_, at, _)| *at != order);
            }
            Place::BackingOff(at) | Place::Parked(at) => {
                self.timers.remove(&(at, key.clone()));
            }
            Place::Gated | Place::Tried => {}
        }
    }

    fn settle(&mut self, key: &Key, place: Place) {
        self.leave(key);
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.place = place;
        match place {
            Place::Ready => {
                self.ready.insert((Reverse(entry.pod.priority), entry.order, key.clone()));
            }
            Place::BackingOff(at) | Place::Parked(at) => {
                self.timers.insert((at, key.clone()));
            }
            Place::Gated | Place::Tried => {}
        }
    }

    /// Makes the pod ready, unless gates hold it.
    fn activate(&mut self, key: &Key, _now: Instant) {
        let Some(entry) = self.entries.get(key) else { return };
        let place = if is_gated(&entry.pod) { Place::Gated } else { Place::Ready };
        self.settle(key, place);
    }

    /// The next pod to try: of the highest priority the one that has waited longest.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Arc<PodInfo>> {
        while let Some((at, key)) = self.timers.first().filter(|(at, _)| *at <= now).cloned() {
            self.timers.remove(&(at, key.clone()));
            self.settle(&key, Place::Ready);
        }
        let (_, _, key) = self.ready.first()?.clone();
        self.settle(&key, Place::Tried);
        let events = self.events;
        let entry = self.entries.get_mut(&key)?;
        entry.attempts += 1;
        entry.began = events;
        Some(entry.pod.clone())
    }

    /// When [`Queue::pop`] may have something next, if nothing happens.
    pub(crate) fn next_timer(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// No node fits: park the pod until something changes for `checks`; if that happened during the attempt, it is tried
    /// again after its back-off.
    pub(crate) fn no_fit(&mut self, key: &Key, checks: BTreeSet<Check>, now: Instant) {
        let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.place == Place::Tried) else { return };
        entry.checks = checks;
        let missed = self.last.iter().any(|(event, at)| *at > entry.began && entry.checks.iter().any(|check| event.concerns(*check)));
        let pause = backoff(entry.attempts);
        let place = if missed { Place::BackingOff(now + pause) } else { Place::Parked(now + Duration::from_secs(PARKED_MAX_SECONDS)) };
        entry.began = self.events;
        self.settle(key, place);
    }

    /// Something else went wrong: try again after the back-off.
    pub(crate) fn retry(&mut self, key: &Key, now: Instant) {
        let Some(entry) = self.entries.get(key).filter(|entry| entry.place == Place::Tried) else { return };
        let place = Place::BackingOff(now + backoff(entry.attempts));
        self.settle(key, place);
    }

    /// Something happened: pods that it concerns are tried again, those tried lately after their back-off.
    pub(crate) fn wake(&mut self, event: Event, now: Instant) {
        self.events += 1;
        self.last.insert(event, self.events);
        let concerned = |entry: &Entry| {
            // A pod parked without any check named is woken by everything.
            let named = entry.checks.is_empty() || entry.checks.iter().any(|check| event.concerns(*check));
            matches!(entry.place, Place::Parked(_)) && named
        };
        let woken: Vec<Key> = self.entries.iter().filter(|(_, entry)| concerned(entry)).map(|(key, _)| key.clone()).collect();
        for key in woken {
            let Some(entry) = self.entries.get(&key) else { continue };
            let Place::Parked(until) = entry.place else { continue };
            let parked_since = until.checked_sub(Duration::from_secs(PARKED_MAX_SECONDS)).unwrap_or(now);
            let ready_at = parked_since + backoff(entry.attempts);
            let place = if ready_at <= now { Place::Ready } else { Place::BackingOff(ready_at) };
            self.settle(&key, place);
        }
    }

    #[cfg(test)]
    fn place(&self, name: &str) -> &'static str {
        match self.entries.get(&Key::new("default", name)).map(|entry| entry.place) {
            Some(Place::Ready) => "ready",
            Some(Place::BackingOff(_)) => "backing off",
            Some(Place::Parked(_)) => "parked",
            Some(Place::Gated) => "gated",
            Some(Place::Tried) => "tried",
            None => "gone",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use serde_json::json;

    fn pod(name: &str, priority: i32, gates: &[&str]) -> Arc<PodInfo> {
        let gates: Vec<_> = gates.iter().map(|gate| json!({"name": gate})).collect();
        let pod = json!({"metadata": {"name": name, "namespace": "default"},
            "spec": {"containers": [], "priority": priority, "schedulingGates": gates}});
        Arc::new(PodInfo::new(Arc::new(serde_json::from_value(pod).unwrap())))
    }

    fn key(name: &str) -> Key {
        Key::new("default", name)
    }

    #[test]
    fn priority_then_age() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for (name, priority) in [("old", 0), ("young", 0), ("important", 10)] {
            queue.upsert(pod(name, priority, &[]), now);
        }
        let order: Vec<String> = std::iter::from_fn(|| queue.pop(now).map(|pod| pod.name().to_owned())).collect();
        assert_eq!(order, ["important", "old", "young"]);
    }

    #[test]
    fn gates_hold_a_pod_back() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.upsert(pod("a", 0, &["example.com/wait"]), now);
        assert_eq!(queue.place("a"), "gated");
        assert!(queue.pop(now).is_none());
        queue.upsert(pod("a", 0, &[]), now);
        assert_eq!(queue.pop(now).unwrap().name(), "a");
    }

    #[test]
    fn only_what_concerns_a_parked_pod_wakes_it() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.upsert(pod("a", 0, &[]), now);
        queue.pop(now).unwrap();
        queue.no_fit(&key("a"), [Check::NodeResourcesFit].into(), now);
        assert_eq!(queue.place("a"), "parked");
        queue.wake(Event::NodeLabels, now);
        assert_eq!(queue.place("a"), "parked");
        queue.wake(Event::PodGone, now);
        assert_eq!(queue.place("a"), "backing off");
        assert!(queue.pop(now).is_none());
        assert_eq!(queue.pop(queue.next_timer().unwrap()).unwrap().name(), "a");
        queue.no_fit(&key("a"), [Check::NodeResourcesFit].into(), now);
        queue.wake(Event::NodeAdded, now + Duration::from_secs(60));
        assert_eq!(queue.place("a"), "ready", "the back-off is over by then");
    }

    #[test]
    fn what_happens_during_an_attempt_is_not_missed() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.upsert(pod("a", 0, &[]), now);
        queue.pop(now).unwrap();
        queue.wake(Event::NodeAdded, now);
        queue.no_fit(&key("a"), [Check::NodeResourcesFit].into(), now);
        assert_eq!(queue.place("a"), "backing off");
    }

    #[test]
    fn a_pod_that_is_gone_stays_gone() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.upsert(pod("a", 0, &[]), now);
        queue.pop(now).unwrap();
        queue.remove(&key("a"));
        queue.retry(&key("a"), now);
        assert_eq!(queue.place("a"), "gone");
        assert!(queue.next_timer().is_none());
    }

    #[test]
    fn parked_pods_are_tried_again_after_a_while() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.upsert(pod("a", 0, &[]), now);
        queue.pop(now).unwrap();
        queue.no_fit(&key("a"), BTreeSet::new(), now);
        assert!(queue.pop(now + Duration::from_secs(PARKED_MAX_SECONDS - 1)).is_none());
        assert!(queue.pop(now + Duration::from_secs(PARKED_MAX_SECONDS)).is_some());
    }
}

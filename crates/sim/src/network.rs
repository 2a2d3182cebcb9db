//! The network between members: delays, losses, cuts in one direction, connections that break.
//!
//! A connection is ordered, as TCP is: its messages wait for each other, and a cut holds them up until it heals or the connection is
//! given up. Single requests may be lost before they are delivered or after, delivered after their sender has given up, and, where
//! the protocol lets a sender ask again, delivered twice.

use crate::dice::Dice;
use crate::link::SimLink;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tricorn_store::{Handler, Host, Lane, Link, Transport};

/// Where a running member answers.
#[derive(Clone)]
pub struct Door {
    /// What answers.
    pub handler: Arc<Handler>,
    /// What it runs on.
    pub host: Host,
}

/// How the network is today.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// Milliseconds of a trip, at least and at most.
    pub trip_ms: (u64, u64),
    /// Of a thousand messages, how many are lost: in a connection they come late instead.
    pub lost: u64,
    /// Of a thousand requests that may be asked twice, how many are.
    pub doubled: u64,
}

struct Inner {
    dice: Dice,
    weather: Weather,
    doors: BTreeMap<String, Door>,
    /// From and to.
    cuts: BTreeSet<(String, String)>,
    /// How often the connections of a member, or between two, have been broken.
    breaks: BTreeMap<(String, String), u64>,
}

/// All of it.
pub struct Net {
    inner: Mutex<Inner>,
}

impl Net {
    /// Nobody is there yet.
    #[must_use]
    pub fn new(seed: u64, weather: Weather) -> Self {
        let inner =
            Inner { dice: Dice::new(seed, "network"), weather, doors: BTreeMap::new(), cuts: BTreeSet::new(), breaks: BTreeMap::new() };
        Self { inner: Mutex::new(inner) }
    }

    /// A member answers from now on.
    pub fn open(&self, url: &str, door: Door) {
        self.inner.lock().doors.insert(url.to_owned(), door);
    }

    /// A member is gone.
    pub fn close(&self, url: &str) {
        self.inner.lock().doors.remove(url);
    }

    /// Who answers there.
    #[must_use]
    pub fn door(&self, url: &str) -> Option<Door> {
        self.inner.lock().doors.get(url).cloned()
    }

    /// Nothing gets from one to the other any more.
    pub fn cut(&self, from: &str, to: &str) {
        self.inner.lock().cuts.insert((from.to_owned(), to.to_owned()));
    }

    /// Everything gets everywhere again.
    pub fn heal(&self) {
        self.inner.lock().cuts.clear();
    }

    /// Whether nothing gets from one to the other.
    #[must_use]
    pub fn is_cut(&self, from: &str, to: &str) -> bool {
        self.inner.lock().cuts.contains(&(from.to_owned(), to.to_owned()))
    }

    /// Breaks the connections between two members.
    pub fn reset(&self, one: &str, other: &str) {
        *self.inner.lock().breaks.entry(ordered(one, other)).or_default() += 1;
    }

    /// Changes when connections between the two break.
    #[must_use]
    pub fn age(&self, one: &str, other: &str) -> u64 {
        self.inner.lock().breaks.get(&ordered(one, other)).copied().unwrap_or(0)
    }

    /// Changes the weather.
    pub fn set_weather(&self, weather: Weather) {
        self.inner.lock().weather = weather;
    }

    /// How long the next message takes.
    #[must_use]
    pub fn trip(&self) -> Duration {
        let inner = &mut *self.inner.lock();
        let (first, last) = inner.weather.trip_ms;
        // Most are quick, a few are not.
        let last = if inner.dice.often(50) { last * 4 } else { last };
        inner.dice.ms(first, last)
    }

    /// Whether the next message is lost.
    #[must_use]
    pub fn loses(&self) -> bool {
        let inner = &mut *self.inner.lock();
        inner.dice.often(inner.weather.lost)
    }

    /// Whether the next request is asked twice.
    #[must_use]
    pub fn doubles(&self) -> bool {
        let inner = &mut *self.inner.lock();
        inner.dice.often(inner.weather.doubled)
    }
}

fn ordered(one: &str, other: &str) -> (String, String) {
    if one < other { (one.to_owned(), other.to_owned()) } else { (other.to_owned(), one.to_owned()) }
}

/// One member's way into the network.
pub struct SimTransport {
    /// All of it.
    pub net: Arc<Net>,
    /// Where the member itself is.
    pub me: String,
}

impl Transport for SimTransport {
    fn link(&self, urls: &[String], _lane: Lane) -> Arc<dyn Link> {
        Arc::new(SimLink { net: self.net.clone(), from: self.me.clone(), to: urls.first().cloned().unwrap_or_default() })
    }
}

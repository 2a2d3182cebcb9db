//! The search for an order: Wing and Gong's, with Lowe's memory of where it has been.
//!
//! A history is linearizable if its calls can be put in one order, each between its invocation and its end, that a sequential model agrees
//! with. A call whose end is unknown may stand anywhere after its invocation, or nowhere.

use crate::history::{Call, Outcome};
use std::collections::HashSet;
use std::hash::Hash;

/// What one thing after another would do.
pub trait Model {
    /// What is remembered between calls.
    type State: Clone + Eq + Hash;
    /// What is asked.
    type Request;
    /// What is answered.
    type Answer;

    /// The state after `request`, or none if `answer` cannot be its answer in `state`. Without an answer nobody knows what it was.
    fn step(&self, state: &Self::State, request: &Self::Request, answer: Option<&Self::Answer>) -> Option<Self::State>;
}

/// What a search came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Search {
    /// There is an order: the places of the calls in it.
    Found(Vec<usize>),
    /// There is none.
    Impossible {
        /// The call that ended before an order could hold it, where the search came furthest.
        stuck: usize,
        /// How many calls were in order there.
        reached: usize,
    },
    /// More than the allowed number of steps would be needed to say.
    GaveUp,
}

/// Marks the ends of the list of events.
const NONE: usize = usize::MAX;

/// Invocations and ends in the order of the history, as a list from which a call is lifted while it is in the order. Event `2n` is the
/// invocation of call n, event `2n + 1` its end.
struct Events {
    next: Vec<usize>,
    previous: Vec<usize>,
    head: usize,
}

impl Events {
    fn new<Q, A>(calls: &[&Call<Q, A>]) -> Self {
        let mut order: Vec<(usize, usize)> = Vec::with_capacity(calls.len() * 2);
        for (place, call) in calls.iter().enumerate() {
            order.push((call.invoked, place * 2));
            // What nobody knows the end of may happen at any later time: it has no end in the list.
            if let (Some(returned), Outcome::Ok(_)) = (call.returned, &call.outcome) {
                order.push((returned, place * 2 + 1));
            }
        }
        order.sort_unstable();
        let mut events = Self { next: vec![NONE; calls.len() * 2], previous: vec![NONE; calls.len() * 2], head: NONE };
        let mut last = NONE;
        for (_, event) in order {
            events.previous[event] = last;
            match last {
                NONE => events.head = event,
                before => events.next[before] = event,
            }
            last = event;
        }
        events
    }

    fn lift(&mut self, event: usize) {
        let (previous, next) = (self.previous[event], self.next[event]);
        match previous {
            NONE => self.head = next,
            before => self.next[before] = next,
        }
        if next != NONE {
            self.previous[next] = previous;
        }
    }

    fn put_back(&mut self, event: usize) {
        let (previous, next) = (self.previous[event], self.next[event]);
        match previous {
            NONE => self.head = event,
            before => self.next[before] = event,
        }
        if next != NONE {
            self.previous[next] = event;
        }
    }
}

/// A number for a call, so that sets of calls can be told apart by the exclusive or of theirs. Two sets of the same number are as likely as
/// a broken disk.
fn mark(place: usize) -> u128 {
    let mix = |seed: u64| {
        let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let place = place as u64;
    (u128::from(mix(place)) << 64) | u128::from(mix(place ^ 0x5555_5555_5555_5555))
}

/// Looks for an order of `calls`, beginning with `initial`. Gives up after so many steps of the model.
pub fn search<M: Model>(model: &M, initial: M::State, calls: &[&Call<M::Request, M::Answer>], max_steps: usize) -> Search {
    let mut events = Events::new(calls);
    let has_end: Vec<bool> = calls.iter().map(|call| matches!(call.outcome, Outcome::Ok(_)) && call.returned.is_some()).collect();
    let mut left = has_end.iter().filter(|end| **end).count();
    let mut seen: HashSet<(u128, M::State)> = HashSet::new();
    let mut order: Vec<(usize, M::State)> = Vec::new();
    let (mut state, mut set) = (initial, 0u128);
    let (mut deepest, mut steps) = ((0, 0), 0);
    let mut event = events.head;
    while left > 0 {
        if event != NONE && event.is_multiple_of(2) {
            let place = event / 2;
            let call = calls[place];
            steps += 1;
            if steps > max_steps {
                return Search::GaveUp;
            }
            let next = match &call.outcome {
                Outcome::Failed(_) => None,
                outcome => model.step(&state, &call.request, if let Outcome::Ok(answer) = outcome { Some(answer) } else { None }),
            };
            if let Some(next) = next.filter(|next| seen.insert((set ^ mark(place), next.clone()))) {
                order.push((place, std::mem::replace(&mut state, next)));
                set ^= mark(place);
                events.lift(event);
                if has_end[place] {
                    events.lift(event + 1);
                    left -= 1;
                }
                event = events.head;
            } else {
                event = events.next[event];
            }
            continue;
        }
        // An end was reached of a call that is not in the order yet, so something before it was chosen wrongly.
        if order.len() >= deepest.1 && event != NONE {
            deepest = (event / 2, order.len());
        }
        let Some((place, before)) = order.pop() else {
            return Search::Impossible { stuck: deepest.0, reached: deepest.1 };
        };
        state = before;
        set ^= mark(place);
        if has_end[place] {
            events.put_back(place * 2 + 1);
            left += 1;
        }
        events.put_back(place * 2);
        event = events.next[place * 2];
    }
    Search::Found(order.into_iter().map(|(place, _)| place).collect())
}

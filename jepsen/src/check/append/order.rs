//! The order of the writes of each key, from the longest list that was read, and what is wrong before any cycle is looked for.

use super::graph::{Graph, Why};
use super::{Judge, Micro, Txn, TxnCall};
use crate::history::Outcome;
use std::collections::{BTreeMap, HashMap, HashSet};

/// The orders of all keys.
pub(super) struct Orders<'a> {
    /// The longest list that was read of a key.
    longest: BTreeMap<&'a str, &'a [i64]>,
    /// Who appended what.
    writers: HashMap<(&'a str, i64), usize>,
    /// Transactions of which something was read.
    read: HashSet<usize>,
}

fn appends(txn: &Txn) -> impl Iterator<Item = (&str, i64)> {
    txn.0.iter().filter_map(|micro| if let Micro::Append(key, value) = micro { Some((key.as_str(), *value)) } else { None })
}

fn reads(txn: &Txn) -> impl Iterator<Item = (&str, &[i64])> {
    txn.0.iter().filter_map(|micro| if let Micro::Read(key, Some(values)) = micro { Some((key.as_str(), values.as_slice())) } else { None })
}

/// What a transaction read of the others: each list without what it had appended to it itself, the first one of a key.
fn outer_reads(txn: &Txn) -> Vec<(&str, &[i64])> {
    let mut own: HashMap<&str, usize> = HashMap::new();
    let mut seen: HashSet<&str> = HashSet::new();
    let mut outer = Vec::new();
    for micro in &txn.0 {
        match micro {
            Micro::Append(key, _) => *own.entry(key).or_default() += 1,
            Micro::Read(key, Some(values)) if seen.insert(key) => {
                let others = values.len().saturating_sub(own.get(key.as_str()).copied().unwrap_or(0));
                outer.push((key.as_str(), &values[..others]));
            }
            Micro::Read(..) => {}
        }
    }
    outer
}

impl<'a> Orders<'a> {
    pub(super) fn of(judge: &mut Judge, calls: &'a [TxnCall]) -> Self {
        let mut orders = Self { longest: BTreeMap::new(), writers: HashMap::new(), read: HashSet::new() };
        for (place, call) in calls.iter().enumerate() {
            for put in appends(&call.request) {
                if orders.writers.insert(put, place).is_some() {
                    judge.unsure(format!("{} was appended to {} twice, so nobody can say which was read", put.1, put.0), [call.invoked]);
                }
            }
        }
        for call in calls {
            let (Some(txn), Some(index)) = (call.answer(), call.returned) else { continue };
            if let Some(what) = inconsistent(txn) {
                judge.wrong(format!("internal: {what}"), [index]);
            }
            for (key, values) in reads(txn) {
                let longest = orders.longest.entry(key).or_default();
                if values.len() > longest.len() {
                    *longest = values;
                }
            }
        }
        for call in calls {
            let (Some(txn), Some(index)) = (call.answer(), call.returned) else { continue };
            reads(txn).for_each(|(key, values)| orders.compare(judge, calls, key, values, index));
            outer_reads(txn).into_iter().for_each(|(key, values)| orders.check_last(judge, calls, key, values, index));
        }
        let written = orders.longest.iter().flat_map(|(key, values)| values.iter().map(|value| (*key, *value)));
        orders.read = written.filter_map(|put| orders.writers.get(&put).copied()).collect();
        orders
    }

    pub(super) fn keys(&self) -> usize {
        self.longest.len()
    }

    pub(super) fn was_read(&self, place: usize) -> bool {
        self.read.contains(&place)
    }

    /// A list begins as the longest one does, so only that one is looked at element by element.
    fn compare(&self, judge: &mut Judge, calls: &[TxnCall], key: &str, values: &[i64], index: usize) {
        let longest = self.longest.get(key).copied().unwrap_or_default();
        if !longest.starts_with(values) {
            judge.wrong(format!("incompatible orders: {key} was read as {values:?} and as {longest:?}"), [index]);
        } else if !std::ptr::eq(longest, values) {
            return;
        }
        self.look(judge, calls, key, values, index);
    }

    /// Each element once, of somebody who appended it.
    fn look(&self, judge: &mut Judge, calls: &[TxnCall], key: &str, values: &[i64], index: usize) {
        let mut once = HashSet::new();
        for value in values {
            if !once.insert(value) {
                judge.wrong(format!("duplicate: {value} is in {key} twice"), [index]);
            }
            match self.writers.get(&(key, *value)).map(|place| &calls[*place]) {
                None => judge.wrong(format!("unexpected: {value} is in {key}, and nobody appended it"), [index]),
                Some(call) if matches!(call.outcome, Outcome::Failed(_)) => {
                    judge.wrong(format!("G1a: {value} is in {key}, and its transaction failed"), [call.invoked, index]);
                }
                Some(_) => {}
            }
        }
    }

    /// What others left: never between two appends of one transaction.
    fn check_last(&self, judge: &mut Judge, calls: &[TxnCall], key: &str, values: &[i64], index: usize) {
        let Some(value) = values.last() else { return };
        let Some(call) = self.writers.get(&(key, *value)).map(|place| &calls[*place]) else { return };
        let last = appends(&call.request).filter(|(other, _)| *other == key).last();
        if last.is_some_and(|(_, last)| last != *value) && call.returned != Some(index) {
            judge.wrong(format!("G1b: {key} was read with {value} at its end, in the middle of a transaction"), [call.invoked, index]);
        }
    }

    /// Says who comes before whom.
    pub(super) fn edges(&self, calls: &'a [TxnCall], graph: &mut Graph) {
        for (key, values) in &self.longest {
            let writers = values.iter().map(|value| self.writers.get(&(*key, *value)).copied()).collect::<Vec<_>>();
            for pair in writers.windows(2) {
                if let [Some(before), Some(after)] = pair {
                    graph.add(*before, *after, Why::WriteWrite);
                }
            }
        }
        let unread = self.unread(calls);
        for (place, call) in calls.iter().enumerate() {
            for (key, values) in call.answer().map(outer_reads).unwrap_or_default() {
                let writer = |value: &i64| self.writers.get(&(key, *value)).copied();
                if let Some(before) = values.last().and_then(writer) {
                    graph.add(before, place, Why::WriteRead);
                }
                let longest = self.longest.get(key).copied().unwrap_or_default();
                match longest.get(values.len()) {
                    Some(next) => writer(next).into_iter().for_each(|next| graph.add(place, next, Why::ReadWrite)),
                    // What nobody has read comes after all that somebody has.
                    None => unread.get(key).into_iter().flatten().for_each(|next| graph.add(place, *next, Why::ReadWrite)),
                }
            }
        }
        for (key, places) in unread {
            let last = self.longest.get(key).and_then(|values| values.last()).and_then(|value| self.writers.get(&(key, *value)));
            last.into_iter().for_each(|last| places.iter().for_each(|place| graph.add(*last, *place, Why::WriteWrite)));
        }
    }

    /// Acknowledged appends that nobody has read.
    fn unread(&self, calls: &'a [TxnCall]) -> HashMap<&'a str, Vec<usize>> {
        let seen: HashSet<(&str, i64)> = self.longest.iter().flat_map(|(key, values)| values.iter().map(|value| (*key, *value))).collect();
        let mut unread: HashMap<&str, Vec<usize>> = HashMap::new();
        for (place, call) in calls.iter().enumerate().filter(|(_, call)| call.answer().is_some()) {
            for (key, _) in appends(&call.request).filter(|put| !seen.contains(put)) {
                unread.entry(key).or_default().push(place);
            }
        }
        unread
    }
}

/// A transaction sees what it did itself, and one state of the rest.
fn inconsistent(txn: &Txn) -> Option<String> {
    let mut expected: HashMap<&str, Vec<i64>> = HashMap::new();
    let mut appended: HashMap<&str, Vec<i64>> = HashMap::new();
    for micro in &txn.0 {
        match micro {
            Micro::Append(key, value) => match expected.get_mut(key.as_str()) {
                Some(list) => list.push(*value),
                None => appended.entry(key).or_default().push(*value),
            },
            Micro::Read(key, Some(values)) => {
                if expected.get(key.as_str()).is_some_and(|expected| expected != values) {
                    return Some(format!("{key} was read as {values:?} where the transaction itself left {:?}", expected[key.as_str()]));
                }
                // From the first read on, `expected` holds the whole list.
                if let Some(own) = appended.remove(key.as_str()).filter(|own| !values.ends_with(own)) {
                    return Some(format!("{key} was read as {values:?} after the transaction had appended {own:?}"));
                }
                expected.insert(key, values.clone());
            }
            Micro::Read(_, None) => {}
        }
    }
    None
}

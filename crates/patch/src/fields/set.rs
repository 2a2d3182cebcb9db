//! [`FieldSet`]: a tree of field paths with the set operations that ownership needs.

use std::collections::BTreeMap;

use super::element;

/// A set of field paths. A path may be in the set without its parents, and a parent without its children.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    pub(super) entries: BTreeMap<Box<str>, Entry>,
}

/// One step of the tree: whether the path that ends here is in the set, and what lies below.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) member: bool,
    pub(super) below: FieldSet,
}

impl FieldSet {
    /// Whether no path is in the set.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds the path of struct fields `names`, for example `["spec", "replicas"]`.
    pub fn insert_fields(&mut self, names: &[&str]) {
        let Some((first, rest)) = names.split_first() else { return };
        let entry = self.entry(&element::field(first));
        if rest.is_empty() {
            entry.member = true;
        } else {
            entry.below.insert_fields(rest);
        }
    }

    /// Whether the path of struct fields `names` is in the set.
    pub(crate) fn has_fields(&self, names: &[&str]) -> bool {
        match names {
            [] => false,
            [last] => self.has_member(&element::field(last)),
            [first, rest @ ..] => self.below(&element::field(first)).is_some_and(|below| below.has_fields(rest)),
        }
    }

    /// Whether the single step is in the set.
    pub(crate) fn has_member(&self, step: &str) -> bool {
        self.find(step).is_some_and(|e| e.member)
    }

    /// What lies below `step`; `None` if nothing does.
    pub(crate) fn below(&self, step: &str) -> Option<&FieldSet> {
        self.find(step).map(|e| &e.below).filter(|b| !b.is_empty())
    }

    /// Puts `below` under `step`, and the step itself if `member`. Adds to what is there.
    pub(crate) fn put(&mut self, step: String, member: bool, below: FieldSet) {
        if !member && below.is_empty() {
            return;
        }
        let entry = self.entries.entry(step.into_boxed_str()).or_default();
        entry.member |= member;
        entry.below.union(below);
    }

    /// Adds every path of `other`.
    pub(crate) fn union(&mut self, other: FieldSet) {
        if self.entries.is_empty() {
            self.entries = other.entries;
            return;
        }
        for (step, theirs) in other.entries {
            let ours = self.entries.entry(step).or_default();
            ours.member |= theirs.member;
            ours.below.union(theirs.below);
        }
    }

    /// Takes away every path that is in `other`.
    pub(crate) fn subtract(&mut self, other: &FieldSet) {
        self.entries.retain(|step, ours| {
            if let Some(theirs) = other.find(step) {
                ours.member &= !theirs.member;
                ours.below.subtract(&theirs.below);
            }
            ours.member || !ours.below.is_empty()
        });
    }

    /// Takes away every path that is in `other` and everything below it.
    pub(crate) fn subtract_subtrees(&mut self, other: &FieldSet) {
        if other.is_empty() {
            return;
        }
        self.entries.retain(|step, ours| {
            if let Some(theirs) = other.find(step) {
                if theirs.member {
                    return false;
                }
                ours.below.subtract_subtrees(&theirs.below);
            }
            ours.member || !ours.below.is_empty()
        });
    }

    /// Keeps the paths that are in both.
    pub(crate) fn intersection(&self, other: &FieldSet) -> FieldSet {
        let mut both = FieldSet::default();
        for (step, ours) in &self.entries {
            if let Some(theirs) = other.find(step) {
                let below = ours.below.intersection(&theirs.below);
                let member = ours.member && theirs.member;
                if member || !below.is_empty() {
                    both.entries.insert(step.clone(), Entry { member, below });
                }
            }
        }
        both
    }

    /// Every path in the set, as people read it, parents first.
    pub fn paths(&self) -> Vec<String> {
        self.step_paths().iter().map(|steps| steps.iter().map(|s| element::display(s)).collect()).collect()
    }

    /// Every path in the set as its steps: at each level first the paths that end there, then the deeper ones.
    pub(crate) fn step_paths(&self) -> Vec<Vec<&str>> {
        fn walk<'a>(set: &'a FieldSet, prefix: &mut Vec<&'a str>, out: &mut Vec<Vec<&'a str>>) {
            for (step, _) in set.entries.iter().filter(|(_, entry)| entry.member) {
                let mut path = prefix.clone();
                path.push(step);
                out.push(path);
            }
            for (step, entry) in &set.entries {
                prefix.push(step);
                walk(&entry.below, prefix, out);
                prefix.pop();
            }
        }
        let mut out = Vec::new();
        walk(self, &mut Vec::new(), &mut out);
        out
    }

    pub(super) fn find(&self, step: &str) -> Option<&Entry> {
        self.entries.get(step)
    }

    pub(super) fn entry(&mut self, step: &str) -> &mut Entry {
        self.entries.entry(step.into()).or_default()
    }

    /// Walks from the root over the steps that `keep` refuses, taking each of them out of the set (not what lies below).
    pub(crate) fn retain_members(&mut self, keep: &mut dyn FnMut(&str) -> bool) {
        self.entries.retain(|step, entry| {
            if keep(step) {
                return true;
            }
            entry.member = false;
            entry.below.retain_members(keep);
            !entry.below.is_empty()
        });
    }

    /// Calls `visit` for each step of this level that has something below it; what it answers becomes membership.
    pub(crate) fn mark_parents(&mut self, visit: &mut dyn FnMut(&str, &mut FieldSet) -> bool) {
        for (step, entry) in &mut self.entries {
            if !entry.below.is_empty() && visit(step, &mut entry.below) {
                entry.member = true;
            }
        }
    }
}

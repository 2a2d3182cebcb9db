//! Removal of what a manager applied before and does not apply now, as far as nobody else owns it.

use serde_json::Value;

use crate::fields::{FieldSet, field};
use crate::typed::{Shape, Type, steps, to_set, with_named_parents};

/// Takes out of `merged` what is in `last` (the manager's former set) but in nobody's set now. `owned` is the union of
/// all managers' sets, the applying manager's new one included.
pub(crate) fn prune(of: Type<'_>, merged: Value, last: &FieldSet, owned: &FieldSet) -> Value {
    if last.is_empty() {
        return merged;
    }
    let last = with_named_parents(of, last.clone());
    let mut without_last = merged.clone();
    remove(of, &mut without_last, &last, Emptied::BecomesNull);

    let all = with_named_parents(of, to_set(of, &merged));
    let mut keep = with_named_parents(of, to_set(of, &without_last));
    let owned = with_named_parents(of, owned.clone());
    keep.union(owned.clone());
    let mut drop = all.clone();
    drop.subtract(&keep);
    let mut owned_only = merged.clone();
    remove(of, &mut owned_only, &drop, Emptied::BecomesNull);

    // What nobody owned but went along with a parent comes back, unless the manager had it.
    let mut drop = all;
    drop.subtract(&with_named_parents(of, to_set(of, &owned_only)));
    let mut drop = drop.intersection(&last);
    // A struct of which only an empty list is left has no path of its own then; its owner keeps it all the same.
    drop.subtract(&owned);
    let mut pruned = merged;
    remove(of, &mut pruned, &drop, Emptied::Goes);
    pruned
}

/// What becomes of a list or map that has nothing left in it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Emptied {
    /// It stays as a null, so that its own path is still there.
    BecomesNull,
    Goes,
}

/// Takes the paths of `set` out of `value`; answers false when `value` itself is to go.
fn remove(of: Type<'_>, value: &mut Value, set: &FieldSet, emptied: Emptied) -> bool {
    if set.is_empty() {
        return true;
    }
    let left = match (of.shape(value), &mut *value) {
        (Shape::Map, Value::Object(object)) => {
            object.retain(|name, value| {
                let step = field(name);
                if set.has_member(&step) {
                    return false;
                }
                set.below(&step).is_none_or(|below| remove(of.field(name).0, value, below, emptied))
            });
            !object.is_empty()
        }
        (shape @ (Shape::Set | Shape::Keyed(..)), Value::Array(list)) => {
            let Ok(steps) = steps(&shape, list) else { return true };
            let mut steps = steps.into_iter();
            list.retain_mut(|element| {
                let Some(step) = steps.next() else { return true };
                if set.has_member(&step) {
                    return false;
                }
                if let Some(below) = set.below(&step) {
                    remove(of.element(), element, below, emptied);
                }
                true
            });
            !list.is_empty()
        }
        (_, Value::Object(_) | Value::Array(_)) => false,
        _ => true,
    };
    if !left && emptied == Emptied::BecomesNull {
        *value = Value::Null;
        return true;
    }
    left
}

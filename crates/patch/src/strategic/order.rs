//! `$setElementOrder`: the order of a merged list.

use serde_json::Value;

/// Orders `merged`: elements that `order` names come in that order; the others, which only the server has, keep their
/// places relative to those by the list as it was `before`. `key` is the merge key for lists of objects.
pub(crate) fn arrange(merged: Vec<Value>, order: &[Value], before: &[Value], key: Option<&str>) -> Vec<Value> {
    let same = |a: &Value, b: &Value| match key {
        Some(key) => a.get(key).is_some() && a.get(key) == b.get(key),
        None => a == b,
    };
    let place = |list: &[Value], item: &Value| list.iter().position(|other| same(other, item));
    let (mut named, mut others): (Vec<Value>, Vec<Value>) = merged.into_iter().partition(|item| place(order, item).is_some());
    named.sort_by_key(|item| place(order, item));
    others.sort_by_key(|item| place(before, item).unwrap_or(usize::MAX));
    let mut out = Vec::with_capacity(named.len() + others.len());
    let mut named = named.into_iter().peekable();
    let mut others = others.into_iter().peekable();
    while let (Some(name), Some(other)) = (named.peek(), others.peek()) {
        let named_first = matches!((place(before, name), place(before, other)), (Some(n), Some(o)) if n < o);
        out.extend(if named_first { named.next() } else { others.next() });
    }
    out.extend(named);
    out.extend(others);
    out
}

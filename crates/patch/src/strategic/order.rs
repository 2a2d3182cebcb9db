//! `$setElementOrder`: the order of a merged list.

use std::collections::HashMap;

use serde_json::Value;

/// Orders `merged`: elements that `order` names come in that order; the others, which only the server has, keep their
/// places relative to those by the list as it was `before`. `key` is the merge key for lists of objects.
pub(crate) fn arrange(merged: Vec<Value>, order: &[Value], before: &[Value], key: Option<&str>) -> Vec<Value> {
    let (order, before) = (places(order, key), places(before, key));
    let mut named: Vec<(usize, Option<usize>, Value)> = Vec::with_capacity(merged.len());
    let mut others: Vec<(Option<usize>, Value)> = Vec::new();
    for item in merged {
        let id = identity(&item, key);
        let was = id.as_ref().and_then(|id| before.get(id)).copied();
        match id.as_ref().and_then(|id| order.get(id)) {
            Some(place) => named.push((*place, was, item)),
            None => others.push((was, item)),
        }
    }
    named.sort_by_key(|(place, ..)| *place);
    others.sort_by_key(|(was, _)| was.unwrap_or(usize::MAX));
    let mut out = Vec::with_capacity(named.len() + others.len());
    let mut named = named.into_iter().map(|(_, was, item)| (was, item)).peekable();
    let mut others = others.into_iter().peekable();
    while let (Some((name, _)), Some((other, _))) = (named.peek(), others.peek()) {
        let named_first = matches!((name, other), (Some(name), Some(other)) if name < other);
        out.extend(if named_first { named.next() } else { others.next() });
    }
    out.into_iter().chain(named).chain(others).map(|(_, item)| item).collect()
}

/// What makes an element the one it is: the value of its merge key, or itself. `None` for an element without the key.
pub(super) fn identity(item: &Value, key: Option<&str>) -> Option<String> {
    match key {
        Some(key) => item.get(key).filter(|id| !id.is_null()).map(Value::to_string),
        None => Some(item.to_string()),
    }
}

/// The first place of each element.
pub(super) fn places(list: &[Value], key: Option<&str>) -> HashMap<String, usize> {
    let mut places = HashMap::with_capacity(list.len());
    for (i, id) in list.iter().enumerate().filter_map(|(i, item)| Some((i, identity(item, key)?))) {
        places.entry(id).or_insert(i);
    }
    places
}

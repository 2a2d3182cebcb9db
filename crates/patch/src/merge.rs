//! The typed merge of server-side apply: what the applied configuration sets replaces what is live, granular parts by part.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::typed::{Shape, Type, steps};

/// Merges `applied` over `live`.
pub(crate) fn merge(of: Type<'_>, live: &Value, applied: &Value) -> Value {
    match (live, applied) {
        (Value::Object(l), Value::Object(a)) if matches!(of.shape(applied), Shape::Map) => Value::Object(merge_fields(of, l, a)),
        (Value::Array(l), Value::Array(a)) => {
            let shape = of.shape(applied);
            if matches!(shape, Shape::Leaf) || (l.is_empty() && a.is_empty()) {
                return applied.clone();
            }
            match (steps(&shape, l), steps(&shape, a)) {
                (Ok(l_steps), Ok(a_steps)) => Value::Array(merge_elements(of.element(), (l, &l_steps), (a, &a_steps))),
                _ => applied.clone(),
            }
        }
        // A null stands for an empty list or map, and merging nothing into something changes nothing.
        (Value::Object(_) | Value::Array(_), Value::Null) if !matches!(of.shape(live), Shape::Leaf) => live.clone(),
        _ => applied.clone(),
    }
}

fn merge_fields(of: Type<'_>, live: &Map<String, Value>, applied: &Map<String, Value>) -> Map<String, Value> {
    let mut out = Map::with_capacity(live.len().max(applied.len()));
    for (name, value) in live {
        let merged = match applied.get(name) {
            Some(theirs) => merge(of.field(name).0, value, theirs),
            None => value.clone(),
        };
        out.insert(name.clone(), merged);
    }
    for (name, value) in applied {
        if !live.contains_key(name) {
            out.insert(name.clone(), value.clone());
        }
    }
    out
}

/// Elements that both have come in the applied order; those that only the live list has keep their place among them.
fn merge_elements(of: Type<'_>, (live, live_steps): (&[Value], &[String]), (applied, applied_steps): (&[Value], &[String])) -> Vec<Value> {
    let mut out = Vec::with_capacity(live.len().max(applied.len()));
    let in_live = first_places(live_steps);
    let in_applied = first_places(applied_steps);
    // Of the configuration's elements those that are live too, in the configuration's order.
    let mut shared = (0..applied.len()).filter(|i| in_live.contains_key(applied_steps[*i].as_str())).peekable();
    let mut taken = 0;
    let take_to = |end: usize, taken: &mut usize, out: &mut Vec<Value>| {
        for at in *taken..end {
            out.push(match in_live.get(applied_steps[at].as_str()) {
                Some(i) => merge(of, &live[*i], &applied[at]),
                None => applied[at].clone(),
            });
        }
        *taken = end.max(*taken);
    };
    for (l, step) in live_steps.iter().enumerate() {
        let Some(wanted) = in_applied.get(step.as_str()) else {
            out.push(live[l].clone());
            continue;
        };
        // One that the configuration has later is met again when its turn comes.
        if shared.next_if_eq(wanted).is_some() {
            take_to(wanted + 1, &mut taken, &mut out);
        }
    }
    take_to(applied.len(), &mut taken, &mut out);
    out
}

fn first_places(steps: &[String]) -> HashMap<&str, usize> {
    let mut places = HashMap::with_capacity(steps.len());
    for (i, step) in steps.iter().enumerate() {
        places.entry(step.as_str()).or_insert(i);
    }
    places
}

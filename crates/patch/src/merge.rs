//! The typed merge of server-side apply: what the applied configuration sets replaces what is live, granular parts by part.

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
    let in_live = |step: &String| live_steps.iter().position(|s| s == step);
    let mut taken = 0;
    let take = |at: usize, out: &mut Vec<Value>| {
        let step = &applied_steps[at];
        out.push(match in_live(step) {
            Some(i) => merge(of, &live[i], &applied[at]),
            None => applied[at].clone(),
        });
    };
    let mut l = 0;
    while l < live.len() || taken < applied.len() {
        let Some(step) = live_steps.get(l) else {
            take(taken, &mut out);
            taken += 1;
            continue;
        };
        let Some(wanted) = applied_steps.iter().position(|s| s == step) else {
            out.push(live[l].clone());
            l += 1;
            continue;
        };
        if wanted < taken {
            l += 1; // merged already, at the place the configuration gives it
            continue;
        }
        // Where the next shared element of the configuration is another one, this one is met later.
        let next_shared = (taken..applied.len()).find(|i| in_live(&applied_steps[*i]).is_some());
        if next_shared != Some(wanted) {
            l += 1;
            continue;
        }
        while taken <= wanted {
            take(taken, &mut out);
            taken += 1;
        }
        l += 1;
    }
    out
}

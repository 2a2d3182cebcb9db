//! Transactions over lists that are only ever appended to: from what was read, the order of all writes follows, and with it every anomaly.

mod graph;
mod order;

use super::{Judge, Verdict};
use crate::history::{Call, History, Outcome};
use graph::{Cycle, Graph, Why};
use order::Orders;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The operation. Its request is a [`Txn`] with empty reads, its answer the same one with the lists that were read.
pub const TXN: &str = "txn";

/// A transaction: `[["append", "x", 1], ["r", "y", null]]`, and answered `[["append", "x", 1], ["r", "y", [2, 3]]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Txn(pub Vec<Micro>);

/// One step of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
pub enum Micro {
    /// `["append", key, value]`: puts a value, which nobody appends twice to a key, at the end of the key's list.
    Append(String, i64),
    /// `["r", key, null]`, or `["r", key, [values]]` when answered. The list of a key that is not there is empty.
    Read(String, Option<Vec<i64>>),
}

type Written = (String, String, Value);

impl From<Micro> for Written {
    fn from(micro: Micro) -> Self {
        match micro {
            Micro::Append(key, value) => ("append".into(), key, value.into()),
            Micro::Read(key, values) => ("r".into(), key, values.map_or(Value::Null, Value::from)),
        }
    }
}

impl TryFrom<Written> for Micro {
    type Error = serde_json::Error;

    fn try_from((what, key, value): Written) -> Result<Self, Self::Error> {
        match what.as_str() {
            "append" => Ok(Self::Append(key, serde_json::from_value(value)?)),
            "r" => Ok(Self::Read(key, serde_json::from_value(value)?)),
            _ => Err(serde::de::Error::custom(format!("no step of a transaction: {what}"))),
        }
    }
}

type TxnCall = Call<Txn, Txn>;

/// Judges the transactions of a history: whether they are strictly serializable.
pub fn check(history: &History) -> Verdict {
    let mut judge = Judge::new("append");
    let calls: Vec<TxnCall> = match history.calls(TXN) {
        Ok(calls) => calls,
        Err(error) => return Verdict::malformed("append", &error),
    };
    judge.checked(calls.len());
    let orders = Orders::of(&mut judge, &calls);
    let mut graph = Graph::new(calls.len());
    orders.edges(&calls, &mut graph);
    // What is known to have happened: acknowledged, or read by somebody.
    let spans: Vec<_> = calls
        .iter()
        .enumerate()
        .filter(|(place, call)| matches!(call.outcome, Outcome::Ok(_)) || orders.was_read(*place))
        .map(|(place, call)| (place, call.invoked, call.returned.filter(|_| matches!(call.outcome, Outcome::Ok(_)))))
        .collect();
    graph.add_time(&spans);
    for knot in graph.knots() {
        let Some((name, cycle)) = classify(&graph, &knot) else { continue };
        let told: Vec<String> = cycle.iter().map(|(place, why)| format!("{} {}", told(&calls[*place]), because(*why))).collect();
        let indexes = cycle.iter().flat_map(|(place, _)| std::iter::once(calls[*place].invoked).chain(calls[*place].returned));
        judge.wrong(format!("{name}: {} the first", told.join(" ")), indexes);
    }
    judge.stat("keys", orders.keys());
    judge.stat("unknown", calls.iter().filter(|call| matches!(call.outcome, Outcome::Unknown(_))).count());
    judge.verdict()
}

/// The worst anomaly of a knot, in the words of Adya and Elle, with its shortest cycle.
fn classify(graph: &Graph, knot: &[usize]) -> Option<(&'static str, Cycle)> {
    use Why::{ReadWrite, Time, WriteRead, WriteWrite};
    let kinds: [(&str, &[Why], bool); 8] = [
        ("G0", &[WriteWrite], false),
        ("G1c", &[WriteWrite, WriteRead], false),
        ("G-single", &[WriteWrite, WriteRead], true),
        ("G2", &[WriteWrite, WriteRead, ReadWrite], false),
        ("G0-realtime", &[WriteWrite, Time], false),
        ("G1c-realtime", &[WriteWrite, WriteRead, Time], false),
        ("G-single-realtime", &[WriteWrite, WriteRead, Time], true),
        ("G2-realtime", &[WriteWrite, WriteRead, ReadWrite, Time], false),
    ];
    kinds.into_iter().find_map(|(name, kinds, single)| Some((name, graph.cycle(knot, kinds, single)?)))
}

fn told(call: &TxnCall) -> String {
    let txn = call.answer().unwrap_or(&call.request);
    let steps: Vec<String> = txn
        .0
        .iter()
        .map(|micro| match micro {
            Micro::Append(key, value) => format!("{key}+={value}"),
            Micro::Read(key, Some(values)) => {
                let tail: Vec<String> = values.iter().rev().take(3).rev().map(i64::to_string).collect();
                format!("{key}={}[{}]", if values.len() > 3 { "…" } else { "" }, tail.join(" "))
            }
            Micro::Read(key, None) => format!("{key}=?"),
        })
        .collect();
    format!("({})", steps.join(", "))
}

fn because(why: Why) -> &'static str {
    match why {
        Why::WriteWrite => "wrote before",
        Why::WriteRead => "was read by",
        Why::ReadWrite => "did not read",
        Why::Time => "was over before",
    }
}

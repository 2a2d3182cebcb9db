//! Informers: who lists and then watches ends with what the store holds, and never sees an object go back.

use super::{Judge, Verdict};
use crate::history::{Call, History, Malformed};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// An informer's cache, as it is now. Its request is an [`Informer`], its answer a [`Cache`].
pub const INFORMER: &str = "informer";
/// What the store holds: a list that is not stale, made when nothing is written any more. Its request is a [`Truth`], its answer a [`Cache`].
pub const TRUTH: &str = "truth";

/// `{"informer": "s1-pods-0", "resource": "pods"}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Informer {
    /// Which informer: a name for the run. One that begins anew, with a list, after its process died has a new name.
    pub informer: String,
    /// What it informs about; compared with the truth of the same name.
    #[serde(default)]
    pub resource: String,
}

/// `{"resource": "pods"}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Truth {
    /// What was listed.
    #[serde(default)]
    pub resource: String,
}

/// `{"revision": 40, "objects": {"default/a": 31}}`, and for an informer what it was told since it was last asked:
/// `"seen": [["default/a", 30], ["default/a", 31]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    /// The revision of it: of a list its resourceVersion, of an informer the highest that it has heard of.
    pub revision: i64,
    /// The resourceVersion of each object.
    pub objects: BTreeMap<String, i64>,
    /// Objects and their resourceVersions in the order in which they were told; a deletion has the revision of the deletion.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<(String, i64)>,
}

/// What an informer said, and the entry that says it.
type Report<'a> = (&'a Call<Informer, Cache>, &'a Cache, usize);

/// Judges the informers of a history.
pub fn check(history: &History) -> Verdict {
    judge(history).unwrap_or_else(|error| Verdict::malformed("informer", &error))
}

fn judge(history: &History) -> Result<Verdict, Malformed> {
    let mut judge = Judge::new("informer");
    let caches: Vec<Call<Informer, Cache>> = history.calls(INFORMER)?;
    let truths: Vec<Call<Truth, Cache>> = history.calls(TRUTH)?;
    let mut informers: BTreeMap<&str, Vec<Report<'_>>> = BTreeMap::new();
    for call in &caches {
        let (Some(cache), Some(index)) = (call.answer(), call.returned) else { continue };
        judge.checked(1);
        informers.entry(&call.request.informer).or_default().push((call, cache, index));
    }
    let mut last_truths: BTreeMap<&str, (&Call<Truth, Cache>, &Cache, usize)> = BTreeMap::new();
    for call in &truths {
        if let (Some(truth), Some(index)) = (call.answer(), call.returned) {
            last_truths.insert(&call.request.resource, (call, truth, index));
        }
    }
    for (name, reports) in &informers {
        check_one_way(&mut judge, name, reports);
        let Some((call, cache, index)) = reports.last() else { continue };
        match last_truths.get(call.request.resource.as_str()) {
            None => judge.unsure(format!("{name}: nobody said what the store holds in the end"), [*index]),
            // One that has heard of as much must agree, whenever it says so; one that says so later must have heard of as much.
            Some((truth_call, truth, shows)) if cache.revision >= truth.revision || call.begun > truth_call.begun => {
                check_end(&mut judge, name, cache, truth, [*shows, *index]);
            }
            Some((_, _, shows)) => judge.unsure(format!("{name} was last asked before the end"), [*shows, *index]),
        }
    }
    judge.stat("informers", informers.len());
    Ok(judge.verdict())
}

fn check_end(judge: &mut Judge, name: &str, cache: &Cache, truth: &Cache, indexes: [usize; 2]) {
    let mut differences = Vec::new();
    for (key, version) in &truth.objects {
        match cache.objects.get(key) {
            Some(has) if has == version => {}
            Some(has) => differences.push(format!("{key} at {has} instead of {version}")),
            None => differences.push(format!("not {key}")),
        }
    }
    let more = cache.objects.keys().filter(|key| !truth.objects.contains_key(*key));
    differences.extend(more.map(|key| format!("{key}, which is gone")));
    if !differences.is_empty() {
        let count = differences.len();
        differences.truncate(5);
        judge.wrong(format!("{name} ends with {count} objects that are not the store's: it has {}", differences.join(", ")), indexes);
    }
}

/// What an informer is told of an object goes one way.
fn check_one_way(judge: &mut Judge, name: &str, reports: &[Report<'_>]) {
    let mut latest: HashMap<&str, (i64, usize)> = HashMap::new();
    let mut revision = (0, 0);
    for (_, cache, index) in reports {
        if cache.revision < revision.0 {
            judge.wrong(format!("{name} went back from revision {} to {}", revision.0, cache.revision), [revision.1, *index]);
        }
        revision = (cache.revision, *index);
        let seen = cache.seen.iter().map(|(key, version)| (key, version));
        for (key, version) in seen.chain(&cache.objects) {
            let before = latest.entry(key).or_insert((0, *index));
            if *version < before.0 {
                judge.wrong(format!("{name} saw {key} at {version} after it saw it at {}", before.0), [before.1, *index]);
            }
            *before = (before.0.max(*version), *index);
        }
    }
}

//! Conflicts of server-side apply, and the words in which they are told.

use std::collections::BTreeMap;

use tricorn_meta::{Status, StatusCause};

use crate::fields::{FieldSet, display};
use crate::managed::Entry;

/// A field that the apply would change and that another manager owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The owner, as it is told to people: `"kubectl" using apps/v1`.
    pub owner: String,
    /// The field: `.spec.replicas`.
    pub path: String,
}

/// All conflicts of one apply, never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflicts(pub Vec<Conflict>);

/// Conflicts still as sets, one for each other manager.
pub(crate) struct Contested<'a> {
    pub(crate) owner: &'a Entry,
    pub(crate) fields: FieldSet,
}

impl Conflicts {
    pub(crate) fn tell(contested: &[Contested<'_>]) -> Conflicts {
        let mut conflicts = Vec::new();
        for one in contested {
            let owner = describe(one.owner);
            for steps in one.fields.step_paths() {
                conflicts.push(Conflict { owner: owner.clone(), path: steps.iter().map(|s| display(s)).collect() });
            }
        }
        Conflicts(conflicts)
    }

    /// The 409 that the client sees.
    pub fn to_status(&self) -> Status {
        let causes = self
            .0
            .iter()
            .map(|c| StatusCause {
                reason: "FieldManagerConflict".into(),
                message: format!("conflict with {}", c.owner),
                field: c.path.clone(),
            })
            .collect();
        Status::apply_conflict(self.message(), causes)
    }

    fn message(&self) -> String {
        if let [only] = self.0.as_slice() {
            return format!("Apply failed with 1 conflict: conflict with {}: {}", only.owner, only.path);
        }
        let mut by_owner: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for conflict in &self.0 {
            by_owner.entry(&conflict.owner).or_default().push(&conflict.path);
        }
        let mut lines = Vec::new();
        for (owner, paths) in by_owner {
            lines.push(format!("conflicts with {owner}:"));
            lines.extend(paths.iter().map(|p| format!("- {p}")));
        }
        format!("Apply failed with {} conflicts: {}", self.0.len(), lines.join("\n"))
    }
}

fn describe(owner: &Entry) -> String {
    let mut told = format!("{:?}", owner.manager);
    if !owner.subresource.is_empty() {
        told.push_str(&format!(" with subresource {:?}", owner.subresource));
    }
    if !owner.applied {
        told.push_str(&format!(" using {}", owner.api_version));
    }
    told
}

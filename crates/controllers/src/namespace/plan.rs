//! What a namespace that cannot be emptied yet says about itself.

use std::collections::BTreeMap;

/// Objects that are still there after they were asked to go.
#[derive(Clone, Debug)]
pub(super) struct Leftover {
    pub(super) resource: String,
    pub(super) count: usize,
    pub(super) finalizers: Vec<String>,
}

/// A condition without its time.
#[derive(Debug, PartialEq)]
pub(super) struct Wanted {
    pub(super) kind: &'static str,
    pub(super) status: &'static str,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

fn wanted(kind: &'static str, trouble: bool, reasons: [&'static str; 2], messages: [String; 2]) -> Wanted {
    let [bad, good] = reasons;
    let [bad_text, good_text] = messages;
    if trouble {
        Wanted { kind, status: "True", reason: bad, message: bad_text }
    } else {
        Wanted { kind, status: "False", reason: good, message: good_text }
    }
}

/// The five conditions of a namespace that is being deleted.
pub(super) fn conditions(left: &[Leftover], failure: Option<String>, complete: bool) -> Vec<Wanted> {
    let remaining: Vec<String> = left.iter().map(|left| format!("{} has {} resource instances", left.resource, left.count)).collect();
    let mut by_finalizer: BTreeMap<&str, usize> = BTreeMap::new();
    for finalizer in left.iter().flat_map(|left| &left.finalizers) {
        *by_finalizer.entry(finalizer).or_insert(0) += 1;
    }
    let holding: Vec<String> = by_finalizer.iter().map(|(name, count)| format!("{name} in {count} resource instances")).collect();
    vec![
        wanted(
            "NamespaceDeletionDiscoveryFailure",
            !complete,
            ["DiscoveryFailed", "ResourcesDiscovered"],
            ["Discovery failed for some groups".to_owned(), "All resources successfully discovered".to_owned()],
        ),
        Wanted {
            kind: "NamespaceDeletionGroupVersionParsingFailure",
            status: "False",
            reason: "ParsedGroupVersions",
            message: "All legacy kube types successfully parsed".to_owned(),
        },
        wanted(
            "NamespaceDeletionContentFailure",
            failure.is_some(),
            ["ContentDeletionFailed", "ContentDeleted"],
            [
                format!("Failed to delete all resource types, 1 remaining: {}", failure.unwrap_or_default()),
                "All content successfully deleted, may be waiting on finalization".to_owned(),
            ],
        ),
        wanted(
            "NamespaceContentRemaining",
            !remaining.is_empty(),
            ["SomeResourcesRemain", "ContentRemoved"],
            [format!("Some resources are remaining: {}", remaining.join(", ")), "All content successfully removed".to_owned()],
        ),
        wanted(
            "NamespaceFinalizersRemaining",
            !holding.is_empty(),
            ["SomeFinalizersRemain", "ContentHasNoFinalizers"],
            [
                format!("Some content in the namespace has finalizers remaining: {}", holding.join(", ")),
                "All content-preserving finalizers finished".to_owned(),
            ],
        ),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn what_remains_is_told() {
        let left = [Leftover { resource: "pods".into(), count: 2, finalizers: vec!["example.com/hold".into(); 2] }];
        let all = conditions(&left, None, true);
        let of = |kind: &str| all.iter().find(|wanted| wanted.kind == kind).unwrap();
        assert_eq!(of("NamespaceContentRemaining").message, "Some resources are remaining: pods has 2 resource instances");
        assert_eq!(of("NamespaceContentRemaining").status, "True");
        assert!(of("NamespaceFinalizersRemaining").message.ends_with("example.com/hold in 2 resource instances"));
        assert_eq!(of("NamespaceDeletionDiscoveryFailure").status, "False");
        assert_eq!(of("NamespaceDeletionContentFailure").reason, "ContentDeleted");
    }
}

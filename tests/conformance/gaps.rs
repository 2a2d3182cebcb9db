//! What is known to be missing, each with its reason. A gap that is closed must be taken off here: one that nothing falls into fails the suite.

/// A case, words of what is wrong with it, and why it is so.
pub const GAPS: &[(&str, &str, &str)] = &[];

/// The gap that a failure falls into.
pub fn of(failure: &str) -> Option<usize> {
    GAPS.iter().position(|(case, words, _)| failure.starts_with(&format!("{case}: {words}")))
}

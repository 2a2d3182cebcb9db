//! How long work tells what it is doing.

/// Hears about each step of starting a cluster.
pub trait Progress: Send + Sync {
    /// A step begins; the one before it is done.
    fn step(&self, what: &str);
    /// Something worth a line of its own.
    fn note(&self, what: &str);
}

/// Says nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, what: &str) {
        tracing::debug!(step = what);
    }

    fn note(&self, what: &str) {
        tracing::debug!(note = what);
    }
}

//! The kinds of load.

/// A kind of load on a Kubernetes API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ApiLoad {
    /// Create every ConfigMap
    Create,
    /// Read every one
    Get,
    /// List all of them in one answer
    List,
    /// List all of them, 500 at a time
    ListPaged,
    /// List the tenth of them that has a label
    ListSelected,
    /// Replace every one, with the resourceVersion that it was last seen with
    Update,
    /// Merge a field into every one
    Patch,
    /// Three reads of random ones for each patch of a random one
    Mixed,
    /// Deliver every write of the namespace to many watches
    Watch,
    /// Delete every one
    Delete,
}

impl ApiLoad {
    /// All of them, in the order in which they make sense.
    pub const ALL: [Self; 10] = [
        Self::Create,
        Self::Get,
        Self::List,
        Self::ListPaged,
        Self::ListSelected,
        Self::Update,
        Self::Patch,
        Self::Mixed,
        Self::Watch,
        Self::Delete,
    ];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Get => "get",
            Self::List => "list",
            Self::ListPaged => "list-paged",
            Self::ListSelected => "list-selected",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Mixed => "mixed",
            Self::Watch => "watch",
            Self::Delete => "delete",
        }
    }

    /// Whether one operation answers many objects.
    pub(super) fn lists(self) -> bool {
        matches!(self, Self::List | Self::ListPaged | Self::ListSelected)
    }
}

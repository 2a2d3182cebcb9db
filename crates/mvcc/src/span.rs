//! Ranges of keys as etcd writes them.

/// The keys that `key` and `range_end` of a request mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span<'a> {
    /// Exactly this key.
    One(&'a [u8]),
    /// This key and all after it.
    From(&'a [u8]),
    /// From the first up to but without the second.
    Until(&'a [u8], &'a [u8]),
}

impl<'a> Span<'a> {
    /// An empty `range_end` means one key, a single zero byte means all from `key` on.
    #[must_use]
    pub fn new(key: &'a [u8], range_end: &'a [u8]) -> Self {
        match range_end {
            [] => Self::One(key),
            [0] => Self::From(key),
            end => Self::Until(key, end),
        }
    }

    /// Whether `key` lies inside.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::One(only) => *only == key,
            Self::From(start) => key >= *start,
            Self::Until(start, end) => key >= *start && key < *end,
        }
    }

    /// Whether the two have a key in common.
    #[must_use]
    pub fn overlaps(&self, other: &Span<'_>) -> bool {
        match (self, other) {
            (Self::One(key), other) => other.contains(key),
            (this, Span::One(key)) => this.contains(key),
            (this, other) => {
                !this.is_empty()
                    && !other.is_empty()
                    && other.end().is_none_or(|end| this.start() < end)
                    && this.end().is_none_or(|end| other.start() < end)
            }
        }
    }

    /// The first key that can be inside.
    #[must_use]
    pub fn start(&self) -> &'a [u8] {
        match self {
            Self::One(key) | Self::From(key) | Self::Until(key, _) => key,
        }
    }

    /// The first key after an interval; none for one key and for an open end.
    fn end(&self) -> Option<&'a [u8]> {
        match self {
            Self::Until(_, end) => Some(end),
            _ => None,
        }
    }

    /// Whether no key can be inside.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Until(start, end) if start >= end)
    }
}

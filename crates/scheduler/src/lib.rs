//! Queue, cache, pure placement, binder.

//! The admission chain.

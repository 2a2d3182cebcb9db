//! JSON, merge, strategic and apply patches.

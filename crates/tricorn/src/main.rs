//! Kubernetes in one binary, standing on three corners.

fn main() {}

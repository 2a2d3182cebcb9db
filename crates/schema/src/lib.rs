//! What every Kubernetes kind looks like.

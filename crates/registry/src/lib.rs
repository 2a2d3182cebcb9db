//! Kubernetes objects in the store.

//! Pods on a node through CRI.

//! Kubernetes vocabulary without I/O.

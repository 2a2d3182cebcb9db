//! etcd v3 over gRPC on top of the store.

//! etcd's state machine, sans-IO.

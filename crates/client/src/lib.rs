//! One kube::Client, in process or over TLS, and the leader-bound runner.

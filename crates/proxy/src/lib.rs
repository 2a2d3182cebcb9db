//! Services to iptables: a pure compiler and an applier.

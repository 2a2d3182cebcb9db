//! Hosts in network namespaces and clusters on them.

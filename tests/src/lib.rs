//! Whole-binary tests of Tricorn: real clusters on testbed hosts, driven by real clients.

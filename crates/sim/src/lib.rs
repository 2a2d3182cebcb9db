//! The store under a seeded, deterministic simulation: whole members, with Raft, log, state, watches and leases, on a network, disks
//! and a clock that are simulated, while everything fails that may.
//!
//! One seed is one run: the same seed plays the same, to the last step. An onlooker ([`tower`]) sees what members write to their
//! disks and what clients are told, keeps a ledger of what the group has decided ([`ledger`]), and asks [`invariants`]. This crate
//! stands outside of what it checks: it knows the store by its public face and by what it writes, and shares with it only the state
//! machine, which has tests of its own.

pub mod clients;
pub mod dice;
pub mod disk;
pub mod entropy;
pub mod event;
pub mod invariants;
pub mod ledger;
pub mod link;
pub mod nemesis;
pub mod network;
pub mod plan;
pub mod run;
pub mod runner;
pub mod tower;
pub mod trace;
pub mod watching;
pub mod world;

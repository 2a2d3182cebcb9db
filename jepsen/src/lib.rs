//! The consistency suite: it drives real clusters with real clients while it breaks their hosts, notes what the clients saw, and checks
//! whether that can have happened.
//!
//! It knows servers by their APIs alone, and must never link one: what it finds is then true of any server that speaks the API. Checkers
//! know no socket and no clock: a history that was written down is checked like one that was just made.

pub mod check;
mod end;
pub mod history;
pub mod kv;
pub mod logs;
pub mod nemesis;
pub mod report;
pub mod run;
pub mod shim;
pub mod target;
pub mod workload;

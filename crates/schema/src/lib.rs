//! What every Kubernetes kind looks like: its fields and how they merge, its defaults, its rules, how it is listed and
//! described. It must never know a socket, a file, a clock or a store: every function is a function of its inputs, and a moment in
//! time is an argument.

pub mod catalog;
pub mod columns;
pub mod custom;
pub mod defaults;
pub mod discovery;
pub mod fields;
pub mod kinds;
pub mod mismatch;
pub mod node;
pub mod normal;
pub mod openapi;
pub mod openapi_proto;
pub mod protobuf;
pub mod structure;
pub mod usage;

pub use catalog::{Catalog, Resource, Subresource, catalog, definition_name, definitions};
pub use mismatch::{Mismatch, mismatches};
pub use node::{Definitions, Kind, ListType, MapType, Node, PatchStrategies};
pub use normal::normalize;
pub use structure::prune;

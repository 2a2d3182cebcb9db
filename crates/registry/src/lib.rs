//! Kubernetes objects in the store.
//!
//! This room knows where an object lives (`/registry/...`, laid out as upstream lays it out), how it is written down, how it is
//! changed without losing anybody else's change, and how it is listed and watched cheaply: every resource that somebody asked for has
//! one cache, fed by one watch of the store, in which an object is the text that is served, and is parsed once for all who look into it.
//!
//! It must never know HTTP, verbs, users, defaults or validation: what is handed in is what gets stored.

mod cache;
mod codec;
mod continuation;
mod encodings;
mod error;
mod head;
mod keys;
mod leases;
mod list;
mod object;
mod registry;
mod watch;
mod write;

pub use cache::{Cache, Change, ChangeKind};
pub use continuation::Continuation;
pub use encodings::Encoding;
pub use keys::StoredResource;
pub use list::{ListQuery, Listing, Paged, Predicate, Version};
pub use object::Object;
pub use registry::Registry;
pub use tricorn_store::Store;
pub use watch::{Batch, Watch, WatchEvent};
pub use write::{Step, WriteOptions};

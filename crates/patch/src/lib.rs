//! How one JSON object becomes another: JSON patch, merge patch, strategic merge patch and server-side apply,
//! and who owns which field of the result (`metadata.managedFields`).
//!
//! This crate must never know where objects are stored, who is asking, or what time it is: the time of a write
//! is an argument. It knows kinds only through [`tricorn_schema::Node`], so built-in and custom resources take the same road.
//!
//! - [`json_patch`], [`merge_patch`], [`strategic_merge`]: the three patches that carry no ownership.
//! - [`apply`]: server-side apply; answers the merged object with its managed fields, or the conflicts.
//! - [`to_scale`] and [`from_scale`]: the same for the Scale of an object, which shares the object's ownership.
//! - [`track_update`]: called on every other write, before admission, to move changed fields to the writer.

mod apply;
mod compare;
mod conflict;
mod fields;
mod json;
mod managed;
mod merge;
mod prune;
mod reset;
mod scale;
mod strategic;
mod track;
mod typed;
mod validate;

pub use apply::apply;
pub use conflict::{Conflict, Conflicts};
pub use fields::FieldSet;
pub use json::{MAX_JSON_PATCH_OPERATIONS, json_patch, merge_patch};
pub use managed::{MAX_UPDATE_MANAGERS, Writer};
pub use reset::reset_fields;
pub use scale::{from_scale, to_scale};
pub use strategic::strategic_merge;
pub use track::track_update;

//! Kubernetes vocabulary without I/O: names, kinds, selectors, quantities, timestamps, and the `Status` that
//! every refusal becomes. It must never know a socket, a file, a clock or a store: a moment in time is always
//! an argument, and every function is a function of its inputs.

pub mod field;
pub mod field_selector;
pub mod gvk;
pub mod json;
pub mod label_selector;
pub mod names;
pub mod quantity;
pub mod status;
pub mod time;
pub mod user;

pub use field::{FieldError, FieldErrorType, FieldPath};
pub use field_selector::FieldSelector;
pub use gvk::{GroupVersionKind, GroupVersionResource};
pub use label_selector::LabelSelector;
pub use quantity::Quantity;
pub use status::{Reason, Status, StatusCause, StatusDetails};
pub use time::Timestamp;
pub use user::UserInfo;

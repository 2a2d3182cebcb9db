//! Custom resources: CustomResourceDefinitions become endpoints, and say so in their status.

mod columns;
mod kind;
mod lifecycle;

pub(crate) use kind::CustomKind;
pub(crate) use lifecycle::run;

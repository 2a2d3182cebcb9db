//! Which addresses stand behind a Service: EndpointSlices, and the older Endpoints objects.

mod backends;
pub(crate) mod legacy;
mod plan;
pub(crate) mod slices;

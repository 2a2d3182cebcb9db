//! CBOR (`application/cbor`) and the JSON that it stands for, both ways, by the rules of upstream's `runtime/serializer/cbor`.
//!
//! What is written is deterministic, as RFC 8949 section 4.2.1 has it, and begins with the tag 55799 by which CBOR is known. Texts are
//! written as byte strings, and both are read: clients do not check that texts are valid, and say so in this way.

mod decode;
mod encode;

#[cfg(test)]
mod tests;

pub(crate) use decode::decode;
pub(crate) use encode::{encode_item, encode_list, seal, write_event};

/// The media type of one item.
pub(crate) const MEDIA_TYPE: &str = "application/cbor";
/// The media type of a stream of items, one after the other: a watch.
pub(crate) const SEQUENCE: &str = "application/cbor-seq";

/// The head of the tag around every whole body and every event of a stream.
const SELF_DESCRIBED: [u8; 3] = [0xd9, 0xd9, 0xf7];

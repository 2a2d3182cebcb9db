//! What is around every object: the magic bytes and `runtime.Unknown`.

use super::decode::{DecodeError, Problem};
use super::wire::{Malformed, Reader};

/// What every body begins with.
const MAGIC: &[u8] = b"k8s\0";

/// An opened envelope.
pub(super) struct Envelope<'a> {
    pub(super) api_version: String,
    pub(super) kind: String,
    /// The object's own message.
    pub(super) raw: &'a [u8],
}

/// Opens the envelope: `{1: {1: apiVersion, 2: kind}, 2: raw, 3: contentEncoding, 4: contentType}`.
pub(super) fn open(body: &[u8]) -> Result<Envelope<'_>, DecodeError> {
    let Some(unknown) = body.strip_prefix(MAGIC) else { return Err(DecodeError::no_magic()) };
    let mut envelope = Envelope { api_version: String::new(), kind: String::new(), raw: &[] };
    each(unknown, "runtime.Unknown", |tag, bytes| {
        match tag {
            1 => each(bytes, "runtime.TypeMeta", |tag, bytes| {
                match tag {
                    1 => envelope.api_version = text(bytes, "runtime.TypeMeta", "apiVersion")?,
                    2 => envelope.kind = text(bytes, "runtime.TypeMeta", "kind")?,
                    _ => {}
                }
                Ok(())
            })?,
            2 => envelope.raw = bytes,
            // Nothing ever sets it; bytes in an encoding that is not known cannot be read.
            3 if !bytes.is_empty() => return Err(DecodeError::at("runtime.Unknown", "contentEncoding", Problem::Encoding)),
            _ => {}
        }
        Ok(())
    })?;
    if envelope.kind.is_empty() || envelope.api_version.is_empty() {
        return Err(DecodeError::no_kind());
    }
    Ok(envelope)
}

/// Calls `with` for each field of a message that has only strings, bytes and messages. Those of other forms are passed over.
fn each<'a>(
    bytes: &'a [u8],
    message: &'static str,
    mut with: impl FnMut(u32, &'a [u8]) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let mut reader = Reader::new(bytes);
    let wrong = |malformed: Malformed| DecodeError::at(message, "", Problem::Malformed(malformed));
    while let Some(tag) = reader.tag().map_err(wrong)? {
        let value = reader.value(tag).map_err(wrong)?;
        match (tag.number, value.bytes()) {
            (number, Ok(bytes)) => with(number, bytes)?,
            (1..=4, Err(malformed)) => return Err(wrong(malformed)),
            _ => {}
        }
    }
    Ok(())
}

fn text(bytes: &[u8], message: &'static str, field: &'static str) -> Result<String, DecodeError> {
    let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::at(message, field, Problem::Utf8))?;
    Ok(text.to_owned())
}

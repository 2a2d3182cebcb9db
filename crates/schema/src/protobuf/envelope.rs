//! What is around every object: the magic bytes and `runtime.Unknown`; and around the objects of a list or a watch.

use super::decode::{DecodeError, Problem};
use super::wire::{Malformed, Reader, Writer, field_length};

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

/// Puts the envelope around an object's message, as upstream writes it: all four of its fields, the last two empty.
pub(super) fn seal(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(sealed_length(api_version, kind, raw.len()));
    seal_into(api_version, kind, raw.len(), &mut out, |out| out.extend_from_slice(raw));
    out
}

/// The same, where `with` appends the `length` bytes of the message.
pub(super) fn seal_into(api_version: &str, kind: &str, length: usize, out: &mut Vec<u8>, with: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(MAGIC);
    let mut writer = Writer::new(out);
    writer.open(1, type_length(api_version, kind));
    writer.bytes(1, api_version.as_bytes());
    writer.bytes(2, kind.as_bytes());
    writer.open(2, length);
    with(out);
    let mut writer = Writer::new(out);
    writer.bytes(3, b"");
    writer.bytes(4, b"");
}

/// The whole length of what [`seal`] makes.
fn sealed_length(api_version: &str, kind: &str, length: usize) -> usize {
    MAGIC.len() + field_length(1, type_length(api_version, kind)) + field_length(2, length) + field_length(3, 0) + field_length(4, 0)
}

fn type_length(api_version: &str, kind: &str) -> usize {
    field_length(1, api_version.len()) + field_length(2, kind.len())
}

/// Appends one event of a watch: four bytes of length, then a `meta.v1.WatchEvent`, `{1: type, 2: {1: the sealed object}}`, which has no
/// envelope of its own.
pub(super) fn frame(event: &str, api_version: &str, kind: &str, raw: &[u8], out: &mut Vec<u8>) {
    let object = sealed_length(api_version, kind, raw.len());
    let extension = field_length(1, object);
    let length = field_length(1, event.len()) + field_length(2, extension);
    // Nothing that fits into the store is longer than four bytes can say.
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    let mut writer = Writer::new(out);
    writer.bytes(1, event.as_bytes());
    writer.open(2, extension);
    writer.open(1, object);
    seal_into(api_version, kind, raw.len(), out, |out| out.extend_from_slice(raw));
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

//! JSON into messages, by the table: the way back from `decode`. The same JSON always makes the same bytes: fields stand in the order of
//! their tags, entries of maps in the order of their keys.
//!
//! Go's types write a field that is not a pointer even when it is zero. What is not in the JSON is not written here: whoever reads it into
//! those types has the same zero either way.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use tricorn_meta::Timestamp;

use super::table::{Field, Form, Message, Shape, Type, table};
use super::wire::Writer;

/// Why an object has no protobuf form.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The kind has none: custom kinds, and documents that are no kind.
    #[error("object {kind} does not implement the protobuf marshalling interface and cannot be encoded to a protobuf message")]
    NoMessage {
        /// The kind, as upstream's text would show its type.
        kind: String,
    },
    /// A value is not of its field's type, which somebody else than the API server must have written.
    #[error("{place}: {problem}")]
    Mismatch {
        /// `Message.field`.
        place: String,
        /// What is wrong.
        problem: &'static str,
    },
}

/// The object's message.
pub(super) fn object(message: &Message, object: &Map<String, Value>) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::with_capacity(512);
    fields(message, object, &mut Writer::new(&mut out))?;
    Ok(out)
}

fn fields(message: &Message, object: &Map<String, Value>, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    for field in message.fields() {
        let place = Place { message, field };
        if field.shape == Shape::Inline {
            if let Type::Message(at) = field.of
                && let Some(inner) = table().message(at)
            {
                out.message(field.tag, |out| fields(inner, object, out))?;
            }
            continue;
        }
        match object.get(field.name) {
            None | Some(Value::Null) => {}
            Some(value) => shaped(place, value, out)?,
        }
    }
    Ok(())
}

fn shaped(place: Place<'_>, value: &Value, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    let tag = place.field.tag;
    match place.field.shape {
        Shape::One | Shape::Inline => one(place, tag, value, out),
        Shape::List => {
            let items = value.as_array().ok_or_else(|| place.wrong("a list is expected"))?;
            items.iter().try_for_each(|item| one(place, tag, item, out))
        }
        Shape::Map => {
            let map = value.as_object().ok_or_else(|| place.wrong("a map is expected"))?;
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            for (key, value) in entries {
                out.message(tag, |out| {
                    out.bytes(1, key.as_bytes());
                    one(place, 2, value, out)
                })?;
            }
            Ok(())
        }
    }
}

/// One value of a field, under `tag`. Null stands for the zero of its type, as items and entries may have it.
fn one(place: Place<'_>, tag: u32, value: &Value, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    match place.field.of {
        Type::String => out.bytes(tag, text(place, value)?.as_bytes()),
        Type::Bytes => out.bytes(tag, &base64(place, value)?),
        Type::Json => out.bytes(tag, &serde_json::to_vec(value).map_err(|_| place.wrong("the value cannot be written"))?),
        Type::Bool => {
            let on = value.as_bool().or(value.is_null().then_some(false)).ok_or_else(|| place.wrong("a boolean is expected"))?;
            out.varint(tag, u64::from(on));
        }
        Type::Int32 => {
            let number = i32::try_from(int(place, value)?).map_err(|_| place.wrong("the number is out of range"))?;
            out.varint(tag, i64::from(number) as u64);
        }
        Type::Int64 => out.varint(tag, int(place, value)? as u64),
        Type::Double => {
            let number = value.as_f64().or(value.is_null().then_some(0.0)).ok_or_else(|| place.wrong("a number is expected"))?;
            out.fixed64(tag, number.to_bits());
        }
        Type::Message(at) => {
            if let Some(inner) = table().message(at) {
                out.message(tag, |out| message(place, inner, value, out))?;
            }
        }
    }
    Ok(())
}

fn message(place: Place<'_>, message: &Message, value: &Value, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    match (message.form, value) {
        // The zero of every message is the empty one.
        (_, Value::Null) => Ok(()),
        (Form::Object, Value::Object(object)) => fields(message, object, out),
        (Form::Object, _) => Err(place.wrong("an object is expected")),
        (Form::Bare, value) => bare(place, message, value, out),
        (Form::Time | Form::MicroTime, value) => {
            let moment = value.as_str().and_then(Timestamp::parse).ok_or_else(|| place.wrong("a time is expected"))?;
            out.varint(1, moment.seconds() as u64);
            // A time has whole seconds, as upstream reads it from JSON.
            let nanos = if message.form == Form::Time { 0 } else { moment.nanos() / 1000 * 1000 };
            out.varint(2, u64::from(nanos));
            Ok(())
        }
        (Form::IntOrString, value) => {
            let (which, number, text) = match value {
                Value::String(text) => (1, 0, text.as_str()),
                number => (0, int(place, number)?, ""),
            };
            let number = i32::try_from(number).map_err(|_| place.wrong("the number is out of range"))?;
            out.varint(1, which);
            out.varint(2, i64::from(number) as u64);
            out.bytes(3, text.as_bytes());
            Ok(())
        }
    }
}

/// A value whose message has it in the field that takes values like it.
fn bare(place: Place<'_>, message: &Message, value: &Value, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    let takes = |field: &&Field| match (field.shape, field.of) {
        (Shape::List, _) => value.is_array(),
        (_, Type::Json) => true,
        // A quantity may be written as a number.
        (_, Type::String) => value.is_string() || value.is_number(),
        (_, Type::Bool) => value.is_boolean(),
        (_, Type::Message(_)) => value.is_object(),
        _ => false,
    };
    let field = message.fields().iter().find(takes).ok_or_else(|| place.wrong("the value is of no type that is expected"))?;
    // A schema in the place of a boolean says yes: Go's type has both then.
    for other in message.fields().iter().filter(|other| other.of == Type::Bool && other.tag < field.tag) {
        out.varint(other.tag, 1);
    }
    let inner = Place { message, field };
    match value {
        Value::Number(number) if field.of == Type::String => {
            out.bytes(field.tag, number.to_string().as_bytes());
            Ok(())
        }
        value => shaped(inner, value, out),
    }
}

/// Where the encoder is, for errors.
#[derive(Clone, Copy)]
struct Place<'a> {
    message: &'a Message,
    field: &'a Field,
}

impl Place<'_> {
    fn wrong(self, problem: &'static str) -> EncodeError {
        EncodeError::Mismatch { place: format!("{}.{}", self.message.short_name(), self.field.name), problem }
    }
}

fn text<'a>(place: Place<'_>, value: &'a Value) -> Result<&'a str, EncodeError> {
    match value {
        Value::String(text) => Ok(text),
        Value::Null => Ok(""),
        _ => Err(place.wrong("a text is expected")),
    }
}

fn int(place: Place<'_>, value: &Value) -> Result<i64, EncodeError> {
    value.as_i64().or(value.is_null().then_some(0)).ok_or_else(|| place.wrong("a whole number is expected"))
}

fn base64(place: Place<'_>, value: &Value) -> Result<Vec<u8>, EncodeError> {
    let text = text(place, value)?;
    // Lines are allowed to be broken, as Go allows it.
    let decoded = STANDARD.decode(text).or_else(|_| STANDARD.decode(text.replace(['\r', '\n'], "")));
    decoded.map_err(|_| place.wrong("base64 is expected"))
}

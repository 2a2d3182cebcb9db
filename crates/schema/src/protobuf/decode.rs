//! Messages into JSON, by the table. Nesting and the number of values are bounded, so that neither the stack nor the memory depends on
//! what somebody sends.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value};
use tricorn_meta::Timestamp;

use super::table::{Field, Form, Message, Shape, Type, table};
use super::wire::{Malformed, Raw, Reader};

/// No object nests deeper than this, in levels of JSON: what is stored has to be read again, and JSON readers stop at 128.
const MAX_DEPTH: usize = 120;
/// No object has more values than this. A value takes more memory here than its two bytes on the wire.
const MAX_VALUES: usize = 500_000;
/// The seconds of 0001-01-01T00:00:00Z and of 9999-12-31T23:59:59Z.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(String);

/// What is wrong with a field.
#[derive(Clone, Copy, Debug)]
pub(super) enum Problem {
    Malformed(Malformed),
    Utf8,
    Json,
    Range,
    TooDeep,
    TooMany,
    Encoding,
}

impl Problem {
    fn text(self) -> String {
        let text = match self {
            Self::Malformed(Malformed::Truncated) => "the message ends too early",
            Self::Malformed(Malformed::Varint) => "a number is longer than 64 bits",
            Self::Malformed(Malformed::Tag) => "a tag is out of range",
            Self::Malformed(Malformed::WireType(wire)) => return format!("unexpected wire type {wire}"),
            Self::Utf8 => "the text is not valid UTF-8",
            Self::Json => "the embedded object is not valid JSON",
            Self::Range => "the value is out of range",
            Self::TooDeep => return format!("the object nests deeper than {MAX_DEPTH} levels"),
            Self::TooMany => return format!("the object has more than {MAX_VALUES} values"),
            Self::Encoding => "content encodings are not supported",
        };
        text.to_owned()
    }
}

impl DecodeError {
    /// `problem` with a field, or with the message as a whole if `field` is empty.
    pub(super) fn at(message: &str, field: &str, problem: Problem) -> Self {
        let dot = if field.is_empty() { "" } else { "." };
        Self(format!("{message}{dot}{field}: {}", problem.text()))
    }

    pub(super) fn unknown_kind(api_version: &str, kind: &str) -> Self {
        Self(format!("no kind {kind:?} is registered for version {api_version:?}"))
    }

    pub(super) fn no_magic() -> Self {
        Self("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]".to_owned())
    }

    pub(super) fn no_kind() -> Self {
        Self("Object 'Kind' or 'apiVersion' is missing in the protobuf message".to_owned())
    }
}

/// Reads the object of a body into `out`.
pub(super) fn object(message: &Message, bytes: &[u8], out: &mut Map<String, Value>) -> Result<(), DecodeError> {
    Decoder { left: MAX_VALUES }.fields(message, bytes, out, 1)
}

/// What is still allowed.
struct Decoder {
    left: usize,
}

impl Decoder {
    /// Reads the fields of a message into the object, which is `depth` levels deep and may already have some of them.
    fn fields(&mut self, message: &Message, bytes: &[u8], out: &mut Map<String, Value>, depth: usize) -> Result<(), DecodeError> {
        let mut reader = Reader::new(bytes);
        let wrong = |malformed| DecodeError::at(message.short_name(), "", Problem::Malformed(malformed));
        while let Some(tag) = reader.tag().map_err(wrong)? {
            let Some(field) = message.field(tag.number) else {
                reader.value(tag).map_err(wrong)?;
                continue;
            };
            let place = Place { message, field };
            let raw = reader.value(tag).map_err(|malformed| place.malformed(malformed))?;
            self.spend(place, 1)?;
            match field.shape {
                Shape::One => self.one(place, raw, out, depth)?,
                Shape::List => {
                    let list = out.entry(field.name).or_insert_with(|| Value::Array(Vec::new()));
                    if let Value::Array(list) = list {
                        self.item(place, raw, list, deeper(place, depth)?)?;
                    }
                }
                Shape::Map => {
                    let map = out.entry(field.name).or_insert_with(|| Value::Object(Map::new()));
                    if let Value::Object(map) = map {
                        self.entry(place, raw, map, deeper(place, depth)?)?;
                    }
                }
                Shape::Inline => {
                    let bytes = raw.bytes().map_err(|malformed| place.malformed(malformed))?;
                    if let Type::Message(at) = field.of
                        && let Some(inner) = table().message(at)
                    {
                        // Not a level of JSON, but one of the stack.
                        self.fields(inner, bytes, out, deeper(place, depth)?)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// A field that is there once. If it comes twice, protobuf merges messages and lets the last of other values win.
    fn one(&mut self, place: Place<'_>, raw: Raw<'_>, out: &mut Map<String, Value>, depth: usize) -> Result<(), DecodeError> {
        let name = place.field.name;
        let before = match out.get_mut(name) {
            Some(value @ Value::Object(_)) => value.take(),
            _ => Value::Null,
        };
        let value = self.value(place, raw, before, depth)?;
        if value.is_null() || (place.field.omit_zero && is_zero(&value)) {
            out.remove(name);
        } else {
            out.insert(name.to_owned(), value);
        }
        Ok(())
    }

    fn item(&mut self, place: Place<'_>, raw: Raw<'_>, list: &mut Vec<Value>, depth: usize) -> Result<(), DecodeError> {
        let numbers = matches!(place.field.of, Type::Int32 | Type::Int64 | Type::Bool);
        if let (true, Raw::Bytes(packed)) = (numbers, raw) {
            let mut reader = Reader::new(packed);
            while let Some(number) = reader.packed().map_err(|malformed| place.malformed(malformed))? {
                self.spend(place, 1)?;
                list.push(self.value(place, Raw::Varint(number), Value::Null, depth)?);
            }
            return Ok(());
        }
        list.push(self.value(place, raw, Value::Null, depth)?);
        Ok(())
    }

    /// An entry of a map: `{1: key, 2: value}`, either of which may be missing, and is then empty.
    fn entry(&mut self, place: Place<'_>, raw: Raw<'_>, map: &mut Map<String, Value>, depth: usize) -> Result<(), DecodeError> {
        let wrong = |malformed| place.malformed(malformed);
        let mut reader = Reader::new(raw.bytes().map_err(wrong)?);
        let (mut key, mut value) = ("", Raw::Bytes(&[]));
        while let Some(tag) = reader.tag().map_err(wrong)? {
            let raw = reader.value(tag).map_err(wrong)?;
            match tag.number {
                1 => key = text(place, raw)?,
                2 => value = raw,
                _ => {}
            }
        }
        let value = self.value(place, value, Value::Null, depth)?;
        map.insert(key.to_owned(), value);
        Ok(())
    }

    /// One value; `before` is the object that a message is merged into. Null is what JSON has no value for.
    fn value(&mut self, place: Place<'_>, raw: Raw<'_>, before: Value, depth: usize) -> Result<Value, DecodeError> {
        let wrong = |malformed| place.malformed(malformed);
        Ok(match place.field.of {
            Type::String => Value::from(text(place, raw)?),
            Type::Bytes => Value::from(STANDARD.encode(raw.bytes().map_err(wrong)?)),
            Type::Json => self.json(place, raw.bytes().map_err(wrong)?, depth)?,
            Type::Bool => Value::from(raw.varint().map_err(wrong)? != 0),
            // Negative numbers are written in 64 bits, of which Go takes the lower half.
            Type::Int32 => Value::from(raw.varint().map_err(wrong)? as i32),
            Type::Int64 => Value::from(raw.varint().map_err(wrong)? as i64),
            Type::Double => double(place, raw)?,
            Type::Message(at) => match table().message(at) {
                Some(message) => self.message(place, message, raw.bytes().map_err(wrong)?, before, depth)?,
                None => Value::Null,
            },
        })
    }

    fn message(&mut self, place: Place<'_>, message: &Message, bytes: &[u8], before: Value, depth: usize) -> Result<Value, DecodeError> {
        let mut fields = match before {
            Value::Object(fields) if message.form == Form::Object => fields,
            _ => Map::new(),
        };
        self.fields(message, bytes, &mut fields, deeper(place, depth)?)?;
        let int = |name: &str| fields.get(name).and_then(Value::as_i64).unwrap_or(0);
        Ok(match message.form {
            Form::Object => Value::Object(fields),
            Form::Bare => bare(message, fields),
            // Go's zero time is an empty message.
            Form::Time | Form::MicroTime if bytes.is_empty() => Value::Null,
            Form::Time | Form::MicroTime => time(message.form, int("seconds"), int("nanos")).ok_or_else(|| place.wrong(Problem::Range))?,
            Form::IntOrString => match int("type") {
                0 => Value::from(int("intVal")),
                1 => fields.remove("strVal").unwrap_or_else(|| Value::from("")),
                _ => return Err(place.wrong(Problem::Range)),
            },
        })
    }

    /// Bytes that are JSON; none stand for null.
    fn json(&mut self, place: Place<'_>, bytes: &[u8], depth: usize) -> Result<Value, DecodeError> {
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        let value = serde_json::from_slice(bytes).map_err(|_| place.wrong(Problem::Json))?;
        self.count(place, &value, depth)?;
        Ok(value)
    }

    /// Counts the values of embedded JSON, which is at most as deep as its reader allowed.
    fn count(&mut self, place: Place<'_>, value: &Value, depth: usize) -> Result<(), DecodeError> {
        self.spend(place, 1)?;
        match value {
            Value::Array(items) => {
                let depth = deeper(place, depth)?;
                items.iter().try_for_each(|item| self.count(place, item, depth))
            }
            Value::Object(fields) => {
                let depth = deeper(place, depth)?;
                fields.values().try_for_each(|field| self.count(place, field, depth))
            }
            _ => Ok(()),
        }
    }

    fn spend(&mut self, place: Place<'_>, values: usize) -> Result<(), DecodeError> {
        self.left = self.left.checked_sub(values).ok_or_else(|| place.wrong(Problem::TooMany))?;
        Ok(())
    }
}

/// Where the decoder is, for errors.
#[derive(Clone, Copy)]
struct Place<'a> {
    message: &'a Message,
    field: &'a Field,
}

impl Place<'_> {
    fn wrong(self, problem: Problem) -> DecodeError {
        let field = if self.field.shape == Shape::Inline { "" } else { self.field.name };
        DecodeError::at(self.message.short_name(), field, problem)
    }

    fn malformed(self, malformed: Malformed) -> DecodeError {
        self.wrong(Problem::Malformed(malformed))
    }
}

fn deeper(place: Place<'_>, depth: usize) -> Result<usize, DecodeError> {
    if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(place.wrong(Problem::TooDeep)) }
}

fn text<'a>(place: Place<'_>, raw: Raw<'a>) -> Result<&'a str, DecodeError> {
    let bytes = raw.bytes().map_err(|malformed| place.malformed(malformed))?;
    std::str::from_utf8(bytes).map_err(|_| place.wrong(Problem::Utf8))
}

/// A number; whole ones are written without a fraction, as Go does. JSON has neither infinity nor NaN.
fn double(place: Place<'_>, raw: Raw<'_>) -> Result<Value, DecodeError> {
    let Raw::Fixed64(bits) = raw else { return Err(place.malformed(Malformed::WireType(raw.wire_type()))) };
    let number = f64::from_bits(bits);
    if number.fract() == 0.0 && number.abs() < 1e15 {
        return Ok(Value::from(number as i64));
    }
    Number::from_f64(number).map(Value::Number).ok_or_else(|| place.wrong(Problem::Range))
}

fn time(form: Form, seconds: i64, nanos: i64) -> Option<Value> {
    if !SECONDS.contains(&seconds) || !(0..1_000_000_000).contains(&nanos) {
        return None;
    }
    let text = Timestamp::from_seconds(seconds).rfc3339();
    Some(match form {
        // A time has whole seconds in JSON, so upstream drops the rest here too.
        Form::Time => Value::from(text),
        _ => Value::from(format!("{}.{:06}Z", text.trim_end_matches('Z'), nanos / 1000)),
    })
}

/// The value of the last field that is there. A list that is not there is empty, and so is a text.
fn bare(message: &Message, mut fields: Map<String, Value>) -> Value {
    let present = message.fields().iter().rev().find_map(|field| fields.remove(field.name));
    present.unwrap_or_else(|| match message.fields() {
        [only] if only.shape == Shape::List => Value::Array(Vec::new()),
        [only] if only.of == Type::String => Value::from(""),
        _ => Value::Null,
    })
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Bool(on) => !on,
        Value::Number(number) => number.as_i64() == Some(0),
        _ => false,
    }
}

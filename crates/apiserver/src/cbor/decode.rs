//! CBOR into JSON. Nesting and the number of values are bounded, so that neither the stack nor the memory depends on what somebody sends.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ciborium_ll::{Decoder, Header, simple, tag};
use serde_json::{Map, Number, Value};
use std::fmt::Write;
use tricorn_meta::Timestamp;

/// No item nests deeper than this, tags included, as upstream has it.
const MAX_DEPTH: usize = 64;
/// No body has more values than this. A value takes more memory here than its byte on the wire.
const MAX_VALUES: usize = 500_000;
/// Strings are read in pieces of this many bytes.
const PIECE_BYTES: usize = 4096;

/// The tags that say as what text bytes would be written: as base64 for URLs, base64, or hexadecimal digits.
const LATER_BASE64URL: u64 = 21;
const LATER_BASE64: u64 = 22;
const LATER_BASE16: u64 = 23;
/// The tags of moments: as text, and as seconds since 1970.
const TIME_TEXT: u64 = 0;
const TIME_SECONDS: u64 = 1;

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("cbor: the data ends too early or is malformed near byte {0}")]
    Malformed(usize),
    #[error("cbor: {0} bytes of extraneous data after the item")]
    Trailing(usize),
    #[error("cbor: invalid UTF-8 string")]
    Utf8,
    #[error("cbor: exceeded max nested level {MAX_DEPTH}")]
    TooDeep,
    #[error("cbor: exceeded max number of values {MAX_VALUES}")]
    TooMany,
    #[error("cbor: found duplicate map key {0:?}")]
    Duplicate(String),
    #[error("cbor: map keys have to be strings")]
    Key,
    #[error("cbor: {0} is not supported")]
    Unsupported(&'static str),
}

const TOO_LARGE: DecodeError = DecodeError::Unsupported("a number beyond 64 bits");

/// Reads a whole body: one item and nothing after it.
///
/// # Errors
/// Bytes that are no CBOR; items that JSON has nothing for; keys that come twice; objects that nest deeper or hold more values than any
/// real one.
pub(crate) fn decode(body: &[u8]) -> Result<Value, DecodeError> {
    let mut reader = Reader { decoder: Decoder::from(body), left: MAX_VALUES, size: body.len(), buffer: [0; PIECE_BYTES] };
    let header = reader.pull()?;
    let value = reader.item(header, MAX_DEPTH)?;
    match reader.unread() {
        0 => Ok(value),
        left => Err(DecodeError::Trailing(left)),
    }
}

struct Reader<'a> {
    decoder: Decoder<&'a [u8]>,
    /// What is still allowed.
    left: usize,
    /// Of the whole body.
    size: usize,
    /// Here rather than where strings are read, which may be many levels of the stack down.
    buffer: [u8; PIECE_BYTES],
}

impl Reader<'_> {
    fn pull(&mut self) -> Result<Header, DecodeError> {
        self.decoder.pull().map_err(|_| self.malformed())
    }

    fn malformed(&mut self) -> DecodeError {
        DecodeError::Malformed(self.decoder.offset())
    }

    fn unread(&mut self) -> usize {
        self.size.saturating_sub(self.decoder.offset())
    }

    /// The item that a header begins; `depth` is how many levels it may have.
    fn item(&mut self, header: Header, depth: usize) -> Result<Value, DecodeError> {
        self.left = self.left.checked_sub(1).ok_or(DecodeError::TooMany)?;
        Ok(match header {
            Header::Positive(number) => Value::from(signed(number)?),
            // CBOR counts down from -1.
            Header::Negative(number) => Value::from(!signed(number)?),
            Header::Float(number) => Number::from_f64(number).map(Value::Number).ok_or(DecodeError::Unsupported("infinity or NaN"))?,
            Header::Simple(simple::FALSE) => Value::Bool(false),
            Header::Simple(simple::TRUE) => Value::Bool(true),
            Header::Simple(simple::NULL) => Value::Null,
            Header::Simple(_) => return Err(DecodeError::Unsupported("a simple value other than false, true and null")),
            Header::Bytes(_) | Header::Text(_) => Value::String(self.text(header)?),
            Header::Array(length) => self.array(length, deeper(depth)?)?,
            Header::Map(length) => self.map(length, deeper(depth)?)?,
            Header::Tag(number) => self.tagged(number, deeper(depth)?)?,
            Header::Break => return Err(self.malformed()),
        })
    }

    fn array(&mut self, length: Option<usize>, depth: usize) -> Result<Value, DecodeError> {
        let mut items = Vec::new();
        while length != Some(items.len()) {
            match self.pull()? {
                Header::Break if length.is_none() => break,
                header => items.push(self.item(header, depth)?),
            }
        }
        Ok(Value::Array(items))
    }

    fn map(&mut self, length: Option<usize>, depth: usize) -> Result<Value, DecodeError> {
        let mut fields = Map::new();
        // Every key is another one, so their number is how far it has come.
        while length != Some(fields.len()) {
            let name = match self.pull()? {
                Header::Break if length.is_none() => break,
                header @ (Header::Bytes(_) | Header::Text(_)) => self.text(header)?,
                _ => return Err(DecodeError::Key),
            };
            let header = self.pull()?;
            let value = self.item(header, depth)?;
            if fields.contains_key(&name) {
                return Err(DecodeError::Duplicate(name));
            }
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }

    /// What is in a tag. Tags that are not known are passed over.
    fn tagged(&mut self, number: u64, depth: usize) -> Result<Value, DecodeError> {
        let header = self.pull()?;
        match (number, header) {
            (LATER_BASE64URL, Header::Bytes(length)) => Ok(Value::from(URL_SAFE_NO_PAD.encode(self.bytes(length)?))),
            (LATER_BASE64, Header::Bytes(length)) => Ok(Value::from(STANDARD.encode(self.bytes(length)?))),
            (LATER_BASE16, Header::Bytes(length)) => Ok(Value::from(hexadecimal(&self.bytes(length)?))),
            (TIME_TEXT, header) => match self.item(header, depth)? {
                Value::String(text) if Timestamp::parse(&text).is_some() => Ok(Value::String(text)),
                _ => Err(DecodeError::Unsupported("a time that is not RFC 3339")),
            },
            (TIME_SECONDS, header) => moment(&self.item(header, depth)?),
            (tag::BIGPOS | tag::BIGNEG, _) => Err(TOO_LARGE),
            (_, header) => self.item(header, depth),
        }
    }

    /// A byte or text string as text.
    fn text(&mut self, header: Header) -> Result<String, DecodeError> {
        match header {
            Header::Bytes(length) => String::from_utf8(self.bytes(length)?).map_err(|_| DecodeError::Utf8),
            Header::Text(length) => {
                let at = self.decoder.offset();
                let mut text = String::new();
                let mut segments = self.decoder.text(length);
                while let Some(mut segment) = segments.pull().map_err(|error| text_error(&error, at))? {
                    while let Some(piece) = segment.pull(&mut self.buffer).map_err(|error| text_error(&error, at))? {
                        text.push_str(piece);
                    }
                }
                Ok(text)
            }
            _ => Err(self.malformed()),
        }
    }

    fn bytes(&mut self, length: Option<usize>) -> Result<Vec<u8>, DecodeError> {
        let at = self.decoder.offset();
        let mut bytes = Vec::new();
        let mut segments = self.decoder.bytes(length);
        while let Some(mut segment) = segments.pull().map_err(|_| DecodeError::Malformed(at))? {
            while let Some(piece) = segment.pull(&mut self.buffer).map_err(|_| DecodeError::Malformed(at))? {
                bytes.extend_from_slice(piece);
            }
        }
        Ok(bytes)
    }
}

/// What is wrong with a text: there is less of it than it says, or it is not UTF-8.
fn text_error<T>(error: &ciborium_ll::Error<T>, at: usize) -> DecodeError {
    match error {
        ciborium_ll::Error::Io(_) => DecodeError::Malformed(at),
        ciborium_ll::Error::Syntax(_) => DecodeError::Utf8,
    }
}

fn deeper(depth: usize) -> Result<usize, DecodeError> {
    depth.checked_sub(1).ok_or(DecodeError::TooDeep)
}

fn signed(number: u64) -> Result<i64, DecodeError> {
    i64::try_from(number).map_err(|_| TOO_LARGE)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    })
}

/// Seconds since 1970 as the text that JSON has for them.
fn moment(seconds: &Value) -> Result<Value, DecodeError> {
    const WRONG: DecodeError = DecodeError::Unsupported("a time beyond the years 1 to 9999");
    /// The seconds of 0001-01-01T00:00:00Z and of 9999-12-31T23:59:59Z.
    const SECONDS: std::ops::RangeInclusive<f64> = -62_135_596_800.0..=253_402_300_799.0;
    let number = seconds.as_f64().filter(|number| SECONDS.contains(number)).ok_or(WRONG)?;
    let whole = Timestamp::from_seconds(number.floor() as i64).rfc3339();
    let nanos = ((number - number.floor()) * 1e9) as u32;
    if nanos == 0 {
        return Ok(Value::from(whole));
    }
    let fraction = format!("{nanos:09}");
    Ok(Value::from(format!("{}.{}Z", whole.trim_end_matches('Z'), fraction.trim_end_matches('0'))))
}

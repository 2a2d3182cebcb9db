//! Protobuf's wire format: tags, varints and lengths, read and written. Nothing of Kubernetes is known here, and reading allocates nothing.

/// What is wrong with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    /// They end in the middle of something, or a length says more than there is.
    Truncated,
    /// A varint that is longer than 64 bits.
    Varint,
    /// A tag that is no tag: 0, or beyond 29 bits.
    Tag,
    /// A wire type that is not used, or not the one of the field.
    WireType(u8),
}

/// A value as it stands on the wire.
#[derive(Clone, Copy, Debug)]
pub(super) enum Raw<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

impl<'a> Raw<'a> {
    /// The number of the wire type.
    pub(super) fn wire_type(self) -> u8 {
        match self {
            Self::Varint(_) => 0,
            Self::Fixed64(_) => 1,
            Self::Bytes(_) => 2,
            Self::Fixed32 => 5,
        }
    }

    pub(super) fn varint(self) -> Result<u64, Malformed> {
        match self {
            Self::Varint(value) => Ok(value),
            other => Err(Malformed::WireType(other.wire_type())),
        }
    }

    pub(super) fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            other => Err(Malformed::WireType(other.wire_type())),
        }
    }
}

/// What is left to read of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next tag; `None` at the end of the message.
    pub(super) fn tag(&mut self) -> Result<Option<Tag>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        match u32::try_from(key >> 3) {
            Ok(number) if number > 0 && number < 1 << 29 => Ok(Some(Tag { number, wire: (key & 7) as u8 })),
            _ => Err(Malformed::Tag),
        }
    }

    /// The value after a tag. Groups are refused: nothing of Kubernetes has them.
    pub(super) fn value(&mut self, tag: Tag) -> Result<Raw<'a>, Malformed> {
        Ok(match tag.wire {
            0 => Raw::Varint(self.varint()?),
            1 => {
                let (bytes, rest) = self.rest.split_first_chunk::<8>().ok_or(Malformed::Truncated)?;
                self.rest = rest;
                Raw::Fixed64(u64::from_le_bytes(*bytes))
            }
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed::Truncated)?;
                let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Malformed::Truncated)?;
                self.rest = rest;
                Raw::Bytes(bytes)
            }
            5 => {
                let (_, rest) = self.rest.split_first_chunk::<4>().ok_or(Malformed::Truncated)?;
                self.rest = rest;
                Raw::Fixed32
            }
            other => return Err(Malformed::WireType(other)),
        })
    }

    /// A varint without a tag, as in packed lists; `None` at the end.
    pub(super) fn packed(&mut self) -> Result<Option<u64>, Malformed> {
        if self.rest.is_empty() { Ok(None) } else { self.varint().map(Some) }
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or(Malformed::Truncated)?;
            self.rest = rest;
            // The tenth byte has room for one bit only.
            if shift == 63 && *byte > 1 {
                return Err(Malformed::Varint);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed::Varint)
    }
}

/// Which field follows, and in which of the wire's forms.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tag {
    pub(super) number: u32,
    pub(super) wire: u8,
}

/// Appends a message's fields to bytes.
pub(super) struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    pub(super) fn varint(&mut self, tag: u32, value: u64) {
        self.head(tag, 0);
        put_varint(self.out, value);
    }

    pub(super) fn fixed64(&mut self, tag: u32, bits: u64) {
        self.head(tag, 1);
        self.out.extend_from_slice(&bits.to_le_bytes());
    }

    pub(super) fn bytes(&mut self, tag: u32, bytes: &[u8]) {
        self.open(tag, bytes.len());
        self.out.extend_from_slice(bytes);
    }

    /// The head of a field of so many bytes, which the caller appends.
    pub(super) fn open(&mut self, tag: u32, length: usize) {
        self.head(tag, 2);
        put_varint(self.out, length as u64);
    }

    /// A field that is a message, written by `with`. One byte is kept for its length; a longer one is made room for afterwards, which
    /// moves the message once, and is cheaper than to measure everything before.
    pub(super) fn message<E>(&mut self, tag: u32, with: impl FnOnce(&mut Writer<'_>) -> Result<(), E>) -> Result<(), E> {
        self.head(tag, 2);
        let at = self.out.len();
        self.out.push(0);
        with(&mut Writer::new(self.out))?;
        let length = self.out.len() - at - 1;
        match self.out.get_mut(at) {
            Some(short) if length < 0x80 => *short = length as u8,
            _ => {
                let mut long = Vec::with_capacity(MAX_VARINT_BYTES);
                put_varint(&mut long, length as u64);
                self.out.splice(at..=at, long);
            }
        }
        Ok(())
    }

    fn head(&mut self, tag: u32, wire: u8) {
        put_varint(self.out, u64::from(tag) << 3 | u64::from(wire));
    }
}

/// 64 bits by seven.
const MAX_VARINT_BYTES: usize = 10;

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The length of a field of so many bytes, its head included.
pub(super) fn field_length(tag: u32, length: usize) -> usize {
    varint_length(u64::from(tag) << 3) + varint_length(length as u64) + length
}

fn varint_length(value: u64) -> usize {
    // One byte for every seven bits, and one for zero.
    (70 - (value | 1).leading_zeros() as usize) / 7
}

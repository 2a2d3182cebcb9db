//! Lets clients in that send a URL where HTTP/2 wants an authority.
//!
//! etcd 3.4's clients, etcdctl among them, put `http://HOST:PORT` into `:authority` when they ask one member for its status, a hash or
//! a snapshot, and Go's gRPC servers take it. Ours would end the stream with a protocol error before any code of ours sees it. So on
//! connections in the clear the bytes of header blocks are looked at as they come in, and `://` in such a value becomes three letters
//! that a host name may have. The value keeps its length, also in Huffman's code, so that both ends keep the same HPACK table
//! (RFC 7541, section 5.2 and appendix B; RFC 9113, section 6.2). Nobody reads the value afterwards.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADER: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const PADDED: u8 = 0x08;
const PRIORITY: u8 = 0x20;
/// `:authority` in HPACK's static table.
const AUTHORITY: u64 = 1;
/// Integers in header blocks are never longer.
const MOST_CONTINUED: u32 = 5;

const PLAIN: &[u8; 7] = b"http://";
const PLAIN_MENDED: &[u8; 7] = b"httpB--";
/// The same in Huffman's code: 41 bits each, of which the last byte holds one. `:` and `B` have seven bits, `/` and `-` six.
const CODED: u64 = code(&[(0b10_0111, 6), (0b0_1001, 5), (0b0_1001, 5), (0b10_1011, 6), (0b101_1100, 7), (0b01_1000, 6), (0b01_1000, 6)]);
const CODED_MENDED: u64 =
    code(&[(0b10_0111, 6), (0b0_1001, 5), (0b0_1001, 5), (0b10_1011, 6), (0b101_1101, 7), (0b01_0110, 6), (0b01_0110, 6)]);
const CODED_BYTES: usize = 6;
/// Bits of the last byte that belong to what follows.
const REST: u64 = 0x7f;

/// Symbols with their lengths, left-aligned in 48 bits.
const fn code(symbols: &[(u64, u32)]) -> u64 {
    let (mut bits, mut length, mut n) = (0, 0, 0);
    while n < symbols.len() {
        bits = bits << symbols[n].1 | symbols[n].0;
        length += symbols[n].1;
        n += 1;
    }
    bits << (48 - length)
}

/// Where in the stream of bytes we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// In the preface; so many bytes of it have come.
    Preface(usize),
    /// In a frame's header.
    Header(usize),
    /// In a frame of no interest: so many bytes are left.
    Skip(u32),
    /// Before the length of the padding of a header block.
    Padding,
    /// In what precedes a header block: so many bytes are left of it.
    Priority(u32),
    /// In a header block.
    Block,
    /// It is no HTTP/2, or not understood: nothing is changed any more.
    Off,
}

/// Where in a header block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Start,
    /// In an integer that began with its prefix full; what it is for, what it comes to so far, and how many bytes it has.
    Number(For, u64, u32),
    /// Before the length of a string.
    Length(Text),
    /// Before a string of so many bytes, in Huffman's code or spelt out.
    Begin(Text, u64, bool),
    /// In a string: so many bytes are left.
    Text(Text, u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    /// A field that is in a table, or a table's size.
    Nothing,
    /// The index of a field's name.
    Name,
    /// The length of a string, and whether that is in Huffman's code.
    String(Text, bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    Name,
    Value { authority: bool },
}

/// Follows one direction of a connection.
struct Mender {
    at: At,
    header: [u8; HEADER],
    /// Bytes of the frame's header block that are left, and of the padding behind it.
    block: u32,
    padding: u32,
    field: Field,
}

impl Mender {
    fn new() -> Self {
        Self { at: At::Preface(0), header: [0; HEADER], block: 0, padding: 0, field: Field::Start }
    }

    /// Looks at what has come, and changes what is to be changed.
    fn pass(&mut self, bytes: &mut [u8]) {
        let mut n = 0;
        while n < bytes.len() {
            match self.at {
                At::Off => return,
                At::Preface(seen) => {
                    let next = if PREFACE.get(seen) != Some(&bytes[n]) { At::Off } else { At::Preface(seen + 1) };
                    self.at = if next == At::Preface(PREFACE.len()) { At::Header(0) } else { next };
                    n += 1;
                }
                At::Header(seen) => {
                    if let Some(slot) = self.header.get_mut(seen) {
                        *slot = bytes[n];
                    }
                    self.at = if seen + 1 == HEADER { self.frame() } else { At::Header(seen + 1) };
                    n += 1;
                }
                At::Skip(left) => {
                    let step = (bytes.len() - n).min(usize::try_from(left).unwrap_or(usize::MAX));
                    n += step;
                    self.at = skip(left - u32::try_from(step).unwrap_or(left));
                }
                At::Padding => {
                    self.padding = u32::from(bytes[n]);
                    let priority = if self.header[4] & PRIORITY != 0 { 5 } else { 0 };
                    self.at = self.before(self.block.checked_sub(1 + self.padding), priority);
                    n += 1;
                }
                At::Priority(left) => {
                    self.at = if left == 1 { self.inside() } else { At::Priority(left - 1) };
                    n += 1;
                }
                At::Block => {
                    let length = (bytes.len() - n).min(usize::try_from(self.block).unwrap_or(usize::MAX));
                    if !self.fields(&mut bytes[n..n + length]) {
                        self.at = At::Off;
                        return;
                    }
                    n += length;
                    self.block -= u32::try_from(length).unwrap_or(self.block);
                    if self.block == 0 {
                        self.at = skip(std::mem::take(&mut self.padding));
                    }
                }
            }
        }
    }

    /// What follows the frame's header.
    fn frame(&mut self) -> At {
        let [high, middle, low, kind, flags, ..] = self.header;
        let length = u32::from_be_bytes([0, high, middle, low]);
        self.block = length;
        match kind {
            HEADERS if flags & PADDED != 0 => At::Padding,
            HEADERS => self.before(Some(length), if flags & PRIORITY != 0 { 5 } else { 0 }),
            CONTINUATION => self.inside(),
            _ => skip(length),
        }
    }

    fn before(&mut self, left: Option<u32>, priority: u32) -> At {
        let Some(block) = left.and_then(|left| left.checked_sub(priority)) else { return At::Off };
        self.block = block;
        if priority > 0 { At::Priority(priority) } else { self.inside() }
    }

    fn inside(&mut self) -> At {
        if self.block == 0 { skip(std::mem::take(&mut self.padding)) } else { At::Block }
    }

    /// Reads on in a header block; false when it makes no sense.
    fn fields(&mut self, block: &mut [u8]) -> bool {
        let mut n = 0;
        while n < block.len() {
            let byte = block[n];
            self.field = match self.field {
                Field::Start => {
                    n += 1;
                    match byte {
                        0x80.. => number(byte, 7, For::Nothing),
                        0x40.. => number(byte, 6, For::Name),
                        0x20.. => number(byte, 5, For::Nothing),
                        _ => number(byte, 4, For::Name),
                    }
                }
                Field::Number(_, _, MOST_CONTINUED..) => return false,
                Field::Number(what, sum, count) => {
                    n += 1;
                    let sum = sum + (u64::from(byte & 0x7f) << (7 * count));
                    if byte & 0x80 != 0 { Field::Number(what, sum, count + 1) } else { known(what, sum) }
                }
                Field::Length(text) => {
                    n += 1;
                    number(byte, 7, For::String(text, byte & 0x80 != 0))
                }
                Field::Begin(text, left, coded) => {
                    if text == (Text::Value { authority: true }) {
                        let end = block.len().min(n.saturating_add(usize::try_from(left).unwrap_or(usize::MAX)));
                        mend(&mut block[n..end], coded);
                    }
                    Field::Text(text, left)
                }
                Field::Text(text, left) => {
                    let step = (block.len() - n).min(usize::try_from(left).unwrap_or(usize::MAX));
                    n += step;
                    let left = left - step as u64;
                    if left > 0 { Field::Text(text, left) } else { behind(text) }
                }
            };
        }
        true
    }
}

fn skip(left: u32) -> At {
    if left == 0 { At::Header(0) } else { At::Skip(left) }
}

fn number(byte: u8, bits: u32, what: For) -> Field {
    let full = (1 << bits) - 1;
    let value = u64::from(byte) & full;
    if value == full { Field::Number(what, value, 0) } else { known(what, value) }
}

fn known(what: For, number: u64) -> Field {
    match what {
        For::Nothing => Field::Start,
        For::Name if number == 0 => Field::Length(Text::Name),
        For::Name => Field::Length(Text::Value { authority: number == AUTHORITY }),
        For::String(text, _) if number == 0 => behind(text),
        For::String(text, coded) => Field::Begin(text, number, coded),
    }
}

/// What comes after a string.
fn behind(text: Text) -> Field {
    match text {
        Text::Name => Field::Length(Text::Value { authority: false }),
        Text::Value { .. } => Field::Start,
    }
}

/// Changes a value that begins as a URL does. One whose beginning was cut in two by the network stays as it is: its client is refused,
/// and asks again.
fn mend(value: &mut [u8], coded: bool) {
    if !coded {
        if let Some(head) = value.get_mut(..PLAIN.len())
            && head == PLAIN
        {
            head.copy_from_slice(PLAIN_MENDED);
        }
        return;
    }
    let Some(head) = value.get_mut(..CODED_BYTES) else { return };
    let bits = head.iter().fold(0, |bits, byte| bits << 8 | u64::from(*byte));
    if bits & !REST == CODED {
        head.copy_from_slice(&(CODED_MENDED | bits & REST).to_be_bytes()[8 - CODED_BYTES..]);
    }
}

/// A connection in the clear, whose incoming bytes are looked at.
pub(crate) struct Mended<S> {
    stream: S,
    mender: Mender,
}

impl<S> Mended<S> {
    /// Before the first byte has come.
    pub fn new(stream: S) -> Self {
        Self { stream, mender: Mender::new() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Mended<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(context, buffer);
        if let Some(fresh) = buffer.filled_mut().get_mut(before..) {
            this.mender.pass(fresh);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Mended<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = payload.len().to_be_bytes();
        [&length[5..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// `:method` and `:scheme` from the table, `:path` spelt out, and `:authority` as it is given.
    fn block(authority: &[u8]) -> Vec<u8> {
        [&[0x83, 0x86, 0x44, 0x02][..], b"/a", &[0x41], authority].concat()
    }

    fn coded(head: u64) -> Vec<u8> {
        // The seven bits behind, and what follows: anything at all.
        [&[0x87][..], &(head | 0x55).to_be_bytes()[2..], &[0xaa]].concat()
    }

    fn stream(authority: &[u8]) -> Vec<u8> {
        let block = block(authority);
        let (first, second) = block.split_at(8);
        let padded = [&[3u8, 0, 0, 0, 0, 5], &block[..], &[0; 3]].concat();
        [
            PREFACE,
            &frame(4, 0, &[0; 12]),
            &frame(0, 0, &[9; 300]),
            &frame(1, PADDED | PRIORITY, &padded),
            &frame(1, 0, first),
            &frame(9, 4, second),
        ]
        .concat()
    }

    fn passed(bytes: &[u8], step: usize) -> Vec<u8> {
        let (mut mender, mut bytes) = (Mender::new(), bytes.to_vec());
        bytes.chunks_mut(step).for_each(|chunk| mender.pass(chunk));
        bytes
    }

    #[test]
    fn urls_become_authorities_of_the_same_length() {
        let spelt = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
        for (from, to) in [
            (spelt("http://127.0.0.1:2379"), spelt("httpB--127.0.0.1:2379")),
            (coded(CODED), coded(CODED_MENDED)),
            (spelt("127.0.0.1:2379"), spelt("127.0.0.1:2379")),
            (spelt("http:80"), spelt("http:80")),
            (spelt(""), spelt("")),
        ] {
            assert_eq!(passed(&stream(&from), usize::MAX), stream(&to));
        }
    }

    #[test]
    fn what_is_not_understood_stays_as_it_is() {
        let wanted = stream(&[&[21], &b"http://127.0.0.1:2379"[..]].concat());
        // Byte by byte the beginning is never seen whole; nothing else may change either.
        assert_eq!(passed(&wanted, 1), wanted);
        let http1 = b"GET /health HTTP/1.1\r\nhost: http://x\r\n\r\n";
        assert_eq!(passed(http1, usize::MAX), http1);
        // Integers without an end.
        let endless = [PREFACE, &frame(1, 0, &[0xff; 400])].concat();
        assert_eq!(passed(&endless, 7), endless);
    }

    #[test]
    fn the_codes_are_those_of_the_table() {
        // RFC 7541, C.4.1 begins "www.": the same table, looked at from the other side.
        assert_eq!(CODED >> 42, 0b10_0111);
        assert_eq!((CODED ^ CODED_MENDED).count_ones(), 1 + 3 + 3);
        assert_eq!(CODED & REST, 0);
    }
}

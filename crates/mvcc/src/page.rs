//! Ranges that are wanted on the wire: their rows are encoded as they are met, without being taken apart and put together in between.

use crate::read::{Plan, Reader, header};
use crate::record::Record;
use crate::span::Span;
use crate::{Error, Result};
use bytes::Bytes;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use std::ops::ControlFlow;
use tricorn_proto::etcdserverpb::{RangeRequest, RangeResponse};

/// Fields of a RangeResponse and of a KeyValue.
const KVS: u32 = 2;
const KEY: u32 = 1;
const CREATE_REVISION: u32 = 2;
const MOD_REVISION: u32 = 3;
const VERSION: u32 = 4;
const VALUE: u32 = 5;
const LEASE: u32 = 6;
/// Bytes of any of these fields' heads.
const HEAD: usize = 1;

/// Bytes of a piece after which another one is begun: small enough to come from memory that has just been given back.
const PIECE: usize = 64 << 10;

/// Encoded keys, in pieces that follow each other: one that holds all would be copied again and again while it grows.
#[derive(Default)]
struct Pieces {
    done: Vec<Bytes>,
    piece: Vec<u8>,
    bytes: usize,
}

impl Reader<'_> {
    /// etcd's Range, its keys in the form of the encoded field `kvs`: pieces to be put behind the rest of the answer, which has none.
    /// A range with an order of its own has to be sorted first, and comes whole, with nothing behind it.
    pub fn range_encoded(&self, request: &RangeRequest) -> Result<(RangeResponse, Vec<Bytes>)> {
        let at = self.resolve(request.revision)?;
        let plan = Plan::new(request)?;
        if !plan.is_by_key() {
            return Ok((self.range(request)?, Vec::new()));
        }
        let limit = if request.limit > 0 { request.limit } else { i64::MAX };
        let mut out = Pieces::default();
        let (mut count, mut matched) = (0, 0);
        self.visit(Span::new(&request.key, &request.range_end), at, &mut |key, record| {
            count += 1;
            if !request.count_only && plan.keep(&record) {
                matched += 1;
                if matched <= limit {
                    out.put(key, &record, request.keys_only)?;
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let response = RangeResponse { header: header(self.revision), kvs: Vec::new(), more: matched > limit, count };
        Ok((response, out.finish()))
    }
}

impl Pieces {
    fn put(&mut self, key: &[u8], record: &Record<'_>, keys_only: bool) -> Result<()> {
        if self.piece.len() >= PIECE {
            self.done.push(std::mem::take(&mut self.piece).into());
        }
        let before = self.piece.len();
        put_kv(&mut self.piece, key, record, keys_only);
        self.bytes += self.piece.len() - before;
        if self.bytes > i32::MAX as usize {
            return Err(Error::State("a range of more than 2 GiB".into()));
        }
        Ok(())
    }

    fn finish(mut self) -> Vec<Bytes> {
        if !self.piece.is_empty() {
            self.done.push(self.piece.into());
        }
        self.done
    }
}

fn put_kv(out: &mut Vec<u8>, key: &[u8], record: &Record<'_>, keys_only: bool) {
    let value = if keys_only { &[][..] } else { record.value };
    let numbers = [(CREATE_REVISION, record.create), (MOD_REVISION, record.modified.main), (VERSION, record.version)];
    // No field has zeroes written down; none of these numbers is negative, and a lease that is has ten bytes, as a u64 has.
    let number = |number: i64| number.cast_unsigned();
    let number_len = |value: i64| if value == 0 { 0 } else { HEAD + encoded_len_varint(number(value)) };
    let bytes_len = |bytes: &[u8]| if bytes.is_empty() { 0 } else { HEAD + encoded_len_varint(bytes.len() as u64) + bytes.len() };
    let numbers_len: usize = numbers.iter().map(|(_, value)| number_len(*value)).sum();
    let length = bytes_len(key) + numbers_len + bytes_len(value) + number_len(record.lease);
    if out.capacity() == 0 {
        // Whatever comes last goes a little beyond it.
        out.reserve(PIECE + length + PIECE / 16);
    }
    encode_key(KVS, WireType::LengthDelimited, out);
    encode_varint(length as u64, out);
    let put_bytes = |field, bytes: &[u8], out: &mut Vec<u8>| {
        if !bytes.is_empty() {
            encode_key(field, WireType::LengthDelimited, out);
            encode_varint(bytes.len() as u64, out);
            out.extend_from_slice(bytes);
        }
    };
    let put_number = |field, value: i64, out: &mut Vec<u8>| {
        if value != 0 {
            encode_key(field, WireType::Varint, out);
            encode_varint(number(value), out);
        }
    };
    put_bytes(KEY, key, out);
    numbers.iter().for_each(|(field, value)| put_number(*field, *value, out));
    put_bytes(VALUE, value, out);
    put_number(LEASE, record.lease, out);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::record::Revision;
    use prost::Message;

    #[test]
    fn pieces_follow_each_other() {
        let value = [7; 1000];
        let record = Record { create: 1, modified: Revision { main: 2, sub: 0 }, version: 1, lease: 0, value: &value };
        let (mut pieces, mut whole) = (Pieces::default(), Vec::new());
        for n in 0..500_u32 {
            pieces.put(&n.to_be_bytes(), &record, false).unwrap();
            put_kv(&mut whole, &n.to_be_bytes(), &record, false);
        }
        let pieces = pieces.finish();
        assert!(pieces.len() > 5 && pieces.iter().all(|piece| piece.len() < PIECE + 2000));
        assert_eq!(pieces.concat(), whole);
    }

    #[test]
    fn encoded_as_the_message_would_be() {
        for (lease, value) in [(0, &b""[..]), (7, b"some value"), (i64::MAX, &[1; 300]), (-1, b"x")] {
            let record = Record { create: 3, modified: Revision { main: 1 << 40, sub: 2 }, version: 128, lease, value };
            for keys_only in [false, true] {
                let kvs = vec![record.to_key_value(Bytes::from_static(b"key"), keys_only)];
                let mut out = Vec::new();
                put_kv(&mut out, b"key", &record, keys_only);
                assert_eq!(out, RangeResponse { kvs, ..RangeResponse::default() }.encode_to_vec());
            }
        }
    }
}

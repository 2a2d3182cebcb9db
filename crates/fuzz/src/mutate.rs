//! How good bytes become bad ones.

use rand::Rng;
use rand::seq::IndexedRandom;

/// Numbers at which readers of lengths and of numbers go wrong.
const EDGES: [u64; 9] = [0, 1, 0x7f, 0x80, 0xff, 0x7fff_ffff, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, u64::MAX];
/// Pieces of text that mean something to one reader or another.
const WORDS: [&str; 14] =
    ["\"", "\\", "{", "}", "[", "]", ",", ":", "\u{0}", "1e999999999", "-9223372036854775808", "\\ud800", "$patch", "~1"];
/// No input grows beyond this.
const LONGEST: usize = 64 << 10;

/// One to eight changes of one seed, or of two.
pub(crate) fn mutate(seeds: &[Vec<u8>], dice: &mut impl Rng) -> Vec<u8> {
    let pick = |dice: &mut _| seeds.choose(dice).cloned().unwrap_or_default();
    let mut bytes = pick(dice);
    for _ in 0..dice.random_range(1..=8) {
        let at = dice.random_range(0..=bytes.len());
        match dice.random_range(0..9) {
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << dice.random_range(0..8);
                }
            }
            1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = dice.random();
                }
            }
            2 => bytes.truncate(at),
            3 => {
                let end = (at + dice.random_range(0..16)).min(bytes.len());
                bytes.drain(at..end);
            }
            4 => insert(&mut bytes, at, &edge(dice)),
            5 => insert(&mut bytes, at, WORDS.choose(dice).unwrap_or(&"").as_bytes()),
            6 => {
                // The same again, many times: nesting, and lists that are too long.
                let end = (at + dice.random_range(1..32)).min(bytes.len());
                let piece = bytes.get(at..end).unwrap_or_default().repeat(dice.random_range(1..200));
                insert(&mut bytes, at, &piece);
            }
            7 => {
                let other = pick(dice);
                let from = dice.random_range(0..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(other.get(from..).unwrap_or_default());
            }
            _ => {
                let noise: Vec<u8> = (0..dice.random_range(0..16)).map(|_| dice.random()).collect();
                insert(&mut bytes, at, &noise);
            }
        }
        bytes.truncate(LONGEST);
    }
    bytes
}

/// A number on an edge, in one of the ways in which numbers are written.
fn edge(dice: &mut impl Rng) -> Vec<u8> {
    let number = EDGES.choose(dice).copied().unwrap_or_default();
    match dice.random_range(0..4) {
        0 => number.to_le_bytes().to_vec(),
        1 => number.to_be_bytes().to_vec(),
        2 => number.to_string().into_bytes(),
        _ => {
            let mut rest = number;
            let mut varint = Vec::new();
            loop {
                let low = u8::try_from(rest & 0x7f).unwrap_or(0);
                rest >>= 7;
                varint.push(if rest == 0 { low } else { low | 0x80 });
                if rest == 0 {
                    return varint;
                }
            }
        }
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    let at = at.min(bytes.len());
    bytes.splice(at..at, piece.iter().copied());
}

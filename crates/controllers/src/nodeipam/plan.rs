//! Equal parts of one network, counted from 0.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// A network that is cut into parts for nodes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Space {
    base: u32,
    parts: u32,
    bits: u8,
}

fn split(cidr: &str) -> Option<(u32, u8)> {
    let (address, bits) = cidr.split_once('/')?;
    let bits: u8 = bits.parse().ok().filter(|bits| *bits <= 32)?;
    Some((u32::from(address.parse::<Ipv4Addr>().ok()?), bits))
}

impl Space {
    /// The space of `cidr`, in parts with prefixes of `bits`.
    pub(super) fn parse(cidr: &str, bits: u8) -> Result<Self, String> {
        let (address, outer) = split(cidr).ok_or_else(|| format!("the pod network {cidr:?} is not an IPv4 network"))?;
        if bits < outer || bits > 30 || bits - outer > 16 {
            return Err(format!("the pod network {cidr} cannot be cut into parts with a prefix of {bits}"));
        }
        let mask = if outer == 0 { 0 } else { u32::MAX << (32 - outer) };
        Ok(Self { base: address & mask, parts: 1 << (bits - outer), bits })
    }

    /// The number of a part; none if `cidr` is not one.
    pub(super) fn index_of(&self, cidr: &str) -> Option<u32> {
        let (address, bits) = split(cidr)?;
        let index = address.checked_sub(self.base)? >> (32 - self.bits);
        (bits == self.bits && index < self.parts).then_some(index)
    }

    /// The lowest part that is not taken.
    pub(super) fn first_free(&self, taken: &BTreeSet<u32>) -> Option<u32> {
        (0..self.parts).find(|index| !taken.contains(index))
    }

    /// A part in CIDR notation.
    pub(super) fn at(&self, index: u32) -> String {
        format!("{}/{}", Ipv4Addr::from(self.base + (index << (32 - self.bits))), self.bits)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn parts_are_counted_and_found_again() {
        let space = Space::parse("10.42.0.0/16", 24).unwrap();
        assert_eq!(space.at(0), "10.42.0.0/24");
        assert_eq!(space.at(255), "10.42.255.0/24");
        for index in [0, 1, 77, 255] {
            assert_eq!(space.index_of(&space.at(index)), Some(index));
        }
        assert_eq!(space.index_of("10.43.0.0/24"), None);
        assert_eq!(space.index_of("10.42.1.0/25"), None);
        assert_eq!(space.first_free(&[0, 1, 3].into()), Some(2));
        assert_eq!(space.first_free(&(0..256).collect()), None);
    }

    #[test]
    fn nonsense_is_refused() {
        for (cidr, bits) in [("10.42.0.0", 24), ("pods/16", 24), ("10.42.0.0/16", 12), ("10.42.0.0/16", 31), ("0.0.0.0/0", 24)] {
            assert!(Space::parse(cidr, bits).is_err(), "{cidr} {bits}");
        }
    }
}

//! Addresses that are written in a way that some programs read otherwise, or not at all. New ones are refused; here is what is said of old ones.

use std::net::IpAddr;

use super::{Said, tell};
use crate::kinds::addresses::{address, block, without_zeros};
use crate::kinds::check::At;

/// The address that a text meant, when all were still read as leniently as can be.
fn lenient(text: &str) -> Option<IpAddr> {
    address(text).or_else(|| address(&without_zeros(text))).map(|ip| ip.to_canonical())
}

/// Whether the text is an address as all programs read it.
fn is_plain(text: &str) -> bool {
    address(text).is_some_and(|ip| ip.to_canonical() == ip)
}

/// Says what there is to say of an address. A text that is none has been refused, or is a name.
pub(super) fn ip(at: &At<'_>, said: &mut Said) {
    let text = at.text();
    let Some(meant) = lenient(text) else { return };
    if !is_plain(text) {
        let words = format!("non-standard IP address {text:?} will be considered invalid in a future Kubernetes release: use \"{meant}\"");
        tell(&at.path, &words, said);
    } else if meant.is_ipv6() && meant.to_string() != text {
        tell(&at.path, &format!("IPv6 address {text:?} should be in RFC 5952 canonical format (\"{meant}\")"), said);
    }
}

/// The block that a text meant: its address, and how many bits its addresses share.
fn lenient_block(text: &str) -> Option<(IpAddr, u8)> {
    let (first, bits) = text.split_once('/')?;
    let (first, bits) = block(&format!("{}/{bits}", without_zeros(first)))?;
    match first.to_canonical() {
        four @ IpAddr::V4(_) if first.is_ipv6() => Some((four, bits.checked_sub(96)?)),
        same => Some((same, bits)),
    }
}

/// The first address of a block.
fn masked(ip: IpAddr, bits: u8) -> IpAddr {
    match ip {
        IpAddr::V4(four) => IpAddr::V4((four.to_bits() & u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)).into()),
        IpAddr::V6(six) => IpAddr::V6((six.to_bits() & u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)).into()),
    }
}

/// Says what there is to say of a block of addresses.
pub(super) fn cidr(at: &At<'_>, said: &mut Said) {
    let text = at.text();
    let Some((ip, bits)) = lenient_block(text) else { return };
    let (first, all) = (masked(ip, bits), if ip.is_ipv4() { 32 } else { 128 });
    let before = said.len();
    if first != ip {
        let words = format!("CIDR value {text:?} is ambiguous in this context (should be \"{first}/{bits}\" or \"{ip}/{all}\"?)");
        tell(&at.path, &words, said);
    }
    let (written, length) = text.split_once('/').unwrap_or((text, ""));
    let zeros = length.len() > 1 && length.starts_with('0');
    if !is_plain(written) || zeros {
        let words =
            format!("non-standard CIDR value {text:?} will be considered invalid in a future Kubernetes release: use \"{first}/{bits}\"");
        tell(&at.path, &words, said);
    }
    if said.len() == before && ip.is_ipv6() && format!("{ip}/{bits}") != text {
        tell(&at.path, &format!("IPv6 CIDR value {text:?} should be in RFC 5952 canonical format (\"{ip}/{bits}\")"), said);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said_of(rule: fn(&At<'_>, &mut Said), text: &str) -> String {
        let (value, mut said) = (json!(text), Said::new());
        rule(&At { value: &value, path: "ip".into() }, &mut said);
        said.join("|")
    }

    #[test]
    fn addresses_that_are_read_in_two_ways_are_told_of() {
        let bad = "will be considered invalid in a future Kubernetes release: use";
        for (text, expected) in [
            ("1.2.3.4", String::new()),
            ("fd00::1", String::new()),
            ("a.name", String::new()),
            ("", String::new()),
            ("1.2.3.04", format!("ip: non-standard IP address \"1.2.3.04\" {bad} \"1.2.3.4\"")),
            ("::ffff:1.2.3.4", format!("ip: non-standard IP address \"::ffff:1.2.3.4\" {bad} \"1.2.3.4\"")),
            ("FD00::01", "ip: IPv6 address \"FD00::01\" should be in RFC 5952 canonical format (\"fd00::1\")".to_owned()),
        ] {
            assert_eq!(said_of(ip, text), expected, "{text}");
        }
        for (text, expected) in [
            ("1.2.3.0/24", String::new()),
            ("1.2.3.4", String::new()),
            (
                "1.2.3.4/24",
                "ip: CIDR value \"1.2.3.4/24\" is ambiguous in this context (should be \"1.2.3.0/24\" or \"1.2.3.4/32\"?)".to_owned(),
            ),
            ("1.2.03.0/24", format!("ip: non-standard CIDR value \"1.2.03.0/24\" {bad} \"1.2.3.0/24\"")),
            ("1.2.3.0/024", format!("ip: non-standard CIDR value \"1.2.3.0/024\" {bad} \"1.2.3.0/24\"")),
            ("FD00::/64", "ip: IPv6 CIDR value \"FD00::/64\" should be in RFC 5952 canonical format (\"fd00::/64\")".to_owned()),
            ("0.0.0.0/0", String::new()),
            ("::/0", String::new()),
        ] {
            assert_eq!(said_of(cidr, text), expected, "{text}");
        }
    }
}

//! Addresses and blocks of them.

use std::net::IpAddr;

use serde_json::Value;
use tricorn_meta::FieldError;

use super::check::{At, Errors};

/// The rule of addresses. One way to write an address is taken for another by other programs, so it is refused: some read a leading zero as the mark
/// of an octal number, and an IPv4 address inside of an IPv6 one as either.
pub(crate) fn ip(text: &str) -> Vec<String> {
    let wrong = match address(text) {
        Some(IpAddr::V6(six)) if six.to_ipv4_mapped().is_some() => MAPPED,
        Some(_) => return Vec::new(),
        None if address(&without_zeros(text)).is_some() => ZEROS,
        None => "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
    };
    vec![wrong.to_owned()]
}

/// The text with no number of an IPv4 address beginning with a zero.
pub(crate) fn without_zeros(text: &str) -> String {
    let (six, four) = text.rfind(':').map_or(("", text), |colon| text.split_at(colon + 1));
    if !four.contains('.') {
        return text.to_owned();
    }
    let bare = |number: &str| match number.trim_start_matches('0') {
        "" if !number.is_empty() => "0".to_owned(),
        rest => rest.to_owned(),
    };
    format!("{six}{}", four.split('.').map(bare).collect::<Vec<_>>().join("."))
}

/// The address that a text is.
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

/// The rule of blocks of addresses, which are as strict as addresses, and say no more than what the block is.
pub(crate) fn cidr(text: &str) -> Vec<String> {
    let wrong = match block(text) {
        Some((IpAddr::V6(six), _)) if six.to_ipv4_mapped().is_some() => MAPPED_IN_BLOCK,
        Some((_, bits)) if text.rsplit('/').next() != Some(bits.to_string().as_str()) => ZEROS_IN_BLOCK,
        Some((first, bits)) if !is_first(first, bits) => BEYOND,
        Some(_) => return Vec::new(),
        None if text.split_once('/').is_some_and(|(first, bits)| block(&format!("{}/{bits}", without_zeros(first))).is_some()) => {
            ZEROS_IN_BLOCK
        }
        None => "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
    };
    vec![wrong.to_owned()]
}

const MAPPED: &str = "must not be an IPv4-mapped IPv6 address";
const ZEROS: &str = "must not have leading 0s";
const MAPPED_IN_BLOCK: &str = "must not have an IPv4-mapped IPv6 address";
const BEYOND: &str = "must not have bits set beyond the prefix length";
const ZEROS_IN_BLOCK: &str = "must not have leading 0s in IP or prefix length";

/// Whether an address is the first of its block.
fn is_first(first: IpAddr, bits: u8) -> bool {
    match first {
        IpAddr::V4(four) => four.to_bits().checked_shl(u32::from(bits)).unwrap_or(0) == 0,
        IpAddr::V6(six) => six.to_bits().checked_shl(u32::from(bits)).unwrap_or(0) == 0,
    }
}

/// The block that a text is: an address, and how many of its bits all in the block share.
pub(crate) fn block(text: &str) -> Option<(IpAddr, u8)> {
    let (first, bits) = text.split_once('/')?;
    let first: IpAddr = first.parse().ok()?;
    let bits = Some(bits).filter(|b| b.bytes().all(|b| b.is_ascii_digit()))?.parse::<u8>().ok()?;
    let most = if first.is_ipv4() { 32 } else { 128 };
    (bits <= most).then_some((first, bits))
}

/// The rule of addresses in newer fields, which have but one way to write each.
pub(crate) fn canonical_ip(text: &str) -> Vec<String> {
    let written = address(text).map(|address| address.to_string());
    match written.filter(|written| written != text) {
        Some(written) if ip(text).is_empty() => vec![format!("must be in canonical form ({written:?})")],
        _ => ip(text),
    }
}

/// The rule of blocks in newer fields.
pub(crate) fn canonical_cidr(text: &str) -> Vec<String> {
    let written = block(text).map(|(first, bits)| format!("{first}/{bits}"));
    match written.filter(|written| written != text) {
        Some(written) if cidr(text).is_empty() => vec![format!("must be in canonical form ({written:?})")],
        _ => cidr(text),
    }
}

/// Several addresses (or blocks of them) of one object: at most one a family, none twice.
pub(crate) fn one_a_family(list: &At<'_>, what: &str, shown: impl Fn(&At<'_>) -> Value, text: fn(&Value) -> &str, errors: &mut Errors) {
    if list.len() < 2 {
        return;
    }
    let six = list.items().filter(|item| text(item.value).contains(':')).count();
    if list.len() > 2 || six != 1 {
        list.invalid(format!("may specify no more than one {what} for each IP family"), errors);
    }
    let mut seen: Vec<&str> = Vec::new();
    for item in list.items() {
        if seen.contains(&text(item.value)) {
            errors.push(FieldError::duplicate(&item.path, shown(&item)));
        }
        seen.push(text(item.value));
    }
}

/// The address must be one that traffic can be sent to from elsewhere.
pub(crate) fn not_special(at: &At<'_>, errors: &mut Errors) {
    let Some(address) = address(at.text()) else { return };
    let wrong = match address {
        a if a.is_unspecified() => format!("may not be unspecified ({})", at.text()),
        a if a.is_loopback() => "may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned(),
        IpAddr::V4(a) if a.is_link_local() => LINK_LOCAL.to_owned(),
        IpAddr::V6(a) if a.is_unicast_link_local() => LINK_LOCAL.to_owned(),
        IpAddr::V4(a) if a.octets().starts_with(&[224, 0, 0]) => LINK_LOCAL_MULTICAST.to_owned(),
        IpAddr::V6(a) if a.segments()[0] & 0xff0f == 0xff02 => LINK_LOCAL_MULTICAST.to_owned(),
        _ => return,
    };
    at.invalid(wrong, errors);
}

const LINK_LOCAL: &str = "may not be in the link-local range (169.254.0.0/16, fe80::/10)";
const LINK_LOCAL_MULTICAST: &str = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)";

/// Takes back what is said of an address that the object had before, from when more ways to write one were taken.
pub(crate) fn forgive(errors: &mut Errors, old: &Value) {
    let strict = [MAPPED, ZEROS, MAPPED_IN_BLOCK, BEYOND, ZEROS_IN_BLOCK];
    errors.retain(|error| !(strict.contains(&error.detail.as_str()) && error.bad_value.as_ref().is_some_and(|value| holds(old, value))));
}

/// Whether a value is anywhere in another.
fn holds(whole: &Value, wanted: &Value) -> bool {
    match whole {
        Value::Array(items) => items.iter().any(|item| holds(item, wanted)),
        Value::Object(fields) => fields.values().any(|field| holds(field, wanted)),
        other => other == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_in_one_way_only() {
        for (text, expected) in [
            ("10.9.8.7", ""),
            ("FE80::0ABC", ""),
            ("010.9.8.7", "must not have leading 0s"),
            ("10.00.8.7", "must not have leading 0s"),
            ("::ffff:1.2.3.4", "must not be an IPv4-mapped IPv6 address"),
            ("::ffff:1.2.3.04", "must not have leading 0s"),
            ("10.9.8", "must be a valid IP address"),
            ("10.9.8.0256", "must be a valid IP address"),
        ] {
            let found = ip(text).join(" ");
            assert!(found.starts_with(expected) && found.is_empty() == expected.is_empty(), "{text}: {found}");
        }
        assert_eq!(canonical_ip("FE80::0ABC"), ["must be in canonical form (\"fe80::abc\")"]);
        assert!(canonical_ip("10.9.8.7").is_empty());
    }

    #[test]
    fn what_was_taken_once_is_taken_again() {
        use serde_json::json;
        let complaint = |text: &str, words: Vec<String>| {
            words.into_iter().map(|wrong| FieldError::invalid(&"ip".into(), text, wrong)).collect::<Vec<_>>()
        };
        let old = json!({"spec": {"cidrs": ["10.0.0.1/8"], "ip": "1.2.3.04"}});
        for (text, words, left) in
            [("1.2.3.04", ip("1.2.3.04"), 0), ("1.2.3.05", ip("1.2.3.05"), 1), ("10.0.0.1/8", cidr("10.0.0.1/8"), 0), ("x", ip("x"), 1)]
        {
            let mut errors = complaint(text, words);
            forgive(&mut errors, &old);
            assert_eq!(errors.len(), left, "{text}");
        }
    }

    #[test]
    fn a_block_says_no_more_than_what_it_is() {
        for (text, expected) in [
            ("10.9.8.0/24", ""),
            ("0.0.0.0/0", ""),
            ("10.9.8.7/32", ""),
            ("2001:db8::/64", ""),
            ("10.9.8.7/24", "must not have bits set beyond the prefix length"),
            ("10.9.8.0/0", "must not have bits set beyond the prefix length"),
            ("2001:db8::1/64", "must not have bits set beyond the prefix length"),
            ("010.9.8.0/24", ZEROS_IN_BLOCK),
            ("10.9.8.0/024", ZEROS_IN_BLOCK),
            ("::ffff:1.2.3.0/120", "must not have an IPv4-mapped IPv6 address"),
            ("10.9.8.0/33", "must be a valid CIDR value"),
            ("10.9.8.0", "must be a valid CIDR value"),
        ] {
            let found = cidr(text).join(" ");
            assert!(found.starts_with(expected) && found.is_empty() == expected.is_empty(), "{text}: {found}");
        }
        assert_eq!(canonical_cidr("2001:DB8::/64"), ["must be in canonical form (\"2001:db8::/64\")"]);
    }
}

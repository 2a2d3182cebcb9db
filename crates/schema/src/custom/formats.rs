//! Formats that a schema may ask of texts. One that is not known asks for nothing.

use std::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tricorn_meta::{Timestamp, names};

use crate::kinds::addresses::block;

/// Whether the text has the format.
pub(super) fn fits(format: &str, text: &str) -> bool {
    match format {
        "date-time" | "datetime" => Timestamp::parse(text).is_some(),
        "date" => text.len() == 10 && Timestamp::parse(&format!("{text}T00:00:00Z")).is_some(),
        "duration" => is_duration(text),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.contains(':') && text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => block(text).is_some(),
        "mac" => is_mac(text),
        "uuid" | "uuid3" | "uuid4" | "uuid5" => is_uuid(format, text),
        "byte" => STANDARD.decode(text).is_ok(),
        "hostname" => names::dns1123_subdomain(&text.to_lowercase()).is_empty(),
        "email" => {
            text.rsplit_once('@').is_some_and(|(local, host)| !local.is_empty() && !host.is_empty() && !text.contains(char::is_whitespace))
        }
        "uri" => is_uri(text),
        _ => true,
    }
}

/// As Go writes durations: `1h30m`, `-1.5s`; or a number with a word, `3 days`.
fn is_duration(text: &str) -> bool {
    const UNITS: [&str; 8] = ["ns", "us", "\u{b5}s", "\u{3bc}s", "ms", "s", "m", "h"];
    const WORDS: [&str; 24] = [
        "w",
        "wk",
        "wks",
        "week",
        "weeks",
        "d",
        "day",
        "days",
        "hr",
        "hrs",
        "hour",
        "hours",
        "min",
        "mins",
        "minute",
        "minutes",
        "sec",
        "secs",
        "second",
        "seconds",
        "milli",
        "millis",
        "millisecond",
        "milliseconds",
    ];
    let mut rest = text.trim_start_matches(['+', '-']);
    if rest == "0" {
        return true;
    }
    let mut parts = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let after = after.trim_start();
        let letters = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
        let (unit, next) = after.split_at(letters);
        if number.parse::<f64>().is_err() || !(UNITS.contains(&unit) || WORDS.contains(&unit)) {
            return false;
        }
        rest = next.trim_start();
        parts += 1;
    }
    parts > 0
}

fn is_mac(text: &str) -> bool {
    let hex = |part: &str, digits: usize| part.len() == digits && part.bytes().all(|b| b.is_ascii_hexdigit());
    let of = |by: char, digits: usize, counts: &[usize]| {
        let parts: Vec<&str> = text.split(by).collect();
        counts.contains(&parts.len()) && parts.iter().all(|part| hex(part, digits))
    };
    of(':', 2, &[6, 8, 20]) || of('-', 2, &[6, 8, 20]) || of('.', 4, &[3, 4, 10])
}

/// With or without dashes, as long as the version is the one that is asked for.
fn is_uuid(format: &str, text: &str) -> bool {
    let digits = text.replace('-', "");
    if digits.len() != 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return false;
    }
    let dashes: Vec<usize> = text.match_indices('-').map(|(at, _)| at).collect();
    let placed = dashes.is_empty() || dashes == [8, 13, 18, 23];
    placed && format.strip_prefix("uuid").is_none_or(|version| version.is_empty() || digits[12..13] == *version)
}

/// A scheme and something behind it, or an absolute path.
fn is_uri(text: &str) -> bool {
    let plain = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    let scheme = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    };
    plain && (text.starts_with('/') || text.split_once(':').is_some_and(|(before, rest)| scheme(before) && !rest.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn texts_have_their_format_or_not() {
        for (format, good, bad) in [
            ("date-time", "2026-01-02T03:04:05Z", "2026-01-02"),
            ("date", "2026-01-02", "2026-13-02"),
            ("duration", "1h30m", "soon"),
            ("duration", "3 days", "3 lightyears"),
            ("ipv4", "10.0.0.1", "fd00::1"),
            ("ipv6", "fd00::1", "10.0.0.1"),
            ("cidr", "10.0.0.0/8", "10.0.0.0"),
            ("mac", "01:23:45:67:89:ab", "01:23:45"),
            ("uuid", "f47ac10b-58cc-4372-a567-0e02b2c3d479", "f47ac10b"),
            ("uuid4", "f47ac10b-58cc-4372-a567-0e02b2c3d479", "f47ac10b-58cc-1372-a567-0e02b2c3d479"),
            ("byte", "YQ==", "%"),
            ("hostname", "a.example", "a_b"),
            ("email", "a@b.c", "a"),
            ("uri", "https://a.example/b", "a b"),
        ] {
            assert!(fits(format, good), "{format}: {good}");
            assert!(!fits(format, bad), "{format}: {bad}");
        }
        assert!(fits("of-my-own", "anything"));
    }
}

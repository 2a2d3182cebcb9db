//! Quantities: `100m`, `1.5Gi`, `2e3`. Exact, to a billionth; written back in the canonical form.

use std::cmp::Ordering;
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};
use std::str::FromStr;

/// Parts of one that a quantity is counted in.
const NANO: i128 = 1_000_000_000;

/// How a quantity is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// With powers of 1024: `Ki`, `Mi`, `Gi`.
    BinarySi,
    /// With powers of 1000: `m`, `k`, `M`.
    DecimalSi,
    /// With an exponent: `1e3`.
    DecimalExponent,
}

/// An amount of a resource.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// A text that is no quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
pub struct ParseQuantityError;

const DECIMAL: &[(&str, i32)] = &[("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY: &[(&str, u32)] = &[("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self { nanos: 0, format: Format::DecimalSi };

    /// A whole number.
    pub fn from_integer(value: i64) -> Self {
        Self { nanos: i128::from(value) * NANO, format: Format::DecimalSi }
    }

    /// A number of thousandths: millicores.
    pub fn from_milli(value: i64) -> Self {
        Self { nanos: i128::from(value) * (NANO / 1000), format: Format::DecimalSi }
    }

    /// A number of bytes, written with powers of 1024.
    pub fn from_bytes(value: i64) -> Self {
        Self { nanos: i128::from(value) * NANO, format: Format::BinarySi }
    }

    /// Reads a JSON value: a string or a number.
    pub fn from_json(value: &serde_json::Value) -> Option<Self> {
        match value {
            serde_json::Value::String(text) => text.parse().ok(),
            serde_json::Value::Number(number) => number.to_string().parse().ok(),
            _ => None,
        }
    }

    /// The whole number, rounded up.
    pub fn value(self) -> i64 {
        saturate(divide_up(self.nanos, NANO))
    }

    /// Thousandths, rounded up.
    pub fn milli_value(self) -> i64 {
        saturate(divide_up(self.nanos, NANO / 1000))
    }

    /// How the quantity is written.
    pub fn format(self) -> Format {
        self.format
    }

    /// Whether the quantity is less than nothing.
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// Whether the quantity is nothing.
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }
}

/// Division that rounds away from zero, as upstream rounds quantities.
fn divide_up(value: i128, by: i128) -> i128 {
    let (quotient, rest) = (value / by, value % by);
    quotient + rest.signum()
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

impl FromStr for Quantity {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, ParseQuantityError> {
        let (negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(ParseQuantityError);
        }
        let (scale, format) = parse_suffix(suffix).ok_or(ParseQuantityError)?;
        let nanos = scaled(whole, fraction, scale)?;
        Ok(Self { nanos: if negative { -nanos } else { nanos }, format })
    }
}

/// By what the digits are multiplied.
enum Scale {
    Ten(i32),
    Two(u32),
}

fn parse_suffix(suffix: &str) -> Option<(Scale, Format)> {
    if let Some((_, power)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        return Some((Scale::Two(*power), Format::BinarySi));
    }
    if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Some((Scale::Ten(*power), Format::DecimalSi));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?;
    Some((Scale::Ten(exponent), Format::DecimalExponent))
}

/// The number in billionths: what is smaller than one is rounded up, what is too large is held at the largest that is kept.
fn scaled(whole: &str, fraction: &str, scale: Scale) -> Result<i128, ParseQuantityError> {
    /// Beyond this a quantity is held: 2^63 wholes.
    const LARGEST: i128 = (1_i128 << 63) * NANO;
    let fraction = fraction.trim_end_matches('0');
    let digits: String = [whole, fraction].concat();
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Ok(0);
    }
    let fraction_digits = i32::try_from(fraction.len()).map_err(|_| ParseQuantityError)?;
    if digits.len() > 36 {
        return Ok(LARGEST);
    }
    let mantissa: i128 = digits.parse().map_err(|_| ParseQuantityError)?;
    let (mantissa, power) = match scale {
        Scale::Ten(power) => (Some(mantissa), power),
        Scale::Two(power) => (mantissa.checked_mul(1_i128 << power), 0),
    };
    let Some(mantissa) = mantissa else { return Ok(LARGEST) };
    let exponent = power.saturating_add(9).saturating_sub(fraction_digits);
    if exponent >= 0 {
        let factor = u32::try_from(exponent).ok().and_then(|e| 10_i128.checked_pow(e));
        return Ok(factor.and_then(|factor| mantissa.checked_mul(factor)).map_or(LARGEST, |nanos| nanos.min(LARGEST)));
    }
    let divisor = 10_i128.checked_pow(exponent.unsigned_abs());
    Ok(divisor.map_or(1, |divisor| divide_up(mantissa, divisor)).min(LARGEST))
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let sign = if self.nanos < 0 { "-" } else { "" };
        let nanos = self.nanos.unsigned_abs();
        let nano = NANO.unsigned_abs();
        // Less than 1024 of anything is never written with powers of 1024.
        if self.format == Format::BinarySi && nanos.is_multiple_of(nano) && nanos >= 1024 * nano {
            let whole = nanos / nano;
            let (suffix, power) = BINARY.iter().rev().find(|(_, power)| whole.is_multiple_of(1 << power)).copied().unwrap_or(("", 0));
            return write!(f, "{sign}{}{suffix}", whole >> power);
        }
        let (suffix, power) = DECIMAL
            .iter()
            .rev()
            .find(|(_, power)| nanos.is_multiple_of(10_u128.pow((power + 9).unsigned_abs())))
            .copied()
            .unwrap_or(("n", -9));
        let mantissa = nanos / 10_u128.pow((power + 9).unsigned_abs());
        if self.format == Format::DecimalExponent && power != 0 {
            return write!(f, "{sign}{mantissa}e{power}");
        }
        write!(f, "{sign}{mantissa}{suffix}")
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Add for Quantity {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        // Nothing takes the form of what is added to it.
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nanos: self.nanos.saturating_add(other.nanos), format }
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Quantity {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nanos: self.nanos.saturating_sub(other.nanos), format }
    }
}

impl Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::ZERO, Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(text: &str) -> Option<String> {
        text.parse::<Quantity>().ok().map(|q| q.to_string())
    }

    #[test]
    fn quantities_are_written_canonically() {
        let cases = [
            ("0", "0"),
            ("1", "1"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("1.5", "1500m"),
            ("0.1", "100m"),
            ("1000", "1k"),
            ("1024", "1024"),
            ("1024Ki", "1Mi"),
            ("1.5Gi", "1536Mi"),
            ("1Gi", "1Gi"),
            ("100Ki", "100Ki"),
            ("2e3", "2e3"),
            ("1e3", "1e3"),
            ("12e6", "12e6"),
            ("-5", "-5"),
            ("+5", "5"),
            (".5", "500m"),
            ("5.", "5"),
            ("1u", "1u"),
            ("1n", "1n"),
            ("0.5n", "1n"),
            ("1E", "1E"),
            ("1Ei", "1Ei"),
            ("64Mi", "64Mi"),
            ("123456789", "123456789"),
            ("1023Ki", "1023Ki"),
            ("0.5Ki", "512"),
        ];
        for (given, expected) in cases {
            assert_eq!(canonical(given).as_deref(), Some(expected), "{given}");
        }
        for bad in ["", "x", "1x", "1.2.3", ".", "1ki", "1e", "--1", "1 Gi", "Ki"] {
            assert_eq!(canonical(bad), None, "{bad}");
        }
    }

    #[test]
    fn values_round_up() {
        let value = |text: &str| text.parse::<Quantity>().map(|q| (q.value(), q.milli_value()));
        assert_eq!(value("100m"), Ok((1, 100)));
        assert_eq!(value("1.5Gi"), Ok((1_610_612_736, 1_610_612_736_000)));
        assert_eq!(value("99999999999999999999999"), Ok((i64::MAX, i64::MAX)));
    }

    proptest! {
        #[test]
        fn the_canonical_form_means_the_same(whole in 0_i64..1_000_000_000, suffix in "(|m|k|M|Ki|Mi|Gi|e3)") {
            let q: Quantity = format!("{whole}{suffix}").parse().map_err(|_| TestCaseError::fail("parse"))?;
            let again: Quantity = q.to_string().parse().map_err(|_| TestCaseError::fail("parse again"))?;
            prop_assert_eq!(q, again);
            prop_assert_eq!(q.to_string(), again.to_string());
        }

        #[test]
        fn sums_do_not_depend_on_order(a in -1_000_000_i64..1_000_000, b in -1_000_000_i64..1_000_000) {
            let (a, b) = (Quantity::from_milli(a), Quantity::from_milli(b));
            prop_assert_eq!(a + b, b + a);
            prop_assert_eq!(a + b - b, a);
        }

        #[test]
        fn nothing_panics(text in "[-+]?[0-9.]{0,50}[a-zA-Z]{0,3}[-+0-9]{0,12}") {
            if let Ok(q) = text.parse::<Quantity>() {
                let _ = (q.to_string(), q.value(), q.milli_value());
            }
        }
    }
}

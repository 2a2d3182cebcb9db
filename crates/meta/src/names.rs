//! The rules for names. Each function gives the complaints about a name, in the words clients know; none means that it is fine.

/// Longest DNS label, and longest name of a port's service and the like, in bytes.
pub const DNS_LABEL_MAX: usize = 63;
/// Longest DNS subdomain, in bytes.
pub const DNS_SUBDOMAIN_MAX: usize = 253;

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const ENV: &str = "a valid environment variable name must consist only of printable ASCII characters other than '='";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

fn too_long(name: &str, max: usize) -> Option<String> {
    (name.len() > max).then(|| format!("must be no more than {max} bytes"))
}

fn lower(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

fn is_label(name: &str) -> bool {
    let bytes = name.as_bytes();
    matches!((bytes.first(), bytes.last()), (Some(a), Some(z)) if lower(*a) && lower(*z)) && bytes.iter().all(|b| lower(*b) || *b == b'-')
}

/// Text that begins and ends with a letter or digit, with `-`, `_` and `.` between.
fn is_word(name: &str) -> bool {
    let bytes = name.as_bytes();
    matches!((bytes.first(), bytes.last()), (Some(a), Some(z)) if a.is_ascii_alphanumeric() && z.is_ascii_alphanumeric())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

/// RFC 1123 label: `my-name`.
pub fn dns1123_label(name: &str) -> Vec<String> {
    let mut errors: Vec<String> = too_long(name, DNS_LABEL_MAX).into_iter().collect();
    if !is_label(name) {
        let dotted = name.split('.').all(is_label);
        errors.push(if dotted { "must not contain dots" } else { LABEL }.to_owned());
    }
    errors
}

/// RFC 1123 subdomain: `my-name.example.com`.
pub fn dns1123_subdomain(name: &str) -> Vec<String> {
    let mut errors: Vec<String> = too_long(name, DNS_SUBDOMAIN_MAX).into_iter().collect();
    if !name.split('.').all(is_label) {
        errors.push(SUBDOMAIN.to_owned());
    }
    errors
}

/// RFC 1035 label: as RFC 1123's, but beginning with a letter. Names of Services.
pub fn dns1035_label(name: &str) -> Vec<String> {
    let mut errors: Vec<String> = too_long(name, DNS_LABEL_MAX).into_iter().collect();
    if !is_label(name) || !name.as_bytes().first().is_some_and(u8::is_ascii_lowercase) {
        errors.push(LABEL_1035.to_owned());
    }
    errors
}

/// A name that may have a DNS prefix: `example.com/my-name`. Keys of labels, names of resources and conditions.
pub fn qualified_name(name: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let (prefix, rest) = match name.split_once('/') {
        Some((prefix, rest)) => (Some(prefix), rest),
        None => (None, name),
    };
    if rest.contains('/') {
        return vec![format!(
            "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        )];
    }
    match prefix {
        Some("") => errors.push("prefix part must be non-empty".to_owned()),
        Some(prefix) => errors.extend(dns1123_subdomain(prefix).into_iter().map(|error| format!("prefix part {error}"))),
        None => {}
    }
    if rest.is_empty() {
        errors.push("name part must be non-empty".to_owned());
    } else if let Some(long) = too_long(rest, DNS_LABEL_MAX) {
        errors.push(format!("name part {long}"));
    }
    if !is_word(rest) {
        errors.push(QUALIFIED.to_owned());
    }
    errors
}

/// The value of a label; may be empty.
pub fn label_value(value: &str) -> Vec<String> {
    let mut errors: Vec<String> = too_long(value, DNS_LABEL_MAX).into_iter().collect();
    if !value.is_empty() && !is_word(value) {
        errors.push(LABEL_VALUE.to_owned());
    }
    errors
}

/// The name of an environment variable.
pub fn env_var_name(name: &str) -> Vec<String> {
    if !name.is_empty() && name.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'=') { Vec::new() } else { vec![ENV.to_owned()] }
}

/// A key of a ConfigMap or Secret.
pub fn config_map_key(key: &str) -> Vec<String> {
    let mut errors: Vec<String> = too_long(key, DNS_SUBDOMAIN_MAX).into_iter().collect();
    if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        errors.push(CONFIG_KEY.to_owned());
    } else if key == "." {
        errors.push("must not be '.'".to_owned());
    } else if key.starts_with("..") {
        errors.push(if key == ".." { "must not be '..'" } else { "must not start with '..'" }.to_owned());
    }
    errors
}

/// A name that only has to fit into a path: names of RBAC objects.
pub fn path_segment(name: &str) -> Vec<String> {
    match name {
        "." | ".." => vec![format!("may not be '{name}'")],
        _ => ["/", "%"].iter().filter(|c| name.contains(**c)).map(|c| format!("may not contain '{c}'")).collect(),
    }
}

/// The name of a container's port, or of a service in a probe: at most 15 letters, digits and single dashes, with a letter.
pub fn port_name(name: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if name.len() > 15 {
        errors.push("must be no more than 15 bytes".to_owned());
    }
    if !name.bytes().all(|b| lower(b) || b == b'-') {
        errors.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !name.bytes().any(|b| b.is_ascii_lowercase()) {
        errors.push("must contain at least one letter (a-z)".to_owned());
    }
    if name.contains("--") {
        errors.push("must not contain consecutive hyphens".to_owned());
    }
    if name.starts_with('-') || name.ends_with('-') {
        errors.push("must not begin or end with a hyphen".to_owned());
    }
    errors
}

/// A number of a port.
pub fn port_number(port: i64) -> Vec<String> {
    if (1..=65_535).contains(&port) { Vec::new() } else { vec!["must be between 1 and 65535, inclusive".to_owned()] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_by_their_rules() {
        type Rule = fn(&str) -> Vec<String>;
        let long = "a".repeat(64);
        let cases: &[(Rule, &[&str], &[&str])] = &[
            (dns1123_label, &["a", "a-1", "1a"], &["", "A", "-a", "a-", "a.b", &long]),
            (dns1123_subdomain, &["a.b", "a-1.b"], &["", "a..b", ".a", "A.b"]),
            (dns1035_label, &["a", "a1"], &["1a", "", "a."]),
            (qualified_name, &["a", "A_b.c", "example.com/a"], &["", "/a", "a/", "a/b/c", "-a", &long]),
            (label_value, &["", "a", "A_1"], &["-", "a b", &long]),
            (env_var_name, &["PATH", "a.b-c", "with space"], &["", "A=B", "é"]),
            (config_map_key, &["a.txt", "_x"], &["", ".", "..", "..a", "a/b"]),
            (path_segment, &["system:node", "a"], &[".", "..", "a/b", "a%b"]),
            (port_name, &["http", "h-1"], &["", "1", "-a", "a--b", "abcdefghijklmnop", "A"]),
        ];
        for (rule, good, bad) in cases {
            for name in *good {
                assert!(rule(name).is_empty(), "{name}: {:?}", rule(name));
            }
            for name in *bad {
                assert!(!rule(name).is_empty(), "{name}");
            }
        }
    }
}

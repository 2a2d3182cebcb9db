//! Secrets whose contents do not go with their type.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Said;
use crate::kinds::check::At;

/// Says what is plainly wrong with the certificate and the key of a secret of that type. That they belong together is not looked at.
pub(super) fn secret(at: &At<'_>, said: &mut Said) {
    if at.get("type").text() == "kubernetes.io/tls" {
        let read = |key: &str| STANDARD.decode(at.get("data").get(key).text()).unwrap_or_default();
        let (certificate, key) = (labels(&read("tls.crt")), labels(&read("tls.key")));
        said.extend(wrong_certificate(&certificate).or_else(|| wrong_key(&key)));
    }
}

/// What the PEM blocks of a text say they hold.
fn labels(bytes: &[u8]) -> Vec<String> {
    const BEGIN: &str = "-----BEGIN ";
    let text = String::from_utf8_lossy(bytes);
    let begins = text.lines().filter_map(|line| line.trim_end().strip_prefix(BEGIN)?.strip_suffix("-----"));
    begins.filter(|label| text.contains(&format!("-----END {label}-----"))).map(str::to_owned).collect()
}

fn is_key(label: &str) -> bool {
    label == "PRIVATE KEY" || label.ends_with(" PRIVATE KEY")
}

fn wrong_certificate(labels: &[String]) -> Option<String> {
    match labels {
        [] => Some("tls: failed to find any PEM data in certificate input".to_owned()),
        _ if labels.iter().any(|label| label == "CERTIFICATE") => None,
        [only] if is_key(only) => Some(
            "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched"
                .to_owned(),
        ),
        _ => Some(format!(
            "tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the following types: [{}]",
            labels.join(" ")
        )),
    }
}

fn wrong_key(labels: &[String]) -> Option<String> {
    match labels {
        [] => Some("tls: failed to find any PEM data in key input".to_owned()),
        _ if labels.iter().any(|label| is_key(label)) => None,
        [only] if only == "CERTIFICATE" => Some("tls: found a certificate rather than a key in the PEM for the private key".to_owned()),
        _ => Some(format!(
            "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of the following types: [{}]",
            labels.join(" ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pair_that_is_none_is_told_of() {
        let pem = |label: &str| format!("-----BEGIN {label}-----\nYQ==\n-----END {label}-----\n");
        let (certificate, key) = (pem("CERTIFICATE"), pem("EC PRIVATE KEY"));
        let (certificate, key) = (certificate.as_str(), key.as_str());
        for (first, second, expected) in [
            (certificate, key, ""),
            ("x", key, "tls: failed to find any PEM data in certificate input"),
            (certificate, "", "tls: failed to find any PEM data in key input"),
            (
                key,
                key,
                "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched",
            ),
            (certificate, certificate, "tls: found a certificate rather than a key in the PEM for the private key"),
        ] {
            let data = json!({"tls.crt": STANDARD.encode(first), "tls.key": STANDARD.encode(second)});
            let object = json!({"type": "kubernetes.io/tls", "data": data});
            let mut said = Said::new();
            secret(&At::root(&object), &mut said);
            assert_eq!(said.join("|"), expected);
        }
    }
}

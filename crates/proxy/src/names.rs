//! Upstream's names for chains: a prefix and sixteen base32 characters of a hash, so that they fit iptables' limit.

use sha2::{Digest, Sha256};

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The first sixteen characters of the base32 form of the SHA-256 of `text`.
fn hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    // Sixteen characters of five bits are the first ten bytes.
    let bits = digest.iter().take(10).fold(0_u128, |bits, byte| (bits << 8) | u128::from(*byte));
    (0..16).rev().map(|i| char::from(ALPHABET[((bits >> (i * 5)) & 31) as usize])).collect()
}

/// The chain of a Service port with `prefix` (such as `KUBE-SVC-`); `port_name` is `NAMESPACE/NAME` or
/// `NAMESPACE/NAME:PORT`, `protocol` in small letters.
pub fn service_chain(prefix: &str, port_name: &str, protocol: &str) -> String {
    format!("{prefix}{}", hash(&format!("{port_name}{protocol}")))
}

/// The chain of one endpoint (`IP:PORT`) of a Service port.
pub fn endpoint_chain(port_name: &str, protocol: &str, endpoint: &str) -> String {
    format!("KUBE-SEP-{}", hash(&format!("{port_name}{protocol}{endpoint}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_upstreams() {
        // The chain that every cluster has for default/kubernetes:https.
        assert_eq!(service_chain("KUBE-SVC-", "default/kubernetes:https", "tcp"), "KUBE-SVC-NPX46M4PTMTKRN6Y");
        assert_eq!(service_chain("KUBE-SVC-", "kube-system/kube-dns:dns", "udp"), "KUBE-SVC-TCOU7JCQXEZGVUNU");
        assert_eq!(service_chain("KUBE-SVC-", "kube-system/kube-dns:dns-tcp", "tcp"), "KUBE-SVC-ERIFXISQEP7F7OF4");
    }

    #[test]
    fn each_endpoint_has_its_own() {
        let one = endpoint_chain("default/web:http", "tcp", "10.42.0.2:80");
        assert_ne!(one, endpoint_chain("default/web:http", "tcp", "10.42.0.3:80"));
        assert_eq!(one.len(), "KUBE-SEP-".len() + 16);
    }
}

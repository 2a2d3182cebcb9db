//! Keys, certificates and tokens: everything by which the parts of a cluster, its people and its pods prove who
//! they are. Certificates and tokens are made and checked here; who is asking, what time it is and what the
//! bearer may do is somebody else's business. It must never know a socket, a clock or the Kubernetes API; the one
//! thing it does with the disk is in [`files`]: putting a key there so that nobody else can read it.

mod authority;
mod error;
pub mod files;
mod inspect;
mod join;
mod kubeconfig;
mod service_account;
mod tls;

pub use authority::{Authority, Identity, Profile, Usage, new_key};
pub use error::Error;
pub use inspect::{CertificateInfo, Subject, certificate_info, subject};
pub use join::{JoinToken, Role, new_secret};
pub use kubeconfig::{Credentials, Kubeconfig};
pub use service_account::{Claims, KubernetesClaims, Reference, ServiceAccountKey, TokenError, Verifier, public_key_from_pem};
pub use tls::{ClientAuth, RotatingIdentity, client_config, server_config};

use sha2::{Digest, Sha256};

/// SHA-256 of `bytes` as lower-case hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether two secrets are the same, in a time that tells nothing about where they differ.
pub fn same_secret(left: &str, right: &str) -> bool {
    // Digests have one length and cannot be steered, so comparing them leaks nothing worth having.
    let (left, right) = (Sha256::digest(left.as_bytes()), Sha256::digest(right.as_bytes()));
    left.iter().zip(right.iter()).fold(0u8, |difference, (l, r)| difference | (l ^ r)) == 0
}

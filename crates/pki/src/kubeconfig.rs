//! Kubeconfig documents: how clients are told where the cluster is, whom to trust and who they are.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::Identity;

/// By what the user of a kubeconfig proves who it is.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// A client certificate, written into the document.
    Certificate(Identity),
    /// A bearer token, written into the document.
    Token(String),
}

/// What goes into a kubeconfig with one cluster, one user and one context.
#[derive(Clone, Debug)]
pub struct Kubeconfig {
    /// Name of cluster and context, e.g. "tricorn".
    pub cluster: String,
    /// The API server's address, e.g. `https://127.0.0.1:6443`.
    pub server: String,
    /// The CA certificate (PEM).
    pub authority_pem: String,
    /// Name of the user entry, e.g. "admin".
    pub user: String,
    /// The user's proof.
    pub credentials: Credentials,
    /// Namespace of the context; `None`: "default".
    pub namespace: Option<String>,
}

impl Kubeconfig {
    /// The document as YAML. It holds a secret: to be stored with mode 0600.
    pub fn to_yaml(&self) -> String {
        let (cluster, user, server) = (quoted(&self.cluster), quoted(&self.user), quoted(&self.server));
        let authority = STANDARD.encode(&self.authority_pem);
        let mut text = format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: {cluster}\n  cluster:\n    certificate-authority-data: {authority}\n    \
             server: {server}\ncontexts:\n- name: {cluster}\n  context:\n    cluster: {cluster}\n    user: {user}\n"
        );
        if let Some(namespace) = &self.namespace {
            let _ = writeln!(text, "    namespace: {}", quoted(namespace));
        }
        let _ = writeln!(text, "current-context: {cluster}\nusers:\n- name: {user}\n  user:");
        let _ = match &self.credentials {
            Credentials::Certificate(identity) => writeln!(
                text,
                "    client-certificate-data: {}\n    client-key-data: {}",
                STANDARD.encode(&identity.certificate_pem),
                STANDARD.encode(&identity.key_pem)
            ),
            Credentials::Token(token) => writeln!(text, "    token: {}", quoted(token)),
        };
        text
    }
}

/// A string as YAML takes it whatever it contains: JSON's strings are YAML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_holds_what_was_put_in() {
        let mut config = Kubeconfig {
            cluster: "tricorn".into(),
            server: "https://127.0.0.1:6443".into(),
            authority_pem: "CA".into(),
            user: "a \"quoted\" user".into(),
            credentials: Credentials::Certificate(Identity { certificate_pem: "CERT".into(), key_pem: "KEY".into() }),
            namespace: Some("web".into()),
        };
        let text = config.to_yaml();
        for part in [
            "certificate-authority-data: Q0E=",
            "server: \"https://127.0.0.1:6443\"",
            "user: \"a \\\"quoted\\\" user\"",
            "client-certificate-data: Q0VSVA==",
            "client-key-data: S0VZ",
            "namespace: \"web\"",
            "current-context: \"tricorn\"",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        config.credentials = Credentials::Token("secret".into());
        assert!(config.to_yaml().contains("    token: \"secret\""));
    }
}

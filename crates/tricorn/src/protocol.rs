//! What servers, joiners and `tricorn`'s own commands say to each other under `/tricorn/v1/`, as JSON.

use serde::{Deserialize, Serialize};

/// The path that every route begins with.
pub const BASE: &str = "/tricorn/v1";

/// A server asks to become a member.
#[derive(Debug, Serialize, Deserialize)]
pub struct JoinServer {
    /// Its name.
    pub name: String,
    /// Where other members will reach it.
    pub peer_url: String,
    /// Where clients of the store will reach it.
    pub client_url: String,
}

/// All that makes a server one of the cluster's. Holds every secret there is: it travels over TLS to a bearer of a server's token only.
#[derive(Serialize, Deserialize)]
pub struct ServerKit {
    /// Certificate of the authority that servers, nodes and users are signed by, PEM.
    pub ca_crt: String,
    /// Its key.
    pub ca_key: String,
    /// Certificate of the authority of the store's members and clients, PEM.
    pub etcd_ca_crt: String,
    /// Its key.
    pub etcd_ca_key: String,
    /// Signs service account tokens.
    pub service_account_key: String,
    /// Peer URLs of the members.
    pub peers: Vec<String>,
    /// What all servers must agree on.
    pub settings: Settings,
}

/// What all servers and workers of a cluster must agree on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The range of pod addresses.
    pub cluster_cidr: String,
    /// The range of Service addresses.
    pub service_cidr: String,
    /// The address of the cluster's DNS.
    pub cluster_dns: String,
    /// The domain of the cluster's DNS.
    pub cluster_domain: String,
}

/// A worker asks for its certificates. Private keys stay with it.
#[derive(Debug, Serialize, Deserialize)]
pub struct JoinAgent {
    /// The node's name.
    pub name: String,
    /// The node's address.
    pub address: String,
    /// Public key (PEM) of the node as a client of the API.
    pub node_key: String,
    /// Public key (PEM) that the kubelet's port is served with.
    pub serving_key: String,
    /// Public key (PEM) of the proxy as a client of the API.
    pub proxy_key: String,
}

/// What a worker gets.
#[derive(Debug, Serialize, Deserialize)]
pub struct AgentKit {
    /// Certificate of the cluster's authority, PEM.
    pub ca_crt: String,
    /// `system:node:NAME` of `system:nodes`.
    pub node_crt: String,
    /// For the kubelet's port.
    pub serving_crt: String,
    /// `system:kube-proxy`.
    pub proxy_crt: String,
    /// URLs of all API servers.
    pub servers: Vec<String>,
    /// What the cluster has agreed on.
    pub settings: Settings,
}

/// A server about itself.
#[derive(Debug, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Its name.
    pub name: String,
    /// The name of the leader; empty when there is none.
    pub leader: String,
    /// The term of the present leader or election.
    pub term: u64,
    /// The newest revision here.
    pub revision: i64,
    /// The last log entry applied here.
    pub applied: u64,
    /// It follows and does not vote yet.
    pub learner: bool,
    /// The version it runs.
    pub version: String,
}

/// A join token, without its secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokenInfo {
    /// Names it in lists.
    pub id: String,
    /// `server` or `agent`.
    pub role: String,
    /// What it was made for.
    pub description: String,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// When it ends, in seconds since 1970; never, when absent.
    pub expires: Option<i64>,
}

/// A wish for a join token.
#[derive(Debug, Serialize, Deserialize)]
pub struct CreateToken {
    /// `server` or `agent`.
    pub role: String,
    /// What it is for.
    pub description: String,
    /// How long it is good for, in seconds; for ever, when absent.
    pub ttl_seconds: Option<i64>,
}

/// A new join token. The secret is in here and nowhere else.
#[derive(Debug, Serialize, Deserialize)]
pub struct NewToken {
    /// The token itself.
    pub token: String,
    /// What is known of it from now on.
    pub info: TokenInfo,
}

/// How much room the store has.
#[derive(Debug, Serialize, Deserialize)]
pub struct QuotaInfo {
    /// Bytes it may take on each server; 0 for no bound.
    pub bytes: u64,
    /// Bytes it takes on the server that answers.
    pub used: u64,
    /// Alarms that are on, in words.
    pub alarms: Vec<String>,
}

/// A member of the store's group.
#[derive(Debug, Serialize, Deserialize)]
pub struct MemberInfo {
    /// Its id, in hexadecimal.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where other members reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it.
    pub client_urls: Vec<String>,
    /// It follows and does not vote.
    pub learner: bool,
    /// It leads.
    pub leader: bool,
}

/// Words to a failure, in the shape of a Kubernetes Status.
#[derive(Debug, Serialize, Deserialize)]
pub struct Failure {
    /// `Status`.
    pub kind: String,
    /// `Failure`.
    pub status: String,
    /// What went wrong and what to do.
    pub message: String,
    /// The HTTP code.
    pub code: u16,
}

//! Services to iptables: a pure compiler from Services and EndpointSlices to rules, an applier that changes only what is
//! different, and routes to the pods of other nodes.
//!
//! It knows the API through `tricorn-client` alone and never pods or containers; with upstream's chain and rule
//! names, tools and people that know kube-proxy find their way.

mod apply;
mod compile;
mod conntrack;
mod error;
mod health;
mod jumps;
mod names;
mod node;
mod ruleset;
mod runner;
mod services;
mod sysctl;

pub use apply::{Applier, cleanup};
pub use compile::{CompileConfig, compile};
pub use error::{Error, Result};
pub use names::{endpoint_chain, service_chain};
pub use ruleset::{Chain, Ruleset, Table};
pub use runner::{ProxyConfig, run};
pub use services::{Endpoint, Protocol, ServicePort, service_ports};

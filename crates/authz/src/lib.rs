//! Who may do what: RBAC and Node authorization as pure decisions over state that is fed in object by object.
//!
//! This crate must never know where the objects come from (the caller feeds every change of roles, bindings, pods and
//! volumes), nor sockets, clocks or stores. A decision takes no lock and no allocation beyond its reason.
//!
//! - [`Rbac`] keeps roles and bindings, indexed by subject, and guards against granting more than one holds.
//! - [`NodeAuthorizer`] keeps which node runs what, and lets a kubelet read what its pods need.
//! - [`Authorizer`] asks both, as a server does by default.
//! - [`bootstrap_objects`] and [`reconcile`] bring the roles that every cluster starts with.

mod attributes;
mod bootstrap;
mod escalation;
mod node;
mod rbac;
mod reconcile;
mod review;
mod rule;

use serde_json::Value;
use tricorn_meta::UserInfo;

pub use attributes::{Attributes, Decision};
pub use bootstrap::bootstrap_objects;
pub use node::{NodeAuthorizer, node_of};
pub use rbac::Rbac;
pub use reconcile::reconcile;
pub use review::Rules;
pub use rule::Rule;

/// The group that may do anything: its members are never asked further.
pub const SUPERUSERS: &str = "system:masters";

/// Node and RBAC authorization together, in upstream's default order.
#[derive(Clone, Debug, Default)]
pub struct Authorizer {
    /// Roles and bindings.
    pub rbac: Rbac,
    /// Nodes and what their pods use.
    pub nodes: NodeAuthorizer,
}

impl Authorizer {
    /// Takes in an object that was added or changed. Kinds that decide nothing are ignored.
    pub fn apply(&mut self, kind: &str, object: &Value) {
        self.rbac.apply(kind, object);
        self.nodes.apply(kind, object);
    }

    /// Forgets an object that was deleted.
    pub fn remove(&mut self, kind: &str, namespace: &str, name: &str) {
        self.rbac.remove(kind, namespace, name);
        self.nodes.remove(kind, namespace, name);
    }

    /// Decides: superusers may do anything, then nodes, then roles. The reasons of those that had no opinion are joined by newlines.
    pub fn authorize(&self, request: &Attributes<'_>) -> Decision {
        if request.user.in_group(SUPERUSERS) {
            return Decision::Allow("".into());
        }
        let node = self.nodes.authorize(request);
        let Decision::NoOpinion(why_not) = &node else { return node };
        match self.rbac.authorize(request) {
            Decision::NoOpinion(reason) if !why_not.is_empty() && !reason.is_empty() => {
                Decision::NoOpinion(format!("{why_not}\n{reason}").into())
            }
            Decision::NoOpinion(reason) if reason.is_empty() => node,
            decision => decision,
        }
    }

    /// The rules that hold for a user in a namespace, as SelfSubjectRulesReview answers them.
    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> Rules {
        self.rbac.rules_for(user, namespace)
    }
}

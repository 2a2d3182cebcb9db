//! Which rules hold for somebody: the answer of SelfSubjectRulesReview.

use serde_json::{Value, json};
use tricorn_meta::UserInfo;

use crate::rbac::not_found;
use crate::{Rbac, Rule};

/// All rules of one user in one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Rules about resources.
    pub resources: Vec<Rule>,
    /// Rules about paths.
    pub paths: Vec<Rule>,
    /// Roles that are bound but not there, told as errors.
    pub errors: Vec<String>,
}

impl Rbac {
    /// The rules that hold for a user in a namespace (empty: those of cluster bindings only).
    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> Rules {
        let mut all = Rules::default();
        for binding in self.bindings_of(user, namespace) {
            let Some(rules) = self.rules_of_role(&binding.role, &binding.namespace) else {
                all.errors.push(not_found(&binding.role));
                continue;
            };
            for rule in rules.iter() {
                let to = if rule.non_resource_urls.is_empty() { &mut all.resources } else { &mut all.paths };
                if !to.contains(rule) {
                    to.push(rule.clone());
                }
            }
        }
        all
    }
}

impl Rules {
    /// The `status` of the review.
    pub fn to_status(&self) -> Value {
        let list = |rules: &[Rule]| rules.iter().map(|r| serde_json::to_value(r).unwrap_or_default()).collect::<Vec<_>>();
        let mut status = json!({
            "resourceRules": list(&self.resources),
            "nonResourceRules": list(&self.paths),
            "incomplete": !self.errors.is_empty(),
        });
        if !self.errors.is_empty() {
            status["evaluationError"] = Value::from(self.errors.join(", "));
        }
        status
    }
}

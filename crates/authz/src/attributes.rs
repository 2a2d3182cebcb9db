//! The question and the answer.

use std::borrow::Cow;

use tricorn_meta::UserInfo;

/// What somebody wants to do. Empty text means that the part is absent.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    /// Who asks.
    pub user: &'a UserInfo,
    /// API verb (`get`, `list`, `create`, ...) or, for paths that are no resources, the HTTP method in lower case.
    pub verb: &'a str,
    /// Namespace; empty for cluster scope and for requests over all namespaces.
    pub namespace: &'a str,
    /// API group; empty for the core group.
    pub api_group: &'a str,
    /// API version; no decision depends on it, reviews record it.
    pub api_version: &'a str,
    /// Resource in plural.
    pub resource: &'a str,
    /// Subresource such as `status`.
    pub subresource: &'a str,
    /// Name of the object; empty for list, create and deletecollection.
    pub name: &'a str,
    /// HTTP path, for requests that are about no resource.
    pub path: &'a str,
    /// Whether the request is about a resource.
    pub resource_request: bool,
    /// The request's field selector as sent (`spec.nodeName=n1`); nodes may list pods and nodes only with it.
    pub field_selector: &'a str,
}

impl<'a> Attributes<'a> {
    /// A question about a resource; the remaining parts are set by struct update.
    pub fn resource(user: &'a UserInfo, verb: &'a str, api_group: &'a str, resource: &'a str) -> Self {
        Self {
            user,
            verb,
            namespace: "",
            api_group,
            api_version: "*",
            resource,
            subresource: "",
            name: "",
            path: "",
            resource_request: true,
            field_selector: "",
        }
    }

    /// A question about a path that is no resource.
    pub fn path(user: &'a UserInfo, verb: &'a str, path: &'a str) -> Self {
        Self { path, resource_request: false, ..Self::resource(user, verb, "", "") }
    }

    /// `User "x" cannot get resource "pods" in API group "" in the namespace "default"`, with the reason behind a colon if there is one.
    pub fn refusal(&self, reason: &str) -> String {
        let mut text = format!("User {:?} cannot {}", self.user.name, self.verb);
        if self.resource_request {
            let slash = if self.subresource.is_empty() { "" } else { "/" };
            text.push_str(&format!(" resource \"{}{slash}{}\" in API group {:?}", self.resource, self.subresource, self.api_group));
            if self.namespace.is_empty() {
                text.push_str(" at the cluster scope");
            } else {
                text.push_str(&format!(" in the namespace {:?}", self.namespace));
            }
        } else {
            text.push_str(&format!(" path {:?}", self.path));
        }
        if !reason.is_empty() {
            text.push_str(": ");
            text.push_str(reason);
        }
        text
    }

    /// The 403 for this question.
    pub fn forbidden(&self, reason: &str) -> tricorn_meta::Status {
        tricorn_meta::Status::forbidden(self.api_group, self.resource, self.name, self.refusal(reason))
    }
}

/// The answer, with a reason for people and the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Allowed.
    Allow(Cow<'static, str>),
    /// Refused; nobody else is asked.
    Deny(Cow<'static, str>),
    /// Not allowed as far as this authorizer knows; another may.
    NoOpinion(Cow<'static, str>),
}

impl Decision {
    /// Whether the request may go on.
    pub fn allowed(&self) -> bool {
        matches!(self, Decision::Allow(_))
    }

    /// Why.
    pub fn reason(&self) -> &str {
        match self {
            Decision::Allow(reason) | Decision::Deny(reason) | Decision::NoOpinion(reason) => reason,
        }
    }

    pub(crate) fn no_opinion() -> Self {
        Decision::NoOpinion(Cow::Borrowed(""))
    }
}

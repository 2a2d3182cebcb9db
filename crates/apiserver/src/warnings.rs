//! What clients are told in `Warning` headers: of kinds that are going away, and of objects that are taken as they are.

use crate::context::Context;
use crate::endpoint::Endpoint;
use serde_json::Value;
use tricorn_schema::kinds;

/// Built-in kinds that are going away, and what to say of them.
const GOING: [(&str, &str, &str, &str); 2] = [
    ("", "v1", "componentstatuses", "v1 ComponentStatus is deprecated in v1.19+"),
    ("", "v1", "endpoints", "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
];

impl Endpoint {
    /// What to say to whoever uses the kind in this version, where it is going away.
    pub(crate) fn deprecation(&self) -> Option<String> {
        if let Some(kind) = self.custom_kind() {
            return kind.deprecation.clone();
        }
        let this = (self.group.as_str(), self.version.as_str(), self.plural.as_str());
        let found = GOING.iter().find(|(group, version, plural, _)| (*group, *version, *plural) == this);
        found.map(|(.., text)| (*text).to_owned())
    }

    /// Tells a client what there is to say of an object that was made or changed. Changes through subresources go without.
    pub(crate) fn warn(&self, context: &Context, subresource: &str, new: &Value, old: Option<&Value>) {
        if self.is_builtin() && subresource.is_empty() {
            kinds::warnings(&self.group, &self.kind, new, old).into_iter().for_each(|text| context.warn(text));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::endpoint::Endpoints;

    #[test]
    fn versions_that_are_going_away_say_so() {
        let builtin = Endpoints::builtin();
        let said = |plural: &str| builtin.get("", "v1", plural).unwrap().deprecation();
        assert_eq!(said("endpoints").unwrap(), "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice");
        assert_eq!(said("pods"), None);
    }
}

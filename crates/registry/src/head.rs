//! What everybody asks of an object, read from its text without building the tree of it.

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};
use serde_json::Value;

/// The head of an object. What is not there is empty.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Head {
    #[serde(default, rename = "apiVersion")]
    pub api_version: Box<str>,
    #[serde(default)]
    pub metadata: Metadata,
}

/// What the head has of the metadata.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Metadata {
    #[serde(default)]
    pub namespace: Box<str>,
    #[serde(default)]
    pub name: Box<str>,
    #[serde(default)]
    pub uid: Box<str>,
    /// Whether there is a version in the text.
    #[serde(default, rename = "resourceVersion", deserialize_with = "there")]
    pub versioned: bool,
    /// Whether there is a link in the text, which is never served.
    #[serde(default, rename = "selfLink", deserialize_with = "there")]
    pub linked: bool,
}

fn there<'a, D: Deserializer<'a>>(any: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(any).map(|_| true)
}

impl Head {
    /// Reads the head of a text, all of which must be JSON. Stricter than it must be: what somebody else wrote may have another shape, and is
    /// still an object.
    pub(crate) fn read(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The head of a tree.
    pub(crate) fn of(value: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().into();
        let metadata = &value["metadata"];
        Self {
            api_version: text(&value["apiVersion"]),
            metadata: Metadata {
                namespace: text(&metadata["namespace"]),
                name: text(&metadata["name"]),
                uid: text(&metadata["uid"]),
                versioned: metadata.get("resourceVersion").is_some(),
                linked: metadata.get("selfLink").is_some(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_text_has_the_head_of_its_tree() {
        for text in [
            r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a\u00e9","namespace":"n","uid":"u"},"spec":{"metadata":{"name":"x"}}}"#,
            r#"{"apiVersion":"apps/v1","metadata":{"name":"a","resourceVersion":null,"selfLink":"/a"}}"#,
            r#"{"metadata":{}}"#,
            "{}",
        ] {
            assert_eq!(Head::read(text).unwrap(), Head::of(&serde_json::from_str(text).unwrap()), "{text}");
        }
    }

    #[test]
    fn what_is_not_json_has_no_head() {
        for text in ["", "nonsense", r#"{"metadata":{}"#, r#"{"metadata":{}} x"#, r#"{"spec":[1,]}"#] {
            assert!(Head::read(text).is_err(), "{text}");
        }
    }
}

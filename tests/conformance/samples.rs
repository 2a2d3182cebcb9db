//! Small valid objects, one of each kind: `samples.yaml`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::discovery::Kind;

/// What is known of a kind beyond its discovery.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// The object. `$I` in it is the number of the object, from 1 on; `$NAMESPACE` is where it lives.
    pub object: Value,
    /// A merge patch that changes what is wanted; none where nothing may change.
    #[serde(default)]
    pub change: Option<Value>,
    /// A merge patch of the status.
    #[serde(default)]
    pub status: Option<Value>,
    /// Core objects of the namespace that must be there first, by their plurals.
    #[serde(default)]
    pub needs: BTreeMap<String, Value>,
}

/// All samples, by the ids of their kinds.
pub fn read() -> BTreeMap<String, Sample> {
    serde_yaml_ng::from_str(include_str!("samples.yaml")).expect("samples.yaml")
}

impl Sample {
    /// Whether the kind's names are free, so that the server may make one.
    pub fn is_named_freely(&self) -> bool {
        self.object["metadata"].get("name").is_none()
    }

    /// The object of this number.
    pub fn object(&self, kind: &Kind, namespace: &str, number: usize) -> Value {
        let text = self.object.to_string().replace("$I", &number.to_string()).replace("$NAMESPACE", namespace);
        let mut object: Value = serde_json::from_str(&text).unwrap();
        object["apiVersion"] = json!(kind.api_version());
        object["kind"] = json!(kind.kind);
        if object["metadata"].get("name").is_none() {
            object["metadata"]["name"] = json!(format!("walk-{number}"));
        }
        object["metadata"]["labels"]["walk"] = json!("conformance");
        object["metadata"]["labels"]["number"] = json!(number.to_string());
        object
    }
}

//! One object at one revision: the text that is served, and what is made of it when somebody first asks.

use crate::codec;
use crate::encodings::{Encoding, Encodings};
use crate::head::Head;
use bytes::Bytes;
use serde::de::Error;
use serde_json::Value;
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

/// One object at one revision; shared by all who list, watch or read it. It is kept as its text: most objects are only ever handed on, and a
/// tree takes several times the room.
#[derive(Debug)]
pub struct Object {
    key: Arc<str>,
    revision: i64,
    head: Head,
    body: Bytes,
    tree: OnceLock<Arc<Value>>,
    encodings: Encodings,
}

impl Object {
    fn new(key: Arc<str>, revision: i64, head: Head, body: Bytes) -> Self {
        Self { key, revision, head, body, tree: OnceLock::new(), encodings: Encodings::default() }
    }

    /// An object whose tree is at hand.
    fn of_tree(key: Arc<str>, revision: i64, tree: Value) -> Result<Self, serde_json::Error> {
        let object = Self::new(key, revision, Head::of(&tree), serde_json::to_vec(&tree)?.into());
        // Nobody else has it yet.
        let _first = object.tree.set(Arc::new(tree));
        Ok(object)
    }

    /// Reads what the store holds at `key`. `revision` is the key's modification revision.
    pub(crate) fn decode(key: Arc<str>, stored: &[u8], revision: i64) -> Result<Self, serde_json::Error> {
        let text = std::str::from_utf8(stored).map_err(serde_json::Error::custom)?;
        if let Ok(head) = Head::read(text)
            && !head.metadata.versioned
            && !head.metadata.linked
            && let Some(body) = codec::with_version(stored, revision)
        {
            return Ok(Self::new(key, revision, head, body));
        }
        // Somebody else than this code wrote it.
        let mut tree: Value = serde_json::from_str(text)?;
        codec::set_version(&mut tree, revision);
        Self::of_tree(key, revision, tree)
    }

    /// The same object as it is served with another version: what the last event of a deleted object shows.
    pub(crate) fn at(&self, revision: i64) -> Result<Self, serde_json::Error> {
        if let Some(body) = codec::with_version(&self.body, revision) {
            let head = Head::read(std::str::from_utf8(&body).map_err(serde_json::Error::custom)?)?;
            return Ok(Self::new(self.key.clone(), revision, head, body));
        }
        let mut tree = self.glance().into_owned();
        codec::set_version(&mut tree, revision);
        Self::of_tree(self.key.clone(), revision, tree)
    }

    /// An object that lives in no store: the answer to a dry run, or a virtual resource. It has no key and no revision.
    pub fn unstored(value: Value) -> Result<Self, serde_json::Error> {
        Self::of_tree(Arc::from(""), 0, value)
    }

    /// The key in the store.
    pub fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// The modification revision: the resourceVersion as a number.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    fn tree(&self) -> &Arc<Value> {
        self.tree.get_or_init(|| Arc::new(self.parse()))
    }

    fn parse(&self) -> Value {
        // The text has been read before; what only a tree refuses, such as a thousand lists in one another, nobody can have written here.
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            tracing::error!(key = %self.key, %error, "what the store holds cannot be read; it is taken for empty");
            Value::Null
        })
    }

    /// The object, resourceVersion included. The tree is kept from then on.
    pub fn value(&self) -> &Value {
        self.tree()
    }

    /// The object, to be kept.
    pub fn shared(&self) -> Arc<Value> {
        self.tree().clone()
    }

    /// The object for somebody who looks at it once: a tree that is not there yet is made for them alone.
    pub fn glance(&self) -> Cow<'_, Value> {
        self.tree.get().map_or_else(|| Cow::Owned(self.parse()), |tree| Cow::Borrowed(tree.as_ref()))
    }

    /// The object as it goes over the wire, resourceVersion included.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The object in another encoding, made by `make` for the first who asks and kept for as long as the object is.
    pub fn encoded<E>(&self, encoding: Encoding, make: impl Fn(&Value) -> Result<Bytes, E>) -> Result<Bytes, E> {
        self.encodings.get_or_make(encoding, || make(&self.glance()))
    }

    /// How many bytes the object has in all encodings that have been made of it, JSON among them.
    pub(crate) fn bytes(&self) -> usize {
        self.body.len() + self.encodings.bytes()
    }

    /// The version of the API that the object is written in.
    pub fn api_version(&self) -> &str {
        &self.head.api_version
    }

    /// metadata.namespace; empty for cluster-wide objects.
    pub fn namespace(&self) -> &str {
        &self.head.metadata.namespace
    }

    /// metadata.name.
    pub fn name(&self) -> &str {
        &self.head.metadata.name
    }

    /// metadata.uid.
    pub fn uid(&self) -> &str {
        &self.head.metadata.uid
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn object(stored: &str) -> Object {
        Object::decode("/registry/pods/n/a".into(), stored.as_bytes(), 7).unwrap()
    }

    #[test]
    fn an_object_is_what_the_store_holds_with_its_version() {
        let own = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","namespace":"n","uid":"u"},"spec":{"metadata":{}}}"#;
        let foreign = r#" {"spec":{"metadata":{}},"metadata":{"uid":"u","resourceVersion":"3","namespace":"n","name":"a"},"kind":"Pod","apiVersion":"v1"}"#;
        for stored in [own, foreign] {
            let object = object(stored);
            let served: Value = serde_json::from_slice(object.body()).unwrap();
            assert_eq!((object.glance().as_ref(), object.value()), (&served, &served));
            assert_eq!((object.api_version(), object.namespace(), object.name(), object.uid()), ("v1", "n", "a", "u"));
            assert_eq!(served["metadata"]["resourceVersion"], "7");
            let last = object.at(12).unwrap();
            assert_eq!((last.value()["metadata"]["resourceVersion"].as_str(), last.uid(), last.revision()), (Some("12"), "u", 12));
        }
    }

    #[test]
    fn strange_shapes_are_objects_and_what_is_no_json_is_none() {
        for stored in [r#"{"metadata":null}"#, r#"{"apiVersion":5,"metadata":{"name":{}}}"#, r#"{"metadata":{"resourceVersion":null}}"#] {
            let object = object(stored);
            let served: Value = serde_json::from_slice(object.body()).unwrap();
            assert_eq!(object.value(), &served, "{stored}");
        }
        for stored in [&b"{"[..], b"{\"metadata\":{\"name\":\"\xff\"}}", b""] {
            assert!(Object::decode("/registry/pods/n/a".into(), stored, 7).is_err());
        }
    }

    #[test]
    fn a_glance_keeps_nothing() {
        let object = object(r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}"#);
        object.encoded(Encoding::Cbor, |value| Ok::<_, ()>(value["kind"].to_string().into())).unwrap();
        assert!(object.tree.get().is_none());
        assert_eq!(object.shared()["kind"], json!("Pod"));
        assert!(object.tree.get().is_some());
    }
}

//! One object at one revision, parsed once and serialized once.

use crate::codec;
use crate::encodings::{Encoding, Encodings};
use bytes::Bytes;
use serde_json::Value;
use std::sync::Arc;

/// One object at one revision; shared by all who list, watch or read it.
#[derive(Debug)]
pub struct Object {
    key: Arc<str>,
    revision: i64,
    value: Arc<Value>,
    body: Bytes,
    encodings: Encodings,
}

impl Object {
    /// Reads what the store holds at `key`. `revision` is the key's modification revision.
    pub(crate) fn decode(key: Arc<str>, stored: &[u8], revision: i64) -> Result<Self, serde_json::Error> {
        let mut value: Value = serde_json::from_slice(stored)?;
        let foreign = codec::carries_version(&value);
        codec::set_version(&mut value, revision);
        let body = if foreign { serde_json::to_vec(&value)?.into() } else { codec::with_version(stored, &value, revision)? };
        Ok(Self { key, revision, value: Arc::new(value), body, encodings: Encodings::default() })
    }

    /// An object that has just been written: `value` is what `stored` says.
    pub(crate) fn written(key: Arc<str>, mut value: Value, stored: &[u8], revision: i64) -> Result<Self, serde_json::Error> {
        codec::set_version(&mut value, revision);
        let body = codec::with_version(stored, &value, revision)?;
        Ok(Self { key, revision, value: Arc::new(value), body, encodings: Encodings::default() })
    }

    /// The same object as it is served with another version: what the last event of a deleted object shows.
    pub(crate) fn at(&self, revision: i64) -> Result<Self, serde_json::Error> {
        let mut value = self.value.as_ref().clone();
        codec::set_version(&mut value, revision);
        let body = serde_json::to_vec(&value)?.into();
        Ok(Self { key: self.key.clone(), revision, value: Arc::new(value), body, encodings: Encodings::default() })
    }

    /// An object that lives in no store: the answer to a dry run, or a virtual resource. It has no key and no revision.
    pub fn unstored(value: Value) -> Result<Self, serde_json::Error> {
        let body = serde_json::to_vec(&value)?.into();
        Ok(Self { key: Arc::from(""), revision: 0, value: Arc::new(value), body, encodings: Encodings::default() })
    }

    /// The key in the store.
    pub fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// The modification revision: the resourceVersion as a number.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The object, resourceVersion included.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The object, to be kept.
    pub fn shared(&self) -> Arc<Value> {
        self.value.clone()
    }

    /// The object as it goes over the wire, resourceVersion included.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The object in another encoding, made by `make` from [`Object::value`] for the first who asks and kept for as long as the object is.
    pub fn encoded<E>(&self, encoding: Encoding, make: impl Fn(&Value) -> Result<Bytes, E>) -> Result<Bytes, E> {
        self.encodings.get_or_make(encoding, || make(&self.value))
    }

    /// How many bytes the object has in all encodings that have been made of it, JSON among them.
    pub(crate) fn bytes(&self) -> usize {
        self.body.len() + self.encodings.bytes()
    }

    /// metadata.namespace; empty for cluster-wide objects.
    pub fn namespace(&self) -> &str {
        self.value["metadata"]["namespace"].as_str().unwrap_or_default()
    }

    /// metadata.name.
    pub fn name(&self) -> &str {
        self.value["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// metadata.uid.
    pub fn uid(&self) -> &str {
        self.value["metadata"]["uid"].as_str().unwrap_or_default()
    }
}

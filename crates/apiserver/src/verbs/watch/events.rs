//! The events of one watch, in the form that its client wants.

use crate::encoded::{self, Shown};
use crate::endpoint::Endpoint;
use crate::media::{Encoding, Form, View};
use crate::respond;
use serde_json::{Value, json};
use std::sync::Arc;
use tricorn_meta::Status;
use tricorn_registry::{ChangeKind, Object, WatchEvent};

/// Writes events.
pub(super) struct Events {
    endpoint: Arc<Endpoint>,
    form: Form,
    /// What objects are shown as, but for Tables, which are documents of their own.
    shown: Shown,
    /// Only the first Table of a watch says what its columns are.
    columns_told: bool,
}

impl Events {
    pub(super) fn new(endpoint: Arc<Endpoint>, form: Form) -> Self {
        let shown = Shown::object(&endpoint, form.view);
        Self { endpoint, form, shown, columns_told: false }
    }

    /// What happened to an object.
    pub(super) fn event(&mut self, event: &WatchEvent, out: &mut Vec<u8>) -> Result<(), Status> {
        self.object(event.kind, &event.object, out)
    }

    /// An object that was there when the watch began.
    pub(super) fn added(&mut self, object: &Object, out: &mut Vec<u8>) -> Result<(), Status> {
        self.object(ChangeKind::Added, object, out)
    }

    /// The end of the watch, with its reason.
    pub(super) fn error(&self, refusal: &Status, out: &mut Vec<u8>) {
        let status = refusal.to_json();
        if let Ok(item) = encoded::value_item(self.form.encoding, &status) {
            encoded::event(self.form.encoding, "ERROR", &Shown::of(&status), &item, out);
        }
    }

    /// Tells how far the store has come, on an object that has nothing but its version.
    pub(super) fn bookmark(&mut self, revision: i64, initial_end: bool, out: &mut Vec<u8>) -> Result<(), Status> {
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = json!({"kind": self.endpoint.kind, "apiVersion": self.endpoint.api_version(), "metadata": metadata});
        self.value("BOOKMARK", &object, out)
    }

    fn object(&mut self, kind: ChangeKind, object: &Object, out: &mut Vec<u8>) -> Result<(), Status> {
        let encoding = self.form.encoding;
        match (encoding, self.form.view) {
            (Encoding::Json, View::Object) if self.endpoint.serves_as_stored(object) => {
                encoded::event(encoding, kind.as_str(), &self.shown, object.body(), out);
                Ok(())
            }
            (Encoding::Protobuf | Encoding::Cbor, _) => {
                let item = encoded::item(&self.endpoint, self.form, object)?;
                encoded::event(encoding, kind.as_str(), &self.shown, &item, out);
                Ok(())
            }
            _ => self.value(kind.as_str(), &object.glance(), out),
        }
    }

    /// A value that nothing is kept of.
    fn value(&mut self, event: &str, value: &Value, out: &mut Vec<u8>) -> Result<(), Status> {
        let mut viewed = respond::viewed(&self.endpoint, self.form.view, value);
        if matches!(self.form.view, View::Table(_)) && std::mem::replace(&mut self.columns_told, true) {
            viewed["columnDefinitions"] = Value::Null;
        }
        let item = encoded::value_item(self.form.encoding, &viewed)?;
        encoded::event(self.form.encoding, event, &self.shown, &item, out);
        Ok(())
    }
}

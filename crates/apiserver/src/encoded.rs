//! Objects in protobuf and CBOR. An object's own bytes are made once for each encoding and kept with it; answers, lists and events of
//! watches are put around them.

use crate::cbor;
use crate::endpoint::Endpoint;
use crate::media::{Encoding, Form, View};
use crate::respond;
use bytes::Bytes;
use serde_json::Value;
use tricorn_meta::{GroupVersionKind, Reason, Status};
use tricorn_registry::{Encoding as Kept, Object};
use tricorn_schema::protobuf::{self, EncodeError};

/// The version and kind of what is shown, which protobuf has beside the object.
pub(crate) struct Shown {
    api_version: String,
    kind: String,
}

impl Shown {
    /// Of one object.
    pub(crate) fn object(endpoint: &Endpoint, view: View) -> Self {
        match view {
            View::Metadata => Self { api_version: "meta.k8s.io/v1".to_owned(), kind: "PartialObjectMetadata".to_owned() },
            _ => Self { api_version: endpoint.api_version(), kind: endpoint.kind.clone() },
        }
    }

    /// Of a list.
    pub(crate) fn list(endpoint: &Endpoint, view: View) -> Self {
        match view {
            View::Metadata => Self { api_version: "meta.k8s.io/v1".to_owned(), kind: "PartialObjectMetadataList".to_owned() },
            _ => Self { api_version: endpoint.api_version(), kind: endpoint.list_kind() },
        }
    }

    /// Of a document that says so itself.
    pub(crate) fn of(document: &Value) -> Self {
        let kind = GroupVersionKind::of(document);
        Self { api_version: kind.api_version(), kind: kind.kind }
    }
}

/// An object's own bytes. Those of the stored version are kept, and so are those of the metadata, which no version changes.
pub(crate) fn item(endpoint: &Endpoint, form: Form, object: &Object) -> Result<Bytes, Status> {
    let whole = form.view == View::Object && endpoint.serves_as_stored(object);
    let metadata = form.view == View::Metadata;
    let kept = match form.encoding {
        Encoding::Protobuf if whole => Kept::Protobuf,
        Encoding::Protobuf if metadata => Kept::ProtobufMetadata,
        Encoding::Cbor if whole => Kept::Cbor,
        Encoding::Cbor if metadata => Kept::CborMetadata,
        _ => return value_item(form.encoding, &respond::viewed(endpoint, form.view, &object.glance())),
    };
    if metadata {
        return object.encoded(kept, |value| value_item(form.encoding, &respond::partial(value)));
    }
    object.encoded(kept, |value| value_item(form.encoding, value))
}

/// The same of a document that nobody keeps.
pub(crate) fn value_item(encoding: Encoding, value: &Value) -> Result<Bytes, Status> {
    Ok(match encoding {
        Encoding::Protobuf => protobuf::encode_raw(value).map_err(refused)?.into(),
        Encoding::Cbor => cbor::encode_item(value).into(),
        Encoding::Json | Encoding::Yaml => serde_json::to_vec(value).map_err(Status::internal)?.into(),
    })
}

/// A whole answer around an item.
pub(crate) fn body(encoding: Encoding, shown: &Shown, item: &Bytes) -> Bytes {
    match encoding {
        Encoding::Protobuf => protobuf::seal(&shown.api_version, &shown.kind, item).into(),
        Encoding::Cbor => cbor::seal(item).into(),
        Encoding::Json | Encoding::Yaml => item.clone(),
    }
}

/// A whole answer with a list of items.
pub(crate) fn list(encoding: Encoding, shown: &Shown, metadata: &Value, items: &[Bytes]) -> Result<Bytes, Status> {
    Ok(match encoding {
        Encoding::Protobuf => {
            let items = items.iter().map(AsRef::as_ref);
            protobuf::encode_list(&shown.api_version, &shown.kind, metadata, items).map_err(refused)?.into()
        }
        _ => cbor::encode_list(&shown.api_version, &shown.kind, metadata, items).into(),
    })
}

/// Appends one event of a watch around an item.
pub(crate) fn event(encoding: Encoding, event: &str, shown: &Shown, item: &[u8], out: &mut Vec<u8>) {
    match encoding {
        Encoding::Protobuf => protobuf::write_event(event, &shown.api_version, &shown.kind, item, out),
        Encoding::Cbor => cbor::write_event(event, item, out),
        Encoding::Json | Encoding::Yaml => {
            out.extend_from_slice(b"{\"type\":\"");
            out.extend_from_slice(event.as_bytes());
            out.extend_from_slice(b"\",\"object\":");
            out.extend_from_slice(item);
            out.extend_from_slice(b"}\n");
        }
    }
}

/// What has no protobuf form is no failure of the server; what should have one and has not, is.
fn refused(error: EncodeError) -> Status {
    match error {
        EncodeError::NoMessage { .. } => Status::custom(406, Reason::NotAcceptable, error.to_string(), None),
        EncodeError::Mismatch { .. } => Status::internal(error),
    }
}

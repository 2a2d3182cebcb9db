//! What form an answer takes: read from `Accept`.

use crate::cbor;
use crate::table::Include;
use tricorn_meta::Status;

/// The encodings that are read and written.
pub(crate) const JSON: &str = "application/json";
pub(crate) const YAML: &str = "application/yaml";
pub(crate) const PROTOBUF: &str = tricorn_schema::protobuf::MEDIA_TYPE;
pub(crate) const CBOR: &str = cbor::MEDIA_TYPE;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Yaml,
    Protobuf,
    Cbor,
}

impl Encoding {
    /// In the order in which wildcards choose.
    const ALL: [Self; 4] = [Self::Json, Self::Yaml, Self::Protobuf, Self::Cbor];

    /// The media type of an answer.
    pub(crate) fn media(self) -> &'static str {
        match self {
            Self::Json => JSON,
            Self::Yaml => YAML,
            Self::Protobuf => PROTOBUF,
            Self::Cbor => CBOR,
        }
    }

    /// The media type of a watch; `None`: it cannot be watched in this encoding.
    pub(crate) fn stream_media(self) -> Option<&'static str> {
        match self {
            Self::Json => Some(JSON),
            Self::Yaml => None,
            Self::Protobuf => Some("application/vnd.kubernetes.protobuf;stream=watch"),
            Self::Cbor => Some(cbor::SEQUENCE),
        }
    }

    fn is_called(self, media: &str) -> bool {
        match self {
            Self::Json => matches!(media, JSON | "text/plain"),
            Self::Yaml => matches!(media, YAML | "application/x-yaml" | "text/yaml"),
            Self::Protobuf => media == PROTOBUF,
            Self::Cbor => matches!(media, CBOR | cbor::SEQUENCE),
        }
    }
}

/// What of the object is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Object,
    /// A Table, with so much of each object in its rows.
    Table(Include),
    /// PartialObjectMetadata or its list.
    Metadata,
    /// The aggregated discovery document, version 2.
    Discovery,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    pub encoding: Encoding,
    pub view: View,
}

impl Form {
    pub(crate) const JSON: Self = Self { encoding: Encoding::Json, view: View::Object };
}

/// What a handler can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// A document of a kind that is in the API's types.
    Plain,
    /// A document that is not: it is only ever text.
    Text,
    /// Objects of built-in kinds.
    Objects,
    /// Objects of custom kinds, which have no protobuf form but for their metadata.
    CustomObjects,
    /// Discovery.
    Discovery,
}

impl Offer {
    fn makes(self, form: Form) -> bool {
        let is_text = matches!(form.encoding, Encoding::Json | Encoding::Yaml);
        match (form.view, self) {
            (View::Object, Self::Text) => is_text,
            (View::Object, Self::CustomObjects) => form.encoding != Encoding::Protobuf,
            (View::Object, _) => true,
            // Cells have no type that the other encodings could know.
            (View::Table(_), Self::Objects | Self::CustomObjects) => is_text,
            (View::Metadata, Self::Objects | Self::CustomObjects) => true,
            (View::Discovery, Self::Discovery) => matches!(form.encoding, Encoding::Json | Encoding::Protobuf),
            _ => false,
        }
    }
}

/// One clause of an Accept header.
struct Clause<'a> {
    media: &'a str,
    as_kind: &'a str,
    group: &'a str,
    version: &'a str,
    stream: &'a str,
    quality: f32,
}

impl<'a> Clause<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let mut clause = Clause { media, as_kind: "", group: "", version: "", stream: "", quality: 1.0 };
        for part in parts {
            match part.split_once('=') {
                Some(("as", value)) => clause.as_kind = value,
                Some(("g", value)) => clause.group = value,
                Some(("v", value)) => clause.version = value,
                Some(("stream", value)) => clause.stream = value,
                Some(("q", value)) => clause.quality = value.parse().unwrap_or(1.0),
                _ => {}
            }
        }
        clause
    }

    fn form(&self, offer: Offer) -> Option<Form> {
        let view = match (self.as_kind, self.group, self.version) {
            ("", ..) => View::Object,
            ("Table", "meta.k8s.io", "v1") => View::Table(Include::Metadata),
            ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", "v1") => View::Metadata,
            ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2") => View::Discovery,
            _ => return None,
        };
        let any = matches!(self.media, "*/*" | "application/*");
        let fits = |encoding: &Encoding| {
            let streams = self.stream.is_empty() || (self.stream == "watch" && encoding.stream_media().is_some());
            (any || encoding.is_called(self.media)) && streams && offer.makes(Form { encoding: *encoding, view })
        };
        Encoding::ALL.into_iter().find(fits).map(|encoding| Form { encoding, view })
    }
}

/// The best form that the client accepts and the handler can make. What a Table includes is in the query, not here.
pub(crate) fn negotiate(accept: &str, offer: Offer) -> Result<Form, Status> {
    choose(accept, offer).ok_or_else(|| match offer {
        Offer::Text => Status::not_acceptable(&[JSON, YAML]),
        _ => Status::not_acceptable(&[JSON, YAML, PROTOBUF, CBOR]),
    })
}

/// The same for a watch.
pub(crate) fn negotiate_stream(accept: &str, offer: Offer) -> Result<Form, Status> {
    choose(accept, offer).filter(|form| form.encoding.stream_media().is_some()).ok_or_else(|| {
        Status::not_acceptable(&[
            "application/json;stream=watch",
            "application/vnd.kubernetes.protobuf;stream=watch",
            "application/cbor;stream=watch",
        ])
    })
}

fn choose(accept: &str, offer: Offer) -> Option<Form> {
    if accept.trim().is_empty() {
        return Some(Form::JSON);
    }
    let mut clauses: Vec<_> = accept.split(',').map(|text| Clause::parse(text.trim())).collect();
    clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    clauses.iter().filter(|clause| clause.quality > 0.0).find_map(|clause| clause.form(offer))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const METADATA: &str = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

    #[test]
    fn clients_get_what_they_like_best_of_what_there_is() {
        use Encoding::{Cbor, Json, Protobuf, Yaml};
        let table = View::Table(Include::Metadata);
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        let client_go = "application/vnd.kubernetes.protobuf,application/json";
        let protobuf_table = "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1;g=meta.k8s.io";
        let discovery = "application/vnd.kubernetes.protobuf;as=APIGroupDiscoveryList;v=v2;g=apidiscovery.k8s.io";
        let cases = [
            (kubectl, Offer::Objects, Json, table),
            (kubectl, Offer::Plain, Json, View::Object),
            (client_go, Offer::Objects, Protobuf, View::Object),
            (client_go, Offer::Plain, Protobuf, View::Object),
            (client_go, Offer::Text, Json, View::Object),
            (client_go, Offer::CustomObjects, Json, View::Object),
            ("application/vnd.kubernetes.protobuf, */*", Offer::CustomObjects, Json, View::Object),
            ("application/vnd.kubernetes.protobuf;q=0.5,application/json", Offer::Objects, Json, View::Object),
            ("application/vnd.kubernetes.protobuf;stream=watch", Offer::Objects, Protobuf, View::Object),
            (METADATA, Offer::Objects, Protobuf, View::Metadata),
            (METADATA, Offer::CustomObjects, Protobuf, View::Metadata),
            (protobuf_table, Offer::Objects, Json, table),
            (discovery, Offer::Discovery, Protobuf, View::Discovery),
            ("application/cbor", Offer::CustomObjects, Cbor, View::Object),
            ("application/cbor-seq", Offer::Objects, Cbor, View::Object),
            ("application/yaml", Offer::Objects, Yaml, View::Object),
            ("*/*", Offer::Objects, Json, View::Object),
            ("", Offer::Objects, Json, View::Object),
        ];
        for (accept, offer, encoding, view) in cases {
            assert_eq!(negotiate(accept, offer).unwrap(), Form { encoding, view }, "{accept} of {offer:?}");
        }
    }

    #[test]
    fn what_cannot_be_made_is_refused_with_what_can() {
        let all = "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf, application/cbor";
        for (accept, offer) in [
            ("text/html", Offer::Objects),
            ("application/vnd.kubernetes.protobuf", Offer::CustomObjects),
            (METADATA, Offer::Plain),
            ("application/cbor;as=Table;g=meta.k8s.io;v=v1", Offer::Objects),
            ("application/yaml;stream=watch", Offer::Objects),
            ("application/json;q=0", Offer::Objects),
        ] {
            let refusal = negotiate(accept, offer).unwrap_err();
            assert_eq!((refusal.code(), refusal.message()), (406, all), "{accept} of {offer:?}");
        }
        let refusal = negotiate_stream("application/yaml, application/json", Offer::Objects).unwrap_err();
        assert!(refusal.message().starts_with("only the following media types are accepted: application/json;stream=watch, "));
    }
}

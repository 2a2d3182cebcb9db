//! What form an answer takes: read from `Accept`.

use crate::table::Include;
use tricorn_meta::Status;

/// The encodings that are served.
pub(crate) const JSON: &str = "application/json";
pub(crate) const YAML: &str = "application/yaml";
/// Read in request bodies; no answer is written in it.
pub(crate) const PROTOBUF: &str = tricorn_schema::protobuf::MEDIA_TYPE;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Yaml,
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

/// The views that a handler can make.
pub(crate) const PLAIN: &[View] = &[View::Object];
pub(crate) const OBJECTS: &[View] = &[View::Object, View::Table(Include::Metadata), View::Metadata];
pub(crate) const DISCOVERY: &[View] = &[View::Object, View::Discovery];

/// One clause of an Accept header.
struct Clause<'a> {
    media: &'a str,
    as_kind: &'a str,
    group: &'a str,
    version: &'a str,
    quality: f32,
}

impl<'a> Clause<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let mut clause = Clause { media: parts.next().unwrap_or_default(), as_kind: "", group: "", version: "", quality: 1.0 };
        for part in parts {
            match part.split_once('=') {
                Some(("as", value)) => clause.as_kind = value,
                Some(("g", value)) => clause.group = value,
                Some(("v", value)) => clause.version = value,
                Some(("q", value)) => clause.quality = value.parse().unwrap_or(1.0),
                _ => {}
            }
        }
        clause
    }

    fn form(&self) -> Option<Form> {
        let encoding = match self.media {
            "application/json" | "application/*" | "*/*" | "text/plain" => Encoding::Json,
            "application/yaml" | "application/x-yaml" | "text/yaml" => Encoding::Yaml,
            _ => return None,
        };
        let view = match (self.as_kind, self.group, self.version) {
            ("", ..) => View::Object,
            ("Table", "meta.k8s.io", "v1") => View::Table(Include::Metadata),
            ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", "v1") => View::Metadata,
            ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2") => View::Discovery,
            _ => return None,
        };
        Some(Form { encoding, view })
    }
}

/// The best form that the client accepts and the handler can make. What a Table includes is in the query, not here.
pub(crate) fn negotiate(accept: &str, views: &[View]) -> Result<Form, Status> {
    if accept.trim().is_empty() {
        return Ok(Form::JSON);
    }
    let mut clauses: Vec<_> = accept.split(',').map(|text| Clause::parse(text.trim())).collect();
    clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    let fits = clauses.iter().filter(|clause| clause.quality > 0.0).filter_map(Clause::form).find(|form| views.contains(&form.view));
    fits.ok_or_else(|| Status::not_acceptable(&[JSON, YAML]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn clients_get_what_they_like_best_of_what_there_is() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(negotiate(kubectl, OBJECTS).unwrap().view, View::Table(Include::Metadata));
        assert_eq!(negotiate(kubectl, PLAIN).unwrap().view, View::Object);
        let client_go = "application/vnd.kubernetes.protobuf,application/json";
        assert_eq!(negotiate(client_go, OBJECTS).unwrap(), Form::JSON);
        assert_eq!(negotiate("application/yaml", OBJECTS).unwrap().encoding, Encoding::Yaml);
        assert_eq!(negotiate("*/*", OBJECTS).unwrap(), Form::JSON);
        assert_eq!(negotiate("application/vnd.kubernetes.protobuf", OBJECTS).unwrap_err().code(), 406);
    }
}

//! Label and field selectors of lists, watches and deletions, as one test of an object.

use crate::context::Context;
use crate::endpoint::Endpoint;
use std::sync::Arc;
use tricorn_meta::{FieldSelector, LabelSelector, Status};
use tricorn_registry::{Object, Predicate};

/// Which objects the request selects.
pub(crate) fn predicate(context: &Context, endpoint: &Arc<Endpoint>) -> Result<Predicate, Status> {
    let labels = match context.query.get("labelSelector") {
        None => LabelSelector::everything(),
        Some(text) => LabelSelector::parse(text).map_err(|error| Status::bad_request(format!("unable to parse requirement: {error}")))?,
    };
    let fields = match context.query.get("fieldSelector") {
        None => FieldSelector::everything(),
        Some(text) => FieldSelector::parse(text).map_err(|error| {
            Status::bad_request(format!(
                "Unable to find {:?} that match label selector \"\", field selector {text:?}: {error}",
                endpoint.plural
            ))
        })?,
    };
    if let Some(unknown) = fields.requirements.iter().map(|one| one.path.as_str()).find(|field| !endpoint.selects_by(field)) {
        let plural = &endpoint.plural;
        return Err(Status::bad_request(format!(
            "Unable to find {:?} that match label selector {:?}, field selector {:?}: field label not supported: {unknown}",
            tricorn_meta::gvk::qualify(plural, &endpoint.group),
            context.query.get("labelSelector").unwrap_or_default(),
            context.query.get("fieldSelector").unwrap_or_default()
        )));
    }
    let name = Some(context.info.name.clone()).filter(|name| !name.is_empty());
    if labels.is_everything() && fields.is_everything() && name.is_none() {
        return Ok(Predicate::all());
    }
    let endpoint = endpoint.clone();
    Ok(Predicate::new(move |object: &Object| {
        name.as_ref().is_none_or(|name| object.name() == name)
            && (fields.is_everything() || fields.matches_by(|field| endpoint.field(object, field)))
            && (labels.is_everything() || labels.matches_object(object.value()))
    }))
}

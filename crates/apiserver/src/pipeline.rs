//! The way of an object into the store: decode, prune, default, stamp, admit, validate, write. Every verb that writes goes through here.

use crate::allocate::Held;
use crate::context::Context;
use crate::endpoint::Endpoint;
use crate::options::{FieldValidation, WriteParameters};
use crate::server::Server;
use crate::stamp;
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::Mutex;
use tricorn_admission::{Operation, Request};
use tricorn_meta::{GroupVersionKind, Status};
use tricorn_patch::{Writer, reset_fields, track_update};
use tricorn_registry::{Object, Step, WriteOptions};

/// A generated name that is taken is replaced this often.
const NAME_ATTEMPTS: usize = 8;

/// What is written where.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub endpoint: &'a Endpoint,
    pub subresource: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
}

impl<'a> Target<'a> {
    pub(crate) fn new(endpoint: &'a Endpoint, context: &'a Context) -> Self {
        let info = &context.info;
        let namespace = if endpoint.namespaced { info.namespace.as_str() } else { "" };
        Self { endpoint, subresource: &info.subresource, namespace, name: &info.name }
    }

    /// The namespace as admission sees it.
    fn admission_namespace(&self) -> &'a str {
        if self.endpoint.group.is_empty() && self.endpoint.plural == "namespaces" { self.name } else { self.namespace }
    }
}

/// A write: who makes it, of what, and how.
#[derive(Clone, Copy)]
pub(crate) struct Write<'a> {
    pub context: &'a Context,
    pub target: Target<'a>,
    pub parameters: &'a WriteParameters,
    /// The managed fields of the new object are complete already.
    pub tracked: bool,
}

impl<'a> Write<'a> {
    /// A write whose fields are still to be recorded.
    pub(crate) fn new(context: &'a Context, target: Target<'a>, parameters: &'a WriteParameters) -> Self {
        Self { context, target, parameters, tracked: false }
    }

    pub(crate) fn options(&self) -> WriteOptions {
        self.context.write_options(self.parameters.dry_run)
    }
}

/// Checks type and place of what a client sent, and writes them in where they are missing.
pub(crate) fn settle(target: Target<'_>, value: &mut Value) -> Result<(), Status> {
    let endpoint = target.endpoint;
    let sent = GroupVersionKind::of(value);
    let expected = endpoint.gvk();
    if !sent.kind.is_empty() && sent.kind != expected.kind {
        return Err(Status::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: no kind {:?} is registered here",
            sent.kind,
            sent.api_version(),
            expected.kind,
            sent.kind
        )));
    }
    if !sent.version.is_empty() && sent.api_version() != expected.api_version() {
        let (sent, expected) = (sent.api_version(), expected.api_version());
        return Err(Status::bad_request(format!(
            "the API version in the data ({sent}) does not match the expected API version ({expected})"
        )));
    }
    if let Some(object) = value.as_object_mut() {
        object.insert("apiVersion".to_owned(), expected.api_version().into());
        object.insert("kind".to_owned(), expected.kind.into());
    }
    let Some(metadata) = stamp::metadata(value) else {
        return Err(Status::bad_request("metadata must be an object"));
    };
    if endpoint.namespaced {
        match metadata.get("namespace").and_then(Value::as_str).unwrap_or_default() {
            "" => {
                metadata.insert("namespace".to_owned(), target.namespace.into());
            }
            namespace if namespace == target.namespace => {}
            _ => return Err(Status::bad_request("the namespace of the provided object does not match the namespace sent on the request")),
        }
    } else {
        metadata.shift_remove("namespace");
    }
    if !target.name.is_empty() {
        match metadata.get("name").and_then(Value::as_str).unwrap_or_default() {
            "" => {
                metadata.insert("name".to_owned(), target.name.into());
            }
            name if name == target.name => {}
            name => {
                let message = format!("the name of the object ({name}) does not match the name on the URL ({})", target.name);
                return Err(Status::bad_request(message));
            }
        }
    }
    Ok(())
}

/// Takes out what the kind does not know, as loudly as the client asked, and refuses what has the wrong JSON type. `twice` has the complaints of what
/// the document says twice.
pub(crate) fn prune(
    context: &Context,
    endpoint: &Endpoint,
    parameters: &WriteParameters,
    value: &mut Value,
    twice: Vec<String>,
) -> Result<(), Status> {
    read(context, endpoint, parameters, value, twice).map_err(|why| cannot_be_handled(&endpoint.kind, &endpoint.version, &why))
}

/// The same, and of a refusal the bare reason.
pub(crate) fn read(
    context: &Context,
    endpoint: &Endpoint,
    parameters: &WriteParameters,
    value: &mut Value,
    twice: Vec<String>,
) -> Result<(), String> {
    let unknown = endpoint.prune(value);
    if let Some(why) = endpoint.mismatch(value) {
        return Err(why);
    }
    strictly(context, parameters, unknown.iter().map(|path| unknown_field(path)).chain(twice).collect())
}

/// The refusal of an object that cannot be read.
pub(crate) fn cannot_be_handled(kind: &str, version: &str, why: &str) -> Status {
    Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}"))
}

/// The complaint of a field that the kind does not know.
pub(crate) fn unknown_field(path: &str) -> String {
    format!("unknown field \"{path}\"")
}

/// Says what is not right with the fields of a document, as loudly as the client asked.
pub(crate) fn complain(
    context: &Context,
    parameters: &WriteParameters,
    kind: &str,
    version: &str,
    complaints: Vec<String>,
) -> Result<(), Status> {
    strictly(context, parameters, complaints).map_err(|why| cannot_be_handled(kind, version, &why))
}

fn strictly(context: &Context, parameters: &WriteParameters, complaints: Vec<String>) -> Result<(), String> {
    match parameters.field_validation {
        FieldValidation::Warn => complaints.into_iter().for_each(|complaint| context.warn(complaint)),
        FieldValidation::Strict if !complaints.is_empty() => return Err(format!("strict decoding error: {}", complaints.join(", "))),
        FieldValidation::Strict | FieldValidation::Ignore => {}
    }
    Ok(())
}

impl Server {
    /// Stores a new object. `value` has been settled and pruned.
    pub(crate) async fn create_object(&self, write: Write<'_>, mut value: Value) -> Result<Arc<Object>, Status> {
        let endpoint = write.target.endpoint;
        let sent_version = stamp::text(&value, "resourceVersion");
        if !sent_version.is_empty() && sent_version != "0" {
            return Err(Status::bad_request("resourceVersion should not be set on objects to be created"));
        }
        stamp::create(&mut value, stamp::now());
        endpoint.default(&mut value);
        endpoint.prepare_for_create(&mut value);
        if is_certificate_request(endpoint) {
            stamp::requester(&mut value, &write.context.user);
        }
        let base = if stamp::text(&value, "name").is_empty() { stamp::text(&value, "generateName").to_owned() } else { String::new() };
        if base.is_empty() {
            return self.create_named(write, value).await;
        }
        for _ in 0..NAME_ATTEMPTS {
            let mut value = value.clone();
            if let Some(metadata) = stamp::metadata(&mut value) {
                metadata.insert("name".to_owned(), stamp::generated_name(&base).into());
            }
            match self.create_named(write, value).await {
                Err(refusal) if refusal.is_already_exists() => {}
                result => return result,
            }
        }
        Err(Status::generate_name_conflict(&endpoint.group, &endpoint.plural, &base))
    }

    async fn create_named(&self, write: Write<'_>, value: Value) -> Result<Arc<Object>, Status> {
        let name = stamp::text(&value, "name").to_owned();
        let write = Write { target: Target { name: &name, ..write.target }, ..write };
        let mut held = Held::default();
        let created = async {
            let value = self.finish_create(write, value, &mut held).await?;
            self.registry.create(&write.target.endpoint.stored, write.target.namespace, &name, value, write.options()).await
        }
        .await;
        if let Err(refusal) = &created {
            self.release(&held, refusal).await;
        }
        created
    }

    /// What is to be stored: the second half of every creation.
    async fn finish_create(&self, write: Write<'_>, mut value: Value, held: &mut Held) -> Result<Value, Status> {
        let Write { context, target, parameters, tracked } = write;
        let endpoint = target.endpoint;
        if !tracked {
            self.track(target, None, &mut value, parameters);
        }
        let mut request = self.admission_request(context, target, Operation::Create, parameters.dry_run);
        request.object = Some(value);
        let objects = self.admission_objects();
        self.admission.mutate(&mut request, &objects).await?;
        let mut value = request.object.take().unwrap_or_default();
        self.check_rules(context, target, None, &value)?;
        self.allocate(write, None, &mut value, held).await?;
        let errors = endpoint.validate_create(&value);
        if !errors.is_empty() {
            return Err(Status::invalid(&endpoint.group, &endpoint.kind, target.name, errors));
        }
        endpoint.warn(context, target.subresource, &value, None);
        request.object = Some(value);
        self.admission.validate(&mut request, &objects).await?;
        request.warnings.drain(..).for_each(|text| context.warn(text));
        Ok(request.object.take().unwrap_or_default())
    }

    /// Changes an object: `make` turns the current one into the new one, or leaves it with `None`. It is asked again when somebody else was faster. Nothing
    /// is refused because of what an earlier attempt of this same request has allocated.
    pub(crate) async fn update_object<M>(&self, write: Write<'_>, make: M) -> Result<Arc<Object>, Status>
    where
        M: Fn(&Object) -> Result<Option<Value>, Status> + Send + Sync,
    {
        let target = write.target;
        // Attempts come one after the other; the lock only carries what is held from one to the next.
        let (held, make) = (&Mutex::new(Held::default()), &make);
        let change = |old: Arc<Object>| async move {
            match make(&old)? {
                Some(new) => self.finish_update(write, &old, new, &mut *held.lock().await).await,
                None => Ok(Step::Keep),
            }
        };
        let updated = self.registry.update(&target.endpoint.stored, target.namespace, target.name, write.options(), change).await;
        let held = held.lock().await;
        match &updated {
            // A dry run has changed nothing: what the Service used, it still uses.
            Ok(_) if write.parameters.dry_run => {}
            Ok(object) => self.settle(target, object, &held).await,
            Err(refusal) => self.release(&held, refusal).await,
        }
        updated
    }

    /// What is to be done to turn `old` into `new`: the second half of every update and patch.
    async fn finish_update(&self, write: Write<'_>, old: &Arc<Object>, mut new: Value, held: &mut Held) -> Result<Step, Status> {
        let Write { context, target, parameters, tracked } = write;
        let endpoint = target.endpoint;
        check_identity(endpoint, old, &new)?;
        stamp::update(&mut new, old.value());
        endpoint.default(&mut new);
        endpoint.prepare_for_update(&mut new, old.value(), target.subresource);
        if is_certificate_request(endpoint) && matches!(target.subresource, "status" | "approval") {
            tricorn_schema::kinds::date_conditions(&mut new, old.value(), stamp::now());
        }
        if !tracked {
            self.track(target, Some(old.value()), &mut new, parameters);
        }
        let mut request = self.admission_request(context, target, Operation::Update, parameters.dry_run);
        request.object = Some(new);
        request.old_object = Some(old.shared());
        let objects = self.admission_objects();
        self.admission.mutate(&mut request, &objects).await?;
        let mut new = request.object.take().unwrap_or_default();
        self.check_rules(context, target, Some(old.value()), &new)?;
        self.allocate(write, Some(old.value()), &mut new, held).await?;
        let errors = endpoint.validate_update(&new, old.value(), target.subresource);
        if !errors.is_empty() {
            return Err(Status::invalid(&endpoint.group, &endpoint.kind, target.name, errors));
        }
        endpoint.warn(context, target.subresource, &new, Some(old.value()));
        request.object = Some(new);
        self.admission.validate(&mut request, &objects).await?;
        request.warnings.drain(..).for_each(|text| context.warn(text));
        let new = request.object.take().unwrap_or_default();
        Ok(match () {
            () if stamp::is_terminating(old.value()) && stamp::may_vanish(&new) => Step::Delete,
            () if same(old.value(), &new) => Step::Keep,
            () => Step::Put(new),
        })
    }

    /// Records whose fields these are now.
    pub(crate) fn track(&self, target: Target<'_>, old: Option<&Value>, new: &mut Value, parameters: &WriteParameters) {
        let endpoint = target.endpoint;
        let reset = reset_fields(&endpoint.plural, target.subresource, endpoint.has_status());
        let time = stamp::now().rfc3339();
        let api_version = endpoint.api_version();
        let writer = Writer {
            manager: &parameters.field_manager,
            api_version: &api_version,
            time: &time,
            subresource: target.subresource,
            builtin: endpoint.is_builtin(),
            reset: &reset,
        };
        track_update(endpoint.node(), old, new, &writer);
    }

    pub(crate) fn admission_request<'a>(
        &self,
        context: &'a Context,
        target: Target<'a>,
        operation: Operation,
        dry_run: bool,
    ) -> Request<'a> {
        let endpoint = target.endpoint;
        let mut request =
            Request::new(operation, endpoint.gvk(), endpoint.gvr(), target.admission_namespace(), target.name, context.user.as_ref());
        request.subresource = target.subresource;
        request.dry_run = dry_run;
        request
    }
}

/// Whether these are requests for certificates, of which the server writes down who makes them and when they were approved.
fn is_certificate_request(endpoint: &Endpoint) -> bool {
    (endpoint.group.as_str(), endpoint.kind.as_str()) == ("certificates.k8s.io", "CertificateSigningRequest")
}

/// Refuses an update that was made for another object, or for an older state of it.
fn check_identity(endpoint: &Endpoint, old: &Object, new: &Value) -> Result<(), Status> {
    let name = old.name();
    let version = stamp::text(new, "resourceVersion");
    let uid = stamp::text(new, "uid");
    if !uid.is_empty() && uid != old.uid() {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", old.uid());
        return Err(Status::conflict(&endpoint.group, &endpoint.plural, name, why));
    }
    if !version.is_empty() && version != "0" && version != old.revision().to_string() {
        return Err(Status::modified(&endpoint.group, &endpoint.plural, name));
    }
    Ok(())
}

/// Whether a write would change nothing but its own time.
fn same(old: &Value, new: &Value) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return false };
    if old.len() != new.len() {
        return false;
    }
    new.iter().all(|(field, value)| match (field.as_str(), old.get(field)) {
        ("metadata", Some(before)) => same_metadata(before, value),
        (_, before) => before == Some(value),
    })
}

fn same_metadata(old: &Value, new: &Value) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return false };
    let relevant = |field: &&String| field.as_str() != "resourceVersion";
    if old.keys().filter(relevant).count() != new.keys().filter(relevant).count() {
        return false;
    }
    new.iter().filter(|(field, _)| field.as_str() != "resourceVersion").all(|(field, value)| match old.get(field) {
        Some(before) if field == "managedFields" => timeless(before) == timeless(value),
        before => before == Some(value),
    })
}

/// Managed fields without their times.
fn timeless(managed: &Value) -> Value {
    let mut managed = managed.clone();
    for entry in managed.as_array_mut().into_iter().flatten() {
        if let Some(entry) = entry.as_object_mut() {
            entry.shift_remove("time");
        }
    }
    managed
}

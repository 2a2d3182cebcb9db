//! serviceaccounts/token: a signed token for a service account, bound to a pod, secret or node.

use crate::Answer;
use crate::body;
use crate::context::Context;
use crate::endpoint::Endpoint;
use crate::options::WriteParameters;
use crate::pipeline::Target;
use crate::respond;
use crate::server::Server;
use crate::stamp;
use http::StatusCode;
use serde_json::{Value, json};
use tricorn_admission::Operation;
use tricorn_meta::{FieldError, FieldPath, Status, Timestamp};
use tricorn_pki::{Claims, KubernetesClaims, Reference};

const DEFAULT_SECONDS: i64 = 3600;
const MIN_SECONDS: i64 = 600;
const MAX_SECONDS: i64 = 1 << 32;

pub(crate) async fn serve(server: &Server, context: &Context, endpoint: &Endpoint, bytes: &[u8]) -> Answer {
    let parameters = WriteParameters::parse(context)?;
    let mut review = body::object(&context.headers, bytes)?;
    let target = Target::new(endpoint, context);
    let account = server.registry.read(&endpoint.stored, target.namespace, target.name).await?;
    let seconds = review["spec"]["expirationSeconds"].as_i64().unwrap_or(DEFAULT_SECONDS);
    check(target, seconds)?;
    let mut request = server.admission_request(context, target, Operation::Create, parameters.dry_run);
    request.object = Some(review.clone());
    let objects = server.admission_objects();
    server.admission.mutate(&mut request, &objects).await?;
    server.admission.validate(&mut request, &objects).await?;
    let asked: Vec<String> =
        review["spec"]["audiences"].as_array().into_iter().flatten().filter_map(|one| one.as_str().map(str::to_owned)).collect();
    let audiences = if asked.is_empty() { vec![server.config.issuer.clone()] } else { asked };
    let now = stamp::now().seconds();
    let mut bound = KubernetesClaims {
        namespace: target.namespace.to_owned(),
        serviceaccount: Reference { name: account.name().to_owned(), uid: account.uid().to_owned() },
        ..KubernetesClaims::default()
    };
    bind(server, target, &review["spec"]["boundObjectRef"], &mut bound).await?;
    let claims = Claims {
        aud: audiences.clone(),
        exp: now + seconds,
        iat: now,
        nbf: now,
        iss: server.config.issuer.clone(),
        jti: uuid::Uuid::new_v4().to_string(),
        sub: format!("system:serviceaccount:{}:{}", target.namespace, target.name),
        kubernetes: bound,
    };
    let token = server.config.service_account_key.sign(&claims).map_err(|error| Status::internal(format_args!("sign a token: {error}")))?;
    review["apiVersion"] = json!("authentication.k8s.io/v1");
    review["kind"] = json!("TokenRequest");
    review["metadata"]["name"] = json!(target.name);
    review["metadata"]["namespace"] = json!(target.namespace);
    review["metadata"]["creationTimestamp"] = json!(Timestamp::from_seconds(now).rfc3339());
    review["spec"]["audiences"] = json!(audiences);
    review["spec"]["expirationSeconds"] = json!(seconds);
    review["status"] = json!({"token": token, "expirationTimestamp": Timestamp::from_seconds(claims.exp).rfc3339()});
    respond::value(context, StatusCode::CREATED, &review)
}

fn check(target: Target<'_>, seconds: i64) -> Result<(), Status> {
    let path = FieldPath::new("spec.expirationSeconds");
    let error = match seconds {
        MIN_SECONDS..=MAX_SECONDS => return Ok(()),
        ..MIN_SECONDS => FieldError::invalid(&path, seconds, "may not specify a duration less than 10 minutes"),
        _ => FieldError::invalid(&path, seconds, "may not specify a duration larger than 2^32 seconds"),
    };
    Err(Status::invalid("authentication.k8s.io", "TokenRequest", target.name, vec![error]))
}

/// Looks up what the token is to be bound to.
async fn bind(server: &Server, target: Target<'_>, wanted: &Value, claims: &mut KubernetesClaims) -> Result<(), Status> {
    let Some(kind) = wanted["kind"].as_str() else { return Ok(()) };
    let plural = match kind {
        "Pod" => "pods",
        "Secret" => "secrets",
        "Node" => "nodes",
        _ => return Err(Status::bad_request(format!("cannot bind token for serviceaccount {:?} to object of kind {kind:?}", target.name))),
    };
    let name = wanted["name"].as_str().unwrap_or_default();
    let object = read(server, plural, target.namespace, name).await?;
    let uid = wanted["uid"].as_str().unwrap_or_default();
    if !uid.is_empty() && uid != stamp::text(&object, "uid") {
        let found = stamp::text(&object, "uid");
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated; found {found}"
        );
        return Err(Status::conflict("", plural, name, why));
    }
    let reference = Reference { name: name.to_owned(), uid: stamp::text(&object, "uid").to_owned() };
    match plural {
        "pods" => {
            if object["spec"]["serviceAccountName"].as_str() != Some(target.name) {
                let owner = object["spec"]["serviceAccountName"].as_str().unwrap_or_default();
                let message = format!(
                    "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name {owner:?}",
                    target.name
                );
                return Err(Status::bad_request(message));
            }
            let node = object["spec"]["nodeName"].as_str().unwrap_or_default();
            if !node.is_empty()
                && let Ok(node) = read(server, "nodes", "", node).await
            {
                claims.node = Some(Reference { name: stamp::text(&node, "name").to_owned(), uid: stamp::text(&node, "uid").to_owned() });
            }
            claims.pod = Some(reference);
        }
        "secrets" => claims.secret = Some(reference),
        _ => claims.node = Some(reference),
    }
    Ok(())
}

async fn read(server: &Server, plural: &str, namespace: &str, name: &str) -> Result<std::sync::Arc<Value>, Status> {
    let endpoint = server.any_version("", plural).ok_or_else(|| Status::internal(format_args!("{plural} are not served")))?;
    Ok(server.registry.read(&endpoint.stored, namespace, name).await?.shared())
}

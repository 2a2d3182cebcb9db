//! Writes down what every built-in kind looks like, from the types of `k8s-openapi`: once without texts, which is what the
//! server works with, and once compressed and with texts, for OpenAPI and `kubectl explain`; and what is said of printed columns, so
//! that nobody has to unpack all texts for them.

use std::error::Error;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// The type of every object's metadata.
const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// What a custom kind's schema has for defaults and choices.
const ANY_JSON: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON";

/// Adds each kind, and with it every type that it is made of.
macro_rules! add_kinds {
    ($generator:expr; $($kind:ty,)*) => {
        $( let _ = $generator.subschema_for::<$kind>(); )*
    };
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=tables/columns");
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    add(&mut generator);
    let mut definitions = Value::Object(generator.take_definitions(true));
    // Any JSON value at all; the generated type would take objects only, and so no default or enum of a custom kind's text.
    if let Some(any) = definitions.get_mut(ANY_JSON).and_then(Value::as_object_mut) {
        any.remove("type");
    }
    let out = std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?;
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&serde_json::to_vec(&definitions)?)?;
    std::fs::write(Path::new(&out).join("described.json.deflate"), encoder.finish()?)?;
    let columns = column_texts(&definitions, &std::fs::read_to_string("tables/columns")?)?;
    std::fs::write(Path::new(&out).join("columns.json"), serde_json::to_vec(&columns)?)?;
    drop_texts(&mut definitions);
    std::fs::write(Path::new(&out).join("definitions.json"), serde_json::to_vec(&definitions)?)?;
    Ok(())
}

/// What is said of each column, by group and kind, then by the column's name; what all kinds share is under `*`.
fn column_texts(definitions: &Value, table: &str) -> Result<Value, Box<dyn Error>> {
    let mut texts = Map::new();
    let shared = [("Name", "name"), ("Age", "creationTimestamp"), ("Created At", "creationTimestamp")];
    for (column, field) in shared {
        texts.entry("*").or_insert_with(|| json!({}))[column] = described(definitions, OBJECT_META, field)?.into();
    }
    let (mut kind, mut type_name) = (String::new(), "");
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        if !line.starts_with(' ') {
            let [group, name, of] = line.split_whitespace().collect::<Vec<_>>()[..] else { return Err(format!("read {line:?}").into()) };
            kind = format!("{}/{name}", if group == "core" { "" } else { group });
            type_name = of;
            continue;
        }
        let (column, text) = match (line.split_once(" = "), line.split_once(" : ")) {
            (Some((column, field)), _) => (column, described(definitions, type_name, field.trim())?),
            (None, Some((column, text))) => (column, text.trim().to_owned()),
            (None, None) => return Err(format!("read {line:?}").into()),
        };
        texts.entry(kind.clone()).or_insert_with(|| json!({}))[column.trim()] = text.into();
    }
    Ok(Value::Object(texts))
}

/// The description of the field at a path of a type.
fn described(definitions: &Value, type_name: &str, path: &str) -> Result<String, Box<dyn Error>> {
    let missing = || format!("{type_name} has no description of {path}");
    let mut at = definitions.get(type_name).ok_or_else(missing)?;
    for name in path.split('.') {
        let reference = at.get("$ref").or_else(|| at.get("allOf")?.get(0)?.get("$ref")).and_then(Value::as_str);
        if let Some(name) = reference.and_then(|reference| reference.rsplit('/').next()) {
            at = definitions.get(name).ok_or_else(missing)?;
        }
        at = at.get("properties").and_then(|properties| properties.get(name)).ok_or_else(missing)?;
    }
    Ok(at.get("description").and_then(Value::as_str).ok_or_else(missing)?.to_owned())
}

/// Takes the descriptions of types and fields away, but not fields that are called so.
fn drop_texts(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map.get("description").is_some_and(Value::is_string) {
                map.remove("description");
            }
            map.values_mut().for_each(drop_texts);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_texts),
        _ => {}
    }
}

#[allow(clippy::too_many_lines)]
fn add(generator: &mut SchemaGenerator) {
    add_kinds!(generator;
        k8s_openapi::api::core::v1::Binding,
        k8s_openapi::api::core::v1::ComponentStatus,
        k8s_openapi::api::core::v1::ConfigMap,
        k8s_openapi::api::core::v1::Endpoints,
        k8s_openapi::api::core::v1::Event,
        k8s_openapi::api::core::v1::LimitRange,
        k8s_openapi::api::core::v1::Namespace,
        k8s_openapi::api::core::v1::Node,
        k8s_openapi::api::core::v1::PersistentVolumeClaim,
        k8s_openapi::api::core::v1::PersistentVolume,
        k8s_openapi::api::core::v1::Pod,
        k8s_openapi::api::policy::v1::Eviction,
        k8s_openapi::api::core::v1::PodTemplate,
        k8s_openapi::api::core::v1::ReplicationController,
        k8s_openapi::api::autoscaling::v1::Scale,
        k8s_openapi::api::core::v1::ResourceQuota,
        k8s_openapi::api::core::v1::Secret,
        k8s_openapi::api::core::v1::ServiceAccount,
        k8s_openapi::api::authentication::v1::TokenRequest,
        k8s_openapi::api::core::v1::Service,
        k8s_openapi::api::admissionregistration::v1::MutatingAdmissionPolicy,
        k8s_openapi::api::admissionregistration::v1::MutatingAdmissionPolicyBinding,
        k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration,
        k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy,
        k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding,
        k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration,
        k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
        k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService,
        k8s_openapi::api::apps::v1::ControllerRevision,
        k8s_openapi::api::apps::v1::DaemonSet,
        k8s_openapi::api::apps::v1::Deployment,
        k8s_openapi::api::apps::v1::ReplicaSet,
        k8s_openapi::api::apps::v1::StatefulSet,
        k8s_openapi::api::authentication::v1::SelfSubjectReview,
        k8s_openapi::api::authentication::v1::TokenReview,
        k8s_openapi::api::authorization::v1::LocalSubjectAccessReview,
        k8s_openapi::api::authorization::v1::SelfSubjectAccessReview,
        k8s_openapi::api::authorization::v1::SelfSubjectRulesReview,
        k8s_openapi::api::authorization::v1::SubjectAccessReview,
        k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler,
        k8s_openapi::api::autoscaling::v1::HorizontalPodAutoscaler,
        k8s_openapi::api::batch::v1::CronJob,
        k8s_openapi::api::batch::v1::Job,
        k8s_openapi::api::certificates::v1::CertificateSigningRequest,
        k8s_openapi::api::coordination::v1::Lease,
        k8s_openapi::api::discovery::v1::EndpointSlice,
        k8s_openapi::api::events::v1::Event,
        k8s_openapi::api::flowcontrol::v1::FlowSchema,
        k8s_openapi::api::flowcontrol::v1::PriorityLevelConfiguration,
        k8s_openapi::api::networking::v1::IngressClass,
        k8s_openapi::api::networking::v1::Ingress,
        k8s_openapi::api::networking::v1::IPAddress,
        k8s_openapi::api::networking::v1::NetworkPolicy,
        k8s_openapi::api::networking::v1::ServiceCIDR,
        k8s_openapi::api::node::v1::RuntimeClass,
        k8s_openapi::api::policy::v1::PodDisruptionBudget,
        k8s_openapi::api::rbac::v1::ClusterRoleBinding,
        k8s_openapi::api::rbac::v1::ClusterRole,
        k8s_openapi::api::rbac::v1::RoleBinding,
        k8s_openapi::api::rbac::v1::Role,
        k8s_openapi::api::resource::v1::DeviceClass,
        k8s_openapi::api::resource::v1::ResourceClaim,
        k8s_openapi::api::resource::v1::ResourceClaimTemplate,
        k8s_openapi::api::resource::v1::ResourceSlice,
        k8s_openapi::api::scheduling::v1::PriorityClass,
        k8s_openapi::api::storage::v1::CSIDriver,
        k8s_openapi::api::storage::v1::CSINode,
        k8s_openapi::api::storage::v1::CSIStorageCapacity,
        k8s_openapi::api::storage::v1::StorageClass,
        k8s_openapi::api::storage::v1::VolumeAttachment,
        k8s_openapi::api::storage::v1::VolumeAttributesClass,
        k8s_openapi::apimachinery::pkg::apis::meta::v1::APIGroup,
        k8s_openapi::apimachinery::pkg::apis::meta::v1::APIGroupList,
        k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList,
        k8s_openapi::apimachinery::pkg::apis::meta::v1::APIVersions,
        k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions,
        k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta,
        k8s_openapi::apimachinery::pkg::apis::meta::v1::Status,
    );
}

#![allow(clippy::unwrap_used)]
use k8s_pb::api::{admissionregistration, apps, authentication, authorization, batch, coordination, core, policy, rbac};
use k8s_pb::apiextensions_apiserver::pkg::apis::apiextensions::v1 as crd;
use k8s_pb::apimachinery::pkg::api::resource::Quantity;
use k8s_pb::apimachinery::pkg::apis::meta::v1 as meta;
use k8s_pb::apimachinery::pkg::runtime::{RawExtension, TypeMeta, Unknown};
use k8s_pb::apimachinery::pkg::util::intstr::IntOrString;
use proptest::prelude::*;
use prost::Message;
use serde_json::{Value, json};

use super::table::{Form, Shape, Type, table};
use super::{DecodeError, decode};
use crate::{Resource, catalog, definition_name};

fn s(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn body_of(api_version: &str, kind: &str, raw: Vec<u8>) -> Vec<u8> {
    let type_meta = Some(TypeMeta { api_version: s(api_version), kind: s(kind) });
    // Go writes both of the last two, and writes them empty.
    let unknown = Unknown { type_meta, raw: Some(raw), content_encoding: s(""), content_type: s("") };
    [b"k8s\0".as_slice(), &unknown.encode_to_vec()].concat()
}

/// Decodes a message that is sent as a kind; without the type, which is checked here.
fn sent(api_version: &str, kind: &str, message: &impl Message) -> Value {
    let mut value = decode(&body_of(api_version, kind, message.encode_to_vec())).unwrap();
    let fields = value.as_object_mut().unwrap();
    assert_eq!(fields.remove("apiVersion"), Some(json!(api_version)));
    assert_eq!(fields.remove("kind"), Some(json!(kind)));
    value
}

fn error(body: &[u8]) -> String {
    decode(body).map_err(|error: DecodeError| error.to_string()).unwrap_err()
}

fn named(name: &str) -> Option<meta::ObjectMeta> {
    Some(meta::ObjectMeta {
        name: s(name),
        namespace: s(""),
        uid: s(""),
        creation_timestamp: Some(meta::Time::default()),
        ..Default::default()
    })
}

fn number(value: i32) -> Option<IntOrString> {
    Some(IntOrString { r#type: Some(0), int_val: Some(value), str_val: s("") })
}

fn word(text: &str) -> Option<IntOrString> {
    Some(IntOrString { r#type: Some(1), int_val: Some(0), str_val: s(text) })
}

fn labels() -> std::collections::BTreeMap<String, String> {
    [("app".to_owned(), "web".to_owned())].into()
}

#[test]
fn a_deployment_as_kubectl_sends_it() {
    let container = core::v1::Container {
        name: s("nginx"),
        image: s("nginx:1"),
        working_dir: s(""),
        stdin: Some(false),
        tty: Some(false),
        resources: Some(core::v1::ResourceRequirements::default()),
        ..Default::default()
    };
    let template = core::v1::PodTemplateSpec {
        metadata: Some(meta::ObjectMeta { labels: labels(), creation_timestamp: Some(meta::Time::default()), ..Default::default() }),
        spec: Some(core::v1::PodSpec { containers: vec![container], host_network: Some(false), ..Default::default() }),
    };
    let spec = apps::v1::DeploymentSpec {
        replicas: Some(0),
        selector: Some(meta::LabelSelector { match_labels: labels(), ..Default::default() }),
        template: Some(template),
        strategy: Some(apps::v1::DeploymentStrategy { r#type: s(""), ..Default::default() }),
        min_ready_seconds: Some(0),
        paused: Some(false),
        ..Default::default()
    };
    let status = apps::v1::DeploymentStatus { observed_generation: Some(0), replicas: Some(0), ..Default::default() };
    let deployment = apps::v1::Deployment { metadata: named("web"), spec: Some(spec), status: Some(status) };
    assert_eq!(
        sent("apps/v1", "Deployment", &deployment),
        json!({"metadata": {"name": "web"}, "status": {}, "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "strategy": {},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "nginx", "image": "nginx:1", "resources": {}}]}}}})
    );
}

#[test]
fn embedded_structures_are_part_of_the_object_around_them() {
    let volume = |name: &str, source: core::v1::VolumeSource| core::v1::Volume { name: s(name), volume_source: Some(source) };
    let config = core::v1::ConfigMapVolumeSource {
        local_object_reference: Some(core::v1::LocalObjectReference { name: s("c") }),
        default_mode: Some(0o644),
        ..Default::default()
    };
    let get = core::v1::HttpGetAction { path: s("/"), port: word("http"), ..Default::default() };
    let probe = core::v1::Probe {
        handler: Some(core::v1::ProbeHandler { http_get: Some(get), ..Default::default() }),
        period_seconds: Some(0),
        failure_threshold: Some(3),
        ..Default::default()
    };
    let quantity = Quantity { string: s("500m") };
    let resources = core::v1::ResourceRequirements { limits: [("cpu".to_owned(), quantity)].into(), ..Default::default() };
    let key = core::v1::SecretKeySelector {
        local_object_reference: Some(core::v1::LocalObjectReference { name: s("s") }),
        key: s("k"),
        optional: Some(false),
    };
    let env = core::v1::EnvVar {
        name: s("E"),
        value: s(""),
        value_from: Some(core::v1::EnvVarSource { secret_key_ref: Some(key), ..Default::default() }),
    };
    let container = core::v1::Container {
        name: s("c"),
        command: vec!["sh".into(), String::new()],
        env: vec![env],
        resources: Some(resources),
        liveness_probe: Some(probe),
        ..Default::default()
    };
    let common = core::v1::EphemeralContainerCommon { name: s("debug"), ..Default::default() };
    let spec = core::v1::PodSpec {
        volumes: vec![
            volume("e", core::v1::VolumeSource { empty_dir: Some(core::v1::EmptyDirVolumeSource::default()), ..Default::default() }),
            volume("c", core::v1::VolumeSource { config_map: Some(config), ..Default::default() }),
        ],
        containers: vec![container],
        ephemeral_containers: vec![core::v1::EphemeralContainer {
            ephemeral_container_common: Some(common),
            target_container_name: s("c"),
        }],
        termination_grace_period_seconds: Some(0),
        ..Default::default()
    };
    let pod = core::v1::Pod { metadata: named("p"), spec: Some(spec), status: None };
    assert_eq!(
        sent("v1", "Pod", &pod)["spec"],
        json!({"terminationGracePeriodSeconds": 0, "ephemeralContainers": [{"name": "debug", "targetContainerName": "c"}],
            "volumes": [{"name": "e", "emptyDir": {}}, {"name": "c", "configMap": {"name": "c", "defaultMode": 420}}],
            "containers": [{"name": "c", "command": ["sh", ""], "env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": false}}}],
                "resources": {"limits": {"cpu": "500m"}}, "livenessProbe": {"httpGet": {"path": "/", "port": "http"}, "failureThreshold": 3}}]})
    );
}

#[test]
fn ports_are_numbers_or_words() {
    let port = |number, target| core::v1::ServicePort { port: Some(number), target_port: target, node_port: Some(0), ..Default::default() };
    let spec = core::v1::ServiceSpec {
        ports: vec![port(80, number(8080)), port(81, word("web"))],
        cluster_ip: s(""),
        external_ips: vec!["1.2.3.4".into()],
        ..Default::default()
    };
    let service = core::v1::Service { metadata: named("s"), spec: Some(spec), status: None };
    assert_eq!(
        sent("v1", "Service", &service)["spec"],
        json!({"ports": [{"port": 80, "targetPort": 8080}, {"port": 81, "targetPort": "web"}], "externalIPs": ["1.2.3.4"]})
    );
}

#[test]
fn bytes_are_base64() {
    let data = [("key".to_owned(), vec![0, 255]), ("none".to_owned(), Vec::new())].into();
    let secret = core::v1::Secret { metadata: named("s"), data, r#type: s("Opaque"), immutable: Some(false), ..Default::default() };
    assert_eq!(
        sent("v1", "Secret", &secret),
        json!({"metadata": {"name": "s"}, "data": {"key": "AP8=", "none": ""}, "type": "Opaque", "immutable": false})
    );
    let map =
        core::v1::ConfigMap { metadata: named("c"), data: labels(), binary_data: [("b".to_owned(), vec![1])].into(), ..Default::default() };
    assert_eq!(sent("v1", "ConfigMap", &map), json!({"metadata": {"name": "c"}, "data": {"app": "web"}, "binaryData": {"b": "AQ=="}}));
}

#[test]
fn moments_are_texts() {
    let time = Some(meta::Time { seconds: Some(1_767_323_045), nanos: Some(5) });
    let micro = Some(meta::MicroTime { seconds: Some(1_767_323_045), nanos: Some(123_456_789) });
    let event = core::v1::Event {
        metadata: named("e"),
        first_timestamp: time,
        event_time: micro,
        count: Some(2),
        last_timestamp: Some(meta::Time::default()),
        ..Default::default()
    };
    let value = sent("v1", "Event", &event);
    assert_eq!(value["firstTimestamp"], json!("2026-01-02T03:04:05Z"));
    assert_eq!(value["eventTime"], json!("2026-01-02T03:04:05.123456Z"));
    assert_eq!((value.get("lastTimestamp"), &value["count"]), (None, &json!(2)));
    let late = meta::MicroTime { seconds: Some(i64::MAX), nanos: None };
    let spec = coordination::v1::LeaseSpec { renew_time: Some(late), ..Default::default() };
    let lease = coordination::v1::Lease { metadata: None, spec: Some(spec) };
    assert_eq!(error(&body_of("coordination.k8s.io/v1", "Lease", lease.encode_to_vec())), "LeaseSpec.renewTime: the value is out of range");
    let early = core::v1::Event { event_time: Some(meta::MicroTime { seconds: Some(-1), nanos: Some(0) }), ..Default::default() };
    assert_eq!(sent("v1", "Event", &early)["eventTime"], json!("1969-12-31T23:59:59.000000Z"));
}

#[test]
fn empty_texts_that_mean_something_stay() {
    let spec = core::v1::PersistentVolumeClaimSpec { storage_class_name: s(""), volume_name: s(""), ..Default::default() };
    let claim = core::v1::PersistentVolumeClaim { metadata: named("c"), spec: Some(spec), status: None };
    assert_eq!(sent("v1", "PersistentVolumeClaim", &claim)["spec"], json!({"storageClassName": ""}));
    let rule = rbac::v1::PolicyRule {
        verbs: vec!["get".into()],
        api_groups: vec![String::new()],
        resources: vec!["pods".into()],
        ..Default::default()
    };
    let role = rbac::v1::Role { metadata: named("r"), rules: vec![rule] };
    assert_eq!(
        sent("rbac.authorization.k8s.io/v1", "Role", &role)["rules"],
        json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}])
    );
    let job = batch::v1::Job {
        metadata: named("j"),
        spec: Some(batch::v1::JobSpec { backoff_limit: Some(0), suspend: Some(false), ..Default::default() }),
        status: None,
    };
    assert_eq!(sent("batch/v1", "Job", &job)["spec"], json!({"backoffLimit": 0, "suspend": false}));
}

#[test]
fn schemas_take_their_simpler_forms() {
    let raw = |text: &str| Some(crd::Json { raw: Some(text.as_bytes().to_vec()) });
    let leaf = || crd::JsonSchemaProps { r#type: s("string"), ..Default::default() };
    let allowed = |allows, schema: Option<crd::JsonSchemaProps>| {
        Some(Box::new(crd::JsonSchemaPropsOrBool { allows: Some(allows), schema: schema.map(Box::new) }))
    };
    let schema = crd::JsonSchemaProps {
        r#ref: s("#/x"),
        default: raw(r#"{"a": [1, null]}"#),
        maximum: Some(5.0),
        minimum: Some(0.5),
        max_length: Some(0),
        additional_properties: allowed(false, None),
        additional_items: allowed(true, Some(leaf())),
        items: Some(Box::new(crd::JsonSchemaPropsOrArray { schema: Some(Box::new(leaf())), j_son_schemas: Vec::new() })),
        r#enum: vec![crd::Json { raw: Some(b"1".to_vec()) }],
        x_kubernetes_preserve_unknown_fields: Some(false),
        x_kubernetes_int_or_string: Some(false),
        ..Default::default()
    };
    let version = crd::CustomResourceDefinitionVersion {
        name: s("v1"),
        served: Some(false),
        storage: Some(true),
        schema: Some(crd::CustomResourceValidation { open_apiv3_schema: Some(schema) }),
        ..Default::default()
    };
    let definition = crd::CustomResourceDefinition {
        metadata: named("d"),
        spec: Some(crd::CustomResourceDefinitionSpec { versions: vec![version], ..Default::default() }),
        status: None,
    };
    let value = sent("apiextensions.k8s.io/v1", "CustomResourceDefinition", &definition);
    assert_eq!(
        value["spec"]["versions"],
        json!([{"name": "v1", "served": false, "storage": true, "schema": {"openAPIV3Schema": {"$ref": "#/x", "default": {"a": [1, null]}, "maximum": 5,
            "minimum": 0.5, "maxLength": 0, "additionalProperties": false, "additionalItems": {"type": "string"}, "items": {"type": "string"},
            "enum": [1], "x-kubernetes-preserve-unknown-fields": false}}}])
    );
}

#[test]
fn what_is_posted_beside_objects() {
    let options = meta::DeleteOptions {
        grace_period_seconds: Some(0),
        propagation_policy: s("Foreground"),
        preconditions: Some(meta::Preconditions { uid: s("u"), resource_version: None }),
        ..Default::default()
    };
    let expected = json!({"gracePeriodSeconds": 0, "propagationPolicy": "Foreground", "preconditions": {"uid": "u"}});
    assert_eq!(sent("apps/v1", "DeleteOptions", &options), expected);
    assert_eq!(
        sent("policy/v1", "Eviction", &policy::v1::Eviction { metadata: named("p"), delete_options: Some(options) }),
        json!({"metadata": {"name": "p"}, "deleteOptions": expected})
    );
    let target = Some(core::v1::ObjectReference { kind: s("Node"), name: s("n"), ..Default::default() });
    assert_eq!(sent("v1", "Binding", &core::v1::Binding { metadata: named("p"), target })["target"], json!({"kind": "Node", "name": "n"}));
    let request = authentication::v1::TokenRequestSpec { audiences: vec!["a".into()], expiration_seconds: Some(600), ..Default::default() };
    let request = authentication::v1::TokenRequest { spec: Some(request), ..Default::default() };
    assert_eq!(sent("authentication.k8s.io/v1", "TokenRequest", &request), json!({"spec": {"audiences": ["a"], "expirationSeconds": 600}}));
    let extra = [
        ("k".to_owned(), authorization::v1::ExtraValue { items: vec!["v".into()] }),
        ("e".to_owned(), authorization::v1::ExtraValue::default()),
    ]
    .into();
    let review = authorization::v1::SubjectAccessReviewSpec { user: s("u"), extra, ..Default::default() };
    let review = authorization::v1::SubjectAccessReview { spec: Some(review), ..Default::default() };
    assert_eq!(
        sent("authorization.k8s.io/v1", "SubjectAccessReview", &review),
        json!({"spec": {"user": "u", "extra": {"k": ["v"], "e": []}}})
    );
    let scale = k8s_pb::api::autoscaling::v1::ScaleSpec { replicas: Some(0) };
    let scale = k8s_pb::api::autoscaling::v1::Scale { metadata: named("d"), spec: Some(scale), status: None };
    assert_eq!(sent("autoscaling/v1", "Scale", &scale)["spec"], json!({"replicas": 0}));
    let revision = apps::v1::ControllerRevision {
        metadata: None,
        data: Some(RawExtension { raw: Some(br#"{"spec":{}}"#.to_vec()) }),
        revision: Some(0),
    };
    assert_eq!(sent("apps/v1", "ControllerRevision", &revision), json!({"data": {"spec": {}}, "revision": 0}));
}

#[test]
fn structures_two_levels_in_are_inlined_too() {
    let rule = admissionregistration::v1::Rule { api_groups: vec!["apps".into()], ..Default::default() };
    let operations = admissionregistration::v1::RuleWithOperations { operations: vec!["CREATE".into()], rule: Some(rule) };
    let named_rule =
        admissionregistration::v1::NamedRuleWithOperations { resource_names: vec!["n".into()], rule_with_operations: Some(operations) };
    let constraints = admissionregistration::v1::MatchResources { resource_rules: vec![named_rule], ..Default::default() };
    let spec = admissionregistration::v1::ValidatingAdmissionPolicySpec { match_constraints: Some(constraints), ..Default::default() };
    let policy = admissionregistration::v1::ValidatingAdmissionPolicy { metadata: None, spec: Some(spec), status: None };
    assert_eq!(
        sent("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", &policy)["spec"]["matchConstraints"]["resourceRules"],
        json!([{"resourceNames": ["n"], "operations": ["CREATE"], "apiGroups": ["apps"]}])
    );
}

#[test]
fn a_message_in_two_parts_is_merged_and_unknown_tags_are_passed_over() {
    let part = |spec| apps::v1::Deployment { metadata: None, spec: Some(spec), status: None }.encode_to_vec();
    let first = part(apps::v1::DeploymentSpec { replicas: Some(3), min_ready_seconds: Some(7), ..Default::default() });
    let second = part(apps::v1::DeploymentSpec { paused: Some(true), min_ready_seconds: Some(0), ..Default::default() });
    // Tag 1000 in each of the wire's forms.
    let unknown = [&[0xc0, 0x3e, 1][..], &[0xc1, 0x3e, 0, 0, 0, 0, 0, 0, 0, 0], &[0xc2, 0x3e, 1, 9], &[0xc5, 0x3e, 0, 0, 0, 0]].concat();
    let value = decode(&body_of("apps/v1", "Deployment", [first, unknown, second].concat())).unwrap();
    assert_eq!(value["spec"], json!({"replicas": 3, "paused": true}));
}

#[test]
fn what_is_wrong_is_said_by_name() {
    let cases: &[(&[u8], &str)] = &[
        // spec with a length beyond the end; far beyond it; a number in its place; a group.
        (&[0x12, 0x05, 0x08], "Deployment.spec: the message ends too early"),
        (&[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], "Deployment.spec: the message ends too early"),
        (&[0x10, 0x01], "Deployment.spec: unexpected wire type 0"),
        (&[0x13], "Deployment.spec: unexpected wire type 3"),
        (&[0x12, 0x02, 0x0a, 0x00], "DeploymentSpec.replicas: unexpected wire type 2"),
        (&[0x12, 0x01, 0x08], "DeploymentSpec.replicas: the message ends too early"),
        (&[0x0a, 0x03, 0x0a, 0x01, 0xff], "ObjectMeta.name: the text is not valid UTF-8"),
        (&[0x0a, 0x03, 0x0a, 0x09, b'a'], "ObjectMeta.name: the message ends too early"),
        (&[0x0a, 0x06, 0x5a, 0x04, 0x0a, 0x02, 0xff, 0xff], "ObjectMeta.labels: the text is not valid UTF-8"),
        (&[0x00], "Deployment: a tag is out of range"),
        (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], "Deployment: a number is longer than 64 bits"),
    ];
    for (raw, expected) in cases {
        assert_eq!(&error(&body_of("apps/v1", "Deployment", raw.to_vec())), expected, "{raw:x?}");
    }
    let data = RawExtension { raw: Some(b"{".to_vec()) };
    let revision = apps::v1::ControllerRevision { data: Some(data), ..Default::default() };
    assert_eq!(
        error(&body_of("apps/v1", "ControllerRevision", revision.encode_to_vec())),
        "RawExtension.raw: the embedded object is not valid JSON"
    );
    assert_eq!(error(&body_of("example.com/v1", "Thing", Vec::new())), r#"no kind "Thing" is registered for version "example.com/v1""#);
    // A part of an object is not a body.
    assert_eq!(error(&body_of("v1", "PodSpec", Vec::new())), r#"no kind "PodSpec" is registered for version "v1""#);
    assert!(error(b"{}").contains("expected prefix [107 56 115 0]"));
    assert!(error(&body_of("", "", Vec::new())).contains("missing"));
    assert_eq!(error(b"k8s\0\x12\x7f"), "runtime.Unknown: the message ends too early");
    assert_eq!(error(b"k8s\0\x1a\x04gzip"), "runtime.Unknown.contentEncoding: content encodings are not supported");
}

#[test]
fn depth_and_size_are_bounded() {
    let wrap = |inner: Vec<u8>, tag: u8| {
        let mut out = vec![tag << 3 | 2];
        prost::encoding::encode_varint(inner.len() as u64, &mut out);
        [out, inner].concat()
    };
    // Schemas in `not`, which is tag 28.
    let mut schema = Vec::new();
    for _ in 0..10_000 {
        let mut out = vec![0xe2, 0x01];
        prost::encoding::encode_varint(schema.len() as u64, &mut out);
        out.append(&mut schema);
        schema = out;
    }
    let definition = wrap(wrap(wrap(wrap(schema, 1), 4), 7), 2);
    assert_eq!(
        error(&body_of("apiextensions.k8s.io/v1", "CustomResourceDefinition", definition)),
        "JSONSchemaProps.not: the object nests deeper than 120 levels"
    );
    let nested = |depth: usize| {
        let data = RawExtension { raw: Some(["[".repeat(depth), "]".repeat(depth)].concat().into_bytes()) };
        body_of("apps/v1", "ControllerRevision", apps::v1::ControllerRevision { data: Some(data), ..Default::default() }.encode_to_vec())
    };
    assert!(decode(&nested(110)).is_ok());
    assert_eq!(error(&nested(125)), "RawExtension.raw: the object nests deeper than 120 levels");
    // Three megabytes of empty containers.
    let spec = wrap([0x12, 0x00].repeat(1_500_000), 2);
    assert_eq!(error(&body_of("v1", "Pod", spec)), "PodSpec.containers: the object has more than 500000 values");
}

#[test]
fn every_kind_that_is_sent_has_a_message() {
    for resource in catalog().resources() {
        let own = [resource.gvk()];
        let subresources = resource.subresources.iter().filter(|sub| sub.verbs.iter().any(|verb| verb == "create" || verb == "update"));
        // Options of streams are in the query.
        let others = subresources.map(|sub| sub.kind.clone()).filter(|kind| !kind.kind.ends_with("Options"));
        for kind in own.into_iter().chain(others) {
            assert!(table().kind(&kind.api_version(), &kind.kind).is_some(), "{kind:?}");
        }
    }
}

#[test]
fn every_line_of_the_table_is_read() {
    let lines = include_str!("../../tables/protobuf").lines().filter(|line| !line.starts_with('#')).count();
    let fields = |message: &super::table::Message| message.fields().len();
    assert_eq!(table().messages().iter().map(|message| 1 + fields(message)).sum::<usize>(), lines);
    for message in table().messages() {
        for field in message.fields() {
            let inner = if let Type::Message(at) = field.of { table().message(at) } else { None };
            let inlined = field.shape != Shape::Inline || inner.is_some_and(|inner| inner.form == Form::Object);
            assert!(inlined, "{}.{}", message.name, field.tag);
        }
        assert!(message.fields().is_sorted_by(|a, b| a.tag < b.tag), "{} has a tag twice", message.name);
    }
}

#[test]
fn every_field_of_a_message_is_a_field_of_the_kind() {
    for resource in catalog().resources() {
        let name = definition_name(&resource.group, &resource.version, &resource.kind);
        let message = table().messages().iter().find(|message| message.name == name).unwrap();
        let node = Resource::schema(resource).unwrap();
        assert!(message.fields().iter().all(|field| node.field(field.name).is_some()), "{name}");
    }
}

/// Bytes that often are messages, so that more than their beginning is read.
fn almost_messages() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        (1u8..16, any::<u8>()).prop_map(|(tag, value)| vec![tag << 3, value & 0x7f]),
        (1u8..16, prop::collection::vec(any::<u8>(), 0..8))
            .prop_map(|(tag, text)| [&[tag << 3 | 2, text.len() as u8], text.as_slice()].concat()),
        prop::collection::vec(any::<u8>(), 0..6),
    ];
    leaf.prop_recursive(8, 64, 4, |inner| {
        (1u8..16, prop::collection::vec(inner, 0..4)).prop_map(|(tag, parts)| {
            let parts = parts.concat();
            let mut out = vec![tag << 3 | 2];
            prost::encoding::encode_varint(parts.len() as u64, &mut out);
            [out, parts].concat()
        })
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(raw in prop_oneof![prop::collection::vec(any::<u8>(), 0..200), almost_messages()], at in any::<prop::sample::Index>()) {
        let resources: Vec<_> = catalog().resources().collect();
        let resource = resources[at.index(resources.len())];
        let _ = decode(&body_of(&resource.api_version(), &resource.kind, raw.clone()));
        let _ = decode(&[b"k8s\0", raw.as_slice()].concat());
        let _ = decode(&raw);
    }

    #[test]
    fn cut_bodies_never_panic(cut in 0usize..200) {
        let spec = core::v1::PodSpec { containers: vec![core::v1::Container { name: s("c"), ..Default::default() }], ..Default::default() };
        let body = body_of("v1", "Pod", core::v1::Pod { metadata: named("p"), spec: Some(spec), status: None }.encode_to_vec());
        let _ = decode(&body[..cut.min(body.len())]);
    }
}

#![allow(clippy::unwrap_used)]
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_pb::api::{apps, core};
use k8s_pb::apiextensions_apiserver::pkg::apis::apiextensions::v1 as crd;
use k8s_pb::apimachinery::pkg::apis::meta::v1 as meta;
use k8s_pb::apimachinery::pkg::runtime::Unknown;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng};
use prost::Message as _;
use serde_json::{Map, Value, json};

use super::table::{Form, Message, Shape, Type, table};
use super::{decode, encode, encode_list, encode_raw, seal, write_event};
use crate::{Kind, Node, catalog, definitions};

/// Draws values.
struct Dice(TestRng);

impl Dice {
    fn new(seed: u8) -> Self {
        Self(TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]))
    }

    fn below(&mut self, end: u32) -> u32 {
        Rng::next_u32(&mut self.0) % end
    }

    fn word(&mut self) -> String {
        (0..=self.below(6)).map(|_| ['a', 'Z', '0', '-', '/', 'é', '"', '\n'][self.below(8) as usize]).collect()
    }

    /// An object with about a third of its fields, so many levels deep.
    fn object(&mut self, message: &Message, depth: u32, out: &mut Map<String, Value>) {
        for field in message.fields() {
            if field.shape == Shape::Inline {
                if let Type::Message(at) = field.of {
                    self.object(table().message(at).unwrap(), depth, out);
                }
                continue;
            }
            if self.below(3) > 0 {
                continue;
            }
            let value = match field.shape {
                Shape::List => Some((0..=self.below(3)).filter_map(|_| self.value(field.of, depth)).collect::<Vec<_>>())
                    .filter(|items| !items.is_empty())
                    .map(Value::Array),
                Shape::Map => {
                    let entries: Map<String, Value> =
                        (0..=self.below(3)).filter_map(|_| Some((self.word(), self.value(field.of, depth)?))).collect();
                    (!entries.is_empty()).then_some(Value::Object(entries))
                }
                _ => self.value(field.of, depth),
            };
            if let Some(value) = value {
                out.insert(field.name.to_owned(), value);
            }
        }
    }

    /// A value that is not zero: zeros may be left out.
    fn value(&mut self, of: Type, depth: u32) -> Option<Value> {
        Some(match of {
            Type::String => json!(self.word()),
            Type::Bytes => json!(STANDARD.encode(self.word())),
            Type::Json => json!({"b": [1, self.word(), {"a": null}], "a": true}),
            Type::Bool => json!(true),
            Type::Int32 => json!([1, -1, 127, 128, i32::MAX, i32::MIN][self.below(6) as usize]),
            Type::Int64 => json!([1, -1, i64::MAX, i64::MIN][self.below(4) as usize]),
            Type::Double => json!([0.5, -1.25, 1e300][self.below(3) as usize]),
            Type::Message(at) => {
                let message = table().message(at).unwrap();
                match message.form {
                    Form::Time => json!("2026-01-02T03:04:05Z"),
                    Form::MicroTime => json!("2026-01-02T03:04:05.000006Z"),
                    Form::IntOrString if self.below(2) == 0 => json!(-7),
                    Form::IntOrString => json!("50%"),
                    Form::Bare => {
                        let field = message.fields()[self.below(message.fields().len() as u32) as usize];
                        if depth == 0 && matches!(field.of, Type::Message(_)) {
                            return None;
                        }
                        let value = self.value(field.of, depth.saturating_sub(1))?;
                        if field.shape == Shape::List { json!([value]) } else { value }
                    }
                    Form::Object => {
                        let mut inner = Map::new();
                        if depth == 0 {
                            return None;
                        }
                        self.object(message, depth - 1, &mut inner);
                        Value::Object(inner)
                    }
                }
            }
        })
    }
}

#[test]
fn every_kind_comes_back_as_it_was() {
    for seed in 0..40 {
        let mut dice = Dice::new(seed);
        for resource in catalog().resources() {
            let message = table().kind(&resource.api_version(), &resource.kind).unwrap();
            let mut object = Map::new();
            object.insert("apiVersion".to_owned(), json!(resource.api_version()));
            object.insert("kind".to_owned(), json!(resource.kind));
            dice.object(message, 7, &mut object);
            let object = Value::Object(object);
            let body = encode(&object).unwrap();
            let back = decode(&body).unwrap();
            assert_eq!(back, object, "{}", resource.kind);
            // The order of an object's fields is not part of it.
            assert_eq!(encode(&back).unwrap(), body, "{}", resource.kind);
        }
    }
}

/// What a client that knows the type sees.
fn read<T: prost::Message + Default>(object: &Value) -> T {
    let body = encode(object).unwrap();
    let unknown = Unknown::decode(body.strip_prefix(b"k8s\0").unwrap()).unwrap();
    let type_meta = unknown.type_meta.unwrap();
    assert_eq!(type_meta.api_version.as_deref(), object["apiVersion"].as_str());
    assert_eq!(type_meta.kind.as_deref(), object["kind"].as_str());
    assert_eq!((unknown.content_encoding.as_deref(), unknown.content_type.as_deref()), (Some(""), Some("")));
    T::decode(unknown.raw.unwrap().as_slice()).unwrap()
}

#[test]
fn a_pod_is_what_clients_know_it_as() {
    let pod: core::v1::Pod = read(&json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "creationTimestamp": "2026-01-02T03:04:05Z", "labels": {"b": "2", "a": "1"}, "generation": 3,
            "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {}}, "time": "2026-01-02T03:04:05+01:00"}]},
        "spec": {
            "terminationGracePeriodSeconds": 0, "nodeName": null, "hostNetwork": true,
            "volumes": [{"name": "e", "emptyDir": {}}, {"name": "c", "configMap": {"name": "cm", "defaultMode": 420}}],
            "containers": [{"name": "c", "command": ["sh", ""], "ports": [{"containerPort": 80}],
                "resources": {"limits": {"memory": "1Gi", "cpu": 2}},
                "livenessProbe": {"httpGet": {"path": "/", "port": "http"}}, "readinessProbe": {"tcpSocket": {"port": 8080}}}]},
        "status": {"startTime": null, "phase": "Running"},
    }));
    let metadata = pod.metadata.unwrap();
    assert_eq!(metadata.creation_timestamp, Some(meta::Time { seconds: Some(1_767_323_045), nanos: Some(0) }));
    assert_eq!((metadata.generation, metadata.labels["a"].as_str(), metadata.labels.len()), (Some(3), "1", 2));
    let managed = &metadata.managed_fields[0];
    assert_eq!(managed.fields_v1.as_ref().unwrap().raw.as_deref(), Some(br#"{"f:spec":{}}"#.as_slice()));
    assert_eq!(managed.time.unwrap().seconds, Some(1_767_319_445));
    let spec = pod.spec.unwrap();
    assert_eq!((spec.termination_grace_period_seconds, spec.host_network, spec.node_name), (Some(0), Some(true), None));
    let source = |at: usize| spec.volumes[at].volume_source.clone().unwrap();
    assert!(source(0).empty_dir.is_some() && source(0).config_map.is_none());
    let config = source(1).config_map.unwrap();
    assert_eq!((config.local_object_reference.unwrap().name.as_deref(), config.default_mode), (Some("cm"), Some(420)));
    let container = &spec.containers[0];
    assert_eq!(container.command, ["sh", ""]);
    let limits = &container.resources.as_ref().unwrap().limits;
    assert_eq!((limits["cpu"].string.as_deref(), limits["memory"].string.as_deref()), (Some("2"), Some("1Gi")));
    let port = container.liveness_probe.clone().unwrap().handler.unwrap().http_get.unwrap().port.unwrap();
    assert_eq!((port.r#type, port.int_val, port.str_val.as_deref()), (Some(1), Some(0), Some("http")));
    let port = container.readiness_probe.clone().unwrap().handler.unwrap().tcp_socket.unwrap().port.unwrap();
    assert_eq!((port.r#type, port.int_val, port.str_val.as_deref()), (Some(0), Some(8080), Some("")));
    let status = pod.status.unwrap();
    assert_eq!((status.start_time, status.phase.as_deref()), (None, Some("Running")));
}

#[test]
fn schemas_of_definitions_keep_their_forms() {
    let definition: crd::CustomResourceDefinition = read(&json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": {
            "additionalProperties": false, "additionalItems": {"type": "string"}, "items": {"type": "integer"},
            "enum": ["a", null, 1], "default": {"a": [1]}, "maximum": 5, "x-kubernetes-int-or-string": true}}}]},
    }));
    let schema = definition.spec.unwrap().versions[0].schema.clone().unwrap().open_apiv3_schema.unwrap();
    assert_eq!((schema.maximum, schema.x_kubernetes_int_or_string), (Some(5.0), Some(true)));
    let no = schema.additional_properties.unwrap();
    assert_eq!((no.allows, no.schema), (Some(false), None));
    let schema_too = schema.additional_items.unwrap();
    assert_eq!((schema_too.allows, schema_too.schema.unwrap().r#type.as_deref()), (Some(true), Some("string")));
    assert_eq!(schema.items.unwrap().schema.unwrap().r#type.as_deref(), Some("integer"));
    assert_eq!(schema.default.unwrap().raw.as_deref(), Some(br#"{"a":[1]}"#.as_slice()));
    let raw: Vec<_> = schema.r#enum.iter().map(|one| one.raw.as_deref()).collect();
    assert_eq!(raw, [Some(br#""a""#.as_slice()), None, Some(b"1")]);
}

#[test]
fn what_is_answered_beside_objects_has_messages_too() {
    let status: meta::Status = read(&json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "m", "reason": "Invalid", "code": 422,
        "details": {"name": "web", "retryAfterSeconds": 3, "causes": [{"reason": "r", "message": "m", "field": "f"}]},
    }));
    let details = status.details.unwrap();
    assert_eq!((status.code, details.retry_after_seconds, details.causes[0].field.as_deref()), (Some(422), Some(3), Some("f")));
    let groups: meta::APIGroupList = read(&crate::discovery::api_group_list(&catalog().groups()));
    assert!(groups.groups.iter().any(|group| group.name.as_deref() == Some("apps")));
    let resources: meta::APIResourceList = read(&crate::discovery::api_resource_list("apps", "v1", catalog().resources()));
    let scale = resources.resources.iter().find(|one| one.name.as_deref() == Some("deployments/scale")).unwrap();
    assert_eq!((scale.group.as_deref(), scale.verbs.clone().unwrap().items.len()), (Some("autoscaling"), 3));
    let all: k8s_pb::api::apidiscovery::v2::APIGroupDiscoveryList =
        read(&crate::discovery::aggregated(&catalog().groups(), catalog().resources()));
    let apps = all.items.iter().find(|group| group.metadata.clone().unwrap().name.as_deref() == Some("apps")).unwrap();
    let deployments = apps.versions[0].resources.iter().find(|one| one.resource.as_deref() == Some("deployments")).unwrap();
    assert_eq!(deployments.response_kind.clone().unwrap().kind.as_deref(), Some("Deployment"));
    assert_eq!((deployments.short_names[0].as_str(), deployments.singular_resource.as_deref()), ("deploy", Some("deployment")));
    let partial: meta::PartialObjectMetadata =
        read(&json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {"name": "n"}}));
    assert_eq!(partial.metadata.unwrap().name.as_deref(), Some("n"));
    let versions = encode_raw(&crate::discovery::api_versions("10.0.0.1:6443")).unwrap();
    let versions = meta::APIVersions::decode(versions.as_slice()).unwrap();
    assert_eq!(versions.server_address_by_client_cid_rs[0].server_address.as_deref(), Some("10.0.0.1:6443"));
}

#[test]
fn lists_and_events_are_put_around_what_is_there() {
    let items: Vec<Vec<u8>> = ["a", "b"]
        .iter()
        .map(|name| encode_raw(&json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}})).unwrap())
        .collect();
    let metadata = json!({"resourceVersion": "7", "continue": "c", "remainingItemCount": 300});
    let body = encode_list("apps/v1", "DeploymentList", &metadata, items.iter().map(Vec::as_slice)).unwrap();
    let unknown = Unknown::decode(&body[4..]).unwrap();
    assert_eq!(unknown.type_meta.unwrap().kind.as_deref(), Some("DeploymentList"));
    let list = apps::v1::DeploymentList::decode(unknown.raw.unwrap().as_slice()).unwrap();
    let head = list.metadata.unwrap();
    assert_eq!((head.resource_version.as_deref(), head.remaining_item_count), (Some("7"), Some(300)));
    assert_eq!(list.items.iter().map(|one| one.metadata.clone().unwrap().name.unwrap()).collect::<String>(), "ab");

    let mut stream = Vec::new();
    for item in &items {
        write_event("ADDED", "apps/v1", "Deployment", item, &mut stream);
    }
    let mut rest = stream.as_slice();
    for item in &items {
        let (length, after) = rest.split_first_chunk::<4>().unwrap();
        let (frame, after) = after.split_at(u32::from_be_bytes(*length) as usize);
        let event = meta::WatchEvent::decode(frame).unwrap();
        assert_eq!(event.r#type.as_deref(), Some("ADDED"));
        assert_eq!(event.object.unwrap().raw.unwrap(), seal("apps/v1", "Deployment", item));
        rest = after;
    }
    assert!(rest.is_empty());
}

#[test]
fn long_messages_have_long_lengths() {
    for length in [0, 126, 127, 128, 200, 16_383, 16_384, 70_000] {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": "x".repeat(length)}});
        assert_eq!(decode(&encode(&object).unwrap()).unwrap(), object, "{length}");
    }
}

#[test]
fn what_does_not_fit_is_said_by_name() {
    let pod = |spec: Value| json!({"apiVersion": "v1", "kind": "Pod", "spec": spec});
    let cases = [
        (pod(json!([])), "Pod.spec: an object is expected"),
        (pod(json!({"nodeName": 1})), "PodSpec.nodeName: a text is expected"),
        (pod(json!({"containers": {}})), "PodSpec.containers: a list is expected"),
        (pod(json!({"nodeSelector": []})), "PodSpec.nodeSelector: a map is expected"),
        (pod(json!({"priority": 1_i64 << 40})), "PodSpec.priority: the number is out of range"),
        (pod(json!({"priority": 1.5})), "PodSpec.priority: a whole number is expected"),
        (pod(json!({"hostNetwork": "yes"})), "PodSpec.hostNetwork: a boolean is expected"),
        (json!({"apiVersion": "v1", "kind": "Secret", "data": {"a": "*"}}), "Secret.data: base64 is expected"),
        (
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"creationTimestamp": "now"}}),
            "ObjectMeta.creationTimestamp: a time is expected",
        ),
        (
            json!({"apiVersion": "example.com/v1", "kind": "Thing"}),
            "object Thing does not implement the protobuf marshalling interface and cannot be encoded to a protobuf message",
        ),
    ];
    for (object, expected) in cases {
        assert_eq!(encode(&object).unwrap_err().to_string(), expected);
    }
    assert!(encode(&json!(["no", "object"])).is_err());
}

/// Fields of the API that the table has no tags for: they are newer than its source. Objects that have them lose them in protobuf.
const WITHOUT_TAG: [&str; 8] = [
    "core.v1.PodSpec.schedulingGroup",
    "core.v1.ResourceHealth.message",
    "core.v1.VolumeMountStatus.volumeStatus",
    "resource.v1.Device.nodeAllocatableResourceMappings",
    "resource.v1.DeviceAttribute.bools",
    "resource.v1.DeviceAttribute.ints",
    "resource.v1.DeviceAttribute.strings",
    "resource.v1.DeviceAttribute.versions",
];

fn names_of(message: &Message, out: &mut Vec<&'static str>) {
    for field in message.fields() {
        match field.of {
            Type::Message(at) if field.shape == Shape::Inline => names_of(table().message(at).unwrap(), out),
            _ => out.push(field.name),
        }
    }
}

#[test]
fn nearly_every_field_of_the_api_has_a_tag() {
    let mut without = Vec::new();
    for message in table().messages().iter().filter(|message| message.form == Form::Object) {
        let Some(node) = definitions().node(message.name).filter(|node: &Node<'_>| node.kind() == Kind::Object) else { continue };
        let mut known = vec!["apiVersion", "kind", "shardInfo"];
        names_of(message, &mut known);
        let name = message.name.trim_start_matches("io.k8s.api.");
        without.extend(node.field_names().filter(|field| !known.contains(field)).map(|field| format!("{name}.{field}")));
    }
    without.sort();
    assert_eq!(without, WITHOUT_TAG);
}

proptest! {
    #[test]
    fn no_json_makes_it_panic(seed in any::<u64>(), text in "[a-z]{0,8}") {
        // Any field may hold any of these.
        let values = [json!(null), json!(true), json!(-1), json!(1.5), json!(text), json!([null, 1, "a"]), json!({"a": {"b": null}})];
        for (at, resource) in catalog().resources().enumerate() {
            let message = table().kind(&resource.api_version(), &resource.kind).unwrap();
            let mut object = json!({"apiVersion": resource.api_version(), "kind": resource.kind});
            for (field, place) in message.fields().iter().zip(0usize..) {
                let draw = seed.rotate_left((at + place) as u32 % 64) as usize;
                object[field.name] = values[draw % values.len()].clone();
            }
            let _ = encode(&object);
        }
    }
}

#![allow(clippy::unwrap_used)]
use super::*;
use crate::context::Context;
use crate::endpoint::Endpoint;
use crate::options::{FieldValidation, WriteParameters};
use crate::testing::World;
use release::repair_once;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tricorn_meta::UserInfo;
use tricorn_registry::{ListQuery, Paged, Step, WriteOptions};

const SERVICES: &str = "/api/v1/namespaces/default/services";

fn node_port(name: &str, node_port: i64) -> Value {
    json!({"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": node_port}]}})
}

/// The names of all allocations, ports or addresses.
async fn allocated(world: &World, resource: &StoredResource) -> Vec<String> {
    match world.server.registry.list(resource, &ListQuery::default()).await.unwrap() {
        Paged::Page(listing) => listing.objects.iter().map(|one| one.name().to_owned()).collect(),
        other => panic!("{other:?}"),
    }
}

async fn ports(world: &World) -> Vec<String> {
    allocated(world, &world.server.allocator.ports).await
}

fn context() -> Context {
    Context::internal(UserInfo::new("admin", ["system:masters"]))
}

fn parameters() -> WriteParameters {
    WriteParameters {
        dry_run: false,
        field_validation: FieldValidation::Ignore,
        field_manager: "test".to_owned(),
        named_manager: true,
        force: false,
    }
}

fn target(endpoint: &Endpoint) -> Target<'_> {
    Target { endpoint, subresource: "", namespace: "default", name: "a" }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_was_refused_holds_nothing() {
    let world = World::start().await;
    world.create(SERVICES, &node_port("a", 30001)).await;
    let (mut dear, mut invalid) = (node_port("a", 30002), node_port("b", 30003));
    invalid["spec"]["ports"][0]["port"] = json!(0);
    dear["spec"]["clusterIP"] = json!("10.43.0.77");
    for (service, expected) in [(dear, 409), (invalid, 422), (node_port("b", 30001), 422), (node_port("b", 80), 422)] {
        assert_eq!(world.post(SERVICES, &service).await.0, expected, "{service}");
        assert_eq!(ports(&world).await, ["30001"], "{service}");
        assert_eq!(allocated(&world, &world.server.allocator.addresses).await.len(), 1, "{service}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_of_which_nobody_knows_keeps_what_it_took_until_the_repair() {
    let world = World::start().await;
    let server = &world.server;
    let endpoint = server.endpoint("", "v1", "services").unwrap();
    let (context, parameters) = (context(), parameters());
    let write = Write::new(&context, target(&endpoint), &parameters);
    let mut held = Held::default();
    let mut service = node_port("a", 30001);
    service["metadata"]["uid"] = json!("u");
    server.allocate(write, None, &mut service, &mut held).await.unwrap();
    server.release(&held, &Status::timeout("etcdserver: request timed out", 1)).await;
    assert_eq!(ports(&world).await, ["30001"]);
    // The Service may still be written: it is not looked for before that can no longer be.
    for (later, left) in [(60, 1), (3600, 0)] {
        repair_once(server, stamp::now().plus_seconds(later)).await.unwrap();
        assert_eq!(ports(&world).await.len(), left, "{later}");
        assert_eq!(allocated(&world, &server.allocator.addresses).await.len(), left, "{later}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_repair_takes_from_a_service_what_it_does_not_use() {
    let world = World::start().await;
    let server = &world.server;
    let service = world.create(SERVICES, &node_port("a", 30001)).await;
    let stray = ports::allocation(target(&server.endpoint("", "v1", "services").unwrap()), &service, 30002);
    server.registry.create(&server.allocator.ports, "", "30002", stray, WriteOptions::default()).await.unwrap();
    repair_once(server, stamp::now().plus_seconds(3600)).await.unwrap();
    assert_eq!(ports(&world).await, ["30001"]);
    assert_eq!(allocated(&world, &server.allocator.addresses).await.len(), 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_gives_back_what_it_replaces() {
    let world = World::start().await;
    world.create(SERVICES, &node_port("a", 30001)).await;
    let path = format!("{SERVICES}/a");
    let cases = [
        (json!({"spec": {"ports": [{"port": 80, "nodePort": 30002}]}}), 200, vec!["30002"]),
        (json!({"spec": {"ports": [{"port": 80, "nodePort": 30003}, {"name": "!", "port": 81}]}}), 422, vec!["30002"]),
        (json!({"spec": {"ports": [{"port": 80, "nodePort": 30003}], "clusterIP": "10.43.0.5"}}), 422, vec!["30002"]),
        (json!({"spec": {"type": "ClusterIP"}}), 200, vec![]),
    ];
    for (patch, code, expected) in cases {
        let (found, answer) = world.patch(&path, &patch).await;
        assert_eq!(found, code, "{answer}");
        assert_eq!(ports(&world).await, expected, "{patch}");
    }
    assert_eq!(world.delete(&path).await.0, 200);
    assert!(allocated(&world, &world.server.allocator.addresses).await.is_empty());
    world.stop().await;
}

/// Lets somebody else change the Service between an attempt and its write.
async fn interfere(world: &World) {
    let stored = StoredResource::builtin("", "services", true);
    let change = |old: Arc<tricorn_registry::Object>| async move {
        let mut next = old.value().clone();
        next["metadata"]["annotations"]["at"] = json!(old.revision().to_string());
        Ok(Step::Put(next))
    };
    world.server.registry.update(&stored, "default", "a", WriteOptions::default(), change).await.unwrap();
}

/// What an update asks for in its first attempts, what in the last, and what the Service then has.
type Race = (fn(usize) -> Value, &'static [&'static str]);

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_meets_its_own_allocations() {
    let world = World::start().await;
    let server = &world.server;
    let endpoint = server.endpoint("", "v1", "services").unwrap();
    let (context, parameters) = (context(), parameters());
    let write = Write::new(&context, target(&endpoint), &parameters);
    let cases: [Race; 4] = [
        (|_| json!([{"port": 80, "protocol": "TCP", "nodePort": 30010}]), &["30010"]),
        (|attempt| json!([{"port": 80, "protocol": "TCP", "nodePort": if attempt == 0 { 30020 } else { 30021 }}]), &["30021"]),
        // A port of nobody's choice is what the first attempt found, or chose.
        (|attempt| json!([{"port": 90, "protocol": "TCP", "nodePort": if attempt == 0 { 30030 } else { 0 }}]), &["30030"]),
        (|attempt| if attempt == 0 { json!([{"port": 80, "protocol": "TCP", "nodePort": 30040}]) } else { json!(null) }, &["30001"]),
    ];
    for (ports_of, expected) in cases {
        world.create(SERVICES, &node_port("a", 30001)).await;
        let attempts = AtomicUsize::new(0);
        let make = |old: &tricorn_registry::Object| {
            let attempt = attempts.fetch_add(1, Ordering::Relaxed);
            let mut new = old.value().clone();
            let ports = ports_of(attempt);
            if attempt == 0 {
                tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(interfere(&world)));
            }
            if !ports.is_null() {
                new["spec"]["ports"] = ports;
            }
            if let Some(metadata) = stamp::metadata(&mut new) {
                metadata.shift_remove("resourceVersion");
            }
            Ok(Some(new))
        };
        let object = server.update_object(write, make).await.unwrap();
        assert!(attempts.load(Ordering::Relaxed) > 1, "nobody was faster");
        assert_eq!(wants::used_ports(object.value()).iter().map(i64::to_string).collect::<Vec<_>>(), expected);
        assert_eq!(ports(&world).await, expected);
        world.delete(&format!("{SERVICES}/a")).await;
        assert!(ports(&world).await.is_empty());
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_keeps_the_address_that_it_took() {
    let world = World::start().await;
    let server = &world.server;
    let endpoint = server.endpoint("", "v1", "services").unwrap();
    let (context, parameters) = (context(), parameters());
    let write = Write::new(&context, target(&endpoint), &parameters);
    let external = json!({"spec": {"type": "ExternalName", "externalName": "x"}});
    for (first, second) in [("10.43.0.9", "10.43.0.9"), ("10.43.0.9", ""), ("", "")] {
        let mut held = Held::default();
        let mut results = Vec::new();
        for wanted in [first, second] {
            let mut new =
                json!({"metadata": {"name": "a", "uid": "u"}, "spec": {"type": "ClusterIP", "clusterIP": wanted, "ports": [{"port": 80}]}});
            server.allocate(write, Some(&external), &mut new, &mut held).await.unwrap();
            results.push(new["spec"]["clusterIP"].clone());
        }
        assert_eq!(results[0], results[1], "{first} {second}");
        assert_eq!(allocated(&world, &server.allocator.addresses).await, [results[0].as_str().unwrap()]);
        server.release(&held, &Status::modified("", "services", "a")).await;
        assert!(allocated(&world, &server.allocator.addresses).await.is_empty());
    }
    world.stop().await;
}

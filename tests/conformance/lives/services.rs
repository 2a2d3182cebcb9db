//! Services, their addresses and who stands behind them.

use serde_json::{Value, json};

use super::{core, create, gone, group, home, pod};
use crate::api::{Api, MERGE};
use crate::case::Case;

const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";

fn service(name: &str, spec: Value) -> Value {
    let mut spec = spec;
    if spec.get("ports").is_none() {
        spec["ports"] = json!([{"port": 80}]);
    }
    json!({"metadata": {"name": name}, "spec": spec})
}

pub async fn life(api: &Api, case: &Case) {
    let name = home(api, case, "life-services").await;
    let all = core(&name, "services");
    let made = create(api, case, &all, &service("a", json!({"selector": {"a": "b"}}))).await;
    let address = made.text("/spec/clusterIP").to_owned();
    case.check(
        "it has an address",
        address.starts_with("10.43.") && made.body["spec"]["clusterIPs"] == json!([address]),
        &made.body["spec"],
    );
    let expected = json!({"type": "ClusterIP", "sessionAffinity": "None", "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster"});
    case.check("defaults", crate::case::contains(&made.body["spec"], &expected), &made.body["spec"]);
    case.equal("its port", &made.body["spec"]["ports"], &json!([{"port": 80, "protocol": "TCP", "targetPort": 80}]));
    let held = api.get(&format!("{ADDRESSES}/{address}")).await;
    case.equal(
        "the address is an object",
        &held.body["spec"]["parentRef"],
        &json!({"group": "", "resource": "services", "namespace": name, "name": "a"}),
    );
    let taken = api.post(&all, &service("b", json!({"clusterIP": address}))).await;
    case.refused("an address that is taken", &taken, 422, "Invalid", "provided IP is already allocated");
    case.code("an address of elsewhere", &api.post(&all, &service("b", json!({"clusterIP": "192.0.2.1"}))).await, 422);
    case.code(
        "the address stays",
        &api.patch(&format!("{all}/a"), MERGE, &json!({"spec": {"clusterIP": "10.43.77.77", "clusterIPs": ["10.43.77.77"]}})).await,
        422,
    );
    let octal = api.post(&all, &service("b", json!({"externalIPs": ["010.0.0.1"]}))).await;
    case.refused(
        "an address that is read in two ways",
        &octal,
        422,
        "Invalid",
        "spec.externalIPs[0]: Invalid value: \"010.0.0.1\": must not have leading 0s",
    );
    let chosen = create(api, case, &all, &service("chosen", json!({"clusterIP": "10.43.77.7"}))).await;
    case.equal("an address of one's choice", chosen.text("/spec/clusterIP"), "10.43.77.7");

    let ported = api.patch(&format!("{all}/a"), MERGE, &json!({"spec": {"type": "NodePort"}})).await;
    let port = ported.body["spec"]["ports"][0]["nodePort"].as_i64().unwrap_or(0);
    case.check("it has a node port", (30000..=32767).contains(&port), &ported.body["spec"]);
    let taken = api.post(&all, &service("b", json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]}))).await;
    case.refused("a node port that is taken", &taken, 422, "Invalid", "provided port is already allocated");
    let back = api.patch(&format!("{all}/a"), MERGE, &json!({"spec": {"type": "ClusterIP", "ports": [{"port": 80}]}})).await;
    case.check("it gives the port back", back.code == 200 && back.body["spec"]["ports"][0].get("nodePort").is_none(), &back.body["spec"]);
    let named = api.patch(&format!("{all}/a"), MERGE, &json!({"spec": {"type": "ExternalName", "externalName": "example.com"}})).await;
    case.check(
        "a name instead of an address",
        named.code == 200 && named.body["spec"].get("clusterIP").is_none_or(|ip| ip == ""),
        &named.body,
    );
    gone(api, case, &format!("{ADDRESSES}/{address}")).await;
    let headless = create(api, case, &all, &service("headless", json!({"clusterIP": "None", "selector": {"a": "b"}}))).await;
    case.equal("without an address", &headless.body["spec"]["clusterIPs"], &json!(["None"]));
    let balanced = create(api, case, &all, &service("balanced", json!({"type": "LoadBalancer"}))).await;
    case.equal(
        "a load balancer's",
        (&balanced.body["spec"]["allocateLoadBalancerNodePorts"], &balanced.body["spec"]["externalTrafficPolicy"]),
        (&json!(true), &json!("Cluster")),
    );
    let sticky = create(api, case, &all, &service("sticky", json!({"sessionAffinity": "ClientIP"}))).await;
    case.equal("how long it sticks", sticky.body["spec"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"].as_i64(), Some(10800));
    api.delete(&format!("{all}/chosen")).await;
    gone(api, case, &format!("{ADDRESSES}/10.43.77.7")).await;
    create(api, case, &all, &service("chosen", json!({"clusterIP": "10.43.77.7"}))).await;

    let range = api.get("/apis/networking.k8s.io/v1/servicecidrs/kubernetes").await;
    case.equal("the cluster's range", &range.body["spec"]["cidrs"], &json!(["10.43.0.0/16"]));
    let known = api.get("/api/v1/namespaces/default/services/kubernetes").await;
    case.equal("the API's own Service", known.text("/spec/clusterIP"), "10.43.0.1");
    case.code("they can be deleted at once", &api.delete(&all).await, 200);
    case.soon("all are gone", async || match api.get(&all).await.names() {
        names if names.is_empty() => Ok(()),
        names => Err(names),
    })
    .await;
}

pub async fn slices(api: &Api, case: &Case) {
    let name = home(api, case, "life-slices").await;
    let (services, pods) = (core(&name, "services"), core(&name, "pods"));
    let slices = format!("{}?labelSelector=kubernetes.io%2Fservice-name%3Ds", group("discovery.k8s.io", &name, "endpointslices"));
    create(
        api,
        case,
        &services,
        &service("s", json!({"selector": {"app": "x"}, "ports": [{"name": "http", "port": 80, "targetPort": "web"}]})),
    )
    .await;
    case.soon("there is a slice, with nobody in it", async || {
        let found = api.get(&slices).await.body;
        let items = found["items"].as_array().map(Vec::len);
        if items == Some(1) && found["items"][0]["endpoints"].as_array().is_none_or(Vec::is_empty) { Ok(()) } else { Err(found) }
    })
    .await;
    let mut object = pod("p", json!({"app": "x"}));
    object["spec"]["containers"][0]["ports"] = json!([{"name": "web", "containerPort": 8080}]);
    create(api, case, &pods, &object).await;
    let status = |ready: &str| {
        let conditions = json!([{"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
        json!({"status": {"phase": "Running", "podIP": "10.42.9.9", "podIPs": [{"ip": "10.42.9.9"}], "conditions": conditions}})
    };
    for (ready, expected) in [("False", false), ("True", true)] {
        case.code("a pod tells how it is", &api.patch(&format!("{pods}/p/status"), MERGE, &status(ready)).await, 200);
        case.soon(&format!("the slice knows that ready is {ready}"), async || {
            let slice = api.get(&slices).await.body["items"][0].clone();
            let endpoint = &slice["endpoints"][0];
            let right = endpoint["addresses"] == json!(["10.42.9.9"])
                && endpoint["conditions"]["ready"] == expected
                && endpoint["targetRef"]["name"] == "p"
                && slice["ports"] == json!([{"name": "http", "port": 8080, "protocol": "TCP"}]);
            if right { Ok(()) } else { Err(slice) }
        })
        .await;
        let part = if expected { "addresses" } else { "notReadyAddresses" };
        case.soon(&format!("Endpoints have it among {part}"), async || {
            let endpoints = api.get(&format!("{}/s", core(&name, "endpoints"))).await.body;
            if endpoints["subsets"][0][part][0]["ip"] == "10.42.9.9" { Ok(()) } else { Err(endpoints) }
        })
        .await;
    }
    api.delete(&format!("{services}/s")).await;
    case.soon("the slice goes with its Service", async || match api.get(&slices).await.names() {
        names if names.is_empty() => Ok(()),
        names => Err(names),
    })
    .await;
    gone(api, case, &format!("{}/s", core(&name, "endpoints"))).await;
}

//! Tables: Services in, rules out.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};
use tricorn_proxy::{CompileConfig, Ruleset, compile, endpoint_chain, service_chain};

fn config() -> CompileConfig {
    CompileConfig { node_name: "w1".into(), zone: Some("a".into()), cluster_cidr: "10.42.0.0/16".into(), localhost_node_ports: true }
}

/// Service default/web, port http 80/TCP on 10.43.0.5, with `spec` merged over it.
fn web(spec: Value) -> Arc<Service> {
    let mut service = json!({
        "metadata": { "namespace": "default", "name": "web" },
        "spec": { "clusterIP": "10.43.0.5", "clusterIPs": ["10.43.0.5"], "ports": [{ "name": "http", "port": 80 }] },
    });
    for (key, value) in spec.as_object().unwrap() {
        service["spec"][key] = value.clone();
    }
    if service["spec"]["type"] == "LoadBalancer" {
        service["status"] = json!({ "loadBalancer": { "ingress": [{ "ip": "192.0.2.9" }] } });
    }
    Arc::new(serde_json::from_value(service).unwrap())
}

/// A slice of default/web; each endpoint is `ip@node` and then any of `!ready`, `terminating`, `zone=Z`.
fn slice(endpoints: &[&str]) -> Arc<EndpointSlice> {
    let endpoints: Vec<Value> = endpoints
        .iter()
        .map(|text| {
            let mut words = text.split(' ');
            let (ip, node) = words.next().unwrap().split_once('@').unwrap();
            let mut endpoint = json!({ "addresses": [ip], "nodeName": node, "conditions": { "ready": true, "serving": true } });
            for word in words {
                match word {
                    "!ready" => endpoint["conditions"]["ready"] = json!(false),
                    "!serving" => endpoint["conditions"]["serving"] = json!(false),
                    "terminating" => endpoint["conditions"]["terminating"] = json!(true),
                    zone => endpoint["hints"] = json!({ "forZones": [{ "name": zone.strip_prefix("zone=").unwrap() }] }),
                }
            }
            endpoint
        })
        .collect();
    let slice = json!({
        "metadata": { "namespace": "default", "name": "web-1", "labels": { "kubernetes.io/service-name": "web" } },
        "addressType": "IPv4",
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
        "endpoints": endpoints,
    });
    Arc::new(serde_json::from_value(slice).unwrap())
}

fn rules(spec: Value, endpoints: &[&str]) -> Ruleset {
    compile(&[web(spec)], &[slice(endpoints)], &config())
}

fn svc(prefix: &str) -> String {
    service_chain(prefix, "default/web:http", "tcp")
}

fn sep(ip: &str) -> String {
    endpoint_chain("default/web:http", "tcp", &format!("{ip}:8080"))
}

/// Where the rules of a nat chain lead to, in order.
fn targets(rules: &Ruleset, chain: &str) -> Vec<String> {
    let rules = rules.nat.get(chain).unwrap_or_else(|| panic!("no chain {chain}"));
    rules.iter().map(|r| r.rsplit_once("-j ").unwrap().1.to_owned()).collect()
}

#[test]
fn a_cluster_ip_is_spread_evenly() {
    let rules = rules(json!({}), &["10.42.0.2@w1", "10.42.1.2@w2", "10.42.1.3@w2"]);
    assert_eq!(
        *rules.nat.get("KUBE-SERVICES").unwrap(),
        [
            format!("-m comment --comment \"default/web:http cluster IP\" -m tcp -p tcp -d 10.43.0.5 --dport 80 -j {}", svc("KUBE-SVC-")),
            "-m comment --comment \"kubernetes service nodeports; NOTE: this must be the last rule in this chain\" \
             -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"
                .to_owned(),
        ]
    );
    let to = |ip: &str, chance: &str| format!("-m comment --comment \"default/web:http -> {ip}:8080\"{chance} -j {}", sep(ip));
    assert_eq!(
        *rules.nat.get(&svc("KUBE-SVC-")).unwrap(),
        [
            "-m comment --comment \"default/web:http cluster IP\" -m tcp -p tcp -d 10.43.0.5 --dport 80 ! -s 10.42.0.0/16 \
             -j KUBE-MARK-MASQ"
                .to_owned(),
            to("10.42.0.2", " -m statistic --mode random --probability 0.3333333333"),
            to("10.42.1.2", " -m statistic --mode random --probability 0.5000000000"),
            to("10.42.1.3", ""),
        ]
    );
    assert_eq!(
        *rules.nat.get(&sep("10.42.1.2")).unwrap(),
        [
            "-m comment --comment \"default/web:http\" -s 10.42.1.2 -j KUBE-MARK-MASQ",
            "-m comment --comment \"default/web:http\" -m tcp -p tcp -j DNAT --to-destination 10.42.1.2:8080",
        ]
    );
    assert!(rules.filter.get("KUBE-SERVICES").unwrap().is_empty());
}

#[test]
fn no_endpoints_are_refused_wherever_one_asks() {
    let rules = rules(json!({ "type": "NodePort", "ports": [{ "name": "http", "port": 80, "nodePort": 30080 }] }), &[]);
    assert_eq!(
        *rules.filter.get("KUBE-SERVICES").unwrap(),
        ["-m comment --comment \"default/web:http has no endpoints\" -m tcp -p tcp -d 10.43.0.5 --dport 80 -j REJECT"]
    );
    assert_eq!(
        *rules.filter.get("KUBE-EXTERNAL-SERVICES").unwrap(),
        ["-m comment --comment \"default/web:http has no endpoints\" -m addrtype --dst-type LOCAL -m tcp -p tcp --dport 30080 \
          -j REJECT"]
    );
    assert!(rules.nat.get("KUBE-NODEPORTS").unwrap().is_empty());
    assert!(rules.nat.get(&svc("KUBE-SVC-")).is_none());
}

#[test]
fn endpoints_that_end_serve_only_when_nothing_else_does() {
    let ending = "10.42.0.2@w1 !ready terminating";
    let both = rules(json!({}), &[ending, "10.42.1.2@w2"]);
    assert_eq!(targets(&both, &svc("KUBE-SVC-")), ["KUBE-MARK-MASQ".to_owned(), sep("10.42.1.2")]);
    assert!(both.nat.get(&sep("10.42.0.2")).is_none());
    let alone = rules(json!({}), &[ending, "10.42.1.2@w2 !ready !serving"]);
    assert_eq!(targets(&alone, &svc("KUBE-SVC-")), ["KUBE-MARK-MASQ".to_owned(), sep("10.42.0.2")]);
}

#[test]
fn node_ports_and_outside_addresses_hide_the_client() {
    let spec = json!({
        "type": "LoadBalancer",
        "externalIPs": ["192.0.2.7"],
        "loadBalancerSourceRanges": ["198.51.100.0/24", "not a range"],
        "ports": [{ "name": "http", "port": 80, "nodePort": 30080 }],
    });
    let rules = rules(spec, &["10.42.0.2@w1"]);
    let ext = svc("KUBE-EXT-");
    assert_eq!(targets(&rules, &ext), ["KUBE-MARK-MASQ".to_owned(), svc("KUBE-SVC-")]);
    assert_eq!(
        *rules.nat.get("KUBE-NODEPORTS").unwrap(),
        [format!("-m comment --comment \"default/web:http\" -m tcp -p tcp --dport 30080 -j {ext}")]
    );
    let services = rules.nat.get("KUBE-SERVICES").unwrap();
    for (kind, ip) in [("external IP", "192.0.2.7"), ("loadbalancer IP", "192.0.2.9")] {
        let rule = format!("-m comment --comment \"default/web:http {kind}\" -m tcp -p tcp -d {ip} --dport 80 -j {ext}");
        assert!(services.contains(&rule), "{services:#?}");
    }
    let firewall = rules.filter.get(&svc("KUBE-FW-")).unwrap();
    assert_eq!(firewall.len(), 2);
    assert!(firewall[0].ends_with("-s 198.51.100.0/24 -j RETURN") && firewall[1].ends_with("-j DROP"));
    assert_eq!(rules.filter.get("KUBE-PROXY-FIREWALL").unwrap().len(), 1);
}

#[test]
fn the_local_policy_keeps_clients_addresses_and_their_node() {
    let spec = json!({
        "type": "NodePort", "externalTrafficPolicy": "Local",
        "ports": [{ "name": "http", "port": 80, "nodePort": 30080 }],
    });
    let here = rules(spec.clone(), &["10.42.0.2@w1", "10.42.1.2@w2"]);
    assert_eq!(targets(&here, &svc("KUBE-EXT-")), [svc("KUBE-SVC-"), "KUBE-MARK-MASQ".into(), svc("KUBE-SVC-"), svc("KUBE-SVL-")]);
    assert_eq!(targets(&here, &svc("KUBE-SVL-")), [sep("10.42.0.2")]);
    let elsewhere = rules(spec, &["10.42.1.2@w2"]);
    assert!(elsewhere.nat.get(&svc("KUBE-SVL-")).is_none());
    let dropped = elsewhere.filter.get("KUBE-EXTERNAL-SERVICES").unwrap();
    assert!(dropped[0].contains("has no local endpoints") && dropped[0].ends_with("-j DROP"), "{dropped:?}");
    let internal = rules_internal(&["10.42.1.2@w2"]);
    assert!(internal.filter.get("KUBE-SERVICES").unwrap()[0].ends_with("-j DROP"));
    assert_eq!(targets(&rules_internal(&["10.42.0.2@w1"]), &svc("KUBE-SVL-")), ["KUBE-MARK-MASQ".into(), sep("10.42.0.2")]);
}

fn rules_internal(endpoints: &[&str]) -> Ruleset {
    rules(json!({ "internalTrafficPolicy": "Local" }), endpoints)
}

#[test]
fn affinity_remembers_and_asks_first() {
    let rules = rules(json!({ "sessionAffinity": "ClientIP" }), &["10.42.0.2@w1", "10.42.1.2@w2"]);
    let chain = rules.nat.get(&svc("KUBE-SVC-")).unwrap();
    assert!(chain[1].contains(&format!("-m recent --name {} --rcheck --seconds 10800 --reap", sep("10.42.0.2"))));
    assert!(chain[3].contains("statistic"));
    assert!(rules.nat.get(&sep("10.42.0.2")).unwrap()[1].contains("--set -m tcp -p tcp -j DNAT"));
}

#[test]
fn hints_are_followed_only_when_all_have_them() {
    let near = rules(json!({}), &["10.42.0.2@w1 zone=b", "10.42.1.2@w2 zone=a"]);
    assert_eq!(targets(&near, &svc("KUBE-SVC-")).last(), Some(&sep("10.42.1.2")));
    assert_eq!(targets(&near, &svc("KUBE-SVC-")).len(), 2);
    let some = rules(json!({}), &["10.42.0.2@w1", "10.42.1.2@w2 zone=a"]);
    assert_eq!(targets(&some, &svc("KUBE-SVC-")).len(), 3);
    let elsewhere = rules(json!({}), &["10.42.0.2@w1 zone=b", "10.42.1.2@w2 zone=b"]);
    assert_eq!(targets(&elsewhere, &svc("KUBE-SVC-")).len(), 3);
}

#[test]
fn what_has_no_address_of_its_own_gets_no_rules() {
    for spec in [json!({ "clusterIP": "None", "clusterIPs": ["None"] }), json!({ "type": "ExternalName" })] {
        let rules = rules(spec, &["10.42.0.2@w1"]);
        assert_eq!(rules.nat.get("KUBE-SERVICES").unwrap().len(), 1);
        assert!(rules.filter.get("KUBE-SERVICES").unwrap().is_empty());
    }
}

#[test]
fn one_endpoint_less_touches_two_chains() {
    let before = rules(json!({}), &["10.42.0.2@w1", "10.42.1.2@w2"]);
    let after = rules(json!({}), &["10.42.0.2@w1"]);
    let text = after.difference(&before);
    let declared: Vec<&str> = text.lines().filter(|l| l.starts_with(':')).collect();
    assert_eq!(declared, [format!(":{} - [0:0]", svc("KUBE-SVC-")), format!(":{} - [0:0]", sep("10.42.1.2"))]);
    assert!(text.contains(&format!("-X {}", sep("10.42.1.2"))));
}

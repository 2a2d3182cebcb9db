//! Rows about services, endpoints, ingresses and policies.
use super::*;

fn services() -> Of {
    Of::new("", "Service", true, json!({"spec": {"ports": [{"port": 80}]}}))
}

#[test]
fn services_have_ports_types_and_addresses() {
    let spec = |s: Value| json!({"spec": s});
    services().takes(&[
        spec(json!({"clusterIP": "None", "ports": null})),
        spec(json!({"type": "ExternalName", "externalName": "a.b.", "ports": null})),
        spec(json!({"type": "LoadBalancer", "loadBalancerSourceRanges": [" 10.0.0.0/8 "], "loadBalancerClass": "a.b/c"})),
        spec(json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"], "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack"})),
        spec(json!({"sessionAffinity": "ClientIP", "trafficDistribution": "PreferSameZone"})),
        spec(json!({"externalIPs": ["1.2.3.4"]})),
    ]);
    services().refuses(&[
        (spec(json!({"ports": null})), "spec.ports: Required value"),
        (
            spec(json!({"type": "LoadBalancer", "clusterIP": "None"})),
            "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for LoadBalancer services",
        ),
        (spec(json!({"type": "ExternalName", "externalName": ""})), "spec.externalName: Required value"),
        (
            spec(json!({"type": "ExternalName", "externalName": "a", "clusterIPs": ["1.1.1.1"]})),
            "spec.clusterIPs: Forbidden: may not be set for ExternalName services",
        ),
        (spec(json!({"ports": [{"port": 1}, {"port": 2, "name": "a"}]})), "spec.ports[0].name: Required value"),
        (
            spec(json!({"ports": [{"port": 1, "name": "a"}, {"port": 1, "name": "b"}]})),
            "spec.ports[1]: Duplicate value: {\"protocol\":\"TCP\",\"port\":1}",
        ),
        (
            spec(json!({"ports": [{"port": 1, "nodePort": 30000}]})),
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        ),
        (spec(json!({"ports": [{"port": 1, "appProtocol": "a b"}]})), "spec.ports[0].appProtocol: Invalid value: \"a b\""),
        (
            spec(json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86401}}})),
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than 86400",
        ),
        (
            spec(json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.2"]})),
            "spec.clusterIPs: Invalid value: [\"10.0.0.2\"]: first value must match `clusterIP`",
        ),
        (spec(json!({"clusterIP": "x"})), "spec.clusterIPs[0]: Invalid value: \"x\": must be a valid IP address"),
        (
            spec(json!({"clusterIP": "10.0.0.1", "ipFamilies": ["IPv6"]})),
            "spec.clusterIPs[0]: Invalid value: \"10.0.0.1\": expected an IPv6 value as indicated by `ipFamilies[0]`",
        ),
        (
            spec(json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "10.0.0.2"]})),
            "spec.clusterIPs: Invalid value: [\"10.0.0.1\",\"10.0.0.2\"]: may specify no more than one IP for each IP family",
        ),
        (
            spec(json!({"externalIPs": ["127.0.0.1"]})),
            "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range",
        ),
        (
            spec(json!({"loadBalancerSourceRanges": ["10.0.0.0/8"]})),
            "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
        ),
        (spec(json!({"loadBalancerClass": "a"})), "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"),
        (
            spec(json!({"externalTrafficPolicy": "Local"})),
            "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services",
        ),
        (spec(json!({"healthCheckNodePort": 30000})), "spec.healthCheckNodePort: Invalid value: 30000: may only be set when"),
        (spec(json!({"trafficDistribution": "x"})), "spec.trafficDistribution: Unsupported value: \"x\""),
    ]);
}

#[test]
fn services_keep_what_they_were_given() {
    let spec = |s: Value| json!({"spec": s});
    let two = json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"], "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack"});
    services().changes(
        None,
        &[
            (spec(two.clone()), spec(json!({"clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"})), ""),
            (spec(two.clone()), spec(json!({"clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"]})), "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": must be set to 'SingleStack' when releasing the secondary clusterIP"),
            (spec(two), spec(json!({"clusterIP": "10.0.0.2", "clusterIPs": ["10.0.0.2", "fd00::1"]})), "spec.clusterIPs[0]: Invalid value: [\"10.0.0.2\",\"fd00::1\"]: may not change once set"),
            (spec(json!({"type": "LoadBalancer", "loadBalancerClass": "a"})), spec(json!({"loadBalancerClass": "b"})), "spec.loadBalancerClass: Invalid value: \"b\": may not change once set"),
        ],
    );
    services().changes(
        Some("status"),
        &[
            (json!({}), json!({"status": {"loadBalancer": {"ingress": [{"ip": "1.1.1.1", "ipMode": "VIP"}]}}}), ""),
            (
                json!({}),
                json!({"status": {"loadBalancer": {"ingress": [{"ip": "x"}]}}}),
                "status.loadBalancer.ingress[0].ip: Invalid value: \"x\": must be a valid IP address",
            ),
            (
                json!({}),
                json!({"status": {"loadBalancer": {"ingress": [{"hostname": "1.1.1.1"}]}}}),
                "status.loadBalancer.ingress[0].hostname: Invalid value: \"1.1.1.1\": must be a DNS name, not an IP address",
            ),
        ],
    );
}

#[test]
fn endpoints_and_slices() {
    let ends = Of::new("", "Endpoints", true, json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 1}]}]}));
    ends.takes(&[json!({})]);
    ends.refuses(&[
        (json!({"subsets": [{}]}), "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"),
        (
            json!({"subsets": [{"addresses": [{"ip": "169.254.1.1"}]}]}),
            "subsets[0].addresses[0].ip: Invalid value: \"169.254.1.1\": may not be in the link-local range",
        ),
        (
            json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 1}, {"port": 2}]}]}),
            "subsets[0].ports[0].name: Required value",
        ),
    ]);
    let slices = Of::new(
        "discovery.k8s.io",
        "EndpointSlice",
        true,
        json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 1}]}),
    );
    slices.takes(&[json!({}), json!({"addressType": "FQDN", "endpoints": [{"addresses": ["a.b"]}]})]);
    slices.refuses(&[
        (json!({"addressType": "x"}), "addressType: Unsupported value: \"x\": supported values: \"FQDN\", \"IPv4\", \"IPv6\""),
        (
            json!({"endpoints": [{"addresses": ["fd00::1"]}]}),
            "endpoints[0].addresses[0]: Invalid value: \"fd00::1\": must be a valid IPv4 address",
        ),
        (
            json!({"endpoints": [{"addresses": ["127.0.0.1"]}]}),
            "endpoints[0].addresses[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range",
        ),
        (json!({"ports": [{"port": 1}, {"port": 2}]}), "ports[1].name: Duplicate value: \"\""),
        (json!({"endpoints": [{"addresses": []}]}), "endpoints[0].addresses: Required value: must contain at least 1 address"),
        (
            json!({"endpoints": [{"addresses": ["10.0.0.1"], "hints": {"forZones": [{"name": "a"}, {"name": "a"}]}}]}),
            "endpoints[0].hints.forZones[1].name: Duplicate value: \"a\"",
        ),
    ]);
    slices.changes(
        None,
        &[(json!({}), json!({"addressType": "IPv6", "endpoints": []}), "addressType: Invalid value: \"IPv6\": field is immutable")],
    );
}

#[test]
fn ingresses() {
    let path = |p: Value| json!({"spec": {"rules": [{"http": {"paths": [laid(json!({"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"number": 1}}}}), &p)]}}]}});
    let good = path(json!({}));
    let ingresses = Of::new("networking.k8s.io", "Ingress", true, good);
    let spec = |s: Value| json!({"spec": s});
    ingresses.takes(&[
        json!({}),
        spec(json!({"tls": [{"hosts": ["*.a.b"], "secretName": "s"}]})),
        path(json!({"backend": {"service": null, "resource": {"kind": "K", "name": "n"}}})),
    ]);
    ingresses.refuses(&[
        (spec(json!({"rules": null})), "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"),
        (path(json!({"path": "a"})), "spec.rules[0].http.paths[0].path: Invalid value: \"a\": must be an absolute path"),
        (path(json!({"path": "/a/../b"})), "spec.rules[0].http.paths[0].path: Invalid value: \"/a/../b\": must not contain '/../'"),
        (path(json!({"path": "/a/.."})), "spec.rules[0].http.paths[0].path: Invalid value: \"/a/..\": cannot end with '/..'"),
        (path(json!({"pathType": "x"})), "spec.rules[0].http.paths[0].pathType: Unsupported value: \"x\""),
        (
            path(json!({"backend": {"service": {"port": {"name": "a"}}}})),
            "spec.rules[0].http.paths[0].backend: Invalid value: \"\": cannot set both port name & port number",
        ),
        (
            path(json!({"backend": {"service": {"port": null}}})),
            "spec.rules[0].http.paths[0].backend: Required value: port name or number is required",
        ),
        (
            path(json!({"backend": {"resource": {"kind": "K", "name": "n"}}})),
            "spec.rules[0].http.paths[0].backend: Invalid value: \"\": cannot set both resource and service backends",
        ),
        (
            spec(json!({"rules": [{"host": "1.1.1.1"}]})),
            "spec.rules[0].host: Invalid value: \"1.1.1.1\": must be a DNS name, not an IP address",
        ),
        (
            spec(json!({"rules": [{"host": "a.*.b"}]})),
            "spec.rules[0].host: Invalid value: \"a.*.b\": a wildcard DNS-1123 subdomain must start with '*.'",
        ),
        (spec(json!({"tls": [{"secretName": "A"}]})), "spec.tls[0].secretName: Invalid value: \"A\""),
        (
            json!({"metadata": {"annotations": {"kubernetes.io/ingress.class": "a"}}, "spec": {"ingressClassName": "b"}}),
            "annotations.kubernetes.io/ingress.class: Invalid value: \"a\": must match `ingressClassName` when both are specified",
        ),
    ]);
    let classes = Of::new("networking.k8s.io", "IngressClass", false, json!({"spec": {"controller": "a.b/c"}}));
    classes.takes(&[
        spec(json!({"parameters": {"kind": "K", "name": "n"}})),
        spec(json!({"parameters": {"kind": "K", "name": "n", "scope": "Namespace", "namespace": "n"}})),
    ]);
    classes.refuses(&[
        (
            spec(json!({"controller": "abc"})),
            "spec.controller: Invalid value: \"abc\": must be a domain-prefixed path (such as \"acme.io/foo\")",
        ),
        (
            spec(json!({"parameters": {"kind": "K", "name": "n", "scope": "Namespace"}})),
            "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'",
        ),
    ]);
    classes.changes(
        None,
        &[(json!({}), spec(json!({"controller": "a.b/d"})), "spec.controller: Invalid value: \"a.b/d\": field is immutable")],
    );
}

#[test]
fn policies_and_addresses() {
    let policies = Of::new("networking.k8s.io", "NetworkPolicy", true, json!({"spec": {}}));
    let from = |peer: Value| json!({"spec": {"ingress": [{"from": [peer]}]}});
    let port = |p: Value| json!({"spec": {"ingress": [{"ports": [p]}]}});
    policies.takes(&[from(json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}})), port(json!({"port": 1, "endPort": 2}))]);
    policies.refuses(&[
        (from(json!({})), "spec.ingress[0].from[0]: Required value: must specify a peer"),
        (
            from(json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}})),
            "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`",
        ),
        (
            from(json!({"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}})),
            "spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer",
        ),
        (
            port(json!({"port": 2, "endPort": 1})),
            "spec.ingress[0].ports[0].endPort: Invalid value: 1: must be greater than or equal to `port`",
        ),
        (
            json!({"spec": {"policyTypes": ["x"]}}),
            "spec.policyTypes[0]: Unsupported value: \"x\": supported values: \"Ingress\", \"Egress\"",
        ),
    ]);
    let blocks = Of::new("networking.k8s.io", "ServiceCIDR", false, json!({"spec": {"cidrs": ["10.0.0.0/16"]}}));
    blocks.takes(&[json!({"spec": {"cidrs": ["10.0.0.0/16", "fd00::/112"]}})]);
    blocks.refuses(&[
        (json!({"spec": {"cidrs": []}}), "spec.cidrs: Required value: at least one CIDR required"),
        (
            json!({"spec": {"cidrs": ["10.0.0.0/16", "10.1.0.0/16"]}}),
            "spec.cidrs: Invalid value: [\"10.0.0.0/16\",\"10.1.0.0/16\"]: may specify no more than one IP for each IP family",
        ),
    ]);
    blocks.changes(
        None,
        &[
            (json!({}), json!({"spec": {"cidrs": ["10.0.0.0/16", "fd00::/112"]}}), ""),
            (json!({}), json!({"spec": {"cidrs": ["10.1.0.0/16"]}}), "spec.cidrs: Invalid value: [\"10.1.0.0/16\"]: field is immutable"),
        ],
    );
    let mut address = Of::new(
        "networking.k8s.io",
        "IPAddress",
        false,
        json!({"spec": {"parentRef": {"resource": "services", "name": "s", "namespace": "d"}}}),
    );
    address.good["metadata"]["name"] = json!("10.0.0.1");
    address.takes(&[json!({})]);
    address.refuses(&[
        (json!({"spec": {"parentRef": null}}), "spec.parentRef: Required value"),
        (json!({"metadata": {"name": "x"}}), "metadata.name: Invalid value: \"x\": must be a valid IP address"),
    ]);
}

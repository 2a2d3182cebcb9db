//! Rows about kinds that extend the API.
use super::*;

#[test]
fn definitions() {
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}});
    let mut toys = Of::new(
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        false,
        json!({"spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "toys", "kind": "Toy"}, "versions": [version]}}),
    );
    toys.good["metadata"]["name"] = json!("toys.example.com");
    let spec = |s: Value| json!({"spec": s});
    let with = |v: Value| json!({"spec": {"versions": [laid(version.clone(), &v)]}});
    let schema = |s: Value| with(json!({"schema": {"openAPIV3Schema": {"properties": {"spec": s}}}}));
    const SPEC: &str = "spec.versions[0].schema.openAPIV3Schema.properties[spec]";
    toys.takes(&[
        json!({}),
        with(json!({"deprecated": true, "deprecationWarning": "old"})),
        with(json!({"subresources": {"scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}}})),
        with(json!({"additionalPrinterColumns": [{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]})),
        schema(json!({"type": "object", "properties": {"a": {"x-kubernetes-int-or-string": true}, "b": {"type": "array", "items": {"type": "string"}}}})),
        schema(json!({"x-kubernetes-preserve-unknown-fields": true})),
        schema(json!({"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true})),
        schema(json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "object", "x-kubernetes-map-type": "atomic"}})),
        schema(json!({"type": "object", "additionalProperties": {"type": "string"}})),
        schema(json!({"type": "object", "default": {}, "required": ["n"], "properties": {"n": {"type": "integer", "minimum": 1, "default": 1}}})),
        schema(json!({"type": "object", "properties": {"a": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}}})),
        schema(json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]})),
        spec(json!({"conversion": {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": {"url": "https://a/b"}}}})),
    ]);
    toys.refuses(&[
        (
            json!({"metadata": {"name": "x.example.com"}}),
            "metadata.name: Invalid value: \"x.example.com\": must be spec.names.plural+\".\"+spec.group",
        ),
        (spec(json!({"group": "example"})), "spec.group: Invalid value: \"example\": should be a domain with at least one dot"),
        (
            spec(json!({"group": "a.k8s.io"})),
            "metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation",
        ),
        (spec(json!({"scope": "x"})), "spec.scope: Unsupported value: \"x\": supported values: \"Cluster\", \"Namespaced\""),
        (spec(json!({"names": {"listKind": "Toy"}})), "spec.names.listKind: Invalid value: \"Toy\": kind and listKind may not be the same"),
        (spec(json!({"names": {"shortNames": ["A"]}})), "spec.names.shortNames[0]: Invalid value: \"A\": a DNS-1035 label"),
        (spec(json!({"versions": [version, version]})), "spec.versions: Invalid value: "),
        (with(json!({"storage": false})), "spec.versions: Invalid value: "),
        (
            with(json!({"deprecationWarning": "x"})),
            "spec.versions[0].deprecationWarning: Invalid value: \"x\": can only be set for deprecated versions",
        ),
        (with(json!({"schema": null})), "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required"),
        (
            with(json!({"schema": {"openAPIV3Schema": {"type": "string"}}})),
            "spec.versions[0].schema.openAPIV3Schema.type: Invalid value: \"string\": must be object at the root",
        ),
        (
            with(json!({"additionalPrinterColumns": [{"name": "a", "type": "x", "jsonPath": ".a"}]})),
            "spec.versions[0].additionalPrinterColumns[0].type: Invalid value: \"x\": must be one of boolean,date,integer,number,string",
        ),
        (
            with(json!({"subresources": {"scale": {"specReplicasPath": ".a", "statusReplicasPath": ".status.a"}}})),
            "spec.versions[0].subresources.scale.specReplicasPath: Invalid value: \".a\": should be a json path under .spec",
        ),
        (schema(json!({})), &format!("{SPEC}.type: Required value: must not be empty for specified object fields")),
        (schema(json!({"type": "array"})), &format!("{SPEC}.items: Required value: must be specified")),
        (schema(json!({"type": "thing"})), &format!("{SPEC}.type: Unsupported value: \"thing\": supported values: \"array\", \"boolean\"")),
        (schema(json!({"type": "object", "$ref": "#/x"})), &format!("{SPEC}.$ref: Forbidden: $ref is not supported")),
        (
            schema(json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}})),
            &format!("{SPEC}.additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"),
        ),
        (
            schema(json!({"type": "string", "x-kubernetes-list-type": "set"})),
            &format!("{SPEC}.type: Invalid value: \"string\": must be array if x-kubernetes-list-type is specified"),
        ),
        (
            schema(json!({"type": "object", "properties": {"n": {"type": "integer", "default": "one"}}})),
            &format!("{SPEC}.properties[n].default: Invalid value: \"string\": "),
        ),
        (
            schema(json!({"type": "object", "default": {"m": 1}, "properties": {"n": {"type": "integer"}}})),
            &format!("{SPEC}.default: Invalid value: {{\"m\":1}}: must not have unknown fields"),
        ),
        (
            schema(json!({"type": "object", "anyOf": [{"type": "object"}]})),
            &format!("{SPEC}.anyOf[0].type: Forbidden: must be empty to be structural"),
        ),
        (
            schema(json!({"type": "object", "not": {"properties": {"a": {"default": 1}}}})),
            &format!("{SPEC}.not.properties[a].default: Forbidden: must be undefined to be structural"),
        ),
        (
            schema(json!({"type": "object", "x-kubernetes-embedded-resource": true})),
            &format!("{SPEC}.properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without"),
        ),
        (
            schema(json!({"x-kubernetes-preserve-unknown-fields": true, "x-kubernetes-embedded-resource": true})),
            &format!("{SPEC}.type: Required value: must be object if x-kubernetes-embedded-resource is true"),
        ),
        (
            schema(json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "object"}})),
            &format!("{SPEC}.items.x-kubernetes-map-type: Invalid value: null: must be atomic as item of a list with x-kubernetes-list-type=set"),
        ),
        (
            schema(json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string", "nullable": true}})),
            &format!("{SPEC}.items.nullable: Forbidden: cannot be nullable when x-kubernetes-list-type is set"),
        ),
        (
            schema(json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {
                "type": "object", "properties": {"k": {"type": "string"}}}})),
            &format!("{SPEC}.items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have"),
        ),
        (
            schema(json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {
                "type": "object", "required": ["k"], "properties": {"k": {"type": "object"}}}})),
            &format!("{SPEC}.items.properties[k].type: Invalid value: \"object\": must be a scalar type if parent array's"),
        ),
        (
            with(json!({"schema": {"openAPIV3Schema": {"properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}}})),
            "spec.versions[0].schema.openAPIV3Schema.properties[metadata]: Forbidden: must not specify anything other than name and generateName",
        ),
        (spec(json!({"preserveUnknownFields": true})), "spec.preserveUnknownFields: Invalid value: true: cannot set to true"),
        (
            spec(json!({"conversion": {"strategy": "Webhook"}})),
            "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
        ),
    ]);
    toys.changes(
        None,
        &[
            (json!({}), spec(json!({"versions": [version, {"name": "v2", "served": true, "storage": false, "schema": {"openAPIV3Schema": {"type": "object"}}}]})), ""),
            (json!({}), spec(json!({"names": {"kind": "Doll"}})), ""),
        ],
    );
    let mut old = toys.made(&json!({}));
    old["status"] = json!({"conditions": [{"type": "Established", "status": "True"}], "storedVersions": ["v1"]});
    let said = |change: Value| {
        texts(&validate_update("apiextensions.k8s.io", "CustomResourceDefinition", &laid(old.clone(), &change), &old, None))
    };
    assert_eq!(said(spec(json!({"names": {"kind": "Doll"}}))), ["spec.names.kind: Invalid value: \"Doll\": field is immutable"]);
    let found = said(spec(json!({"versions": [laid(version.clone(), &json!({"name": "v2"}))]})));
    assert_eq!(found, ["status.storedVersions[0]: Invalid value: \"v1\": must appear in spec.versions"]);
}

#[test]
fn aggregated_servers() {
    let mut services = Of::new(
        "apiregistration.k8s.io",
        "APIService",
        false,
        json!({"spec": {"group": "a.b", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1, "service": {"name": "s", "namespace": "n"}}}),
    );
    services.good["metadata"]["name"] = json!("v1.a.b");
    let spec = |s: Value| json!({"spec": s});
    services.takes(&[json!({}), spec(json!({"service": null}))]);
    services.refuses(&[
        (spec(json!({"versionPriority": 1001})), "spec.versionPriority: Invalid value: 1001: must be positive and less than 1000"),
        (spec(json!({"service": {"name": ""}})), "spec.service.name: Required value"),
        (
            spec(json!({"service": {"port": 0}})),
            "spec.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, inclusive",
        ),
        (
            spec(json!({"service": null, "insecureSkipTLSVerify": true})),
            "spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have insecureSkipTLSVerify",
        ),
        (
            spec(json!({"caBundle": "YQ==", "insecureSkipTLSVerify": true})),
            "spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present",
        ),
    ]);
}

#[test]
fn webhooks() {
    let hook = |h: Value| {
        let good = json!({"name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"], "clientConfig": {"service": {"name": "s", "namespace": "n"}}});
        json!({"webhooks": [laid(good, &h)]})
    };
    let rule = |r: Value| {
        hook(
            json!({"rules": [laid(json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}), &r)]}),
        )
    };
    let hooks = Of::new("admissionregistration.k8s.io", "MutatingWebhookConfiguration", false, json!({}));
    hooks.takes(&[
        hook(json!({})),
        rule(json!({"resources": ["pods", "pods/*"]})),
        hook(json!({"clientConfig": {"service": null, "url": "https://a/b"}, "matchConditions": [{"name": "a", "expression": "true"}]})),
    ]);
    hooks.refuses(&[
        (hook(json!({"name": "a.b"})), "webhooks[0].name: Invalid value: \"a.b\": should be a domain with at least three segments separated by dots"),
        (hook(json!({"sideEffects": "Some"})), "webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\""),
        (hook(json!({"sideEffects": null})), "webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun"),
        (hook(json!({"timeoutSeconds": 31})), "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds"),
        (hook(json!({"admissionReviewVersions": ["v2"]})), "webhooks[0].admissionReviewVersions: Invalid value: [\"v2\"]: must include at least one of v1, v1beta1"),
        (hook(json!({"clientConfig": {"url": "https://a"}})), "webhooks[0].clientConfig: Required value: exactly one of url or service is required"),
        (hook(json!({"clientConfig": {"service": null, "url": "http://a"}})), "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]"),
        (hook(json!({"clientConfig": {"service": null, "url": "https://a?b"}})), "webhooks[0].clientConfig.url: Invalid value: \"b\": query parameters are not permitted in the URL"),
        (hook(json!({"clientConfig": {"service": {"path": "a"}}})), "webhooks[0].clientConfig.service.path: Invalid value: \"a\": must start with a '/'"),
        (hook(json!({"matchConditions": [{"name": "a"}]})), "webhooks[0].matchConditions[0].expression: Required value"),
        (rule(json!({"operations": ["*", "CREATE"]})), "webhooks[0].rules[0].operations: Invalid value: [\"*\",\"CREATE\"]: if '*' is present, must not specify other operations"),
        (rule(json!({"operations": ["READ"]})), "webhooks[0].rules[0].operations[0]: Unsupported value: \"READ\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"DELETE\", \"UPDATE\""),
        (rule(json!({"resources": ["pods/*", "pods/log"]})), "webhooks[0].rules[0].resources[1]: Invalid value: \"pods/log\": if 'pods/*' is present, must not specify pods/log"),
        (rule(json!({"scope": "x"})), "webhooks[0].rules[0].scope: Unsupported value: \"x\""),
    ]);
}

#[test]
fn policies() {
    let matching = json!({"resourceRules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}]});
    let of = |kind, good| Of::new("admissionregistration.k8s.io", kind, false, good);
    let policies =
        of("ValidatingAdmissionPolicy", json!({"spec": {"matchConstraints": matching, "validations": [{"expression": "true"}]}}));
    let spec = |s: Value| json!({"spec": s});
    policies.takes(&[json!({}), spec(json!({"paramKind": {"apiVersion": "a.b/v1", "kind": "K"}, "variables": [{"name": "a", "expression": "1"}], "auditAnnotations": [{"key": "k", "valueExpression": "''"}]}))]);
    policies.refuses(&[
        (
            spec(json!({"validations": []})),
            "spec.validations: Required value: validations or auditAnnotations must contain at least one item",
        ),
        (
            spec(json!({"validations": [{"expression": " "}]})),
            "spec.validations[0].expression: Required value: expression is not specified",
        ),
        (
            spec(json!({"validations": [{"expression": "true", "message": "a\nb"}]})),
            "spec.validations[0].message: Invalid value: \"a\\nb\": message must not contain line breaks",
        ),
        (spec(json!({"matchConstraints": null})), "spec.matchConstraints: Required value"),
        (
            spec(json!({"paramKind": {"apiVersion": "a/b/c", "kind": "K"}})),
            "spec.paramKind.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c",
        ),
        (
            spec(json!({"variables": [{"name": "a-b", "expression": "1"}]})),
            "spec.variables[0].name: Invalid value: \"a-b\": name is not a valid CEL identifier",
        ),
    ]);
    let bindings = of("ValidatingAdmissionPolicyBinding", json!({"spec": {"policyName": "p", "validationActions": ["Deny"]}}));
    bindings.takes(&[json!({}), spec(json!({"paramRef": {"name": "n", "parameterNotFoundAction": "Deny"}}))]);
    bindings.refuses(&[
        (spec(json!({"policyName": ""})), "spec.policyName: Required value"),
        (
            spec(json!({"validationActions": ["Deny", "Warn"]})),
            "spec.validationActions: Invalid value: [\"Deny\",\"Warn\"]: must not contain both Deny and Warn",
        ),
        (spec(json!({"validationActions": []})), "spec.validationActions: Required value: at least one validation action is required"),
        (spec(json!({"paramRef": {"name": "n"}})), "spec.paramRef.parameterNotFoundAction: Required value"),
        (
            spec(json!({"paramRef": {"parameterNotFoundAction": "Deny"}})),
            "spec.paramRef: Required value: one of name or selector must be specified",
        ),
    ]);
    of("MutatingAdmissionPolicy", spec(json!({"matchConstraints": matching})))
        .refuses(&[(json!({}), "spec.mutations: Required value: mutations must contain at least one item")]);
}

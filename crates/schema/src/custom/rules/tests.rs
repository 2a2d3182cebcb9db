use super::*;
use serde_json::json;

fn said(schema: Value, value: Value) -> Vec<String> {
    let mut errors = Vec::new();
    Rules::new(schema).check_value(&value, &FieldPath::new("spec"), &mut errors);
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn each_rule_is_told_in_its_words() {
    for (schema, value, expected) in [
        (json!({"type": "integer"}), json!("x"), "spec: Invalid value: \"string\": spec in body must be of type integer: \"string\""),
        (
            json!({"x-kubernetes-int-or-string": true}),
            json!(true),
            "spec: Invalid value: \"boolean\": spec in body must be of type integer,string: \"boolean\"",
        ),
        (json!({"enum": ["a", "b"]}), json!("c"), "spec: Unsupported value: \"c\": supported values: \"a\", \"b\""),
        (json!({"required": ["a"]}), json!({}), "spec.a: Required value"),
        (json!({"pattern": "^a+$"}), json!("b"), "spec: Invalid value: \"b\": spec in body should match '^a+$'"),
        (json!({"format": "ipv4"}), json!("b"), "spec: Invalid value: \"b\": spec in body must be of type ipv4: \"b\""),
        (json!({"maxLength": 1}), json!("ab"), "spec: Too long: may not be more than 1 "),
        (json!({"minLength": 1}), json!(""), "spec: Invalid value: \"\": spec in body should be at least 1 chars long"),
        (json!({"maxItems": 1}), json!([1, 2]), "spec: Too many: 2: must have at most 1 item"),
        (json!({"minItems": 1}), json!([]), "spec: Invalid value: []: spec in body should have at least 1 items"),
        (json!({"minimum": 1}), json!(0), "spec: Invalid value: 0: spec in body should be greater than or equal to 1"),
        (json!({"minimum": 1, "exclusiveMinimum": true}), json!(1), "spec: Invalid value: 1: spec in body should be greater than 1"),
        (json!({"maximum": 1}), json!(2), "spec: Invalid value: 2: spec in body should be less than or equal to 1"),
        (json!({"multipleOf": 5}), json!(7), "spec: Invalid value: 7: spec in body should be a multiple of 5"),
        (
            json!({"anyOf": [{"minimum": 5}, {"maximum": 1}]}),
            json!(3),
            "spec: Invalid value: 3: \"spec\" must validate at least one schema (anyOf)",
        ),
        (
            json!({"oneOf": [{"minimum": 1}, {"maximum": 5}]}),
            json!(3),
            "spec: Invalid value: 3: \"spec\" must validate one and only one schema (oneOf). Found 2 valid alternatives",
        ),
        (json!({"allOf": [{"minimum": 5}]}), json!(3), "spec: Invalid value: 3: \"spec\" must validate all the schemas (allOf)"),
        (json!({"not": {"enum": [3]}}), json!(3), "spec: Invalid value: 3: \"spec\" must not validate the schema (not)"),
        (json!({"x-kubernetes-list-type": "set"}), json!(["a", "a"]), "spec[1]: Duplicate value: \"a\""),
        (
            json!({"items": {"type": "string"}}),
            json!([null]),
            "spec[0]: Invalid value: \"null\": spec[0] in body must be of type string: \"null\"",
        ),
    ] {
        let found = said(schema.clone(), value);
        assert!(found.iter().any(|text| text.starts_with(expected)), "{schema}\nexpected: {expected}\n{found:#?}");
    }
}

#[test]
fn what_fits_is_let_through() {
    for (schema, value) in [
        (json!({"type": "integer", "multipleOf": 5, "minimum": 0}), json!(10)),
        (json!({"type": "number", "multipleOf": 0.1}), json!(0.7)),
        (json!({"type": "integer"}), json!(1.0)),
        (json!({"type": "string", "nullable": true}), Value::Null),
        (json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}), json!("80%")),
        (json!({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}), json!({"a": 1})),
        (json!({"not": {"required": ["a"]}}), json!({"b": 1})),
        (json!({"additionalProperties": {"type": "string"}}), json!({"a": "b"})),
        (json!({"pattern": "^{[a-z{]{2}}$"}), json!("{a{}")),
    ] {
        assert_eq!(said(schema.clone(), value), Vec::<String>::new(), "{schema}");
    }
}

#[test]
fn what_was_there_before_is_let_through() {
    let part = json!({"type": "object", "properties": {"name": {"type": "string"}, "size": {"type": "integer", "maximum": 5}}});
    let rules = Rules::new(json!({"properties": {"spec": {"type": "object", "maxProperties": 3, "properties": {
        "color": {"enum": ["red"]}, "n": {"maximum": 1},
        "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": part},
        "plain": {"type": "array", "items": {"type": "integer", "maximum": 5}},
        "tags": {"type": "array", "x-kubernetes-list-type": "set"},
    }}}}));
    let old = json!({"spec": {"color": "blue", "parts": [{"name": "a", "size": 9}], "tags": ["x", "x"]}});
    for (spec, expected) in [
        (json!({"color": "blue", "n": 1}), Vec::new()),
        (json!({"color": "green"}), vec!["spec.color: Unsupported value: \"green\": supported values: \"red\""]),
        (json!({"parts": [{"name": "b"}, {"name": "a", "size": 9}]}), Vec::new()),
        (
            json!({"parts": [{"name": "a", "size": 8}]}),
            vec!["spec.parts[0].size: Invalid value: 8: spec.parts[0].size in body should be less than or equal to 5"],
        ),
        (json!({"tags": ["y", "y"]}), Vec::new()),
        (json!({"plain": [9]}), vec!["spec.plain[0]: Invalid value: 9: spec.plain[0] in body should be less than or equal to 5"]),
    ] {
        let (object, mut errors) = (json!({"spec": spec}), Vec::new());
        rules.check_object(&object, Some(&old), &mut errors);
        assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), expected, "{object}");
    }
}

#[test]
fn objects_inside_of_others_are_whole() {
    let schema = json!({"type": "object", "x-kubernetes-embedded-resource": true});
    for (value, expected) in [
        (json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"}}), ""),
        (json!({"kind": "Pod"}), "spec.apiVersion: Required value: must not be empty"),
        (json!({"apiVersion": "v1", "kind": ""}), "spec.kind: Invalid value: \"\": must not be empty"),
        (json!({"apiVersion": "a/b/c", "kind": "Pod"}), "spec.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c"),
        (json!({"apiVersion": "v1", "kind": 1}), "spec.kind: Invalid value: 1: must be a string"),
        (
            json!({"apiVersion": "v1", "kind": "a b"}),
            "spec.kind: Invalid value: \"a b\": may have mixed case, but should otherwise match: a DNS-1035 label",
        ),
        (
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a/b"}}),
            "spec.metadata.name: Invalid value: \"a/b\": may not contain '/'",
        ),
        (json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"a": "-"}}}), "spec.metadata.labels: Invalid value: \"-\": "),
    ] {
        let found = said(schema.clone(), value).join("|");
        assert!(found.starts_with(expected) && found.is_empty() == expected.is_empty(), "expected: {expected}\n{found}");
    }
}

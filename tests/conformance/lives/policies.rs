//! Admission policies, as objects.

use serde_json::{Value, json};

use super::create;
use crate::api::{Api, MERGE};
use crate::case::Case;

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";

pub async fn life(api: &Api, case: &Case) {
    let samples = crate::samples::read();
    let sample = |plural: &str| samples[&format!("admissionregistration.k8s.io/v1/{plural}")].object.clone();
    let named = |mut object: Value, name: &str| {
        object["metadata"]["name"] = json!(name);
        object
    };
    let policies = format!("{GROUP}/validatingadmissionpolicies");
    let mut policy = sample("validatingadmissionpolicies");
    policy["spec"].as_object_mut().unwrap().remove("failurePolicy");
    let made = create(api, case, &policies, &named(policy.clone(), "life-policy")).await;
    let constraints = &made.body["spec"]["matchConstraints"];
    case.equal("it fails closed by default", made.text("/spec/failurePolicy"), "Fail");
    case.equal("it matches alike by default", constraints["matchPolicy"].as_str(), Some("Equivalent"));
    case.equal("in all namespaces", (&constraints["namespaceSelector"], &constraints["objectSelector"]), (&json!({}), &json!({})));
    case.equal("of either scope", constraints["resourceRules"][0]["scope"].as_str(), Some("*"));
    for (what, change) in [
        ("no validations", json!({"spec": {"validations": []}})),
        ("a policy on failure that there is not", json!({"spec": {"failurePolicy": "Perhaps"}})),
        ("no constraints", json!({"spec": {"matchConstraints": null}})),
    ] {
        case.code(what, &api.patch(&format!("{policies}/life-policy"), MERGE, &change).await, 422);
    }
    let bindings = format!("{GROUP}/validatingadmissionpolicybindings");
    let binding = create(api, case, &bindings, &named(sample("validatingadmissionpolicybindings"), "life-binding")).await;
    case.equal("its actions", &binding.body["spec"]["validationActions"], &json!(["Deny"]));
    for (what, actions) in
        [("no action", json!([])), ("denied and warned of", json!(["Deny", "Warn"])), ("an action that there is not", json!(["Pray"]))]
    {
        case.code(
            what,
            &api.patch(&format!("{bindings}/life-binding"), MERGE, &json!({"spec": {"validationActions": actions}})).await,
            422,
        );
    }
    let policies = format!("{GROUP}/mutatingadmissionpolicies");
    let made = create(api, case, &policies, &named(sample("mutatingadmissionpolicies"), "life-policy")).await;
    case.equal("a mutating one fails closed too", made.text("/spec/failurePolicy"), "Fail");
    case.code("no mutations", &api.patch(&format!("{policies}/life-policy"), MERGE, &json!({"spec": {"mutations": []}})).await, 422);
    for plural in ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"] {
        let made = create(api, case, &format!("{GROUP}/{plural}"), &named(sample(plural), "life-hooks")).await;
        let hook = &made.body["webhooks"][0];
        case.equal("its time", (hook["timeoutSeconds"].as_i64(), hook["matchPolicy"].as_str()), (Some(10), Some("Equivalent")));
        case.equal("its port", hook["clientConfig"]["service"]["port"].as_i64(), Some(443));
        let twice = json!({"webhooks": [hook, hook]});
        case.code("a name twice", &api.patch(&format!("{GROUP}/{plural}/life-hooks"), MERGE, &twice).await, 422);
    }
    for (plural, name) in [
        ("validatingadmissionpolicies", "life-policy"),
        ("validatingadmissionpolicybindings", "life-binding"),
        ("mutatingadmissionpolicies", "life-policy"),
        ("validatingwebhookconfigurations", "life-hooks"),
        ("mutatingwebhookconfigurations", "life-hooks"),
    ] {
        case.code("it goes", &api.delete(&format!("{GROUP}/{plural}/{name}")).await, 200);
    }
}

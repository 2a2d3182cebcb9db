//! Requests for certificates.

use serde_json::{Value, json};

use super::create;
use crate::api::{Api, MERGE};
use crate::case::Case;

const ALL: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

pub async fn life(api: &Api, case: &Case) {
    let sample = crate::samples::read()["certificates.k8s.io/v1/certificatesigningrequests"].object.clone();
    let request = |name: &str| {
        let mut request = sample.clone();
        request["metadata"] = json!({"name": name});
        request["spec"]["username"] = json!("somebody-else");
        request
    };
    let made = create(api, case, ALL, &request("life-approved")).await;
    case.check(
        "who asks is not for the asker to say",
        made.text("/spec/username") != "somebody-else" && !made.text("/spec/username").is_empty(),
        &made.body["spec"],
    );
    case.check(
        "nor in which groups",
        made.body["spec"]["groups"].as_array().is_some_and(|groups| groups.contains(&json!("system:authenticated"))),
        &made.body["spec"],
    );
    let one = format!("{ALL}/life-approved");
    let condition = |kind: &str| json!({"type": kind, "status": "True", "reason": "Suite", "message": "m"});
    let put = async |path: &str, conditions: Value| {
        let mut object = api.get(&one).await.body;
        object["status"]["conditions"] = conditions;
        api.put(path, &object).await
    };
    let read = api.get(&format!("{one}/approval")).await;
    case.equal("the approval is the whole request", (read.code, read.text("/kind")), (200, "CertificateSigningRequest"));
    case.code("approved by its status", &put(&format!("{one}/status?dryRun=All"), json!([condition("Approved")])).await, 422);
    let approved = put(&format!("{one}/approval"), json!([condition("Approved")])).await;
    case.equal("approved", (approved.code, approved.text("/status/conditions/0/type")), (200, "Approved"));
    case.check("a time is written down", !approved.text("/status/conditions/0/lastUpdateTime").is_empty(), &approved.body["status"]);
    case.code(
        "approved and denied",
        &put(&format!("{one}/approval?dryRun=All"), json!([condition("Approved"), condition("Denied")])).await,
        422,
    );
    case.code("no longer approved", &put(&format!("{one}/approval?dryRun=All"), json!([])).await, 422);
    let patched = api.patch(&one, MERGE, &json!({"spec": {"usages": ["server auth"]}, "metadata": {"labels": {"a": "b"}}})).await;
    case.check("what was asked for stays", patched.body["spec"]["usages"] == json!(["client auth"]) || patched.code == 422, &patched.body);

    create(api, case, ALL, &request("life-denied")).await;
    let denied = api.patch(&format!("{ALL}/life-denied/approval"), MERGE, &json!({"status": {"conditions": [condition("Denied")]}})).await;
    case.equal("denied", (denied.code, denied.text("/status/conditions/0/type")), (200, "Denied"));
    for (what, field, value) in [
        ("no request", "request", json!("bm8=")),
        ("no usages", "usages", json!([])),
        ("no signer", "signerName", json!("")),
        ("too short", "expirationSeconds", json!(10)),
    ] {
        let mut wrong = request("life-wrong");
        wrong["spec"][field] = value;
        case.code(what, &api.post(&format!("{ALL}?dryRun=All"), &wrong).await, 422);
    }
    for name in ["life-approved", "life-denied"] {
        case.code("it goes", &api.delete(&format!("{ALL}/{name}")).await, 200);
    }
}

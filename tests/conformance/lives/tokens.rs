//! Tokens of service accounts, and whom they make of their bearers.

use serde_json::{Value, json};

use super::{core, create, gone, group, home, pod};
use crate::api::Api;
use crate::case::Case;

const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

pub async fn life(api: &Api, case: &Case) {
    let name = home(api, case, "life-tokens").await;
    let accounts = core(&name, "serviceaccounts");
    create(api, case, &accounts, &json!({"metadata": {"name": "robot"}})).await;
    let tokens = format!("{accounts}/robot/token");
    let request = |spec: Value| json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    let review = async |token: &str, audiences: Value| {
        api.post(REVIEWS, &json!({"spec": {"token": token, "audiences": audiences}})).await.body["status"].clone()
    };
    let given = api.post(&tokens, &request(json!({"expirationSeconds": 1200}))).await;
    if !case.code("a token", &given, 201) {
        return;
    }
    case.equal("its answer", (given.text("/kind"), given.body["spec"]["expirationSeconds"].as_i64()), ("TokenRequest", Some(1200)));
    case.check("when it ends", !given.text("/status/expirationTimestamp").is_empty(), &given.body["status"]);
    let token = given.text("/status/token").to_owned();
    let status = review(&token, json!(null)).await;
    case.equal(
        "whose it is",
        (&status["authenticated"], &status["user"]["username"]),
        (&json!(true), &json!(format!("system:serviceaccount:{name}:robot"))),
    );
    let groups = json!(["system:serviceaccounts", format!("system:serviceaccounts:{name}"), "system:authenticated"]);
    case.equal("its groups", &status["user"]["groups"], &groups);
    case.check("an identity of its own", status["user"]["extra"].get("authentication.kubernetes.io/credential-id").is_some(), &status);
    let other = api.post(&tokens, &request(json!({"audiences": ["somewhere"]}))).await.text("/status/token").to_owned();
    case.check("a token for others", review(&other, json!(null)).await["authenticated"] != true, ());
    let there = review(&other, json!(["somewhere", "elsewhere"])).await;
    case.equal("a token where it is for", (&there["authenticated"], &there["audiences"]), (&json!(true), &json!(["somewhere"])));
    let spoilt = review(&format!("{}x", &token[..token.len() - 2]), json!(null)).await;
    case.check("a spoilt token", spoilt["authenticated"] != true && spoilt["error"].is_string(), spoilt);
    case.code("too short a life", &api.post(&tokens, &request(json!({"expirationSeconds": 10}))).await, 422);
    case.code("an account that is not there", &api.post(&format!("{accounts}/nobody/token"), &request(json!({}))).await, 404);

    let mut object = pod("p", json!({}));
    object["spec"]["serviceAccountName"] = json!("robot");
    let uid = create(api, case, &core(&name, "pods"), &object).await.text("/metadata/uid").to_owned();
    let bound = json!({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": uid}});
    let bound = api.post(&tokens, &request(bound)).await;
    case.code("a token bound to a pod", &bound, 201);
    let token_of_pod = bound.text("/status/token").to_owned();
    let status = review(&token_of_pod, json!(null)).await;
    case.equal("it tells of the pod", &status["user"]["extra"]["authentication.kubernetes.io/pod-name"], &json!(["p"]));
    api.delete(&format!("{}/p", core(&name, "pods"))).await;
    gone(api, case, &format!("{}/p", core(&name, "pods"))).await;
    case.soon("it ends with the pod", async || match review(&token_of_pod, json!(null)).await {
        status if status["authenticated"] == true => Err(status),
        _ => Ok(()),
    })
    .await;
    rights(api, case, &name).await;
    api.delete(&format!("{accounts}/robot")).await;
    case.soon("a token ends with its account", async || match review(&token, json!(null)).await {
        status if status["authenticated"] == true => Err(status),
        _ => Ok(()),
    })
    .await;
}

/// What the account may do, asked and tried.
async fn rights(api: &Api, case: &Case, name: &str) {
    let user = format!("system:serviceaccount:{name}:robot");
    let headers = [("accept", "application/json"), ("impersonate-user", &*user)];
    let maps = core(name, "configmaps");
    let refused = api.send("GET", &maps, &headers, Vec::new()).await;
    case.refused("without rights", &refused, 403, "Forbidden", &format!("User \"{user}\" cannot list resource \"configmaps\""));
    let may = async || {
        let asked = json!({"spec": {"user": user, "resourceAttributes": {"namespace": name, "verb": "list", "resource": "configmaps"}}});
        api.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", &asked).await.body["status"]["allowed"] == true
    };
    case.check("asked, it is said so", !may().await, ());
    let rbac = "rbac.authorization.k8s.io";
    create(
        api,
        case,
        &group(rbac, name, "roles"),
        &json!({"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]}),
    )
    .await;
    let binding = json!({"metadata": {"name": "b"}, "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "r"}, "subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": name}]});
    create(api, case, &group(rbac, name, "rolebindings"), &binding).await;
    case.soon("with rights", async || match api.send("GET", &maps, &headers, Vec::new()).await {
        answer if answer.code == 200 => Ok(()),
        answer => Err(answer.body),
    })
    .await;
    case.check("asked, it is said so too", may().await, ());
    let role =
        api.patch(&format!("{}/b", group(rbac, name, "rolebindings")), crate::api::MERGE, &json!({"roleRef": {"name": "other"}})).await;
    case.code("a binding keeps its role", &role, 422);
}

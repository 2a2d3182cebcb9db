//! Config maps and secrets that are never to change.

use serde_json::json;

use super::{core, create, home};
use crate::api::{Api, MERGE};
use crate::case::Case;

pub async fn life(api: &Api, case: &Case) {
    let name = home(api, case, "life-immutable").await;
    for (plural, more) in [("configmaps", json!({"data": {"b": "2"}})), ("secrets", json!({"data": {"b": "Mg=="}}))] {
        let (all, one) = (core(&name, plural), format!("{}/x", core(&name, plural)));
        create(api, case, &all, &json!({"metadata": {"name": "x"}, "data": {"a": "MQ=="}})).await;
        case.code("it changes", &api.patch(&one, MERGE, &more).await, 200);
        case.code("it is made immutable", &api.patch(&one, MERGE, &json!({"immutable": true})).await, 200);
        let refused = api.patch(&one, MERGE, &json!({"data": {"c": "Mw=="}})).await;
        case.refused("it changes no more", &refused, 422, "Invalid", "field is immutable when `immutable` is set");
        case.code("nor back", &api.patch(&one, MERGE, &json!({"immutable": false})).await, 422);
        case.code("its labels do", &api.patch(&one, MERGE, &json!({"metadata": {"labels": {"a": "b"}}})).await, 200);
        case.code("it can go", &api.delete(&one).await, 200);
        create(api, case, &all, &json!({"metadata": {"name": "x"}, "immutable": true})).await;
    }
    let secrets = core(&name, "secrets");
    let made = create(api, case, &secrets, &json!({"metadata": {"name": "s"}, "stringData": {"a": "text"}, "data": {"b": "Yg=="}})).await;
    case.equal("text becomes data", &made.body["data"], &json!({"a": "dGV4dA==", "b": "Yg=="}));
    case.check("and is kept as data only", made.body.get("stringData").is_none(), &made.body);
    case.equal("its type", made.text("/type"), "Opaque");
    case.code("its type stays", &api.patch(&format!("{secrets}/s"), MERGE, &json!({"type": "example.com/other"})).await, 422);
    for (what, object) in [
        ("an empty key", json!({"metadata": {"name": "e"}, "data": {"": "YQ=="}})),
        ("no base64", json!({"metadata": {"name": "e"}, "data": {"a": "%"}})),
        ("TLS without its key", json!({"metadata": {"name": "e"}, "type": "kubernetes.io/tls", "data": {"tls.crt": "YQ=="}})),
    ] {
        let refused = api.post(&secrets, &object).await;
        case.check(what, matches!(refused.code, 400 | 422), &refused.body);
    }
    let empty = api.post(&core(&name, "configmaps"), &json!({"metadata": {"name": "e"}, "data": {"": "a"}})).await;
    case.code("an empty key of a config map", &empty, 422);
}

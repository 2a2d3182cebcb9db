//! What becomes of who comes back after the past has been compacted away.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tricorn_e2e::LoneServer;

use super::{config_map, core, create, home};
use crate::api::{Api, is, quoted};
use crate::case::Case;

pub async fn life(api: &Api, server: &LoneServer) -> Case {
    let case = Case::new("what is forgotten");
    Box::pin(lives(api, server, &case)).await;
    case
}

async fn lives(api: &Api, server: &LoneServer, case: &Case) {
    let all = core(&home(api, case, "life-forgotten").await, "configmaps");
    for name in ["a", "b", "c", "d"] {
        create(api, case, &all, &config_map(name, json!({"of": "it"}))).await;
    }
    let first = api.get(&format!("{all}?limit=2&labelSelector=of%3Dit")).await;
    api.delete(&format!("{all}/a")).await;
    create(api, case, &all, &config_map("e", json!({"of": "it"}))).await;
    server.compact().await;
    // The cache remembers what has just been, whatever the store forgets: so the token is made one of the first page that ever was.
    let Some(ancient) = of_revision(first.text("/metadata/continue"), 2) else { return case.fail("a token that cannot be read") };
    let then = 2;
    let next = format!("{all}?limit=2&labelSelector=of%3Dit&continue={}", quoted(&ancient));
    case.soon("a token of the past has expired", async || match api.get(&next).await {
        answer if answer.code == 410 => Ok(()),
        answer => Err(answer.code),
    })
    .await;
    let expired = api.get(&next).await;
    case.refused("a token of the past", &expired, 410, "Expired", "continue");
    let token = expired.text("/metadata/continue").to_owned();
    if case.check("it comes with another token", !token.is_empty(), &expired.body) {
        let rest = api.get(&format!("{all}?labelSelector=of%3Dit&continue={}", quoted(&token))).await;
        case.equal(
            "with which the list goes on where it was, as things are now",
            rest.names(),
            vec!["c".to_owned(), "d".to_owned(), "e".to_owned()],
        );
    }
    let exact = api.get(&format!("{all}?resourceVersion={then}&resourceVersionMatch=Exact")).await;
    case.refused("an exact version of the past", &exact, 410, "Expired", "");
    let newer = api.get(&format!("{all}?resourceVersion={then}&resourceVersionMatch=NotOlderThan")).await;
    case.code("not older than a version of the past", &newer, 200);
    let mut watch = api.watch(&format!("{all}?watch=true&resourceVersion=1&timeoutSeconds=30")).await;
    let event = watch.next().await.unwrap_or_default();
    let told = watch.code == 410 || (is(&event, "ERROR") && event["object"]["code"] == 410 && event["object"]["reason"] == "Expired");
    case.check("a watch from the past is told so", told, &event);
}

/// The token of the same place in a list of another revision.
fn of_revision(token: &str, revision: i64) -> Option<String> {
    let mut place: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    place["rv"] = json!(revision);
    Some(URL_SAFE_NO_PAD.encode(place.to_string()))
}

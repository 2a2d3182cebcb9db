//! Replacing an object as a whole.

use serde_json::json;

use super::Subject;
use crate::api::MERGE;

/// Controllers may write between two requests of ours; then they are made again.
const ATTEMPTS: usize = 5;

pub async fn walk(subject: &Subject<'_>) {
    let (api, case, one) = (subject.api, subject.case, subject.one(1));
    let stale = api.get(&one).await.body;
    let touched = api.patch(&one, MERGE, &json!({"metadata": {"annotations": {"touched": "yes"}}})).await;
    case.check("a change makes a new version", touched.version() != stale["metadata"]["resourceVersion"], touched.version());
    let refused = api.put(&one, &stale).await;
    case.refused("an update of an older version", &refused, 409, "Conflict", "the object has been modified");

    let mut last = None;
    for _ in 0..ATTEMPTS {
        let mut object = api.get(&one).await.body;
        object["metadata"]["labels"]["updated"] = json!("yes");
        let updated = api.put(&one, &object).await;
        let code = updated.code;
        last = Some(updated);
        if code != 409 {
            break;
        }
    }
    if let Some(updated) = last
        && case.code("an update", &updated, 200)
    {
        case.equal("what it sets", &updated.body["metadata"]["labels"]["updated"], &json!("yes"));
    }
    let mut seen = None;
    for _ in 0..ATTEMPTS {
        let object = api.get(&one).await;
        let same = api.put(&one, &object.body).await;
        let unchanged = same.code == 200 && same.version() == object.version();
        seen = (!unchanged).then_some(same.body);
        if unchanged {
            break;
        }
    }
    case.check("an update that changes nothing makes no version", seen.is_none(), seen);

    let mut other = api.get(&one).await.body;
    other["metadata"]["uid"] = json!("11111111-2222-3333-4444-555555555555");
    case.code("an update of another object of that name", &api.put(&one, &other).await, 409);
    let mut other = api.get(&one).await.body;
    other["metadata"]["name"] = json!("another");
    case.code("an update under another name", &api.put(&one, &other).await, 400);
    let mut unversioned = api.get(&one).await.body;
    unversioned["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    let answer = api.put(&one, &unversioned).await;
    let says_so = answer.code == 422 && answer.text("/message").contains("must be specified for an update");
    case.check("an update without a version is made or refused as such", answer.code == 200 || says_so, &answer.body);
}

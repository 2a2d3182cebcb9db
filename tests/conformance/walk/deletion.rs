//! How objects go.

use serde_json::json;

use super::Subject;

pub async fn walk(subject: &Subject<'_>) {
    let (api, case, one) = (subject.api, subject.case, subject.one(1));
    let object = api.get(&one).await;
    let wrong = json!({"preconditions": {"uid": "11111111-2222-3333-4444-555555555555"}});
    case.refused("a deletion of another object of that name", &api.delete_with(&one, &wrong).await, 409, "Conflict", "UID");
    let wrong = json!({"preconditions": {"resourceVersion": "1"}});
    case.refused("a deletion of an older version", &api.delete_with(&one, &wrong).await, 409, "Conflict", "ResourceVersion");
    case.code("a deletion in a dry run", &api.delete(&format!("{one}?dryRun=All")).await, 200);
    case.code("after it the object is there", &api.get(&one).await, 200);
    case.code("a deletion of what is not there", &api.delete(&format!("{}/nothing", subject.all())).await, 404);
    let uid = object.text("/metadata/uid");
    let deleted = api.delete_with(&one, &json!({"preconditions": {"uid": uid}})).await;
    case.code("a deletion", &deleted, 200);
    case.check(
        "its answer is a Status or the object",
        deleted.text("/status") == "Success" || deleted.text("/metadata/uid") == uid,
        &deleted.body,
    );
    subject.gone(1).await;

    if !subject.kind.has("deletecollection") {
        subject.remove(2).await;
        return subject.remove(3).await;
    }
    let none = api.delete(&format!("{}?labelSelector=walk%3Dnobody", subject.all())).await;
    case.code("a deletion of all that are none", &none, 200);
    let dry = api.delete(&format!("{}?labelSelector=walk%3Dconformance&dryRun=All", subject.all())).await;
    case.code("a deletion of some in a dry run", &dry, 200);
    case.code("after it they are there", &api.get(&subject.one(2)).await, 200);
    let some = api.delete(&format!("{}?labelSelector=walk%3Dconformance,number%3D2", subject.all())).await;
    case.code("a deletion of some", &some, 200);
    case.check("its answer is the list or a Status", some.text("/kind").ends_with("List") || some.text("/status") == "Success", &some.body);
    subject.gone(2).await;
    case.code("the others are still there", &api.get(&subject.one(3)).await, 200);
    api.delete(&format!("{}?labelSelector=walk%3Dconformance", subject.all())).await;
    subject.gone(3).await;
}

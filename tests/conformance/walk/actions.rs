//! Kinds that are no stored objects: questions and actions that are posted, and lists that are only read.

use super::Subject;

pub async fn walk(subject: &Subject<'_>) {
    let (api, case, kind) = (subject.api, subject.case, subject.kind);
    if kind.has("list") {
        let answer = api.get(&subject.all()).await;
        case.code("it is listed", &answer, 200);
        case.equal("its list's kind", answer.text("/kind"), &format!("{}List", kind.kind));
    }
    if kind.has("get") {
        case.refused("what is not there", &api.get(&subject.one(1)).await, 404, "NotFound", "not found");
    }
    if kind.has("create") {
        for (plural, object) in &subject.sample.needs {
            let answer = api.post(&format!("/api/v1/namespaces/{}/{plural}", subject.namespace), object).await;
            case.code("what it needs is created", &answer, 201);
        }
        let answer = api.post(&subject.all(), &subject.object(1)).await;
        if case.code("it is posted", &answer, 201) {
            let is_answer = answer.text("/kind") == kind.kind || answer.text("/kind") == "Status";
            case.check("the answer is of its kind", is_answer, &answer.body);
        }
    }
}

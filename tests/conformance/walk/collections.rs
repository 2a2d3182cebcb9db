//! Many objects: lists, selectors, pages.

use super::Subject;
use crate::api::{Answer, quoted};

/// Objects 1 to 3.
const COUNT: usize = 3;

pub async fn walk(subject: &Subject<'_>) {
    let (api, case, kind, all) = (subject.api, subject.case, subject.kind, subject.all());
    for number in 2..=COUNT {
        subject.create(number).await;
    }
    let mut names: Vec<String> = (1..=COUNT).map(|number| subject.name(number)).collect();
    names.sort();
    let listed = api.get(&format!("{all}?labelSelector=walk%3Dconformance")).await;
    case.code("a list", &listed, 200);
    case.equal("its kind", listed.text("/kind"), &format!("{}List", kind.kind));
    case.equal("its version", listed.text("/apiVersion"), &kind.api_version());
    case.equal("its items", listed.names(), names.clone());
    case.check("it has a resourceVersion", listed.version().parse::<u64>().is_ok_and(|version| version > 0), listed.version());

    let selected = async |query: &str| -> Answer {
        let answer = api.get(&format!("{all}?{query}")).await;
        case.code(query, &answer, 200);
        answer
    };
    for (selector, numbers) in [
        ("walk=conformance,number=2", vec![2]),
        ("walk=conformance,number!=2", vec![1, 3]),
        ("walk=conformance,number in (1,3)", vec![1, 3]),
        ("walk=conformance,number notin (1,3)", vec![2]),
        ("walk,!absent,number==3", vec![3]),
        ("walk=another", vec![]),
    ] {
        let mut expected: Vec<String> = numbers.into_iter().map(|number| subject.name(number)).collect();
        expected.sort();
        let query = format!("labelSelector={}", quoted(selector));
        case.equal(selector, selected(&query).await.names(), expected);
    }
    let query = format!("fieldSelector={}", quoted(&format!("metadata.name={}", subject.name(2))));
    case.equal(&query, selected(&query).await.names(), vec![subject.name(2)]);
    case.code("a field that cannot be selected by", &api.get(&format!("{all}?fieldSelector=un.heard%3Dof")).await, 400);
    case.code("a selector that is none", &api.get(&format!("{all}?labelSelector=a%20b%20c")).await, 400);

    if kind.namespaced {
        let everywhere = api.get(&format!("{}?labelSelector=walk%3Dconformance", kind.everywhere())).await;
        case.code("a list of all namespaces", &everywhere, 200);
        case.check("its items", names.iter().all(|name| everywhere.names().contains(name)), everywhere.names());
        let query = format!("labelSelector=number%3D2&fieldSelector=metadata.namespace%3D{}", subject.namespace);
        let here = api.get(&format!("{}?{query}", kind.everywhere())).await;
        case.equal("a namespace as a field", here.names(), vec![subject.name(2)]);
    }
    pages(subject, &names).await;
}

/// A list in pages of one is the list.
async fn pages(subject: &Subject<'_>, names: &[String]) {
    let (api, case) = (subject.api, subject.case);
    let first = format!("{}?labelSelector=walk%3Dconformance&limit=1", subject.all());
    let (mut path, mut seen, mut version) = (first.clone(), Vec::new(), String::new());
    for page in 0..=names.len() {
        let answer = api.get(&path).await;
        if !case.code(&format!("page {page}"), &answer, 200) {
            return;
        }
        if page == 0 {
            version = answer.version();
        }
        case.equal("all pages are of one version", answer.version(), version.clone());
        seen.extend(answer.names());
        match answer.text("/metadata/continue") {
            "" => break,
            token => path = format!("{first}&continue={}", quoted(token)),
        }
    }
    case.equal("all pages together", seen, names.to_vec());
}

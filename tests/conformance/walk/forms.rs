//! The same object in the forms that it is asked for in.

use serde_json::Value;

use super::Subject;
use crate::api::{CBOR, METADATA, METADATA_LIST, PROTOBUF, TABLE};

/// Controllers may write between two requests of ours; then they are made again.
const ATTEMPTS: usize = 5;

pub async fn walk(subject: &Subject<'_>) {
    tables(subject).await;
    metadata(subject).await;
    encodings(subject).await;
    let refused = subject.api.get_as(&subject.one(1), "text/html").await;
    subject.case.code("a form that there is not", &refused, 406);
    let yaml = subject.api.get_as(&subject.one(1), "application/yaml").await;
    let text = String::from_utf8_lossy(&yaml.bytes).into_owned();
    subject.case.check("YAML", yaml.code == 200 && text.contains(&format!("kind: {}", subject.kind.kind)), text);
}

async fn tables(subject: &Subject<'_>) {
    let (api, case) = (subject.api, subject.case);
    let list = api.get_as(&format!("{}?labelSelector=walk%3Dconformance", subject.all()), TABLE).await;
    let one = api.get_as(&subject.one(1), TABLE).await;
    for (table, rows) in [(&list, 3), (&one, 1)] {
        case.equal("the Table's kind", (table.text("/kind"), table.text("/apiVersion")), ("Table", "meta.k8s.io/v1"));
        case.equal("its rows", table.body["rows"].as_array().map(Vec::len), Some(rows));
        let columns = table.body["columnDefinitions"].as_array().cloned().unwrap_or_default();
        case.check("it has columns", !columns.is_empty(), &table.body);
        for column in &columns {
            let has = |field: &str| column[field].as_str().is_some_and(|text| !text.is_empty());
            case.check("a column has name, type and description", has("name") && has("type") && has("description"), column);
            case.check("a column has a format and a priority", column["format"].is_string() && column["priority"].is_i64(), column);
        }
        for row in table.body["rows"].as_array().into_iter().flatten() {
            case.equal("a row's cells", row["cells"].as_array().map(Vec::len), Some(columns.len()));
            case.equal("a row's object", row["object"]["kind"].as_str(), Some("PartialObjectMetadata"));
        }
    }
}

async fn metadata(subject: &Subject<'_>) {
    let (api, case) = (subject.api, subject.case);
    let one = api.get_as(&subject.one(1), METADATA).await;
    case.equal("its metadata alone", (one.text("/kind"), one.text("/metadata/name")), ("PartialObjectMetadata", &*subject.name(1)));
    case.equal("nothing but metadata", one.body.as_object().map(serde_json::Map::len), Some(3));
    let list = api.get_as(&format!("{}?labelSelector=walk%3Dconformance", subject.all()), METADATA_LIST).await;
    case.equal("a list of metadata", (list.text("/kind"), list.names().len()), ("PartialObjectMetadataList", 3));
}

/// What was read in another encoding is sent back in it, and changes nothing.
async fn encodings(subject: &Subject<'_>) {
    let (api, case, one) = (subject.api, subject.case, subject.one(1));
    for media in [PROTOBUF, CBOR] {
        if media == PROTOBUF && subject.kind.is_custom() {
            case.code("a custom kind in protobuf", &api.get_as(&one, PROTOBUF).await, 406);
            continue;
        }
        let mut told = None;
        for _ in 0..ATTEMPTS {
            let read = api.get_as(&one, media).await;
            if !case.code(&format!("it is read as {media}"), &read, 200) {
                return;
            }
            let magic: &[u8] = if media == PROTOBUF { b"k8s\0" } else { &[0xd9, 0xd9, 0xf7] };
            case.check(&format!("{media} begins as it does"), read.bytes.starts_with(magic), &read.bytes[..read.bytes.len().min(8)]);
            let before = api.get(&one).await.body;
            let sent = api.send("PUT", &one, &[("content-type", media), ("accept", "application/json")], read.bytes).await;
            let same = sent.code == 200 && sent.body == before;
            told = (!same).then(|| difference(&before, &sent.body));
            if same {
                break;
            }
        }
        if let Some(told) = told {
            case.fail(format!("{media}: what was read and sent back is not what was there: {told}"));
        }
        let list = api.get_as(&format!("{}?labelSelector=walk%3Dconformance", subject.all()), media).await;
        case.code(&format!("a list as {media}"), &list, 200);
    }
}

fn difference(before: &Value, after: &Value) -> String {
    for (key, value) in before.as_object().into_iter().flatten() {
        if after.get(key) != Some(value) {
            return format!("{key}: {value} became {:?}", after.get(key));
        }
    }
    format!("{after}")
}

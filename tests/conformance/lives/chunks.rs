//! Long lists, page by page, while others write.

use super::{config_map, core, create, home};
use crate::api::{Api, quoted};
use crate::case::Case;
use serde_json::json;

const COUNT: usize = 40;
const LIMIT: usize = 17;

pub async fn pages(api: &Api, case: &Case) {
    let all = core(&home(api, case, "life-chunks").await, "configmaps");
    for number in 0..COUNT {
        create(api, case, &all, &config_map(&format!("c-{number:02}"), json!({"of": "chunks"}))).await;
    }
    let whole = api.get(&all).await;
    let names = whole.names();
    let first = api.get(&format!("{all}?limit={LIMIT}")).await;
    case.equal("the first page", first.names().len(), LIMIT);
    let left = first.body["metadata"]["remainingItemCount"].as_i64();
    case.equal("what is left", left, i64::try_from(names.len() - LIMIT).ok());
    let selected = api.get(&format!("{all}?limit={LIMIT}&labelSelector=of%3Dchunks")).await;
    case.check(
        "with a selector nobody counts what is left",
        selected.body["metadata"].get("remainingItemCount").is_none(),
        &selected.body["metadata"],
    );

    // What happens between the pages is not seen in them.
    create(api, case, &all, &config_map("c-99", json!({}))).await;
    api.delete(&format!("{all}/c-{:02}", COUNT - 1)).await;
    let (mut seen, mut page) = (first.names(), first);
    loop {
        let token = page.text("/metadata/continue").to_owned();
        if token.is_empty() {
            break;
        }
        let version = page.version();
        page = api.get(&format!("{all}?limit={LIMIT}&continue={}", quoted(&token))).await;
        if !case.code("a page", &page, 200) {
            return;
        }
        case.equal("its version", page.version(), version);
        seen.extend(page.names());
    }
    case.equal("all pages together", seen, names);
    case.check("the last has nothing left", page.body["metadata"].get("remainingItemCount").is_none(), &page.body["metadata"]);
    // A limit that is not asked for again: the rest at once.
    let first = api.get(&format!("{all}?limit=1")).await;
    let rest = api.get(&format!("{all}?continue={}", quoted(first.text("/metadata/continue")))).await;
    case.equal("the rest without a limit", rest.names().len() + 1, api.get(&all).await.names().len());

    let both =
        api.get(&format!("{all}?limit=1&resourceVersion={}&continue={}", first.version(), quoted(first.text("/metadata/continue")))).await;
    case.refused("a version with a token", &both, 400, "BadRequest", "resource version is not allowed when using continue");
    case.refused(
        "a token that is none",
        &api.get(&format!("{all}?limit=1&continue=nonsense")).await,
        400,
        "BadRequest",
        "continue key is not valid",
    );
}

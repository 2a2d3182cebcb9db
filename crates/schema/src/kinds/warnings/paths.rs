//! Files of a volume that stand in each other's way: the later one is written over the earlier, or the volume cannot be made at all.

use super::Said;
use crate::kinds::check::At;

/// Says which files of the volumes overlap.
pub(super) fn overlapping(volumes: &At<'_>, said: &mut Said) {
    for volume in volumes.items() {
        let name = volume.get("name").text();
        for (key, what, named) in
            [("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName"), ("downwardAPI", "DownwardAPI", "")]
        {
            let source = volume.get(key);
            collisions(&files(&source), &format!("volume {name:?} ({})", titled(what, source.get(named).text(), named)), said);
        }
        projected(name, &volume.get("projected"), said);
    }
}

/// A source as it is told of: `Secret "s"`, or its sort alone where it has no name.
fn titled(what: &str, name: &str, named: &str) -> String {
    if named.is_empty() { what.to_owned() } else { format!("{what} {name:?}") }
}

/// The paths of a source's items.
fn files<'a>(source: &At<'a>) -> Vec<&'a str> {
    source.get("items").items().map(|item| item.get("path").text()).collect()
}

/// Sources that share one directory: each is held against itself, and against those before it.
fn projected(name: &str, projected: &At<'_>, said: &mut Said) {
    let mut all: Vec<&str> = Vec::new();
    for source in projected.get("sources").items() {
        if source.map().is_none_or(|map| map.values().all(serde_json::Value::is_null)) {
            said.push(format!("volume {name:?} (Projected) has no sources provided"));
            continue;
        }
        let [map, secret, downward, token, trust] =
            ["configMap", "secret", "downwardAPI", "serviceAccountToken", "clusterTrustBundle"].map(|key| source.get(key));
        let (title, paths) = if map.is_set() {
            (titled("ConfigMap", map.get("name").text(), "name"), files(&map))
        } else if secret.is_set() {
            (titled("Secret", secret.get("name").text(), "name"), files(&secret))
        } else if downward.is_set() {
            ("DownwardAPI".to_owned(), files(&downward))
        } else if token.is_set() {
            ("ServiceAccountToken".to_owned(), vec![token.get("path").text()])
        } else if trust.is_set() {
            let named = if trust.get("name").is_set() { trust.get("name") } else { trust.get("signerName") };
            (titled("ClusterTrustBundle", named.text(), "name"), vec![trust.get("path").text()])
        } else {
            continue;
        };
        let title = format!("volume {name:?} (Projected {title})");
        collisions(&paths, &title, said);
        let mut own = paths;
        own.sort_unstable();
        own.dedup();
        let mut ordered: Vec<&str> = own.iter().chain(&all).copied().collect();
        ordered.sort_unstable();
        if !own.is_empty() {
            collisions(&ordered, &title, said);
        }
        all.extend(own);
        all.sort_unstable();
        all.dedup();
    }
}

/// Says which paths are the same as, above or below one before them.
fn collisions(paths: &[&str], title: &str, said: &mut Said) {
    let mut seen: Vec<&str> = Vec::new();
    for path in paths.iter().map(|path| path.trim_end_matches('/')) {
        let below = |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.starts_with('/'));
        let hit = seen
            .iter()
            .find(|other| !path.is_empty() && !other.is_empty() && (**other == path || below(other, path) || below(path, other)));
        if let Some(other) = hit {
            let text = format!("{title}: overlapping paths: {path:?} with {other:?}");
            if !said.contains(&text) {
                said.push(text);
            }
        }
        seen.push(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn items(paths: &[&str]) -> Value {
        paths.iter().map(|path| json!({"key": "k", "path": path})).collect()
    }

    #[test]
    fn files_that_stand_in_the_way_of_others_are_told_of() {
        for (volume, expected) in [
            (json!({"configMap": {"name": "m", "items": items(&["a", "b/c", "bc"])}}), ""),
            (
                json!({"configMap": {"name": "m", "items": items(&["a", "a/"])}}),
                "volume \"v\" (ConfigMap \"m\"): overlapping paths: \"a\" with \"a\"",
            ),
            (
                json!({"secret": {"secretName": "s", "items": items(&["a", "a/b"])}}),
                "volume \"v\" (Secret \"s\"): overlapping paths: \"a/b\" with \"a\"",
            ),
            (json!({"downwardAPI": {"items": items(&["a/b", "a"])}}), "volume \"v\" (DownwardAPI): overlapping paths: \"a\" with \"a/b\""),
            (json!({"projected": {"sources": [{}]}}), "volume \"v\" (Projected) has no sources provided"),
            (
                json!({"projected": {"sources": [{"configMap": {"name": "m", "items": items(&["t/x"])}}, {"serviceAccountToken": {"path": "t"}}]}}),
                "volume \"v\" (Projected ServiceAccountToken): overlapping paths: \"t/x\" with \"t\"",
            ),
        ] {
            let mut volume = volume;
            volume["name"] = json!("v");
            let (volumes, mut said) = (json!([volume]), Said::new());
            overlapping(&At::root(&volumes), &mut said);
            assert_eq!(said.join("|"), expected);
        }
    }
}

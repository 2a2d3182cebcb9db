//! Reads and applies `tables/defaults.txt`.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

const TABLE: &str = include_str!("../../tables/defaults.txt");

static RULES: LazyLock<HashMap<&'static str, Vec<Rule>>> = LazyLock::new(|| parse(TABLE).unwrap_or_default());

/// One step of a path.
#[derive(Debug)]
enum Step {
    /// Into a key; made where it is missing if the flag says so.
    Key(&'static str, bool),
    /// Into every item of a list.
    Items,
    /// Into every value of a map.
    Values,
}

#[derive(Debug)]
enum Action {
    Set(&'static str, Value),
    Shape(&'static str),
}

#[derive(Debug)]
struct Rule {
    path: Vec<Step>,
    action: Action,
}

/// Applies the rules of a kind.
pub(super) fn apply(group: &str, kind: &str, object: &mut Value) {
    let rules = if group.is_empty() { RULES.get(kind) } else { RULES.get(format!("{group}/{kind}").as_str()) };
    for rule in rules.into_iter().flatten() {
        walk(&rule.path, &rule.action, object);
    }
}

fn walk(path: &[Step], action: &Action, at: &mut Value) {
    let Some((step, rest)) = path.split_first() else {
        match action {
            Action::Shape(shape) if at.is_object() => {
                for rule in RULES.get(shape).into_iter().flatten() {
                    walk(&rule.path, &rule.action, at);
                }
            }
            Action::Set(key, value) => {
                if let Some(map) = at.as_object_mut() {
                    super::missing(map, key, || value.clone());
                }
            }
            Action::Shape(_) => {}
        }
        return;
    };
    match step {
        Step::Key(key, create) => {
            if let (true, Some(map)) = (create, at.as_object_mut()) {
                super::missing(map, key, || Value::Object(Map::new()));
            }
            if let Some(next) = at.get_mut(*key) {
                walk(rest, action, next);
            }
        }
        Step::Items => at.as_array_mut().into_iter().flatten().for_each(|item| walk(rest, action, item)),
        Step::Values => at.as_object_mut().into_iter().flatten().for_each(|(_, value)| walk(rest, action, value)),
    }
}

/// The rules of every section; the line that cannot be read, if there is one.
fn parse(table: &'static str) -> Result<HashMap<&'static str, Vec<Rule>>, &'static str> {
    let mut rules: HashMap<&'static str, Vec<Rule>> = HashMap::new();
    let mut section = "";
    for line in table.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            section = name;
            continue;
        }
        let rule = match (line.split_once(" = "), line.split_once(" < ")) {
            (Some((path, value)), _) => {
                let value = serde_json::from_str(value).map_err(|_| line)?;
                let (parents, key) = path.rsplit_once('.').unwrap_or(("", path));
                Rule { path: steps(parents), action: Action::Set(key, value) }
            }
            (None, Some((path, shape))) => Rule { path: steps(path), action: Action::Shape(shape) },
            (None, None) => return Err(line),
        };
        rules.entry(section).or_default().push(rule);
    }
    Ok(rules)
}

fn steps(path: &'static str) -> Vec<Step> {
    let mut steps = Vec::new();
    for part in path.split('.').filter(|p| !p.is_empty()) {
        let (key, walk) = match (part.strip_suffix("[]"), part.strip_suffix("{}")) {
            (Some(key), _) => (key, Some(Step::Items)),
            (None, Some(key)) => (key, Some(Step::Values)),
            (None, None) => (part, None),
        };
        match key.strip_suffix('!') {
            Some(key) => steps.push(Step::Key(key, true)),
            None => steps.push(Step::Key(key, false)),
        }
        steps.extend(walk);
    }
    steps
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Node, catalog};

    #[test]
    fn the_table_reads_and_every_shape_exists() {
        let rules = parse(TABLE).unwrap();
        assert!(rules.len() > 40);
        for rule in rules.values().flatten() {
            if let Action::Shape(shape) = &rule.action {
                assert!(rules.contains_key(shape), "{shape}");
            }
        }
        assert!(parse("nonsense").is_err());
    }

    fn leads_somewhere(node: Node<'_>, section: &str, rules: &HashMap<&'static str, Vec<Rule>>) {
        for rule in rules.get(section).unwrap() {
            let mut at = Some(node);
            for step in &rule.path {
                at = match step {
                    Step::Key(key, _) => at.and_then(|n| n.field(key)),
                    Step::Items => at.and_then(Node::items),
                    Step::Values => at.and_then(Node::additional),
                };
            }
            let at = at.unwrap_or_else(|| panic!("{section}: no such parent: {:?}", rule.path));
            match &rule.action {
                Action::Set(key, value) => {
                    let field = at.field(key).unwrap_or_else(|| panic!("{section}: no such field: {:?} {key}", rule.path));
                    let wrong = crate::mismatches(field, value);
                    assert!(wrong.is_empty(), "{section}: {key}: {wrong:?}");
                }
                Action::Shape(shape) => leads_somewhere(at, shape, rules),
            }
        }
    }

    #[test]
    fn every_path_is_one_of_its_kind() {
        let rules = parse(TABLE).unwrap();
        let mut kinds = 0;
        for resource in catalog().resources().filter(|r| r.version == r.storage_version) {
            let section = if resource.group.is_empty() { resource.kind.clone() } else { format!("{}/{}", resource.group, resource.kind) };
            if let (true, Some(node)) = (rules.contains_key(section.as_str()), resource.schema()) {
                leads_somewhere(node, &section, &rules);
                kinds += 1;
            }
        }
        assert!(kinds > 30, "{kinds}");
    }
}
